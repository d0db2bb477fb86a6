"""HorizontalPodAutoscalers: as many pods as the measured load asks for.

Stands for kube-controller-manager's horizontal-pod-autoscaling controller (autoscaling/v2).
Object metrics are of Services and Ingresses: what the pods behind them are called, together, whoever calls.
Leaves out External metrics (there is no adapter), ContainerResource, and the delays for cpu of starting pods.
Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apimachinery.quantities import quantity
from minikube_py.client import Action, Emit, Event, Requeue, Soon, Update, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.controllers import pods

__all__ = ["HorizontalPodAutoscalerController", "Metrics", "Proposal"]

Metrics: TypeAlias = Callable[[str, str], Mapping[str, float] | None]
"""(namespace, pod) → what was measured: `cpu` in cores, `memory` in bytes, any other name as a Pods metric
(`requests_per_second`); None or a missing name: not measured."""

_RESOURCE = "horizontalpodautoscalers.autoscaling"
_TARGETS = {
    "Deployment": "deployments.apps",
    "ReplicaSet": "replicasets.apps",
    "StatefulSet": "statefulsets.apps",
    "ReplicationController": "replicationcontrollers",
}
_PERIOD = 15.0
_TOLERANCE = 0.1
_DOWN_WINDOW = 300.0
_UP_POLICIES: tuple[Object, ...] = (
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
)
_DOWN_POLICIES: tuple[Object, ...] = ({"type": "Percent", "value": 100, "periodSeconds": 15},)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one metric asks for."""

    replicas: int
    name: str
    """As the event says it: `cpu resource utilization (percentage of request)`."""
    current: Object


