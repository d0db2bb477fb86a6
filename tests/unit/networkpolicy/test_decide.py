"""decide: one small cluster, and what each policy makes of it. Each denial names the policy that denied."""

from typing import Any

import pytest
import yaml

from minikube_py.cni.addresses import Addresses
from minikube_py.cni.types import Flow
from minikube_py.networkpolicy.compile import PolicySet
from minikube_py.networkpolicy.decide import decide
from minikube_py.networkpolicy.policy import Direction
from minikube_py.networkpolicy.verdict import Decision

ADDRESS = {
    "web": "127.244.1.2",
    "api": "127.244.1.3",
    "batch": "127.244.2.2",
    "scraper": "127.244.2.3",
    "host-agent": "127.18.0.3",
    "worker": "127.18.0.3",
    "worker2": "127.18.0.4",
    "outside": "127.0.0.1",
    "internet": "93.184.216.34",
}
CLUSTER = """
{kind: Namespace, metadata: {name: shop}}
---
{kind: Namespace, metadata: {name: metrics, labels: {team: ops}}}
---
{kind: Node, metadata: {name: worker}, status: {addresses: [{type: InternalIP, address: 127.18.0.3}]}}
---
kind: Node
metadata: {name: worker2, labels: {zone: b}}
status: {addresses: [{type: InternalIP, address: 127.18.0.4}]}
---
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web, pod-template-hash: 7d9}}
spec: {nodeName: worker, containers: [{ports: [{containerPort: 80}]}]}
status: {podIP: 127.244.1.2}
---
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {nodeName: worker, containers: [{ports: [{containerPort: 8080, name: http}, {containerPort: 53, protocol: UDP}]}]}
status: {podIP: 127.244.1.3}
---
kind: Pod
metadata: {name: batch, namespace: shop, labels: {app: batch}}
spec: {nodeName: worker2}
status: {podIP: 127.244.2.2, hostIP: 127.18.0.4}
---
kind: Pod
metadata: {name: scraper, namespace: metrics, labels: {app: scraper}}
spec: {nodeName: worker2}
status: {podIP: 127.244.2.3}
---
kind: Pod
metadata: {name: host-agent, namespace: shop, labels: {app: web}}
spec: {nodeName: worker, hostNetwork: true}
status: {podIP: 127.18.0.3}
"""


def world(policies: str) -> PolicySet:
    """Build the cluster with policies given as YAML documents of `name`, and `spec`'s fields."""
    objects: dict[str, list[Any]] = {"Namespace": [], "Node": [], "Pod": []}
    for obj in yaml.safe_load_all(CLUSTER):
        objects[obj["kind"]].append(obj)
    network, admin = [], []
    for spec in yaml.safe_load_all(policies):
        if spec is None:
            continue
        kind = spec.pop("kind", "NetworkPolicy")
        name, namespace = spec.pop("name"), spec.pop("namespace", "shop")
        obj = {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}
        (network if kind == "NetworkPolicy" else admin).append(obj)
    return PolicySet.of(
        Addresses(),
        namespaces=objects["Namespace"],
        nodes=objects["Node"],
        pods=objects["Pod"],
        policies=network,
        admin_policies=admin,
    )


def ask(policy_set: PolicySet, question: str) -> Decision:
    """Answer `web -> api:8080` or `web -> api:53/UDP`."""
    source, _, rest = question.partition(" -> ")
    target, _, port = rest.partition(":")
    number, _, protocol = port.partition("/")
    return decide(policy_set, Flow(ADDRESS[source], ADDRESS[target], int(number), protocol or "TCP"))


DENY_IN = "{name: deny-in, podSelector: {}, policyTypes: [Ingress]}"
DENY_OUT = "{name: deny-out, podSelector: {}, policyTypes: [Egress]}"
TO_API = "name: to-api\npodSelector: {matchLabels: {app: api}}\n"


