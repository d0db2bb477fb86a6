"""Quotas and limit ranges: what a namespace may use, and what is told when it is too much."""

from typing import Any

import pytest

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError

APPS = "apps/v1"


def quota(world: Any, **hard: str) -> None:
    named = {name.replace("__", "/").replace("_", "."): value for name, value in hard.items()}
    world.create("v1", "ResourceQuota", "q", {"hard": named})


def container(**resources: dict[str, str]) -> dict[str, Any]:
    return {"name": "c", "image": "nginx:1", "resources": resources}


def used(world: Any) -> dict[str, str]:
    found: dict[str, str] = world.status("resourcequotas", "q")["used"]
    return found


async def test_pods_beyond_the_quota_are_refused_and_the_deployment_says_so(world: Any) -> None:
    """ReplicaFailure stands in ReplicaSet and Deployment until the quota has room; what is used is counted."""
    quota(world, pods="2", count__deployments_apps="3")
    await world.settle()
    world.create(APPS, "Deployment", "web", world.workload(3))
    await world.settle(1.0)
    assert len(world.pods(app="web")) == 2
    assert used(world) == {"count/deployments.apps": "1", "pods": "2"}
    [rs] = world.api.list("replicasets.apps", "default")
    for status in (world.status("deployments.apps", "web"), meta.status(rs)):
        failure = next(c for c in status["conditions"] if c["type"] == "ReplicaFailure")
        assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
        assert failure["message"].endswith(
            '" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'
        )
    assert len(world.events("FailedCreate")) == 1
    world.edit("resourcequotas", "q", lambda q: q["spec"]["hard"].update(pods="5"))
    await world.settle(30.0)
    assert len(world.pods(app="web")) == 3
    types = [c["type"] for c in world.status("deployments.apps", "web")["conditions"]]
    assert "ReplicaFailure" not in types
    world.edit("deployments.apps", "web", lambda d: d["spec"].update(replicas=1))
    await world.settle(1.0)
    assert used(world)["pods"] == "1"


async def test_a_compute_quota_wants_to_know(world: Any) -> None:
    """Under a quota of cpu or memory every container has to say what it needs, and the sum has to fit."""
    quota(world, requests_cpu="1", limits_memory="1Gi")
    await world.settle()
    with pytest.raises(StatusError) as caught:
        world.create("v1", "Pod", "p", {"containers": [container()]})
    assert caught.value.message == (
        'pods "p" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c'
    )
    asked = {"requests": {"cpu": "600m"}, "limits": {"memory": "512Mi", "cpu": "1"}}
    world.create("v1", "Pod", "p", {"containers": [container(**asked)]})
    assert used(world) == {"limits.memory": "512Mi", "requests.cpu": "600m"}
    with pytest.raises(StatusError) as caught:
        world.create("v1", "Pod", "p2", {"containers": [container(**asked)]})
    assert caught.value.message == (
        'pods "p2" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, '
        "limited: requests.cpu=1"
    )


async def test_services_and_claims(world: Any) -> None:
    """Node ports, balancers and storage are counted; an update may not grow beyond the quota either."""
    quota(world, services_nodeports="1", services="2", requests_storage="2Gi", secrets="0")
    await world.settle()
    ports = [{"port": 80}]
    world.create("v1", "Service", "a", {"type": "NodePort", "ports": ports})
    world.create("v1", "Service", "b", {"ports": ports})
    for act in (
        lambda: world.create("v1", "Service", "c", {"ports": ports}),
        lambda: world.edit("services", "b", lambda s: s["spec"].update(type="NodePort")),
        lambda: world.create("v1", "Secret", "s"),
    ):
        with pytest.raises(StatusError, match="exceeded quota: q"):
            act()
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    world.create("v1", "PersistentVolumeClaim", "data", claim)
    assert used(world) == {"requests.storage": "2Gi", "secrets": "0", "services": "2", "services.nodeports": "1"}
    world.api.delete("services", "a", "default")
    await world.settle()
    assert used(world)["services"] == "1"


async def test_scopes(world: Any) -> None:
    """A quota with scopes counts only the pods in them."""
    world.create("v1", "ResourceQuota", "q", {"hard": {"pods": "1"}, "scopes": ["BestEffort"]})
    await world.settle()
    world.create("v1", "Pod", "a", {"containers": [container(requests={"cpu": "1"})]})
    assert used(world) == {"pods": "0"}
    world.create("v1", "Pod", "b", {"containers": [container()]})
    with pytest.raises(StatusError, match="exceeded quota"):
        world.create("v1", "Pod", "c", {"containers": [container()]})


async def test_limit_range_completes(world: Any) -> None:
    """A container without requests and limits gets the namespace's."""
    limits = [{"type": "Container", "default": {"memory": "512Mi"}, "defaultRequest": {"memory": "256Mi"}}]
    world.create("v1", "LimitRange", "lr", {"limits": limits})
    pod = world.create("v1", "Pod", "p", {"containers": [container()]})
    assert pod["spec"]["containers"][0]["resources"] == {"limits": {"memory": "512Mi"}, "requests": {"memory": "256Mi"}}
    assert meta.annotations(pod) == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: memory request for container c; "
        "memory limit for container c"
    }


@pytest.mark.parametrize(
    ("item", "resources", "why"),
    [
        (
            {"type": "Container", "max": {"cpu": "800m"}, "min": {"cpu": "200m"}},
            {"limits": {"cpu": "1500m"}, "requests": {"cpu": "500m"}},
            "maximum cpu usage per Container is 800m, but limit is 1500m",
        ),
        (
            {"type": "Container", "max": {"cpu": "800m"}, "min": {"cpu": "200m"}},
            {"limits": {"cpu": "800m"}, "requests": {"cpu": "100m"}},
            "minimum cpu usage per Container is 200m, but request is 100m",
        ),
        (
            {"type": "Pod", "max": {"memory": "1Gi"}},
            {"limits": {"memory": "2Gi"}},
            "maximum memory usage per Pod is 1Gi, but limit is 2Gi",
        ),
        (
            {"type": "Container", "maxLimitRequestRatio": {"memory": "2"}},
            {"limits": {"memory": "3Gi"}, "requests": {"memory": "1Gi"}},
            "memory max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        ),
    ],
)
async def test_limit_range_refuses(world: Any, item: Any, resources: Any, why: str) -> None:
    """What is outside the range is refused in Kubernetes' words."""
    world.create("v1", "LimitRange", "lr", {"limits": [item]})
    with pytest.raises(StatusError) as caught:
        world.create("v1", "Pod", "p", {"containers": [container(**resources)]})
    assert caught.value.message == f'pods "p" is forbidden: {why}'


async def test_limit_range_of_claims(world: Any) -> None:
    """Claims have a least and a greatest size."""
    limits = [{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}]
    world.create("v1", "LimitRange", "lr", {"limits": limits})
    for size, why in (
        ("500Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"),
        ("5Gi", "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi"),
    ):
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        with pytest.raises(StatusError) as caught:
            world.create("v1", "PersistentVolumeClaim", "data", spec)
        assert caught.value.message == f'persistentvolumeclaims "data" is forbidden: {why}'
