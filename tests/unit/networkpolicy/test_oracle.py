"""The compiled core against a slow oracle, written straight from the API's documentation and sharing no code."""

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.cni.addresses import Addresses
from minikube_py.cni.cbpf import contains
from minikube_py.cni.types import Flow
from minikube_py.networkpolicy.compile import PolicySet
from minikube_py.networkpolicy.decide import decide
from minikube_py.networkpolicy.explain import explain
from minikube_py.networkpolicy.policy import Direction, read_admin_policy, read_policy
from minikube_py.networkpolicy.ranges import DeniedSources

NAMESPACES = ("x", "y", "z")
KEYS, VALUES = ("app", "tier"), ("a", "b")
NODES = {"n1": "127.18.0.2", "n2": "127.18.0.3"}
PORTS = (80, 81, 8080)
PROTOCOLS = ("TCP", "UDP", "SCTP")
NAMES = ("http", "alt")
OUTSIDE = ("127.0.0.1", "93.184.216.34", *NODES.values())
CIDRS = (
    "0.0.0.0/0",
    "127.244.0.0/16",
    "10.244.0.0/16",
    "10.244.1.0/30",
    "10.0.0.0/8",
    "127.0.0.0/24",
    "172.18.0.3/32",
    "93.0.0.0/8",
    "127.244.1.2/31",
)

# The oracle