@pytest.mark.parametrize(
    ("policies", "allowed", "denied"),
    [
        pytest.param("", ["web -> api:8080", "outside -> api:1"], {}, id="no policy: all reach all"),
        pytest.param(
            DENY_IN,
            ["web -> scraper:80", "api -> internet:443", "worker -> api:8080", "api -> api:8080"],
            {"web -> api:8080": "deny-in", "scraper -> web:80": "deny-in", "outside -> web:80": "deny-in"},
            id="default deny of ingress; own node and itself pass",
        ),
        pytest.param(
            DENY_OUT,
            ["scraper -> web:80", "web -> worker:10250", "outside -> web:80"],
            {"web -> api:8080": "deny-out", "web -> internet:443": "deny-out", "web -> worker2:1": "deny-out"},
            id="default deny of egress; the own node stays reachable",
        ),
        pytest.param(
            DENY_IN + "\n---\n{name: allow-all, podSelector: {}, ingress: [{}]}",
            ["web -> api:8080", "outside -> web:80", "scraper -> api:53/UDP"],
            {},
            id="policies add up: allow-all voids deny",
        ),
        pytest.param(
            TO_API + "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
            ["web -> api:8080", "web -> api:9/UDP", "batch -> web:80"],
            {"batch -> api:8080": "to-api", "scraper -> api:8080": "to-api"},
            id="podSelector means the own namespace",
        ),
        pytest.param(
            TO_API + "ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: metrics}}}]}]",
            ["scraper -> api:8080"],
            {"web -> api:8080": "to-api"},
            id="every namespace has kubernetes.io/metadata.name",
        ),
        pytest.param(
            TO_API + "ingress: [{from: [{namespaceSelector: {matchLabels: {team: ops}}, "
            "podSelector: {matchLabels: {app: x}}}]}]",
            [],
            {"scraper -> api:8080": "to-api"},
            id="one peer with both selectors is AND",
        ),
        pytest.param(
            TO_API + "ingress: [{from: [{namespaceSelector: {matchLabels: {team: ops}}}, "
            "{podSelector: {matchLabels: {app: web}}}]}]",
            ["scraper -> api:8080", "web -> api:8080"],
            {"batch -> api:8080": "to-api"},
            id="two peers are OR",
        ),
        pytest.param(
            TO_API + "ingress: [{from: [{namespaceSelector: "
            "{matchExpressions: [{key: team, operator: NotIn, values: [ops]}]}}]}]",
            ["web -> api:8080"],
            {"scraper -> api:8080": "to-api"},
            id="matchExpressions: NotIn also takes what lacks the key",
        ),
        pytest.param(
            TO_API + "ingress: [{ports: [{port: http}]}]",
            ["web -> api:8080", "outside -> api:8080"],
            {"web -> api:80": "to-api", "web -> api:8080/UDP": "to-api"},
            id="named port of the selected pod",
        ),
        pytest.param(
            "name: out\npodSelector: {matchLabels: {app: web}}\npolicyTypes: [Egress]\n"
            "egress: [{ports: [{port: http}]}]",
            ["web -> api:8080", "batch -> web:1"],
            {"web -> batch:8080": "out", "web -> internet:8080": "out"},
            id="named port of the destination pod for egress",
        ),
        pytest.param(
            "name: out\npodSelector: {matchLabels: {app: web}}\npolicyTypes: [Egress]\n"
            "egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 172.16.0.0/12]}}]}]",
            ["web -> internet:443"],
            {"web -> api:8080": "out", "web -> worker2:1": "out"},
            id="egress to the internet but not to the cluster",
        ),
        pytest.param(
            TO_API + "ingress: [{from: [{ipBlock: {cidr: 10.244.2.0/24}}]}]",
            ["batch -> api:8080", "scraper -> api:8080"],
            {"web -> api:8080": "to-api", "outside -> api:8080": "to-api"},
            id="ipBlock in real-cluster form means pods of node 2",
        ),
        pytest.param(
            TO_API + "ingress: [{from: [{ipBlock: {cidr: 172.18.0.0/24}}]}]",
            ["worker2 -> api:8080", "worker -> api:8080"],
            {"web -> api:8080": "to-api"},
            id="another node is an address",
        ),
        pytest.param(
            "name: to-batch\npodSelector: {matchLabels: {app: batch}}\n"
            "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
            ["web -> batch:80", "worker2 -> batch:80"],
            {"host-agent -> batch:80": "to-batch"},
            id="a hostNetwork pod is its node, whatever its labels",
        ),
        pytest.param(
            DENY_IN,
            ["web -> host-agent:80", "scraper -> host-agent:80"],
            {},
            id="no policy selects a hostNetwork pod",
        ),
        pytest.param(
            DENY_IN + "\n---\n{name: deny-in, namespace: metrics, podSelector: {}}",
            ["web -> internet:80"],
            {"web -> scraper:80": "deny-in", "scraper -> web:80": "deny-in"},
            id="two namespaces may use one name",
        ),
    ],
)
def test_network_policies(policies: str, allowed: list[str], denied: dict[str, str]) -> None:
    """The pod's policies, and nothing else, decide."""
    policy_set = world(policies)
    for question in allowed:
        decision = ask(policy_set, question)
        assert decision.allowed, (question, decision.because)
        assert decision.denied_by == ()
    for question, policy in denied.items():
        decision = ask(policy_set, question)
        assert not decision.allowed, question
        assert policy in [name.partition("/")[2] for name in decision.denied_by], question
        assert policy in decision.because
        assert set(decision.denied_by) <= set(decision.policies)


