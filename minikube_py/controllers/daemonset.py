"""DaemonSets: one pod on every node that admits it.

Stands for kube-controller-manager's daemon controller. As there, a pod is tied to its node by node affinity on
`metadata.name` and placed by the scheduler.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Delete, Emit, Event, Requeue, Soon, UpdateStatus, View
from minikube_py.controllers import pods, revisions
from minikube_py.controllers.intstr import scaled
from minikube_py.kinds import placement

__all__ = ["DaemonSetController"]

_RESOURCE = "daemonsets.apps"

_TOLERATIONS: tuple[Object, ...] = (
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/disk-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/pid-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"},
)
"""Source: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#taints-and-tolerations"""
_NETWORK_UNAVAILABLE: Object = {
    "key": "node.kubernetes.io/network-unavailable",
    "operator": "Exists",
    "effect": "NoSchedule",
}


@final
class DaemonSetController:
    name = "daemonset-controller"

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {
            _RESOURCE: lambda event, view: (event.key,),
            "pods": lambda event, view: pods.owned(event, view, "DaemonSet", _RESOURCE),
            "nodes": self._node,
        }

    def _node(self, event: Event, view: View) -> Iterable[Key | Soon]:
        old, new = event.old, event.object
        if old is not None and event.change.value == "MODIFIED":
            ready = [(pods.condition(node, "Ready") or {}).get("status") for node in (old, new)]
            if meta.spec(old) == meta.spec(new) and meta.labels(old) == meta.labels(new) and ready[0] == ready[1]:
                return ()
        return [meta.key(obj) for obj in view.list(_RESOURCE)]

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        owner = view.get(_RESOURCE, key.name, key.namespace)
        if owner is None or not meta.spec(owner).get("selector"):
            return ()
        mine, actions = pods.claim(owner, "pods", view, pods.selector_of(owner["spec"]["selector"]))
        in_use = [f"{meta.name(owner)}-{meta.labels(pod).get(revisions.HASH_LABEL, '')}" for pod in mine]
        _, update, _, more = revisions.history(owner, view, in_use)
        actions.extend(more)
        look = _Look(owner, mine, meta.labels(update)[revisions.HASH_LABEL], view.list("nodes"), now)
        if not meta.terminating(owner):
            look.step()
        look.status()
        return [*actions, *look.done]


