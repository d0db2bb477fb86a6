"""The law of empty and missing: what the API's many ways of saying nothing mean."""

from typing import Any

import pytest

from minikube_py.networkpolicy.identity import Identities, namespace_labels
from minikube_py.networkpolicy.policy import Action, Direction, read_admin_policy, read_policy


def policy(**spec: Any) -> Any:
    return read_policy({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec})


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        pytest.param({}, True, False, id="no policyTypes: Ingress"),
        pytest.param({"egress": []}, True, False, id="empty egress does not add Egress"),
        pytest.param({"egress": [{}]}, True, True, id="an egress rule adds Egress"),
        pytest.param({"policyTypes": ["Egress"]}, False, True, id="Egress alone"),
        pytest.param({"policyTypes": ["Egress"], "ingress": [{}]}, False, True, id="rules of an unnamed type are void"),
        pytest.param({"policyTypes": ["Ingress", "Egress"]}, True, True, id="both"),
    ],
)
def test_policy_types(spec: dict[str, Any], ingress: bool, egress: bool) -> None:
    """policyTypes say which directions are isolated; Ingress and perhaps Egress where they are missing."""
    read = policy(**spec)
    assert (read.ingress is not None, read.egress is not None) == (ingress, egress)


@pytest.mark.parametrize(
    ("rule", "peers", "ports"),
    [
        pytest.param({}, None, None, id="empty rule: anybody, any port"),
        pytest.param({"from": [], "ports": []}, None, None, id="empty lists are missing ones"),
        pytest.param({"from": None, "ports": None}, None, None, id="null lists are missing ones"),
        pytest.param({"from": [{"podSelector": {}}]}, 1, None, id="one peer"),
        pytest.param({"ports": [{}, {"port": 80}]}, None, 2, id="two ports"),
    ],
)
def test_rules(rule: dict[str, Any], peers: int | None, ports: int | None) -> None:
    """A rule without peers or ports does not restrict them."""
    (read,) = policy(ingress=[rule]).ingress
    assert (None if read.peers is None else len(read.peers)) == peers
    assert (None if read.ports is None else len(read.ports)) == ports


@pytest.mark.parametrize(
    ("port", "admitted"),
    [
        pytest.param({}, {("TCP", 80), ("TCP", 8080), ("TCP", 9000)}, id="no fields: every TCP port"),
        pytest.param({"protocol": "UDP"}, {("UDP", 80), ("UDP", 53)}, id="protocol alone: every port of it"),
        pytest.param({"port": 80}, {("TCP", 80)}, id="number is TCP"),
        pytest.param({"port": 80, "protocol": "UDP"}, {("UDP", 80)}, id="number of another protocol"),
        pytest.param({"port": 8000, "endPort": 9000}, {("TCP", 8080), ("TCP", 9000)}, id="range, both ends in"),
        pytest.param({"port": "web"}, {("TCP", 8080)}, id="name of a containerPort"),
        pytest.param({"port": "dns"}, set(), id="name with another protocol"),
        pytest.param({"port": "dns", "protocol": "UDP"}, {("UDP", 53)}, id="name with its protocol"),
        pytest.param({"port": "nope"}, set(), id="unknown name"),
    ],
)
def test_ports(port: dict[str, Any], admitted: set[tuple[str, int]]) -> None:
    """Ports by number, range and name, of one protocol each."""
    ports = [("web", 8080, "TCP"), ("dns", 53, "UDP")]
    pod = {
        "metadata": {"name": "a", "namespace": "shop"},
        "spec": {"containers": [{"ports": [{"name": n, "containerPort": p, "protocol": t} for n, p, t in ports]}]},
    }
    destination = Identities().of_pod(pod, namespace_labels("shop", {}))
    (rule,) = policy(ingress=[{"ports": [port]}]).ingress
    asked = [("TCP", 80), ("TCP", 8080), ("TCP", 9000), ("UDP", 80), ("UDP", 53), ("SCTP", 80)]
    assert {(t, p) for t, p in asked if rule.admits_port(p, t, destination)} == admitted


def test_null_selectors() -> None:
    """`podSelector: {matchLabels: null}` selects everything in the namespace, and nothing elsewhere."""
    read = policy(podSelector={"matchLabels": None})
    table = Identities()
    assert read.selects(table.intern("shop", {"app": "web"}, {}, ()))
    assert not read.selects(table.intern("other", {"app": "web"}, {}, ()))


def test_an_empty_peer_is_nobody() -> None:
    """A peer without any selector is invalid in Kubernetes; if it gets here, it opens nothing."""
    (rule,) = policy(ingress=[{"from": [{}]}]).ingress
    assert not rule.peers[0].admits_pod(Identities().intern("shop", {}, {}, ()))


def test_a_rule_tells_itself_in_words() -> None:
    """Rules print as people say them."""
    (rule,) = policy(
        ingress=[
            {
                "from": [
                    {"podSelector": {"matchLabels": {"app": "web"}}},
                    {"namespaceSelector": {"matchLabels": {"team": "a"}}},
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                ],
                "ports": [{"port": 80, "endPort": 90}, {"port": "dns", "protocol": "UDP"}],
            }
        ]
    ).ingress
    assert rule.text(Direction.INGRESS) == (
        "from app=web in namespace shop, or any pod in namespaces with team=a, "
        "or ipBlock 10.0.0.0/8 except 10.1.0.0/16 on TCP 80-90, UDP 'dns'"
    )


def test_admin_policy() -> None:
    """AdminNetworkPolicy's own forms of subjects, peers and ports are read."""
    read = read_admin_policy(
        {
            "kind": "AdminNetworkPolicy",
            "metadata": {"name": "strict"},
            "spec": {
                "priority": 7,
                "subject": {"namespaces": {"matchLabels": {"tier": "prod"}}},
                "egress": [
                    {
                        "name": "no-metadata",
                        "action": "Deny",
                        "to": [{"networks": ["169.254.169.254/32", "10.0.0.0/8"]}, {"nodes": {}}],
                        "ports": [
                            {"portNumber": {"protocol": "TCP", "port": 80}},
                            {"portRange": {"protocol": "UDP", "start": 1, "end": 9}},
                            {"namedPort": "web"},
                        ],
                    }
                ],
            },
        }
    )
    (rule,) = read.egress
    assert (read.priority, read.baseline, rule.action, rule.name) == (7, False, Action.DENY, "no-metadata")
    assert [str(peer) for peer in rule.peers or ()] == ["ipBlock 169.254.169.254/32", "ipBlock 10.0.0.0/8", "nodes any"]
    assert rule.ports_text == "TCP 80, UDP 1-9, 'web'"