def oracle_labels(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector or {}).get("matchLabels", {}).items()):
        return False
    for term in (selector or {}).get("matchExpressions", []):
        key, values = term["key"], term.get("values", [])
        holds = {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[term["operator"]]
        if not holds:
            return False
    return True


def oracle_in(address: str, cidr: str) -> bool:
    real = {"127.244.": "10.244.", "127.96.": "10.96.", "127.18.": "172.18."}
    forms = [address] + [new + address[len(old) :] for old, new in real.items() if address.startswith(old)]
    return any(ip_address(form) in ip_network(cidr) for form in forms)


class Oracle:
    def __init__(self, world: dict[str, Any]) -> None:
        self.world = world
        self.pods = {pod["status"]["podIP"]: pod for pod in world["pods"] if not pod["spec"].get("hostNetwork")}
        self.namespaces = {
            ns["metadata"]["name"]: {**ns["metadata"]["labels"], "kubernetes.io/metadata.name": ns["metadata"]["name"]}
            for ns in world["namespaces"]
        }

    def allowed(self, source: str, destination: str, port: int, protocol: str) -> bool:
        if source == destination:
            return True
        return self.side(source, destination, "Egress", destination, port, protocol) and self.side(
            destination, source, "Ingress", destination, port, protocol
        )

    def side(self, mine: str, other: str, direction: str, destination: str, port: int, protocol: str) -> bool:
        pod = self.pods.get(mine)
        if pod is None or other == NODES[pod["spec"]["nodeName"]]:
            return True
        field, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
        for policy in sorted(self.world["admin"], key=lambda p: p["spec"]["priority"]):
            verdict = self.admin(policy, pod, other, field, peers, destination, port, protocol)
            if verdict == "Pass":
                break
            if verdict:
                return verdict == "Allow"
        selecting = [policy for policy in self.world["policies"] if self.selects(policy, pod, direction)]
        if selecting:
            return any(
                self.rule(policy, rule, other, peers, destination, port, protocol)
                for policy in selecting
                for rule in policy["spec"].get(field) or []
            )
        for policy in self.world["baseline"]:
            verdict = self.admin(policy, pod, other, field, peers, destination, port, protocol)
            if verdict:
                return verdict == "Allow"
        return True

    def selects(self, policy: dict[str, Any], pod: dict[str, Any], direction: str) -> bool:
        spec = policy["spec"]
        types = spec.get("policyTypes")
        if not types:
            types = ["Ingress"] + (["Egress"] if spec.get("egress") else [])
        return (
            direction in types
            and policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
            and oracle_labels(spec["podSelector"], pod["metadata"]["labels"])
        )

    def rule(
        self, policy: dict[str, Any], rule: dict[str, Any], other: str, peers: str, to: str, port: int, protocol: str
    ) -> bool:
        if rule.get("ports") and not any(self.port(entry, to, port, protocol) for entry in rule["ports"]):
            return False
        if not rule.get(peers):
            return True
        return any(self.peer(policy["metadata"]["namespace"], peer, other) for peer in rule[peers])

    def port(self, entry: dict[str, Any], to: str, port: int, protocol: str) -> bool:
        if entry.get("protocol", "TCP") != protocol:
            return False
        wanted = entry.get("port")
        if wanted is None:
            return True
        if isinstance(wanted, str):
            return self.named(wanted, to, port, protocol)
        return bool(wanted <= port <= entry.get("endPort", wanted))

    def named(self, name: str, to: str, port: int, protocol: str) -> bool:
        if to not in self.pods:
            return False
        return any(
            (known["name"], known["containerPort"], known["protocol"]) == (name, port, protocol)
            for container in self.pods[to]["spec"]["containers"]
            for known in container["ports"]
        )

    def peer(self, namespace: str, peer: dict[str, Any], other: str) -> bool:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            return oracle_in(other, block["cidr"]) and not any(oracle_in(other, e) for e in block.get("except", []))
        if other not in self.pods:
            return False
        metadata = self.pods[other]["metadata"]
        if "namespaceSelector" in peer:
            if not oracle_labels(peer["namespaceSelector"], self.namespaces[metadata["namespace"]]):
                return False
        elif metadata["namespace"] != namespace:
            return False
        return "podSelector" not in peer or oracle_labels(peer["podSelector"], metadata["labels"])

    def admin(
        self,
        policy: dict[str, Any],
        pod: dict[str, Any],
        other: str,
        field: str,
        peers: str,
        to: str,
        port: int,
        protocol: str,
    ) -> str | None:
        if not self.admin_peer(policy["spec"]["subject"], pod["status"]["podIP"]):
            return None
        for rule in policy["spec"].get(field, []):
            if rule.get("ports") and not any(self.admin_port(entry, to, port, protocol) for entry in rule["ports"]):
                continue
            if any(self.admin_peer(peer, other) for peer in rule[peers]):
                return str(rule["action"])
        return None

    def admin_peer(self, peer: dict[str, Any], other: str) -> bool:
        if "networks" in peer:
            return any(oracle_in(other, cidr) for cidr in peer["networks"])
        if other not in self.pods:
            return False
        metadata = self.pods[other]["metadata"]
        labels = self.namespaces[metadata["namespace"]]
        if "namespaces" in peer:
            return oracle_labels(peer["namespaces"], labels)
        pods = peer["pods"]
        return oracle_labels(pods["namespaceSelector"], labels) and oracle_labels(
            pods["podSelector"], metadata["labels"]
        )

    def admin_port(self, entry: dict[str, Any], to: str, port: int, protocol: str) -> bool:
        if "portNumber" in entry:
            return bool(entry["portNumber"]["port"] == port and entry["portNumber"]["protocol"] == protocol)
        if "portRange" in entry:
            span = entry["portRange"]
            return bool(span["start"] <= port <= span["end"] and span["protocol"] == protocol)
        return self.named(entry["namedPort"], to, port, protocol)


# The worlds

labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
terms = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from(KEYS),
        st.sampled_from(("In", "NotIn")),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=2),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(KEYS),
        st.sampled_from(("Exists", "DoesNotExist")),
    ),
)
selectors = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"matchLabels": labels}),
    st.fixed_dictionaries({"matchExpressions": st.lists(terms, max_size=2)}, optional={"matchLabels": labels}),
)
namespace_selectors = st.one_of(
    selectors,
    st.builds(
        lambda name: {"matchLabels": {"kubernetes.io/metadata.name": name}}, st.sampled_from((*NAMESPACES, "nowhere"))
    ),
)
blocks = st.fixed_dictionaries(
    {"cidr": st.sampled_from(CIDRS)}, optional={"except": st.lists(st.sampled_from(CIDRS), max_size=2)}
)
peers = st.one_of(
    st.fixed_dictionaries({"ipBlock": blocks}),
    st.fixed_dictionaries({"podSelector": selectors}),
    st.fixed_dictionaries({"namespaceSelector": namespace_selectors}),
    st.fixed_dictionaries({"podSelector": selectors, "namespaceSelector": namespace_selectors}),
)
ports = st.one_of(
    st.fixed_dictionaries({}, optional={"protocol": st.sampled_from(PROTOCOLS), "port": st.sampled_from(PORTS)}),
    st.builds(lambda port, more: {"port": port, "endPort": port + more}, st.sampled_from(PORTS), st.integers(0, 1)),
    st.fixed_dictionaries({"port": st.sampled_from(NAMES)}, optional={"protocol": st.sampled_from(PROTOCOLS)}),
)


