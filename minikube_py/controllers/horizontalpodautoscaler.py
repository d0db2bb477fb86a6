"""HorizontalPodAutoscalers: as many pods as the measured load asks for.

Stands for kube-controller-manager's horizontal-pod-autoscaling controller (autoscaling/v2).
What each metric asks for is in `autoscalermetrics.py`; how fast that may go, in `scalebehavior.py`.
Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

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
from minikube_py.controllers.scalebehavior import ScaleBehavior

__all__ = ["HorizontalPodAutoscalerController"]

_RESOURCE = "horizontalpodautoscalers.autoscaling"
_TARGETS = {
    "Deployment": "deployments.apps",
    "ReplicaSet": "replicasets.apps",
    "StatefulSet": "statefulsets.apps",
    "ReplicationController": "replicationcontrollers",
}
_PERIOD = 15.0
"""Seconds between two looks; kube-controller-manager: --horizontal-pod-autoscaler-sync-period."""


class _Look:
    """One look at an autoscaler: what is to be done, and what its status is to say."""

    def __init__(self, hpa: Object, now: float) -> None:
        self.hpa = hpa
        self.now = now
        self.status: Object = dict(meta.status(hpa))
        self.actions: list[Action] = [Requeue(_PERIOD)]
        self._conditions: list[Object] = list(meta.status(hpa).get("conditions") or ())

    def say(self, type_: str, status: str, reason: str, message: str) -> None:
        """Set a condition."""
        new = {"type": type_, "status": status, "reason": reason, "message": message}
        self._conditions = pods.set_condition(self._conditions, {**new, "lastTransitionTime": rfc3339(self.now)})

    def emit(self, type_: str, reason: str, message: str) -> None:
        self.actions.append(Emit(self.hpa, type_, reason, message))

    def result(self) -> list[Action]:
        """Return the actions, with the status if it differs."""
        status = {**self.status, "conditions": self._conditions}
        if generation := self.hpa["metadata"].get("generation"):
            status["observedGeneration"] = generation
        if status != meta.status(self.hpa):
            self.actions.append(UpdateStatus({**self.hpa, "status": status}))
        return self.actions


@final
class HorizontalPodAutoscalerController:
    name = "horizontal-pod-autoscaler"

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._behavior = ScaleBehavior()

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {_RESOURCE: self._autoscaler}

    def _autoscaler(self, event: Event, view: View) -> Iterable[Key]:
        if event.change is Change.DELETED:
            self._behavior.forget(event.key)
        elif event.old is None or meta.spec(event.old) != meta.spec(event.object):
            yield event.key

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        hpa = view.get(_RESOURCE, key.name, key.namespace)
        if hpa is None or meta.terminating(hpa):
            return ()
        look = _Look(hpa, now)
        reference = meta.spec(hpa)["scaleTargetRef"]
        resource = _TARGETS.get(reference["kind"])
        target = view.get(resource, reference["name"], key.namespace) if resource else None
        if target is None:
            text = (
                f"the HPA controller was unable to get the target's current scale: {resource or reference['kind']} "
                f'"{reference["name"]}" not found'
            )
            look.say("AbleToScale", "False", "FailedGetScale", text)
            look.emit("Warning", "FailedGetScale", text)
            return look.result()
        current = int(meta.spec(target).get("replicas", 1))
        look.status.update(currentReplicas=current, desiredReplicas=current)
        text = "the HPA controller was able to get the target's current scale"
        look.say("AbleToScale", "True", "SucceededGetScale", text)
        if current == 0:
            text = "scaling is disabled since the replica count of the target is zero"
            look.say("ScalingActive", "False", "ScalingDisabled", text)
        else:
            self._decide(key, look, target, current, view)
        return look.result()

    def _decide(self, key: Key, look: _Look, target: Object, current: int, view: View) -> None:
        """Measure, damp, limit; then carry it out."""
        spec = meta.spec(look.hpa)
        low, high = int(spec.get("minReplicas") or 1), int(spec["maxReplicas"])
        proposals, problem = self._proposals(spec, target, current, view)
        if problem and max((p.replicas for p in proposals), default=0) < current:
            reason, why = problem
            look.say("ScalingActive", "False", reason, f"the HPA was unable to compute the replica count: {why}")
            look.emit("Warning", reason, why)
            if low <= current <= high:
                return
            proposals = []
        look.status["currentMetrics"] = [p.current for p in proposals]
        leading = max(proposals, key=lambda p: p.replicas, default=None)
        if leading is not None:
            text = f"the HPA was able to successfully calculate a replica count from {leading.name}"
            look.say("ScalingActive", "True", "ValidMetricFound", text)
        wanted, behavior = leading.replicas if leading else current, spec.get("behavior") or {}
        stable = self._behavior.stabilized(key, behavior, wanted, current, look.now)
        if stable != wanted:
            word, higher, highest = ("Down", "higher", "highest") if stable > wanted else ("Up", "lower", "lowest")
            text = (
                f"recent recommendations were {higher} than current one, applying the {highest} recent recommendation"
            )
            look.say("AbleToScale", "True", f"Scale{word}Stabilized", text)
        elif leading is not None:
            look.say("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size")
        size = self._behavior.rated(key, behavior, stable, current, look.now)
        look.say("ScalingLimited", *_limits(stable, size, low, high))
        look.status["desiredReplicas"] = limited = max(min(size, high), low)
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
        self._behavior.scaled(key, limited - current, look.now)
        look.actions.append(Update({**target, "spec": {**target["spec"], "replicas": limited}}))
        look.emit("Normal", "SuccessfulRescale", f"New size: {limited}; reason: {why}")
        text = f"the HPA controller was able to update the target scale to {limited}"
        look.say("AbleToScale", "True", "SucceededRescale", text)
        look.status["lastScaleTime"] = rfc3339(look.now)

    def _proposals(
        self, spec: Mapping[str, Any], target: Object, current: int, view: View
    ) -> tuple[list[Proposal], tuple[str, str] | None]:
        """Return what the metrics ask for, and why the first that can't be had can't."""
        namespace = meta.namespace(target)
        selector = Selector.from_object(_label_selector(meta.spec(target).get("selector")))
        members = [pod for pod in view.list("pods", namespace, selector) if pods.active(pod)]
        measure = Measure(self._metrics, members, current, namespace, view)
        results = [measure.proposal(metric) for metric in spec.get("metrics") or ()]
        problem = next((result for result in results if not isinstance(result, Proposal)), None)
        return [result for result in results if isinstance(result, Proposal)], problem


def _limits(stable: int, size: int, low: int, high: int) -> tuple[str, str, str]:
    """Return status, reason and message of ScalingLimited: of `stable` pods, policies admit `size`."""
    if size > high:
        return "True", "TooManyReplicas", "the desired replica count is more than the maximum replica count"
    if size < low:
        return "True", "TooFewReplicas", "the desired replica count is less than the minimum replica count"
    if size == stable:
        return "False", "DesiredWithinRange", "the desired count is within the acceptable range"
    word, grows = ("ScaleUpLimit", "increasing") if size < stable else ("ScaleDownLimit", "decreasing")
    return "True", word, f"the desired replica count is {grows} faster than the maximum scale rate"


def _label_selector(selector: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if selector and "matchLabels" not in selector and "matchExpressions" not in selector:
        return {"matchLabels": selector}
    return selector
