"""HorizontalPodAutoscalers: as many pods as the measured load asks for.

Stands for kube-controller-manager's horizontal-pod-autoscaling controller (autoscaling/v2).
What each metric asks for is in `autoscalermetrics.py`; here it is damped, limited and carried out.
Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Emit, Event, Requeue, Soon, Update, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.controllers import pods
from minikube_py.controllers.autoscalermetrics import Measure, Metrics, Proposal

__all__ = ["HorizontalPodAutoscalerController"]

_RESOURCE = "horizontalpodautoscalers.autoscaling"
_TARGETS = {
    "Deployment": "deployments.apps",
    "ReplicaSet": "replicasets.apps",
    "StatefulSet": "statefulsets.apps",
    "ReplicationController": "replicationcontrollers",
}
_PERIOD = 15.0
_DOWN_WINDOW = 300.0
_UP_POLICIES: tuple[Object, ...] = (
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
)
_DOWN_POLICIES: tuple[Object, ...] = ({"type": "Percent", "value": 100, "periodSeconds": 15},)


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
        measure = Measure(self._metrics, members, current, key.namespace, view)
        proposals: list[Proposal] = []
        problem: tuple[str, str] | None = None
        for metric in spec.get("metrics") or ():
            result = measure.proposal(metric)
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


def _label_selector(selector: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if selector and "matchLabels" not in selector and "matchExpressions" not in selector:
        return {"matchLabels": selector}
    return selector
