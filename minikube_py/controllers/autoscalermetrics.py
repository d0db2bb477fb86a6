"""What each metric of an autoscaler asks for: so many pods.

Stands for replica_calculator.go. Object metrics are of Services and Ingresses: what the pods behind them are called,
together, whoever calls. Leaves out External metrics (there is no adapter), ContainerResource, and the delays for cpu of
starting pods.
Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.apimachinery.quantities import quantity
from minikube_py.client import View
from minikube_py.controllers import pods

__all__ = ["Measure", "Metrics", "Proposal"]

Metrics: TypeAlias = Callable[[str, str], Mapping[str, float] | None]
"""(namespace, pod) → what was measured: `cpu` in cores, `memory` in bytes, any other name as a Pods metric
(`requests_per_second`); None or a missing name: not measured."""

_TOLERANCE = 0.1


class Proposal(Struct, frozen=True):
    """What one metric asks for."""

    replicas: int
    name: str
    """As the event says it: `cpu resource utilization (percentage of request)`."""
    current: Object


class Measure(Struct, frozen=True):
    """One look at a target: its active pods, its size, and what is measured."""

    metrics: Metrics
    members: Sequence[Object]
    current: int
    namespace: str
    view: View

    def proposal(self, metric: Mapping[str, Any]) -> Proposal | tuple[str, str]:
        """Return what one metric asks for, or (reason, message) when it can't be had."""
        match metric["type"]:
            case "Resource":
                return self._resource(metric["resource"])
            case "Pods":
                return self._pods(metric["pods"])
            case "Object":
                return self._object(metric["object"])
            case "External":
                name = metric["external"]["metric"]["name"]
                why = f"the server could not find the requested resource (get {name}.external.metrics.k8s.io)"
                what = f"unable to get external metric {self.namespace}/{name}/nil"
                return "FailedGetExternalMetric", f"{what}: unable to fetch metrics from external metrics API: {why}"
            case other:
                return "InvalidMetricSourceType", f"metric source type {other} is not measured here"

    def _measured(self, members: Sequence[Object], name: str) -> tuple[dict[str, float], int]:
        """Return pod → value of the ready pods that were measured, and how many were not."""
        found: dict[str, float] = {}
        missing = 0
        for pod in members:
            values = self.metrics(meta.namespace(pod), meta.name(pod)) if pods.ready(pod) else None
            if values is not None and name in values:
                found[meta.name(pod)] = values[name]
            else:
                missing += 1
        return found, missing

    def _resource(self, source: Mapping[str, Any]) -> Proposal | tuple[str, str]:
        name = source["name"]
        values, missing = self._measured(self.members, name)
        reason = "FailedGetResourceMetric"
        if not values:
            text = f"unable to get metrics for resource {name}: no metrics returned from resource metrics API"
            return reason, f"failed to get {name} utilization: {text}"
        target = source["target"]
        average = sum(values.values()) / len(values)
        if target["type"] != "Utilization":
            wanted = float(quantity(target["averageValue"]))
            size = _size(values, missing, wanted, self.current)
            now: Object = {"averageValue": _amount(name, average)}
            return Proposal(size, f"{name} resource", _current("Resource", name, now))
        requests: dict[str, float] = {}
        for pod in self.members:
            if meta.name(pod) not in values:
                continue
            requested = 0.0
            for container in meta.spec(pod).get("containers") or ():
                amount = ((container.get("resources") or {}).get("requests") or {}).get(name)
                if amount is None:
                    text = f"missing request for {name} in container {container['name']} of Pod {meta.name(pod)}"
                    return reason, f"failed to get {name} utilization: {text}"
                requested += float(quantity(amount))
            requests[meta.name(pod)] = requested
        total = sum(requests.values())
        utilization = int(100 * sum(values.values()) / total) if total else 0
        shares = {pod: 100 * value / requests[pod] if requests[pod] else 0.0 for pod, value in values.items()}
        size = _size(shares, missing, float(target["averageUtilization"]), self.current)
        now = {"averageUtilization": utilization, "averageValue": _amount(name, average)}
        return Proposal(size, f"{name} resource utilization (percentage of request)", _current("Resource", name, now))

    def _pods(self, source: Mapping[str, Any]) -> Proposal | tuple[str, str]:
        name = source["metric"]["name"]
        values, missing = self._measured(self.members, name)
        if not values:
            return "FailedGetPodsMetric", f"unable to get metric {name}: no metrics returned from custom metrics API"
        size = _size(values, missing, float(quantity(source["target"]["averageValue"])), self.current)
        average = sum(values.values()) / len(values)
        current_ = {
            "type": "Pods",
            "pods": {"metric": {"name": name}, "current": {"averageValue": _amount(name, average)}},
        }
        return Proposal(size, f"pods metric {name}", current_)

    def _object(self, source: Mapping[str, Any]) -> Proposal | tuple[str, str]:
        name, about, target = source["metric"]["name"], source["describedObject"], source["target"]
        values, _ = self._measured(_behind(about, self.namespace, self.view), name)
        if not values:
            what = f"unable to get metric {name}: {about['kind']} on {self.namespace} {about['name']}"
            why = "unable to fetch metrics from custom metrics API: no metrics returned"
            return "FailedGetObjectMetric", f"{what}/{why}"
        total = sum(values.values())
        now: Object = {"value": _amount(name, total)}
        if target["type"] == "AverageValue":
            wanted = float(quantity(target["averageValue"]))
            now = {"averageValue": _amount(name, total / self.current)}
            pods_now = self.current
        else:
            wanted = float(quantity(target["value"]))
            pods_now = 1
        ratio = total / (wanted * pods_now) if wanted else 1.0
        size = self.current
        if abs(1.0 - ratio) > _TOLERANCE:
            scale = pods_now if target["type"] == "AverageValue" else sum(pods.ready(pod) for pod in self.members)
            size = math.ceil(round(ratio * scale, 9))
        current_ = {
            "type": "Object",
            "object": {"metric": {"name": name}, "describedObject": about, "current": now},
        }
        return Proposal(size, f"{about['kind']} metric {name}", current_)