def rules(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: st.lists(peers, max_size=3), "ports": st.lists(ports, max_size=3)})


def some(rule: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.one_of(st.lists(rule, min_size=1, max_size=3), st.lists(rule, max_size=1))


specs = st.fixed_dictionaries(
    {"podSelector": selectors},
    optional={
        "ingress": some(rules("from")),
        "egress": some(rules("to")),
        "policyTypes": st.sampled_from((["Ingress"], ["Egress"], ["Ingress", "Egress"])),
    },
)
admin_pods = st.fixed_dictionaries(
    {"pods": st.fixed_dictionaries({"namespaceSelector": namespace_selectors, "podSelector": selectors})}
)
admin_peers = st.one_of(
    st.fixed_dictionaries({"namespaces": namespace_selectors}),
    admin_pods,
    st.fixed_dictionaries({"networks": st.lists(st.sampled_from(CIDRS), min_size=1, max_size=2)}),
)
admin_subjects = st.one_of(st.fixed_dictionaries({"namespaces": namespace_selectors}), admin_pods)
admin_ports = st.one_of(
    st.builds(
        lambda protocol, port: {"portNumber": {"protocol": protocol, "port": port}},
        st.sampled_from(PROTOCOLS),
        st.sampled_from(PORTS),
    ),
    st.builds(
        lambda first: {"portRange": {"protocol": "TCP", "start": first, "end": first + 1}}, st.sampled_from(PORTS)
    ),
    st.builds(lambda name: {"namedPort": name}, st.sampled_from(NAMES)),
)


def admin_rules(name: str, actions: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"action": st.sampled_from(actions), name: st.lists(admin_peers, min_size=1, max_size=2)},
        optional={"ports": st.lists(admin_ports, min_size=1, max_size=2)},
    )


def admin_specs(actions: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"subject": admin_subjects, "priority": st.integers(0, 1000)},
        optional={
            "ingress": st.lists(admin_rules("from", actions), max_size=2),
            "egress": st.lists(admin_rules("to", actions), max_size=2),
        },
    )


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    pods = []
    for index in range(draw(st.integers(3, 5))):
        node = draw(st.sampled_from(sorted(NODES)))
        host = draw(st.integers(0, 9)) == 0
        one = st.tuples(st.sampled_from(NAMES), st.sampled_from(PORTS), st.sampled_from(PROTOCOLS))
        known = draw(st.lists(one, min_size=1, max_size=3))
        declared = [{"name": name, "containerPort": port, "protocol": protocol} for name, port, protocol in known]
        pods.append(
            {
                "metadata": {
                    "name": f"p{index}",
                    "namespace": draw(st.sampled_from(NAMESPACES)),
                    "labels": draw(labels),
                },
                "spec": {"nodeName": node, "hostNetwork": host, "containers": [{"ports": declared}]},
                "status": {"podIP": NODES[node] if host else f"127.244.1.{index + 1}"},
            }
        )
    admins = draw(st.booleans())
    tiers = st.lists(
        admin_specs(("Allow", "Deny", "Pass")), min_size=1, max_size=2, unique_by=lambda spec: spec["priority"]
    )
    admin = draw(tiers) if admins else []
    baseline = draw(st.lists(admin_specs(("Allow", "Deny")), max_size=1)) if admins else []
    return {
        "namespaces": [{"metadata": {"name": name, "labels": draw(labels)}} for name in NAMESPACES],
        "pods": pods,
        "policies": [
            {"metadata": {"name": f"np{i}", "namespace": draw(st.sampled_from(NAMESPACES))}, "spec": spec}
            for i, spec in enumerate(draw(st.lists(specs, min_size=2, max_size=4)))
        ],
        "admin": [
            {"kind": "AdminNetworkPolicy", "metadata": {"name": f"anp{spec['priority']}"}, "spec": spec}
            for spec in admin
        ],
        "baseline": [
            {"kind": "BaselineAdminNetworkPolicy", "metadata": {"name": "default"}, "spec": spec} for spec in baseline
        ],
    }