class _Look:
    """One look at one DaemonSet."""

    def __init__(self, owner: Object, mine: Sequence[Object], hash_: str, nodes: Sequence[Object], now: float) -> None:
        self.owner = owner
        self.spec = owner["spec"]
        self.hash = hash_
        self.now = now
        self.min_ready = float(self.spec.get("minReadySeconds") or 0)
        self.nodes = {meta.name(node): node for node in nodes}
        self.on_node: dict[str, list[Object]] = {}
        self.stray: list[Object] = []
        for pod in mine:
            name = _node_of(pod)
            if name in self.nodes:
                self.on_node.setdefault(name, []).append(pod)
            else:
                self.stray.append(pod)
        self.verdicts = {name: self._admits(node) for name, node in self.nodes.items()}
        self.soonest = 0.0
        self.done: list[Action] = []

    def _tolerations(self) -> list[Mapping[str, Any]]:
        spec = self.spec["template"]["spec"]
        host = (_NETWORK_UNAVAILABLE,) if spec.get("hostNetwork") else ()
        given = spec.get("tolerations") or []
        return [*given, *(t for t in (*_TOLERATIONS, *host) if t not in given)]

    def _admits(self, node: Object) -> tuple[bool, bool]:
        """Return (should run, should go on running): a NoSchedule taint lets running pods be."""
        spec = self.spec["template"]["spec"]
        if spec.get("nodeName") and spec["nodeName"] != meta.name(node):
            return False, False
        if not placement.matches_node(spec, node):
            return False, False
        taints = list(meta.spec(node).get("taints") or ())
        if meta.spec(node).get("unschedulable"):
            taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
        tolerations = self._tolerations()
        if placement.untolerated(taints, tolerations, ("NoExecute",)):
            return False, False
        return placement.untolerated(taints, tolerations, ("NoSchedule",)) is None, True

    def step(self) -> None:
        for name, (should_run, should_continue) in self.verdicts.items():
            here = [pod for pod in self.on_node.get(name, ()) if not meta.terminating(pod)]
            alive = []
            for pod in here:
                if pods.finished(pod):
                    word = "failed" if meta.status(pod).get("phase") == "Failed" else "succeeded"
                    reason = f"{word.capitalize()}DaemonPod"
                    text = f"Found {word} daemon pod {meta.key(pod)} on node {name}, will try to kill it"
                    type_ = "Warning" if word == "failed" else "Normal"
                    self.done.append(Emit(self.owner, type_, reason, text))
                    self._delete(pod)
                else:
                    alive.append(pod)
            if should_run and not self.on_node.get(name):
                self._create(name)
            elif not should_continue:
                for pod in alive:
                    self._delete(pod)
            elif len(alive) > 1 and not self._surge():
                for pod in alive[1:]:  # the oldest stays
                    self._delete(pod)
        for pod in self.stray:
            if not meta.terminating(pod):
                self._delete(pod)
        self._roll()

    def _roll(self) -> None:
        strategy = self.spec.get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        rolling = strategy.get("rollingUpdate") or {}
        wanted = [name for name, (should_run, _) in self.verdicts.items() if should_run]
        if surge := self._surge():
            self._roll_surging(wanted, surge)
            return
        budget = scaled(rolling.get("maxUnavailable"), len(wanted), up=True, default=1)
        candidates: list[Object] = []
        for name in wanted:
            here = self.on_node.get(name) or []
            new = [pod for pod in here if self._is_new(pod)]
            if not any(self._available(pod) and not meta.terminating(pod) for pod in here):
                budget -= 1  # it is down already
                for pod in here:
                    if not new and not meta.terminating(pod) and not pods.finished(pod):
                        self._delete(pod)  # replacing what isn't available costs nothing
                continue
            candidates.extend(pod for pod in here if not self._is_new(pod) and pods.active(pod))
        for pod in candidates[: max(budget, 0)]:
            self._delete(pod)

    def _surge(self) -> int:
        rolling = (self.spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
        return scaled(rolling.get("maxSurge"), sum(run for run, _ in self.verdicts.values()), up=True)

    def _roll_surging(self, wanted: Sequence[str], surge: int) -> None:
        """With maxSurge the new pod comes first; the old one goes once the new one is available."""
        for name in wanted:
            here = [pod for pod in self.on_node.get(name, ()) if pods.active(pod)]
            new = [pod for pod in here if self._is_new(pod)]
            old = [pod for pod in here if not self._is_new(pod)]
            if new and old:
                surge -= 1
                if any(self._available(pod) for pod in new):
                    for pod in old:
                        self._delete(pod)
            elif old and surge > 0:
                surge -= 1
                self._create(name)

    def _is_new(self, pod: Object) -> bool:
        return meta.labels(pod).get(revisions.HASH_LABEL) == self.hash

    def _available(self, pod: Object) -> bool:
        is_available, wait = pods.available(pod, self.min_ready, self.now)
        if wait:
            self.soonest = min(self.soonest or wait, wait)
        return is_available

    def _create(self, node: str) -> None:
        template = self.spec["template"]
        spec = {**template["spec"], "tolerations": self._tolerations(), "affinity": _pinned(template["spec"], node)}
        pod = pods.from_template(template, self.owner, labels={revisions.HASH_LABEL: self.hash}, spec=spec)
        self.done.append(Create(pod, about=self.owner, created="Created pod: {name}"))

    def _delete(self, pod: Object) -> None:
        if any(isinstance(action, Delete) and action.key == meta.key(pod) for action in self.done):
            return
        self.done.append(Delete("pods", meta.key(pod), uid=meta.uid(pod)))
        self.done.append(Emit(self.owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}"))

    def status(self) -> None:
        counts = dict.fromkeys(("desired", "current", "misscheduled", "ready", "updated", "available"), 0)
        for name, (should_run, _) in self.verdicts.items():
            here = [pod for pod in self.on_node.get(name, ()) if not pods.finished(pod)]
            if not should_run:
                counts["misscheduled"] += bool(here)
                continue
            counts["desired"] += 1
            if here:
                newest = here[-1]
                counts["current"] += 1
                counts["ready"] += any(pods.ready(pod) for pod in here)
                counts["available"] += any(self._available(pod) for pod in here)
                counts["updated"] += self._is_new(newest)
        old = meta.status(self.owner)
        status: Object = {
            "currentNumberScheduled": counts["current"],
            "desiredNumberScheduled": counts["desired"],
            "numberMisscheduled": counts["misscheduled"],
            "numberReady": counts["ready"],
        }
        for field, count in (
            ("updatedNumberScheduled", counts["updated"]),
            ("numberAvailable", counts["available"]),
            ("numberUnavailable", counts["desired"] - counts["available"]),
        ):
            if count:
                status[field] = count
        if generation := self.owner["metadata"].get("generation"):
            status["observedGeneration"] = generation
        for kept in ("collisionCount", "conditions"):
            if kept in old:
                status[kept] = old[kept]
        if status != old:
            self.done.append(UpdateStatus({**self.owner, "status": status}))
        if self.soonest:
            self.done.append(Requeue(self.soonest))


def _pinned(spec: Mapping[str, Any], node: str) -> Object:
    """Return the affinity with all required node terms replaced by "this node"."""
    affinity = dict(spec.get("affinity") or {})
    node_affinity = dict(affinity.get("nodeAffinity") or {})
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {**affinity, "nodeAffinity": node_affinity}


def _node_of(pod: Object) -> str:
    """Return the node that the pod is on or pinned to."""
    spec = meta.spec(pod)
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in required.get("nodeSelectorTerms") or ():
        for expression in term.get("matchFields") or ():
            if expression["key"] == "metadata.name" and expression.get("values"):
                return str(expression["values"][0])
    return ""
