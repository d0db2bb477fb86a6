"""explain: the walk tells every rule that was tried, and agrees with decide."""

from typing import Any

import pytest
import yaml

from minikube_py.cni.addresses import Addresses
from minikube_py.cni.types import Flow
from minikube_py.networkpolicy.compile import PolicySet
from minikube_py.networkpolicy.explain import explain

PODS = {"web": ("shop", "127.244.1.2"), "db-0": ("shop", "127.244.2.3"), "job": ("ops", "127.244.2.4")}


def world(policies: str) -> PolicySet:
    pods = [
        {
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name.partition("-")[0]}},
            "spec": {"nodeName": "n1", "containers": [{"ports": [{"name": "sql", "containerPort": 5432}]}]},
            "status": {"podIP": ip, "hostIP": "127.18.0.3"},
        }
        for name, (namespace, ip) in PODS.items()
    ]
    objects = [obj for obj in yaml.safe_load_all(policies) if obj]
    for obj in objects:
        obj["metadata"] = {"name": obj.pop("name"), "namespace": obj.pop("namespace", "shop")}
    return PolicySet.of(
        Addresses(),
        namespaces=[{"metadata": {"name": name}} for name in ("shop", "ops")],
        pods=pods,
        policies=[obj for obj in objects if "kind" not in obj],
        admin_policies=[obj for obj in objects if "kind" in obj],
    )


def walk(policies: str, source: str, target: str, port: int, services: Any = ()) -> str:
    addresses = {**{name: ip for name, (_, ip) in PODS.items()}, "outside": "127.0.0.1", "node": "127.18.0.3"}
    return str(explain(world(policies), Flow(addresses[source], addresses[target], port), services))


TO_DB = """
name: db-allow-api
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - {from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 5432}]}
  - {from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5433}, {port: nosql}]}
"""


def test_a_denied_walk() -> None:
    """Both directions, each policy, each rule, each reason, in this order."""
    lines = [line.rstrip() for line in walk(TO_DB, "web", "db-0", 5432).splitlines()]
    assert [" ".join(line.split()) for line in lines[:8]] == [
        "web (shop) 127.244.1.2 -> db-0 (shop) 127.244.2.3 on TCP 5432: DENIED on ingress",
        "egress no policy selects web for egress: allowed by default ok",
        "not selecting web for egress: db-allow-api",
        "ingress isolated: selected by db-allow-api DENIED",
        "netpol/db-allow-api selects db-0 (app=db)",
        "rule 1: from app=api in namespace shop on TCP 5432: no match",
        "app=api in namespace shop: web has app=web",
        "rule 2: from app=web in namespace shop on TCP 5433, TCP 'nosql': no match",
    ]
    assert "port TCP 5433: the pod's port is TCP 5432" in lines[8]
    assert "port TCP 'nosql': no containerPort of the destination has that name (known: 'sql')" in lines[9]


@pytest.mark.parametrize(
    ("policies", "source", "target", "expected"),
    [
        pytest.param("", "web", "db-0", ["no policy selects web for egress: allowed by default"], id="no policy"),
        pytest.param(TO_DB, "outside", "db-0", ["only an ipBlock can mean it"], id="an outsider and a podSelector"),
        pytest.param(TO_DB, "outside", "db-0", ["the source is no pod"], id="an outsider has no egress policies"),
        pytest.param(
            TO_DB,
            "job",
            "db-0",
            ["job is in namespace ops, and a podSelector alone means its own (shop)"],
            id="podSelector alone and another namespace",
        ),
        pytest.param(TO_DB, "db-0", "db-0", ["db-0 calls itself: always allowed"], id="itself"),
        pytest.param(TO_DB, "node", "db-0", ["127.18.0.3 is the node of db-0: always allowed"], id="own node"),
        pytest.param(
            "name: none\nspec: {podSelector: {}, ingress: []}",
            "web",
            "db-0",
            ["selects db-0 (all pods of the namespace)", "it has no ingress rule: nothing is admitted"],
            id="default deny",
        ),
        pytest.param(
            "name: in\nspec: {podSelector: {}, ingress: [{from: ["
            "{ipBlock: {cidr: 0.0.0.0/0, except: [10.244.1.0/24]}}, {ipBlock: {cidr: 192.168.0.0/16}}]}]}",
            "web",
            "db-0",
            ["127.244.1.2 is excepted by 10.244.1.0/24", "127.244.1.2 is not in it"],
            id="ipBlock and its exception",
        ),
        pytest.param(
            "name: in\nspec: {podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}}]}]}",
            "web",
            "db-0",
            ["namespace shop has kubernetes.io/metadata.name=shop"],
            id="namespaceSelector: what the namespace has",
        ),
        pytest.param(
            "name: out\nspec: {podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: sql}]}]}",
            "web",
            "outside",
            ["the destination is no pod, so it has no port names"],
            id="port name outside the cluster",
        ),
        pytest.param(
            TO_DB + "---\nkind: AdminNetworkPolicy\nname: top\nspec: {priority: 3, subject: {namespaces: {}}, "
            "ingress: [{action: Pass, from: [{namespaces: {}}]}, {action: Deny, from: [{namespaces: {}}]}]}",
            "web",
            "db-0",
            ["AdminNetworkPolicy/top (priority 3) rule 1, Pass from", "netpol/db-allow-api selects db-0"],
            id="Pass leads on to the NetworkPolicies",
        ),
        pytest.param(
            "kind: AdminNetworkPolicy\nname: top\nspec: {priority: 3, subject: {namespaces: {}}, "
            "ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
            "web",
            "db-0",
            ["decided by AdminNetworkPolicy/top", "DENIED on ingress"],
            id="an admin policy decides",
        ),
        pytest.param(
            "kind: BaselineAdminNetworkPolicy\nname: default\nspec: {subject: {namespaces: {}}, "
            "ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
            "web",
            "db-0",
            ["the baseline decides", "DENIED on ingress"],
            id="the baseline decides",
        ),
    ],
)
def test_reasons(policies: str, source: str, target: str, expected: list[str]) -> None:
    """Each step says why."""
    text = walk(policies, source, target, 5432)
    for part in expected:
        assert part in text, text


def test_hints() -> None:
    """The walk ends with what is probably wrong: a Service's port, a half open path, the AND/OR trap."""
    service = {
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"selector": {"app": "db"}, "ports": [{"port": 80, "targetPort": "sql"}]},
    }
    in_by_80 = (
        "name: in\nspec: {podSelector: {matchLabels: {app: db}}, "
        "ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}"
    )
    assert "MK305 in allows port 80, but policies see the pod's port: svc/db translates 80 to 5432" in walk(
        in_by_80, "web", "db-0", 5432, [service]
    )
    half = (
        "name: in\nspec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}]}]}\n---\n"
        "name: out\nspec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}"
    )
    text = walk(half, "web", "db-0", 5432)
    assert "MK302 half open: shop/in allows the ingress side, but shop/out does not let web out to db-0" in text
    assert "MK202" in text, "the same policy cuts DNS"
    trap = (
        "name: in\nspec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: "
        "[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ops}}}, "
        "{podSelector: {matchLabels: {app: web}}}]}]}"
    )
    text = walk(trap, "job", "db-0", 5432)
    assert "allowed" in text.splitlines()[0]
    assert 'MK303 in "from" has 2 items (namespaceSelector OR podSelector): it admits every pod of ns ops' in text