def node(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": NODES[name]}]}}


def flows(world: dict[str, Any]) -> list[Flow]:
    addresses = [pod["status"]["podIP"] for pod in world["pods"]]
    return [
        Flow(source, destination, port, protocol)
        for source in (*addresses, *OUTSIDE)
        for destination in (*addresses, *OUTSIDE)
        if source in addresses or destination in addresses
        for port, protocol in ((80, "TCP"), (81, "TCP"), (8080, "UDP"), (80, "SCTP"))
    ]


@settings(max_examples=150, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_core_agrees_with_the_documentation(world: dict[str, Any], chance: Any) -> None:
    """Whatever order objects arrive in, every verdict is the oracle's, and a denial names who isolates the pod."""
    oracle = Oracle(world)
    steps: list[tuple[str, Any]] = [
        *(("namespace", obj) for obj in world["namespaces"]),
        *(("pod", obj) for obj in world["pods"]),
        *(("before", obj) for obj in world["pods"] if not obj["spec"]["hostNetwork"]),
        *(("policy", obj) for obj in world["policies"]),
        *(("admin", obj) for obj in (*world["admin"], *world["baseline"])),
        *(("node", node(name)) for name in NODES),
    ]
    chance.shuffle(steps)
    pods = [obj for what, obj in steps if what == "pod"]
    policy_set, asked = PolicySet.empty(Addresses()), flows(world)
    for what, obj in steps:
        match what:
            case "namespace":
                policy_set = policy_set.with_namespace(obj)
            case "pod":
                policy_set = policy_set.with_pod(obj)
            case "before" if obj["status"]["podIP"] not in policy_set.pods:  # another pod had the address before
                other = {**chance.choice(pods), "status": obj["status"]}
                policy_set = policy_set.with_pod(other)
            case "policy":
                policy_set = policy_set.with_policy(read_policy(obj))
            case "admin":
                policy_set = policy_set.with_admin_policy(read_admin_policy(obj))
            case "node":
                policy_set = policy_set.with_node(obj)
        for flow in chance.sample(asked, min(4, len(asked))):  # fill the memos with what is about to be wrong
            decide(policy_set, flow)
    for flow in asked:
        decision = decide(policy_set, flow)
        assert decision.allowed == oracle.allowed(flow.source, flow.destination, flow.port, flow.protocol), (
            flow,
            decision.because,
        )
        if not decision.allowed:
            at = flow.source if decision.direction is Direction.EGRESS else flow.destination
            assert decision.denied_by
            assert set(decision.denied_by) <= set(decision.policies)
            assert policy_set.pods[at].name in decision.because
    for flow in chance.sample(asked, min(3, len(asked))):
        walk = explain(policy_set, flow)
        assert walk.decision.allowed == all(step.allowed for step in walk.steps), str(walk)


_EDGES = tuple(
    str(ip_address(int(edge) + offset))
    for cidr in (*CIDRS[1:], "127.18.0.0/16", "127.96.0.0/16")
    for edge in (ip_network(cidr).network_address, ip_network(cidr).broadcast_address)
    for offset in (-1, 0, 1)
)


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_denied_sources_are_those_that_decide_denies(world: dict[str, Any]) -> None:
    """A packet filter's ranges hold an address if and only if `decide` denies it, hidden behind a node or not."""
    policy_set = PolicySet.of(
        Addresses(),
        policies=world["policies"],
        namespaces=world["namespaces"],
        pods=world["pods"],
        nodes=[node(name) for name in NODES],
        admin_policies=[*world["admin"], *world["baseline"]],
    )
    denied = DeniedSources(policy_set)
    addresses = dict.fromkeys(pod["status"]["podIP"] for pod in world["pods"])
    for destination in (*addresses, NODES["n1"]):
        for port, protocol in ((80, "TCP"), (8080, "UDP")):
            for seen_as in ("", NODES["n2"]):
                ranges = denied.of(destination, port, protocol, seen_as)
                assert list(ranges) == sorted(ranges)
                for source in (*addresses, *OUTSIDE, *_EDGES):
                    flow = Flow(source, destination, port, protocol, seen_as)
                    found = contains(ranges, int(ip_address(source)))
                    assert found != decide(policy_set, flow).allowed, (flow, ranges)