ANP = "---\nkind: AdminNetworkPolicy\nname: guard\npriority: 5\nsubject: {namespaces: {}}\n"
BANP = "---\nkind: BaselineAdminNetworkPolicy\nname: default\nsubject: {namespaces: {}}\n"
FROM_WEB = "from: [{pods: {podSelector: {matchLabels: {app: web}}}}]"


@pytest.mark.parametrize(
    ("policies", "allowed", "denied"),
    [
        pytest.param(
            "{name: allow-all, podSelector: {}, ingress: [{}]}\n" + ANP + f"ingress: [{{action: Deny, {FROM_WEB}}}]",
            ["batch -> api:8080", "web -> web:80"],
            {"web -> api:8080": "AdminNetworkPolicy/guard"},
            id="Deny stands above NetworkPolicies, but not between a pod and itself",
        ),
        pytest.param(
            DENY_IN + "\n" + ANP + f"ingress: [{{action: Allow, {FROM_WEB}, ports: [{{portNumber: {{port: 80}}}}]}}]",
            ["web -> api:80"],
            {"web -> api:8080": "shop/deny-in", "batch -> api:80": "shop/deny-in"},
            id="Allow stands above NetworkPolicies; what it does not match goes on",
        ),
        pytest.param(
            DENY_IN
            + "\n"
            + ANP
            + f"ingress: [{{action: Pass, {FROM_WEB}}}, {{action: Allow, from: [{{namespaces: {{}}}}]}}]",
            ["batch -> api:80"],
            {"web -> api:80": "shop/deny-in"},
            id="Pass leaves it to the NetworkPolicies, before later rules",
        ),
        pytest.param(
            ANP
            + f"ingress: [{{action: Deny, {FROM_WEB}}}]\n---\nkind: AdminNetworkPolicy\nname: first\npriority: 1\n"
            + f"subject: {{namespaces: {{}}}}\ningress: [{{action: Allow, {FROM_WEB}}}]",
            ["web -> api:80"],
            {},
            id="the lower priority number is asked first",
        ),
        pytest.param(
            BANP + "ingress: [{action: Deny, from: [{namespaces: {}}]}]",
            ["outside -> api:80"],
            {"web -> api:80": "BaselineAdminNetworkPolicy/default"},
            id="the baseline decides where no NetworkPolicy selects",
        ),
        pytest.param(
            TO_API + f"ingress: [{{}}]\n{BANP}ingress: [{{action: Deny, from: [{{namespaces: {{}}}}]}}]",
            ["web -> api:80"],
            {"web -> batch:80": "BaselineAdminNetworkPolicy/default"},
            id="a NetworkPolicy overrides the baseline",
        ),
        pytest.param(
            ANP + "egress: [{action: Deny, to: [{networks: [93.184.0.0/16]}, {nodes: {matchLabels: {zone: b}}}]}]",
            ["web -> api:80", "web -> worker:80"],
            {
                "web -> internet:443": "AdminNetworkPolicy/guard",
                "web -> worker2:10250": "AdminNetworkPolicy/guard",
            },
            id="networks and nodes as peers",
        ),
        pytest.param(
            ANP + "ingress: [{action: Deny, from: [{namespaces: {}}], ports: [{namedPort: http}]}]",
            ["web -> api:80"],
            {"web -> api:8080": "AdminNetworkPolicy/guard"},
            id="namedPort",
        ),
        pytest.param(
            ANP + "egress: [{action: Deny, to: [{domainNames: [example.com]}]}]",
            ["web -> internet:443", "web -> api:8080"],
            {},
            id="domainNames match nothing here",
        ),
    ],
)
def test_admin_policies(policies: str, allowed: list[str], denied: dict[str, str]) -> None:
    """AdminNetworkPolicies come before, the baseline after NetworkPolicies."""
    policy_set = world(policies)
    for question in allowed:
        decision = ask(policy_set, question)
        assert decision.allowed, (question, decision.because)
    for question, policy in denied.items():
        decision = ask(policy_set, question)
        assert not decision.allowed, question
        assert decision.denied_by == (policy,), question


