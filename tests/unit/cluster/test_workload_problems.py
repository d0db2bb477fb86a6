"""Findings about pods that nobody could create, and claims without a volume."""

from typing import Any

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations
from minikube_py.cluster.problems import problems
from minikube_py.cluster.workload_problems import placement_fix


def _deployment(replicas: int) -> Object:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }


def _event(about: Object, reason: str, message: str) -> Object:
    involved = {"kind": about["kind"], "name": about["metadata"]["name"], "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "e-", "namespace": "default"},
        "involvedObject": {**involved, "uid": about["metadata"]["uid"]},
        "reason": reason,
        "message": message,
        "type": "Warning",
    }


def _service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }


@pytest.mark.parametrize(("replicas", "words"), [(0, "spec.replicas: 0"), (2, "has no pods yet")])
def test_a_service_without_pods_names_the_workload_that_would_have_them(replicas: int, words: str) -> None:
    """No other label is suggested where a template matches."""
    operations = Operations(VirtualClock())
    operations.create(_deployment(replicas))
    operations.create(_service())
    [problem] = problems(operations)
    assert (problem.code, "Deployment web" in problem.text, words in problem.text) == ("MK101", True, True)


@pytest.mark.parametrize("kind", ["StatefulSet", "ReplicaSet"])
def test_pods_that_are_refused(kind: str) -> None:
    """What the API server said of the pods is said of their workload, until they are there."""
    operations = Operations(VirtualClock())
    owner = operations.create({**_deployment(1), "kind": kind})
    why = 'pods "web-0" is forbidden: error looking up service account default/x: serviceaccount "x" not found'
    operations.create(_event(owner, "FailedCreate", why))
    [problem] = problems(operations)
    assert (problem.code, why in problem.text, "Fix: create the ServiceAccount" in problem.text) == (
        "MK115",
        True,
        True,
    )
    operations.update({**owner, "status": {"replicas": 1}}, subresource="status")
    assert problems(operations) == []


def test_a_claim_whose_class_is_another_clouds() -> None:
    """The missing StorageClass, those that are there, and what to write."""
    operations = Operations(VirtualClock())
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "gp3",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    claim = operations.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "default"},
            "spec": spec,
        }
    )
    operations.create(_event(claim, "ProvisioningFailed", 'storageclass.storage.k8s.io "gp3" not found'))
    [problem] = problems(operations)
    assert problem.code == "MK116"
    assert "leave storageClassName out, or add a StorageClass gp3" in problem.text


PLACES: dict[str, tuple[dict[str, Any], str]] = {
    "a label that no node has": ({"nodeSelector": {"disktype": "ssd"}}, "kubectl label node worker disktype=ssd"),
    "a label that a node has": ({"nodeSelector": {"kubernetes.io/os": "linux"}}, ""),
    "zones that nobody named": (
        {"topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}]},
        "kubectl label node worker zone=VALUE",
    ),
    "more than a node has": ({"resources": {"requests": {"cpu": "64"}}}, "none has more than 8"),
    "devices": ({"resources": {"limits": {"nvidia.com/gpu": 1}}}, "none offers it"),
    "as much as a node has": ({"resources": {"requests": {"cpu": "8"}}}, ""),
}


@pytest.mark.parametrize(("spec", "words"), PLACES.values(), ids=PLACES)
def test_a_pod_that_suits_no_node_is_told_how_it_would(spec: dict[str, Any], words: str) -> None:
    """The label to set, or the request to lower."""
    operations = Operations(VirtualClock())
    node = operations.create(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker", "labels": {"kubernetes.io/os": "linux"}}}
    )
    allocatable = {"cpu": "8", "memory": "16Gi", "pods": "110"}
    operations.update({**node, "status": {"allocatable": allocatable}}, subresource="status")
    container = {"name": "c", "image": "nginx", "resources": spec.get("resources", {})}
    fix = placement_fix(operations, {"kind": "Pod", "metadata": {}, "spec": {**spec, "containers": [container]}})
    assert words in fix
    assert bool(words) == bool(fix)


def test_a_job_that_has_failed_and_a_node_that_has_gone_are_named() -> None:
    """Both only stand in conditions; each line says what comes next."""
    operations = Operations(VirtualClock())
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}}
    job = operations.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "once", "namespace": "default"},
            "spec": {"template": template},
        }
    )
    gone = {
        "type": "Failed",
        "status": "True",
        "reason": "BackoffLimitExceeded",
        "message": "Job has reached the limit",
    }
    operations.update({**job, "status": {"conditions": [gone]}}, subresource="status")
    node = operations.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker"}})
    silent = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped"}
    operations.update({**node, "status": {"conditions": [silent]}}, subresource="status")
    failed, lost = map(str, problems(operations))
    assert failed.startswith("MK117 default/job/once: has failed: BackoffLimitExceeded: Job has reached the limit")
    assert "kubectl logs -n default job/once" in failed
    assert lost.startswith("MK118 node/worker: is NotReady: Kubelet stopped")
