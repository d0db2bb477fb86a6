"""minikube_py/kinds/adminnetworkpolicy.py: what the API server takes and refuses."""

from typing import Any

import pytest

from minikube_py.apimachinery import meta
from minikube_py.kinds import structural
from minikube_py.kinds.adminnetworkpolicy import KINDS

ADMIN, BASELINE = KINDS
EVERYBODY: dict[str, Any] = {"namespaces": {}}


def policy(name: str = "strict", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"priority": 7, "subject": EVERYBODY, **spec}}


def rule(**more: Any) -> dict[str, Any]:
    return {"action": "Deny", "from": [EVERYBODY], **more}


def test_names() -> None:
    """They are served as the project's own definitions serve them."""
    assert [kind.resource for kind in KINDS] == [
        "adminnetworkpolicies.policy.networking.k8s.io",
        "baselineadminnetworkpolicies.policy.networking.k8s.io",
    ]
    assert [kind.short_names for kind in KINDS] == [("anp",), ("banp",)]
    assert not any(kind.namespaced for kind in KINDS)


def test_whole_policies_are_taken() -> None:
    """Every kind of peer and port; the protocol of a range is TCP if none is given."""
    egress = {"action": "Pass", "to": [{"nodes": {}}, {"networks": ["10.0.0.0/8"]}, {"domainNames": ["a.example"]}]}
    pods = {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}}
    ports = [{"namedPort": "web"}, {"portRange": {"start": 1, "end": 9}}]
    obj = policy(ingress=[rule(name="x", ports=ports), {"action": "Allow", "from": [pods]}], egress=[egress])
    ADMIN.default(obj)
    assert ADMIN.schema is not None
    assert not list(structural.check(ADMIN.schema, obj))
    assert ADMIN.validate(obj, None) == []
    assert obj["spec"]["ingress"][0]["ports"][1]["portRange"]["protocol"] == "TCP"


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (policy(priority=1001), "spec.priority"),
        (policy(ingress=[rule(action="Drop")]), "spec.ingress[0].action"),
        (policy(ingress=[{"action": "Deny"}]), "spec.ingress[0].from"),
        (policy(ingress=[rule(**{"from": [{"namespaces": {}, "pods": {}}]})]), "spec.ingress[0].from[0]"),
        (
            policy(egress=[{"action": "Deny", "to": [{"networks": ["10.0.0.0/99"]}]}]),
            "spec.egress[0].to[0].networks[0]",
        ),
        (
            policy(ingress=[rule(ports=[{"portRange": {"start": 9, "end": 1}}])]),
            "spec.ingress[0].ports[0].portRange.end",
        ),
        (policy(subject={}), "spec.subject"),
    ],
    ids=["priority", "action", "no peers", "two peers in one", "network", "range", "no subject"],
)
def test_what_is_wrong_is_named(obj: dict[str, Any], path: str) -> None:
    """Each error names its field."""
    obj = meta.copy(obj)
    ADMIN.default(obj)
    assert any(error.path.startswith(path) for error in ADMIN.validate(obj, None))


def test_there_is_one_baseline() -> None:
    """It is called default, has no priority, and can't pass."""
    good = {"metadata": {"name": "default"}, "spec": {"subject": EVERYBODY, "ingress": [rule()]}}
    assert BASELINE.validate(good, None) == []
    [error] = BASELINE.validate({**good, "metadata": {"name": "other"}}, None)
    assert error.path == "metadata.name"
    passing = {"metadata": {"name": "default"}, "spec": {"subject": EVERYBODY, "ingress": [rule(action="Pass")]}}
    assert BASELINE.validate(passing, None)