@pytest.mark.parametrize(
    ("policies", "question", "because"),
    [
        pytest.param(
            DENY_IN + "\n---\n" + TO_API + "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
            "batch -> api:8080",
            "deny-in, to-api select api; no rule admits app=batch",
            id="who selects, and who was not admitted",
        ),
        pytest.param(
            DENY_IN,
            "batch -> api:8080",
            "deny-in selects api; no rule admits app=batch: there are none",
            id="default deny",
        ),
        pytest.param(
            TO_API + "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}]",
            "web -> api:8080",
            "to-api selects api; no rule admits app=web on TCP 8080, only on TCP 80",
            id="right peer, wrong port; generated labels are left out",
        ),
        pytest.param(
            DENY_IN,
            "scraper -> api:8080",
            "deny-in selects api; no rule admits app=scraper in namespace metrics: there are none",
            id="the caller's namespace is told where it is another",
        ),
        pytest.param(
            DENY_OUT + "\n---\n" + TO_API + "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
            "web -> api:8080",
            "deny-out selects web for egress; no rule admits app=api: there are none; to-api would let it in, "
            "but both sides must allow",
            id="half open: egress denies what ingress allows",
        ),
        pytest.param(
            DENY_IN
            + "\n---\n{name: web-out, podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{}]}",
            "web -> api:8080",
            "deny-in selects api; no rule admits app=web: there are none; web-out would let it out, "
            "but both sides must allow",
            id="half open: ingress denies what egress allows",
        ),
        pytest.param(
            DENY_IN + "\n---\n" + DENY_OUT,
            "web -> api:8080",
            "deny-out selects web for egress; no rule admits app=api: there are none; and on ingress deny-in selects "
            "api; no rule admits app=web: there are none",
            id="both sides deny",
        ),
        pytest.param(
            DENY_IN,
            "outside -> api:8080",
            "deny-in selects api; no rule admits 127.0.0.1 (outside the cluster): there are none",
            id="a caller from outside",
        ),
        pytest.param(
            DENY_IN,
            "worker2 -> api:8080",
            "deny-in selects api; no rule admits node worker2 (127.18.0.4): there are none",
            id="another node",
        ),
        pytest.param(
            TO_API + "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
            "web -> api:8080",
            "to-api selects api; its ingress rule 1 admits app=web on TCP 8080",
            id="allowed, by which rule",
        ),
        pytest.param(DENY_IN, "web -> web:80", "web calls itself: a pod always reaches itself", id="itself"),
        pytest.param(
            DENY_IN, "worker -> api:80", "127.18.0.3 is api's own node: always allowed", id="own node, by nodeName"
        ),
        pytest.param(
            DENY_IN, "worker2 -> batch:80", "127.18.0.4 is batch's own node: always allowed", id="own node, by hostIP"
        ),
        pytest.param(DENY_IN, "outside -> internet:80", "neither end is a pod: policies have no say", id="no pods"),
        pytest.param("", "web -> api:80", "no policy selects either end: everything is allowed", id="no policies"),
        pytest.param(
            "---\nkind: AdminNetworkPolicy\nname: guard\npriority: 5\nsubject: {namespaces: {}}\n"
            f"ingress: [{{name: no-web, action: Deny, {FROM_WEB}}}]",
            "web -> api:8080",
            "AdminNetworkPolicy/guard (priority 5) has api as subject; its ingress rule 1 'no-web' denies it "
            "on TCP 8080",
            id="admin policy",
        ),
    ],
)
def test_because(policies: str, question: str, because: str) -> None:
    """A verdict says in words who decided and why."""
    assert ask(world(policies), question).because == because


def test_direction_of_a_denial() -> None:
    """Egress is asked first: the packet leaves before it arrives."""
    assert ask(world(DENY_IN), "web -> api:8080").direction is Direction.INGRESS
    assert ask(world(DENY_IN + "\n---\n" + DENY_OUT), "web -> api:8080").direction is Direction.EGRESS
    assert ask(world(""), "web -> api:8080").direction is None


def test_a_decision_is_no_bool() -> None:
    """Nobody can take a denial for true by accident."""
    with pytest.raises(TypeError):
        bool(ask(world(DENY_IN), "web -> api:8080"))
