"""kube-scheduler's shell: watches pods and nodes, keeps the tallies, binds.

    pod without node → pending (by priority, then age) → choose → one binding write (node + PodScheduled)
                                     └ no node → FailedScheduling, kept aside until a node, pod or claim changes;
                                                 less important pods make room, and the place is kept (nominated)

Leaves out back-off of unschedulable pods (a change of the world is what brings them back), several
profiles, and permit or bind plugins.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from itertools import count

from minikube_py.aiokit.clock import Clock, rfc3339
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import API, Change, Event, Recorder, Subscription
from minikube_py.scheduler.choose import Binding, Preemption, Unschedulable, choose
from minikube_py.scheduler.filters import Reason
from minikube_py.scheduler.nodes import Cache, NodeInfo
from minikube_py.scheduler.pods import PodInfo
from minikube_py.scheduler.preemption import AWAITS_AN_END
from minikube_py.scheduler.ranking import Ranking

__all__ = ["Scheduler"]

logger = logging.getLogger(__name__)

_NAME = "default-scheduler"
_FINISHED = ("Succeeded", "Failed")
_TURN = 0.004
"""Seconds of binding after which sockets have their turn."""


class Scheduler:
    """Binds every pod of `default-scheduler` to a node.

    Resource handling: `start()` subscribes and spawns one task in the scope; `stop()` unsubscribes.
    """

    def __init__(self, api: API, clock: Clock) -> None:
        self.name = _NAME
        self._api = api
        self._clock = clock
        self._recorder = Recorder(api, clock, _NAME)
        self._cache = Cache()
        self._ranking: Ranking | None = None
        self._heap: list[tuple[int, int, Key]] = []
        self._order = count()
        self._pending: dict[Key, int] = {}
        """Pods to place, with their number in the heap: entries with another number are stale."""
        self._aside: dict[Key, Object] = {}
        """Pods for which there was no node."""
        self._nominated: dict[Key, tuple[str, PodInfo]] = {}
        """Pods for which others are making room, and where: the place is theirs already."""
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._wake = asyncio.Event()
        self._busy = False
        self._subscription: Subscription | None = None

    def start(self, scope: TaskScope) -> None:
        self._subscription = self._api.subscribe(
            ("nodes", "pods", "persistentvolumeclaims", "namespaces"), self._changed
        )
        scope.spawn(self._run(), name=self.name)

    def stop(self) -> None:
        if self._subscription:
            self._subscription.cancel()

    @property
    def idle(self) -> bool:
        """No pod is waiting to be looked at; those without a fitting node don't count."""
        return not self._busy and not self._pending

    # What the commits say

    def _changed(self, event: Event) -> None:
        match event.resource:
            case "pods":
                self._pod_changed(event)
            case "nodes":
                self._node_changed(event)
            case "namespaces":
                if event.change is Change.DELETED:
                    self._namespaces.pop(event.key.name, None)
                else:
                    self._namespaces[event.key.name] = meta.labels(event.object)
            case _:
                self._retry_all()

    def _node_changed(self, event: Event) -> None:
        old = event.old
        if event.change is Change.DELETED:
            self._cache.remove_node(meta.name(event.object))
        else:
            self._cache.set_node(event.object)
        if old is None or _schedulable_part(old) != _schedulable_part(event.object):
            self._retry_all()

    def _pod_changed(self, event: Event) -> None:
        pod, key = event.object, event.key
        spec = meta.spec(pod)
        if event.change is Change.DELETED or meta.status(pod).get("phase") in _FINISHED:
            self._pending.pop(key, None)
            self._aside.pop(key, None)
            nominated = self._nominated.pop(key, None)
            if self._cache.placed(key) or nominated:
                self._cache.forget(key)
                self._retry_all()
            return
        if node := spec.get("nodeName"):
            self._pending.pop(key, None)
            self._aside.pop(key, None)
            self._nominated.pop(key, None)
            known = self._cache.placed(key)
            if (
                known is not None
                and known.object["spec"] is spec
                and known.labels == meta.labels(pod)
                and known.terminating == meta.terminating(pod)
            ):
                return
            self._cache.place(PodInfo.of(pod), node)
            self._retry(lambda other: "podAffinity" in (meta.spec(other).get("affinity") or {}))
            return
        if spec.get("schedulerName", _NAME) != _NAME or meta.terminating(pod):
            self._pending.pop(key, None)
            self._aside.pop(key, None)
            return
        if event.old is None or event.old.get("spec") is not spec or meta.labels(event.old) != meta.labels(pod):
            self._aside.pop(key, None)
            self._add(key, pod)

    def _add(self, key: Key, pod: Object) -> None:
        if key not in self._pending:
            priority = meta.spec(pod).get("priority") or 0
            number = self._pending[key] = next(self._order)
            heappush(self._heap, (-priority, number, key))
        self._wake.set()

    def _retry_all(self) -> None:
        self._retry(lambda pod: True)

    def _retry(self, may_gain: Callable[[Object], bool]) -> None:
        """Look again at the pods without a node for which this change may matter."""
        for key, pod in [*self._aside.items()]:
            if may_gain(pod):
                del self._aside[key]
                self._add(key, pod)

    # What it does

    async def _run(self) -> None:
        while True:
            while not self._pending:
                self._wake.clear()
                await self._wake.wait()
            self._busy = True
            try:
                until = time.perf_counter() + _TURN
                while self._pending and time.perf_counter() < until:
                    self.step()
            finally:
                self._busy = False
            await asyncio.sleep(0)

    def step(self) -> None:
        """Place the first pending pod."""
        while self._heap:
            _, number, key = heappop(self._heap)
            if self._pending.get(key) == number:
                break
        else:
            self._pending.clear()
            return
        del self._pending[key]
        try:
            self._place(key)
        except StatusError as error:
            logger.debug("binding refused pod=%s error=%s", key, error)
            if pod := self._api.get("pods", key.name, key.namespace):
                self._aside[key] = pod
        except Exception:
            logger.exception("scheduling failed pod=%s", key)

    def _place(self, key: Key) -> None:
        pod = self._api.get("pods", key.name, key.namespace)
        if pod is None or meta.spec(pod).get("nodeName") or meta.terminating(pod):
            return
        if meta.spec(pod).get("schedulingGates"):
            self._tell(pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
            return
        wanted, problem = self._claims(pod)
        result: Binding | Unschedulable
        if problem:
            result = Unschedulable({node.name: Reason(problem, False) for node in self._cache}, problem)
        else:
            result = self._choose(PodInfo.of(pod))
        if isinstance(result, Unschedulable):
            self._put_aside(pod, result)
            return
        for claim in wanted:
            self._select_node(claim, result.node)
        self._bind(pod, result.node)

    def _choose(self, pod: PodInfo) -> Binding | Unschedulable:
        if not self._nominated and (node := self._ranked(pod).best()):
            return Binding(node)
        return choose(
            pod, self._nodes_for(pod), self._namespaces, lambda: self._api.list("poddisruptionbudgets.policy")
        )

    def _ranked(self, pod: PodInfo) -> Ranking:
        """Return the ranking that the last pod left, if this one is like it, or a new one."""
        ranking = self._ranking
        if ranking is not None:
            ranking.catch_up(self._cache.nodes, self._cache.changed)
        if ranking is None or not ranking.serves(pod):
            ranking = self._ranking = Ranking(pod, self._cache)
        self._cache.changed.clear()
        return ranking

    def _nodes_for(self, pod: PodInfo) -> Iterable[NodeInfo]:
        """Return the nodes with those pods counted for which others are making room there, but for lesser ones."""
        kept: dict[str, list[PodInfo]] = {}
        for key, (node, other) in self._nominated.items():
            if key != pod.key and other.priority >= pod.priority:
                kept.setdefault(node, []).append(other)
        if not kept:
            return self._cache
        return [node.but(having=kept[node.name]) if node.name in kept else node for node in self._cache]

    def _put_aside(self, pod: Object, result: Unschedulable) -> None:
        key = meta.key(pod)
        self._aside[key] = pod
        nominated = meta.status(pod).get("nominatedNodeName", "") if result.preemption == AWAITS_AN_END else ""
        if isinstance(result, Preemption):
            nominated = result.node
            lesser = meta.spec(pod).get("priority") or 0
            for other, (node, info) in [*self._nominated.items()]:
                if node == nominated and info.priority < lesser:
                    del self._nominated[other]
            self._nominated[key] = (nominated, PodInfo.of(pod))
        elif not nominated:
            self._nominated.pop(key, None)
        if self._tell(pod, "Unschedulable", result.message, nominated):
            self._recorder.record(pod, "Warning", "FailedScheduling", result.message)
        if isinstance(result, Preemption):
            for victim in result.victims:
                self._preempt(victim.key, pod, result.node)

    def _preempt(self, key: Key, pod: Object, node: str) -> None:
        """Have a pod leave in favour of a more important one."""
        victim = self._api.get("pods", key.name, key.namespace)
        if victim is None or meta.terminating(victim):
            return
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": f"{_NAME}: preempting to accommodate a higher priority pod",
        }
        status = {**meta.status(victim), "conditions": self._conditions(victim, condition)}
        self._api.update({**victim, "status": status}, subresource="status")
        self._recorder.record(victim, "Normal", "Preempted", f"Preempted by pod {meta.uid(pod)} on node {node}")
        self._api.delete("pods", key.name, key.namespace, uid=meta.uid(victim))

    def _bind(self, pod: Object, node: str) -> None:
        condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
        self._api.update(
            {
                **pod,
                "spec": {**pod["spec"], "nodeName": node},
                "status": {**meta.status(pod), "conditions": self._conditions(pod, condition)},
            },
            subresource="binding",
        )
        self._recorder.record(
            pod, "Normal", "Scheduled", f"Successfully assigned {meta.namespace(pod)}/{meta.name(pod)} to {node}"
        )

    def _tell(self, pod: Object, reason: str, message: str, nominated: str = "") -> bool:
        """Write why the pod has no node into its status; tell whether that is news."""
        for condition in meta.status(pod).get("conditions") or ():
            told = (condition["status"], condition.get("reason"), condition.get("message"))
            if (
                condition["type"] == "PodScheduled"
                and told == ("False", reason, message)
                and meta.status(pod).get("nominatedNodeName", "") == nominated
            ):
                return False
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        status = {**meta.status(pod), "conditions": self._conditions(pod, condition)}
        status.pop("nominatedNodeName", None)
        if nominated:
            status["nominatedNodeName"] = nominated
        self._api.update({**pod, "status": status}, subresource="status")
        return True

    def _conditions(self, pod: Object, condition: Object) -> list[Object]:
        others = meta.status(pod).get("conditions") or []
        before = next((c for c in others if c["type"] == condition["type"]), None)
        changed = before is None or before["status"] != condition["status"]
        since = rfc3339(self._clock.now()) if changed or before is None else before.get("lastTransitionTime")
        return [c for c in others if c["type"] != condition["type"]] + [{**condition, "lastTransitionTime": since}]

    def _claims(self, pod: Object) -> tuple[list[Object], str]:
        """Return the claims that wait for a node, and what is wrong with the others."""
        waiting: list[Object] = []
        for volume in meta.spec(pod).get("volumes") or ():
            if "persistentVolumeClaim" in volume:
                name = volume["persistentVolumeClaim"]["claimName"]
            elif "ephemeral" in volume:
                name = f"{meta.name(pod)}-{volume['name']}"
            else:
                continue
            claim = self._api.get("persistentvolumeclaims", name, meta.namespace(pod))
            if claim is None:
                return [], f'persistentvolumeclaim "{name}" not found'
            if meta.terminating(claim):
                return [], f'persistentvolumeclaim "{name}" is being deleted'
            if meta.status(claim).get("phase") != "Bound":
                class_name = meta.spec(claim).get("storageClassName")
                storage = self._api.get("storageclasses.storage.k8s.io", class_name) if class_name else None
                if storage is None or storage.get("volumeBindingMode", "Immediate") == "Immediate":
                    return [], "pod has unbound immediate PersistentVolumeClaims"
                waiting.append(claim)
        return waiting, ""

    def _select_node(self, claim: Object, node: str) -> None:
        def select(found: Object) -> None:
            found["metadata"].setdefault("annotations", {})["volume.kubernetes.io/selected-node"] = node

        self._api.modify("persistentvolumeclaims", meta.name(claim), meta.namespace(claim), select)


def _schedulable_part(node: Object) -> object:
    status = meta.status(node)
    ready = next((c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"), "")
    return meta.spec(node), meta.labels(node), status.get("allocatable"), ready