def _behind(about: Mapping[str, Any], namespace: str, view: View) -> list[Object]:
    """Return the active pods behind a Service, or behind the Services of an Ingress."""
    services = {about["name"]} if about["kind"] == "Service" else set()
    if about["kind"] == "Ingress" and (ingress := view.get("ingresses.networking.k8s.io", about["name"], namespace)):
        spec = meta.spec(ingress)
        backends = [spec.get("defaultBackend") or {}]
        backends += [
            path.get("backend") or {}
            for rule in spec.get("rules") or ()
            for path in (rule.get("http") or {}).get("paths") or ()
        ]
        services = {backend["service"]["name"] for backend in backends if backend.get("service")}
    found: dict[str, Object] = {}
    for name in services:
        service = view.get("services", name, namespace)
        selector = meta.spec(service).get("selector") if service is not None else None
        if selector:
            for pod in view.list("pods", namespace, Selector.from_map(selector)):
                if pods.active(pod):
                    found[meta.name(pod)] = pod
    return list(found.values())


def _size(values: Mapping[str, float], missing: int, target: float, current: int) -> int:
    """Return ceil(pods × average ÷ target), within tolerance the current size; pods not measured damp the change."""
    if not target:
        return current
    ratio = sum(values.values()) / len(values) / target
    if abs(1.0 - ratio) <= _TOLERANCE:
        return current
    if missing:  # growing: they count as idle; shrinking: as exactly at the target
        total = sum(values.values()) + (0.0 if ratio > 1.0 else missing * target)
        damped = total / (len(values) + missing) / target
        if abs(1.0 - damped) <= _TOLERANCE or (damped > 1.0) != (ratio > 1.0):
            return current
        size = math.ceil(round(damped * (len(values) + missing), 9))
        return current if (size < current) == (ratio > 1.0) else size
    return math.ceil(round(ratio * len(values), 9))


def _current(type_: str, name: str, value: Object) -> Object:
    return {"type": type_, "resource": {"name": name, "current": value}}


def _amount(name: str, value: float) -> str:
    return str(round(value)) if name == "memory" else f"{round(value * 1000)}m"
