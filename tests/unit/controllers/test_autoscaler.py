"""Autoscalers on every metric, and what holds them back."""

from typing import Any

import pytest

from minikube_py.apimachinery import meta

APPS = "apps/v1"
HPAS = "horizontalpodautoscalers.autoscaling"
REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}


async def autoscaled(world: Any, metric: Any, replicas: int = 2, **spec: Any) -> None:
    world.create(APPS, "Deployment", "web", world.workload(replicas))
    world.create("v1", "Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]})
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    world.create("networking.k8s.io/v1", "Ingress", "front", {"defaultBackend": backend})
    await world.settle()
    spec = {"scaleTargetRef": REFERENCE, "minReplicas": 1, "maxReplicas": 20, "metrics": [metric], **spec}
    world.create("autoscaling/v2", "HorizontalPodAutoscaler", "web", spec)


def load(world: Any, rate: float) -> None:
    for pod in world.pods():
        world.metrics[meta.name(pod)] = {"requests-per-second": rate}


def conditions(world: Any) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in world.status(HPAS, "web")["conditions"]}


def by_rate(target: str = "10") -> Any:
    metric = {"name": "requests-per-second"}
    return {"type": "Pods", "pods": {"metric": metric, "target": {"type": "AverageValue", "averageValue": target}}}


def by_object(kind: str, name: str, **target: str) -> Any:
    about = {"apiVersion": "v1", "kind": kind, "name": name}
    return {
        "type": "Object",
        "object": {"metric": {"name": "requests-per-second"}, "describedObject": about, "target": target},
    }


async def test_request_rate(world: Any) -> None:
    """Twice the wanted rate, twice the pods."""
    await autoscaled(world, by_rate())
    load(world, 20.0)
    await world.settle(16.0)
    assert world.status(HPAS, "web")["desiredReplicas"] == 4
    assert world.events("SuccessfulRescale") == ["New size: 4; reason: pods metric requests-per-second above target"]


@pytest.mark.parametrize(
    ("metric", "replicas"),
    [
        (by_object("Service", "web", type="Value", value="20"), 4),
        (by_object("Service", "web", type="AverageValue", averageValue="10"), 4),
        (by_object("Ingress", "front", type="Value", value="10"), 4),
    ],
    ids=["a Service's rate", "a Service's rate per pod", "an Ingress' rate, at most double"],
)
async def test_object_metrics(world: Any, metric: Any, replicas: int) -> None:
    """What is called through a Service or an Ingress decides."""
    await autoscaled(world, metric)
    load(world, 20.0)
    await world.settle(1.0)
    status = world.status(HPAS, "web")
    assert status["desiredReplicas"] == replicas
    assert status["currentMetrics"][0]["type"] == "Object"


@pytest.mark.parametrize(
    ("metric", "reason", "message"),
    [
        (
            {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "1"}}},
            "FailedGetExternalMetric",
            "the HPA was unable to compute the replica count: unable to get external metric default/queue/nil: unable "
            "to fetch metrics from external metrics API: the server could not find the requested resource (get "
            "queue.external.metrics.k8s.io)",
        ),
        (
            by_object("Service", "nobody", type="Value", value="1"),
            "FailedGetObjectMetric",
            "the HPA was unable to compute the replica count: unable to get metric requests-per-second: Service on "
            "default nobody/unable to fetch metrics from custom metrics API: no metrics returned",
        ),
    ],
)
async def test_metrics_that_nobody_measures(world: Any, metric: Any, reason: str, message: str) -> None:
    """The condition says which, and nothing is scaled."""
    await autoscaled(world, metric)
    load(world, 20.0)
    await world.settle(16.0)
    assert conditions(world)["ScalingActive"] == ("False", reason)
    told = {c["type"]: c["message"] for c in world.status(HPAS, "web")["conditions"]}
    assert told["ScalingActive"] == message
    assert len(world.pods()) == 2


async def test_without_behavior_it_doubles_at_most(world: Any) -> None:
    """A load of a hundredfold takes several steps: 2, 4, 8."""
    await autoscaled(world, by_rate())
    load(world, 1000.0)
    await world.settle(1.0)
    assert conditions(world)["ScalingLimited"] == ("True", "ScaleUpLimit")
    assert len(world.pods()) == 4
    load(world, 1000.0)
    await world.settle(15.0)
    assert len(world.pods()) == 8


async def test_policies_limit_the_rate(world: Any) -> None:
    """So many pods per period up, and down; the stabilization window is the behavior's own."""
    behavior = {
        "scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
        "scaleDown": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
        },
    }
    await autoscaled(world, by_rate(), replicas=4, behavior=behavior)
    load(world, 100.0)
    await world.settle(30.0)
    assert len(world.pods()) == 5
    load(world, 100.0)
    await world.settle(40.0)
    assert len(world.pods()) == 6
    load(world, 0.0)
    await world.settle(20.0)
    assert len(world.pods()) == 3
    await world.settle(30.0)
    assert len(world.pods()) == 3


async def test_disabled_direction(world: Any) -> None:
    """selectPolicy Disabled keeps it from shrinking."""
    behavior = {"scaleDown": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}}
    await autoscaled(world, by_rate(), replicas=4, behavior=behavior)
    load(world, 0.0)
    await world.settle(60.0)
    assert len(world.pods()) == 4


async def test_zero_replicas_disable_it(world: Any) -> None:
    """A target that was scaled to 0 stays there."""
    await autoscaled(world, by_rate(), replicas=0)
    await world.settle(16.0)
    assert conditions(world)["ScalingActive"] == ("False", "ScalingDisabled")
    assert world.pods() == []


async def test_a_target_that_is_missing(world: Any) -> None:
    """The autoscaler says that it can't get the scale."""
    await autoscaled(world, by_rate(), scaleTargetRef={**REFERENCE, "name": "nobody"})
    await world.settle()
    assert conditions(world)["AbleToScale"] == ("False", "FailedGetScale")