@final
class HorizontalPodAutoscalerController:
    name = "horizontal-pod-autoscaler"

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._proposed: dict[Key, list[tuple[float, int]]] = {}
        """Recent recommendations, for the stabilization windows."""
        self._scaled: dict[Key, list[tuple[float, int]]] = {}
        """Recent changes, for the rate policies."""

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {_RESOURCE: self._autoscaler}

    def _autoscaler(self, event: Event, view: View) -> Iterable[Key]:
        if event.change is Change.DELETED:
            self._proposed.pop(event.key, None)
            self._scaled.pop(event.key, None)
        elif event.old is None or meta.spec(event.old) != meta.spec(event.object):
            yield event.key

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        hpa = view.get(_RESOURCE, key.name, key.namespace)
        if hpa is None or meta.terminating(hpa):
            return ()
        actions: list[Action] = [Requeue(_PERIOD)]
        conditions: list[Object] = list(meta.status(hpa).get("conditions") or ())

        def say(type_: str, status: str, reason: str, message: str) -> None:
            nonlocal conditions
            new = {"type": type_, "status": status, "reason": reason, "message": message}
            conditions = pods.set_condition(conditions, {**new, "lastTransitionTime": rfc3339(now)})

        status: Object = dict(meta.status(hpa))
        spec = meta.spec(hpa)
        reference = spec["scaleTargetRef"]
        resource = _TARGETS.get(reference["kind"])
        target = view.get(resource, reference["name"], key.namespace) if resource else None
        if target is None:
            text = (
                f"the HPA controller was unable to get the target's current scale: {resource or reference['kind']} "
                f'"{reference["name"]}" not found'
            )
            say("AbleToScale", "False", "FailedGetScale", text)
            actions.append(Emit(hpa, "Warning", "FailedGetScale", text))
        else:
            current = int(meta.spec(target).get("replicas", 1))
            status.update(currentReplicas=current, desiredReplicas=current)
            say(
                "AbleToScale",
                "True",
                "SucceededGetScale",
                "the HPA controller was able to get the target's current scale",
            )
            if current == 0:
                say(
                    "ScalingActive",
                    "False",
                    "ScalingDisabled",
                    "scaling is disabled since the replica count of the target is zero",
                )
            else:
                self._decide(key, hpa, target, current, view, now, status, say, actions)
        status["conditions"] = conditions
        if generation := hpa["metadata"].get("generation"):
            status["observedGeneration"] = generation
        if status != meta.status(hpa):
            actions.append(UpdateStatus({**hpa, "status": status}))
        return actions

    def _decide(
        self,
        key: Key,
        hpa: Object,
        target: Object,
        current: int,
        view: View,
        now: float,
        status: Object,
        say: Callable[[str, str, str, str], None],
        actions: list[Action],
    ) -> None:
        spec = meta.spec(hpa)
        low, high = int(spec.get("minReplicas") or 1), int(spec["maxReplicas"])
        selector = Selector.from_object(_label_selector(meta.spec(target).get("selector")))
        members = [pod for pod in view.list("pods", key.namespace, selector) if pods.active(pod)]
        proposals: list[Proposal] = []
        problem: tuple[str, str] | None = None
        for metric in spec.get("metrics") or ():
            result = self._proposal(metric, members, current, key.namespace, view)
            if isinstance(result, Proposal):
                proposals.append(result)
            else:
                problem = problem or result
        if problem and (not proposals or max(p.replicas for p in proposals) < current):
            text = f"the HPA was unable to compute the replica count: {problem[1]}"
            say("ScalingActive", "False", problem[0], text)
            actions.append(Emit(hpa, "Warning", problem[0], problem[1]))
            if current < low or current > high:
                proposals = []
            else:
                return
        status["currentMetrics"] = [p.current for p in proposals]
        leading = max(proposals, key=lambda p: p.replicas) if proposals else None
        if leading is not None:
            say(
                "ScalingActive",
                "True",
                "ValidMetricFound",
                f"the HPA was able to successfully calculate a replica count from {leading.name}",
            )
        wanted = leading.replicas if leading else current
        stable = self._stabilized(key, spec.get("behavior") or {}, wanted, current, now)
        if stable != wanted:
            word = "ScaleDownStabilized" if stable > wanted else "ScaleUpStabilized"
            text = f"recent recommendations were {'higher' if stable > wanted else 'lower'} than current one"
            say(
                "AbleToScale",
                "True",
                word,
                f"{text}, applying the {'highest' if stable > wanted else 'lowest'} recent recommendation",
            )
        elif leading is not None:
            say("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size")
        size = self._rated(key, spec.get("behavior") or {}, stable, current, now)
        limited = max(min(size, high), low)
        if limited != size or size != stable:
            reason = (
                "TooManyReplicas"
                if size > high
                else "TooFewReplicas"
                if size < low
                else "ScaleUpLimit"
                if size < stable
                else "ScaleDownLimit"
            )
            text = {
                "TooManyReplicas": "the desired replica count is more than the maximum replica count",
                "TooFewReplicas": "the desired replica count is less than the minimum replica count",
                "ScaleUpLimit": "the desired replica count is increasing faster than the maximum scale rate",
                "ScaleDownLimit": "the desired replica count is decreasing faster than the maximum scale rate",
            }[reason]
            say("ScalingLimited", "True", reason, text)
        else:
            say("ScalingLimited", "False", "DesiredWithinRange", "the desired count is within the acceptable range")
        status["desiredReplicas"] = limited
        if limited == current:
            return
        if current > high:
            why = "Current number of replicas above Spec.MaxReplicas"
        elif current < low:
            why = "Current number of replicas below Spec.MinReplicas"
        elif leading is not None and limited > current:
            why = f"{leading.name} above target"
        else:
            why = "All metrics below target"
        self._scaled.setdefault(key, []).append((now, limited - current))
        actions.append(Update({**target, "spec": {**target["spec"], "replicas": limited}}))
        actions.append(Emit(hpa, "Normal", "SuccessfulRescale", f"New size: {limited}; reason: {why}"))
        say(
            "AbleToScale",
            "True",
            "SucceededRescale",
            f"the HPA controller was able to update the target scale to {limited}",
        )
        status["lastScaleTime"] = rfc3339(now)

    def _proposal(
        self, metric: Mapping[str, Any], members: Sequence[Object], current: int, namespace: str, view: View
    ) -> Proposal | tuple[str, str]:
        """Return what one metric asks for, or (reason, message) when it can't be had."""
        match metric["type"]:
            case "Resource":
                return self._resource(metric["resource"], members, current)
            case "Pods":
                return self._pods(metric["pods"], members, current)
            case "Object":
                return self._object(metric["object"], members, current, namespace, view)
            case "External":
                name = metric["external"]["metric"]["name"]
                why = f"the server could not find the requested resource (get {name}.external.metrics.k8s.io)"
                what = f"unable to get external metric {namespace}/{name}/nil"
                return "FailedGetExternalMetric", f"{what}: unable to fetch metrics from external metrics API: {why}"
            case other:
                return "InvalidMetricSourceType", f"metric source type {other} is not measured here"

    def _measured(self, members: Sequence[Object], name: str) -> tuple[dict[str, float], int]:
        """Return pod → value of the ready pods that were measured, and how many were not."""
        found: dict[str, float] = {}
        missing = 0
        for pod in members:
            values = self._metrics(meta.namespace(pod), meta.name(pod)) if pods.ready(pod) else None
            if values is not None and name in values:
                found[meta.name(pod)] = values[name]
            else:
                missing += 1
        return found, missing

    def _resource(
        self, source: Mapping[str, Any], members: Sequence[Object], current: int
    ) -> Proposal | tuple[str, str]:
        name = source["name"]
        values, missing = self._measured(members, name)
        reason = "FailedGetResourceMetric"
        if not values:
            text = f"unable to get metrics for resource {name}: no metrics returned from resource metrics API"
            return reason, f"failed to get {name} utilization: {text}"
        target = source["target"]
        average = sum(values.values()) / len(values)
        if target["type"] != "Utilization":
            wanted = float(quantity(target["averageValue"]))
            size = _size(values, missing, wanted, current)
            now: Object = {"averageValue": _amount(name, average)}
            return Proposal(size, f"{name} resource", _current("Resource", name, now))
        requests: dict[str, float] = {}
        for pod in members:
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
        size = _size(shares, missing, float(target["averageUtilization"]), current)
        now = {"averageUtilization": utilization, "averageValue": _amount(name, average)}
        return Proposal(size, f"{name} resource utilization (percentage of request)", _current("Resource", name, now))

    def _pods(self, source: Mapping[str, Any], members: Sequence[Object], current: int) -> Proposal | tuple[str, str]:
        name = source["metric"]["name"]
        values, missing = self._measured(members, name)
        if not values:
            return "FailedGetPodsMetric", f"unable to get metric {name}: no metrics returned from custom metrics API"
        size = _size(values, missing, float(quantity(source["target"]["averageValue"])), current)
        average = sum(values.values()) / len(values)
        current_ = {
            "type": "Pods",
            "pods": {"metric": {"name": name}, "current": {"averageValue": _amount(name, average)}},
        }
        return Proposal(size, f"pods metric {name}", current_)

    def _object(
        self, source: Mapping[str, Any], members: Sequence[Object], current: int, namespace: str, view: View
    ) -> Proposal | tuple[str, str]:
        name, about, target = source["metric"]["name"], source["describedObject"], source["target"]
        values, _ = self._measured(_behind(about, namespace, view), name)
        if not values:
            what = f"unable to get metric {name}: {about['kind']} on {namespace} {about['name']}"
            why = "unable to fetch metrics from custom metrics API: no metrics returned"
            return "FailedGetObjectMetric", f"{what}/{why}"
        total = sum(values.values())
        now: Object = {"value": _amount(name, total)}
        if target["type"] == "AverageValue":
            wanted = float(quantity(target["averageValue"]))
            now = {"averageValue": _amount(name, total / current)}
            pods_now = current
        else:
            wanted = float(quantity(target["value"]))
            pods_now = 1
        ratio = total / (wanted * pods_now) if wanted else 1.0
        size = current
        if abs(1.0 - ratio) > _TOLERANCE:
            scale = pods_now if target["type"] == "AverageValue" else sum(pods.ready(pod) for pod in members)
            size = math.ceil(round(ratio * scale, 9))
        current_ = {
            "type": "Object",
            "object": {"metric": {"name": name}, "describedObject": about, "current": now},
        }
        return Proposal(size, f"{about['kind']} metric {name}", current_)

    def _stabilized(self, key: Key, behavior: Mapping[str, Any], wanted: int, current: int, now: float) -> int:
        """Damp: don't go below the highest (above the lowest) recommendation of the window."""
        down = float((behavior.get("scaleDown") or {}).get("stabilizationWindowSeconds", _DOWN_WINDOW))
        up = float((behavior.get("scaleUp") or {}).get("stabilizationWindowSeconds", 0.0))
        recent = [(when, size) for when, size in self._proposed.get(key, ()) if when > now - max(down, up)]
        recent.append((now, wanted))
        self._proposed[key] = recent
        highest = max(size for when, size in recent if when > now - down or when == now)
        lowest = min(size for when, size in recent if when > now - up or when == now)
        if wanted > current:
            return max(min(wanted, max(lowest, current)), current)
        return min(max(wanted, min(highest, current)), current)

    def _rated(self, key: Key, behavior: Mapping[str, Any], wanted: int, current: int, now: float) -> int:
        """Apply scaleUp or scaleDown policies: so many pods or percent per period."""
        if wanted == current:
            return current
        grows = wanted > current
        if grows and not behavior:  # without `behavior` the older rule holds: at most double, or 4
            return min(wanted, max(2 * current, 4))
        rules: Mapping[str, Any] = behavior.get("scaleUp" if grows else "scaleDown") or {}
        if rules.get("selectPolicy") == "Disabled":
            return current
        policies = rules.get("policies") or (_UP_POLICIES if grows else _DOWN_POLICIES)
        history = self._scaled.get(key, [])
        self._scaled[key] = history = [(when, change) for when, change in history if when > now - 1800]
        limits: list[int] = []
        for policy in policies:
            changed = sum(
                change for when, change in history if when > now - policy["periodSeconds"] and (change > 0) == grows
            )
            start = current - changed
            if policy["type"] == "Pods":
                limits.append(start + policy["value"] if grows else start - policy["value"])
            elif grows:
                limits.append(math.ceil(start * (1 + policy["value"] / 100)))
            else:
                limits.append(math.floor(start * (1 - policy["value"] / 100)))
        most = (rules.get("selectPolicy") or "Max") == "Max"
        if grows:
            return min(wanted, max((max if most else min)(limits), current))
        return max(wanted, min((min if most else max)(limits), current))


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


def _label_selector(selector: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if selector and "matchLabels" not in selector and "matchExpressions" not in selector:
        return {"matchLabels": selector}
    return selector
