"""What is said of a Service that selects nothing."""

from typing import Any

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations
from minikube_py.cluster.selection import selects_nothing

_TEMPLATE = {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
_SELECTOR = {"matchLabels": {"app": "shop"}}


def _workload(kind: str = "Deployment", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"selector": _SELECTOR, "template": _TEMPLATE, **spec},
    }


def _pod(name: str, **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    }


def _condition(type_: str, status: str, message: str) -> Object:
    return {"conditions": [{"type": type_, "status": status, "message": message}]}


@pytest.mark.parametrize(
    ("workload", "status", "words"),
    [
        (_workload(replicas=0), {}, "kubectl scale -n default deployment/shop --replicas=1"),
        (_workload(paused=True), {}, "is paused and has 0 pods. Fix: kubectl rollout resume"),
        (_workload(), _condition("ReplicaFailure", "True", "exceeded quota: q"), "has 0 pods: exceeded quota: q"),
        (_workload(), _condition("Progressing", "False", "timed out"), "has 0 pods: timed out"),
        (_workload("StatefulSet"), {}, "StatefulSet shop, whose pods would match, has no pods yet"),
        (_workload("DaemonSet"), {"desiredNumberScheduled": 0}, "no node suits it"),
    ],
)
def test_the_workload_whose_pods_would_match_is_named(workload: Object, status: Object, words: str) -> None:
    """The selector is right where a template has its labels: what keeps the pods away is said, and no other label."""
    operations = Operations(VirtualClock())
    operations.create(_pod("other", app="shops"))
    stored = operations.create(workload)
    operations.update({**stored, "status": {**meta.status(stored), **status}}, subresource="status")
    said = selects_nothing(operations, "default", {"app": "shop"})
    assert words in said
    assert "Closest" not in said


def test_what_the_replica_set_was_refused_is_said_of_its_deployment() -> None:
    """The event is the ReplicaSet's; who reads the Service's line knows the Deployment."""
    operations = Operations(VirtualClock())
    owner = operations.create(_workload())
    replicas = _workload("ReplicaSet")
    replicas["metadata"] = {"name": "shop-1", "namespace": "default", "ownerReferences": [meta.owner_reference(owner)]}
    replicas = operations.create(replicas)
    operations.create(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "e-", "namespace": "default"},
            "involvedObject": {"kind": "ReplicaSet", "namespace": "default", "uid": meta.uid(replicas)},
            "reason": "FailedCreate",
            "message": 'pods "shop-1-x" is forbidden: exceeded quota: small',
        }
    )
    said = selects_nothing(operations, "default", {"app": "shop"})
    assert "Deployment shop, whose pods would match, has 0 pods: " in said
    assert "exceeded quota: small" in said


@pytest.mark.parametrize(
    ("written", "there", "suggested"),
    [
        ("shpo", "shop", True),
        ("shop", "shop-v2", True),
        ("redis-mater", "redis-master", True),
        ("redis-master", "redis-slave", False),
        ("redis", "api", False),
        ("client", "api", False),
        ("shop-1", "shop-2", False),
    ],
)
def test_a_value_is_suggested_only_if_it_may_be_a_slip(written: str, there: str, suggested: bool) -> None:
    """Another app's label would send callers to that app."""
    operations = Operations(VirtualClock())
    operations.create(_pod("one", app=there))
    said = selects_nothing(operations, "default", {"app": written})
    assert (f"Fix: spec.selector.app: {there}" in said) == suggested
    assert suggested or "no pod or workload in namespace default has these labels" in said
