"""Node lifecycle: what is wrong with a node becomes taints, and pods that don't tolerate them leave.

Stands for the node-lifecycle, taint-eviction and pod-garbage-collector controllers of kube-controller-manager.
A node is lost when its Ready condition says Unknown (whoever writes that: a kubelet's absence is not timed here).
Leaves out zones' disruption states and rate limits of eviction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from minikube_py.aiokit.clock import rfc3339, timestamp
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Delete, Emit, Event, Requeue, Soon, Update, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.controllers import pods
from minikube_py.kinds import placement

__all__ = ["NodeLifecycleController"]

_PREFIX = "node.kubernetes.io/"
_OURS = frozenset(
    _PREFIX + name
    for name in (
        "not-ready",
        "unreachable",
        "unschedulable",
        "memory-pressure",
        "disk-pressure",
        "pid-pressure",
        "network-unavailable",
    )
)
_PRESSURES = {
    "MemoryPressure": "memory-pressure",
    "DiskPressure": "disk-pressure",
    "PIDPressure": "pid-pressure",
    "NetworkUnavailable": "network-unavailable",
}
_OUT_OF_SERVICE = _PREFIX + "out-of-service"
_QUARANTINE = 40.0
"""Seconds that a node may be unknown before its pods are removed (podgc's quarantineTime)."""


@final
class NodeLifecycleController:
    name = "node-controller"

    def __init__(self) -> None:
        self._on_node: dict[str, dict[Key, None]] = {}
        self._tainted: set[str] = set()
        self._registered: dict[str, bool] = {}
        """Nodes that were seen, and whether they were lost then: what is told once."""
        self._missing: dict[str, float] = {}
        """Nodes that pods name but nobody has seen, and since when; 0.0: it was deleted."""

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"nodes": self._node, "pods": self._pod}

    def _node(self, event: Event, view: View) -> Iterable[Key | Soon]:
        if event.change is Change.DELETED:
            self._missing[event.key.name] = 0.0
        else:
            self._missing.pop(event.key.name, None)
        return (event.key,)

    def _pod(self, event: Event, view: View) -> Iterable[Key | Soon]:
        """Only pods on a node in trouble, or on none, are of interest."""
        node = meta.spec(event.object).get("nodeName")
        if not node:
            return
        here = self._on_node.setdefault(node, {})
        if event.change is Change.DELETED:
            here.pop(event.key, None)
            return
        is_new = event.key not in here
        here[event.key] = None
        if node in self._tainted or (is_new and view.get("nodes", node) is None):
            yield Soon(Key("", node))

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        node = view.get("nodes", key.name)
        here = [
            pod
            for pod_key in self._on_node.get(key.name, ())
            if (pod := view.get("pods", pod_key.name, pod_key.namespace)) is not None
        ]
        if node is None:
            self._tainted.discard(key.name)
            self._registered.pop(key.name, None)
            if here and (left := self._missing.setdefault(key.name, now) + _QUARANTINE - now) > 0:
                return [Requeue(left)]
            # nobody is there to stop them: pod garbage collection
            why = _disrupted("DeletionByPodGC", "PodGC: node no longer exists", now)
            return [action for pod in here for action in _collect(pod, why)]
        actions: list[Action] = []
        taints = _taints(node, now)
        if taints != list(meta.spec(node).get("taints") or ()):
            actions.append(Update({**node, "spec": {**meta.spec(node), "taints": taints}}))
        lost = _ready(node) in ("False", "Unknown")
        actions.extend(self._news(node, lost=lost))
        evicting = [taint for taint in taints if taint.get("effect") == "NoExecute"]
        if evicting or lost:
            self._tainted.add(key.name)
        else:
            self._tainted.discard(key.name)
        for pod in here:
            if lost:
                actions.extend(_mark_not_ready(pod, now))
            if evicting:
                actions.extend(_evict(pod, evicting, now))
        return actions

    def _news(self, node: Object, *, lost: bool) -> Iterable[Action]:
        name = meta.name(node)
        before = self._registered.get(name)
        if before is None:
            text = f"Node {name} event: Registered Node {name} in Controller"
            yield Emit(node, "Normal", "RegisteredNode", text)
        elif lost and not before:
            yield Emit(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        self._registered[name] = lost


def _ready(node: Object) -> str:
    """Return the status of the Ready condition; "" before the kubelet has reported."""
    found = pods.condition(node, "Ready")
    return str(found["status"]) if found else ""


def _taints(node: Object, now: float) -> list[Object]:
    """Return the node's taints with ours brought in line with its conditions."""
    wanted: list[tuple[str, str]] = []
    match _ready(node):
        case "False":
            wanted += [("not-ready", "NoSchedule"), ("not-ready", "NoExecute")]
        case "Unknown":
            wanted += [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]
    if meta.spec(node).get("unschedulable"):
        wanted.append(("unschedulable", "NoSchedule"))
    for type_, name in _PRESSURES.items():
        found = pods.condition(node, type_)
        if found and found["status"] == "True":
            wanted.append((name, "NoSchedule"))
    before: Sequence[Object] = meta.spec(node).get("taints") or ()
    kept = [taint for taint in before if taint["key"] not in _OURS]
    for name, effect in wanted:
        same = next((t for t in before if t["key"] == _PREFIX + name and t.get("effect") == effect), None)
        kept.append(same or {"key": _PREFIX + name, "effect": effect, "timeAdded": rfc3339(now)})
    return kept if {_identity(t) for t in kept} != {_identity(t) for t in before} else list(before)


def _identity(taint: Mapping[str, Any]) -> tuple[str, str, str]:
    return taint["key"], taint.get("effect", ""), taint.get("value") or ""


def _mark_not_ready(pod: Object, now: float) -> Iterable[Action]:
    """Nobody can say any more that the pod answers: its endpoint must go."""
    if not pods.ready(pod):
        return
    stamp = rfc3339(now)
    conditions = [
        {**c, "status": "False", "reason": "NodeNotReady", "lastTransitionTime": stamp} if c["type"] == "Ready" else c
        for c in meta.status(pod)["conditions"]
    ]
    yield UpdateStatus({**pod, "status": {**meta.status(pod), "conditions": conditions}})
    yield Emit(pod, "Warning", "NodeNotReady", "Node is not ready")


def _evict(pod: Object, taints: Sequence[Mapping[str, Any]], now: float) -> Iterable[Action]:
    """Delete the pod now, or when the shortest of its tolerations ends."""
    if meta.terminating(pod):
        if any(taint["key"] == _OUT_OF_SERVICE for taint in taints):
            yield from _collect(pod, None)
        return
    if pods.finished(pod):
        return
    tolerations = meta.spec(pod).get("tolerations") or ()
    ends: list[float] = []
    for taint in taints:
        toleration = placement.toleration_for(tolerations, taint)
        if toleration is None:
            ends.append(now)
        elif (seconds := toleration.get("tolerationSeconds")) is not None:
            ends.append((timestamp(taint.get("timeAdded")) or now) + max(seconds, 0))
    if not ends:
        return
    if (left := min(ends) - now) > 0:
        yield Requeue(left)
        return
    yield Emit(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {meta.key(pod)}")
    why = _disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", now)
    conditions = pods.set_condition(meta.status(pod).get("conditions") or [], why)
    yield UpdateStatus({**pod, "status": {**meta.status(pod), "conditions": conditions}})
    yield Delete("pods", meta.key(pod), uid=meta.uid(pod))


def _disrupted(reason: str, message: str, now: float) -> Object:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return {**condition, "lastTransitionTime": rfc3339(now)}


def _collect(pod: Object, why: Object | None) -> Iterable[Action]:
    """Garbage-collect a pod whose kubelet can't tell any more how it ended: it has failed."""
    status: Object = {**meta.status(pod)}
    if not pods.finished(pod):
        status["phase"] = "Failed"
        if why is not None:
            status["conditions"] = pods.set_condition(status.get("conditions") or [], why)
        yield UpdateStatus({**pod, "status": status})
    yield Delete("pods", meta.key(pod), uid=meta.uid(pod), grace_period=0)
