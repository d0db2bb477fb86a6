"""PodDisruptionBudgets: how many pods may be evicted now.

Stands for kube-controller-manager's disruption controller; the eviction sub-resource reads what is written here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from minikube_py.aiokit.clock import rfc3339, timestamp
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import EVERYTHING, Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Emit, Event, Requeue, Soon, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.controllers import pods
from minikube_py.controllers.intstr import scaled
from minikube_py.controllers.membership import SelectorIndex

__all__ = ["PodDisruptionBudgetController"]

_RESOURCE = "poddisruptionbudgets.policy"
_SCALES = {
    "ReplicaSet": "replicasets.apps",
    "ReplicationController": "replicationcontrollers",
    "StatefulSet": "statefulsets.apps",
    "Deployment": "deployments.apps",
}
_FORGIVEN = 120.0
"""Seconds after which a pod that was evicted but not deleted counts again (DeletionTimeout)."""


@final
class PodDisruptionBudgetController:
    name = "disruption-controller"

    def __init__(self) -> None:
        self._index = SelectorIndex()

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {_RESOURCE: self._budget, "pods": self._pod}

    def _budget(self, event: Event, view: View) -> Iterable[Key]:
        if event.change is Change.DELETED:
            self._index.discard(event.key)
        else:
            self._index.set(event.key, _selector(event.object))
        return (event.key,)

    def _pod(self, event: Event, view: View) -> Iterable[Soon]:
        for obj in (event.object, event.old):
            if obj is not None:
                for key in self._index.matching(event.key.namespace, meta.labels(obj)):
                    yield Soon(key)

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        budget = view.get(_RESOURCE, key.name, key.namespace)
        if budget is None:
            return ()
        spec = meta.spec(budget)
        found = [
            pod
            for pod in view.list("pods", key.namespace, _selector(budget))
            if meta.status(pod).get("phase") not in ("Succeeded", "Failed")
        ]
        old = meta.status(budget)
        disrupted, again = _still_disrupted(old.get("disruptedPods") or {}, found, now)
        expected, desired = _expected(spec, found, view)
        healthy = sum(
            pods.ready(pod) and not meta.terminating(pod) and meta.name(pod) not in disrupted for pod in found
        )
        allowed = max(healthy - desired, 0) if expected > 0 else 0
        condition = {
            "type": "DisruptionAllowed",
            "status": "True" if allowed else "False",
            "reason": "SufficientPods" if allowed else "InsufficientPods",
            "message": "",
            "observedGeneration": budget["metadata"].get("generation", 0),
            "lastTransitionTime": rfc3339(now),
        }
        status: Object = {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "expectedPods": expected,
            "observedGeneration": budget["metadata"].get("generation", 0),
            "conditions": pods.set_condition(old.get("conditions") or [], condition),
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        actions: list[Action] = []
        if status != old:
            actions.append(UpdateStatus({**budget, "status": status}))
            if not found:
                actions.append(Emit(budget, "Normal", "NoPods", "No matching pods found"))
        if again:
            actions.append(Requeue(again))
        return actions


def _selector(budget: Object) -> Selector:
    selector = meta.spec(budget).get("selector")
    return EVERYTHING if selector == {} else Selector.from_object(selector)


def _still_disrupted(known: Mapping[str, str], found: Sequence[Object], now: float) -> tuple[dict[str, str], float]:
    """Return the evictions that have not been seen to happen yet, and when the first of them is forgiven."""
    alive = {meta.name(pod) for pod in found if not meta.terminating(pod)}
    left = {name: when for name, when in known.items() if name in alive and timestamp(when) + _FORGIVEN > now}
    again = min((timestamp(when) + _FORGIVEN - now for when in left.values()), default=0.0)
    return left, again


def _expected(spec: Mapping[str, object], found: Sequence[Object], view: View) -> tuple[int, int]:
    """Return (expected pods, healthy ones desired); percentages are of what the pods' controllers want."""
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if most is not None:
        expected = _scale(found, view)
        assert isinstance(most, int | str)
        return expected, max(expected - scaled(most, expected, up=True), 0)
    if isinstance(least, str):
        expected = _scale(found, view)
        return expected, scaled(least, expected, up=True)
    return len(found), int(least) if isinstance(least, int) else 1


def _scale(found: Sequence[Object], view: View) -> int:
    """Add up the replicas that the controllers of these pods ask for."""
    owners: dict[str, int] = {}
    for pod in found:
        reference = meta.controller_of(pod)
        if reference is None or reference["kind"] not in _SCALES:
            continue
        owner = view.get(_SCALES[reference["kind"]], reference["name"], meta.namespace(pod))
        if owner is not None and reference["kind"] == "ReplicaSet" and (above := meta.controller_of(owner)):
            upper = view.get("deployments.apps", above["name"], meta.namespace(pod))
            owner = upper if upper is not None and above["kind"] == "Deployment" else owner
        if owner is not None:
            owners[meta.uid(owner)] = int(meta.spec(owner).get("replicas", 1))
    return sum(owners.values())
