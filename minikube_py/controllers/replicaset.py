"""ReplicaSets and ReplicationControllers: keep so many pods of a template.

Stands for kube-controller-manager's replicaset and replication controllers, which are one piece of code there too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import final

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Delete, Emit, Event, Requeue, Soon, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.controllers import pods
from minikube_py.controllers.census import Census, Tally

__all__ = ["ReplicaSetController"]

_BURST = 250
"""Pods created or deleted in one look (Kubernetes' burstReplicas is 500): between looks sockets have their turn."""


@final
class ReplicaSetController:
    """Keeps `spec.replicas` pods; `kind` is ReplicaSet or ReplicationController."""

    def __init__(self, kind: str = "ReplicaSet") -> None:
        self.kind = kind
        self.resource = "replicasets.apps" if kind == "ReplicaSet" else "replicationcontrollers"
        self.name = "replicaset-controller" if kind == "ReplicaSet" else "replication-controller"
        self._census = Census(kind)
        self._refusals: dict[str, str] = {}
        """Why the last pod that was asked for was refused, by the UID of who asked."""

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {self.resource: self._owner, "pods": self._pod}

    def _owner(self, event: Event, view: View) -> Iterable[Key | Soon]:
        """A status, which we write ourselves, is in no hurry: else each count would lead to the next at once."""
        if event.change is Change.DELETED:
            self._refusals.pop(meta.uid(event.object), None)
        if _alike(event.old, event.object):
            yield Soon(event.key, pods.pace(_replicas(event.object)))
        else:
            yield event.key

    def _pod(self, event: Event, view: View) -> Iterable[Key | Soon]:
        self._census.count(event)
        return pods.owned(event, view, self.kind, self.resource)

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        owner = view.get(self.resource, key.name, key.namespace)
        if owner is None:
            return ()
        spec = owner["spec"]
        selector = pods.selector_of(spec.get("selector") or (spec["template"].get("metadata") or {}).get("labels"))
        tally = self._census.of(meta.uid(owner))
        going = meta.terminating(owner)
        if not going and self._in_question(tally, selector, key.namespace):
            _, moves = pods.claim(owner, "pods", view, selector)
            if moves:
                return [*moves, Requeue(0.0)]
        actions = self._status(owner, tally, now)
        if not going:
            actions.extend(self._manage(owner, tally.alive))
        return actions

    def _in_question(self, tally: Tally, selector: Selector, namespace: str) -> bool:
        """Tell whether there is a pod to release, or one to adopt."""
        return not tally.all_match(selector) or any(
            selector.matches(meta.labels(pod)) for pod in self._census.orphans(namespace)
        )

    def _manage(self, owner: Object, alive: Mapping[Key, Object]) -> list[Action]:
        missing = _replicas(owner) - len(alive)
        actions: list[Action] = []
        if missing > 0:
            pod = pods.from_template(owner["spec"]["template"], owner)
            uid = meta.uid(owner)

            def refused(error: StatusError) -> None:
                self._refusals[uid] = error.message

            for _ in range(min(missing, _BURST)):
                actions.append(Create(pod, about=owner, created="Created pod: {name}", refused=refused))
            if missing > _BURST:
                actions.append(Requeue(0.0))
        elif missing < 0:
            # Who goes first is no question when all go: ranking ten thousand takes its time.
            first = alive.values() if -missing == len(alive) else pods.to_delete_first([*alive.values()])
            for pod in islice(first, min(-missing, _BURST)):
                actions.append(Delete("pods", meta.key(pod), uid=meta.uid(pod)))
                actions.append(Emit(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}"))
            if -missing > _BURST:
                actions.append(Requeue(0.0))
        return actions

    def _status(self, owner: Object, tally: Tally, now: float) -> list[Action]:
        spec = owner["spec"]
        available, soonest = tally.ready, 0.0
        if min_ready := spec.get("minReadySeconds") or 0:
            waits = [pods.available(pod, min_ready, now) for pod in tally.alive.values()]
            available = sum(is_available for is_available, _ in waits)
            soonest = min((wait for _, wait in waits if wait), default=0.0)
        old = meta.status(owner)
        status: Object = {"replicas": len(tally.alive)}
        for field, count in (
            ("fullyLabeledReplicas", tally.labelled((spec["template"].get("metadata") or {}).get("labels") or {})),
            ("readyReplicas", tally.ready),
            ("availableReplicas", available),
        ):
            if count:
                status[field] = count
        if generation := owner["metadata"].get("generation"):
            status["observedGeneration"] = generation
        if conditions := self._conditions(owner, missing=_replicas(owner) > len(tally.alive), now=now):
            status["conditions"] = conditions
        actions: list[Action] = []
        if status != old:
            actions.append(UpdateStatus({**owner, "status": status}))
        if soonest:
            actions.append(Requeue(soonest))
        return actions

    def _conditions(self, owner: Object, *, missing: bool, now: float) -> list[Object]:
        """Say ReplicaFailure from the first refusal until all pods are there."""
        before = meta.status(owner).get("conditions") or []
        why = self._refusals.pop(meta.uid(owner), None)
        if not missing:
            return [condition for condition in before if condition["type"] != "ReplicaFailure"]
        if why is None or any(condition["type"] == "ReplicaFailure" for condition in before):
            return list(before)
        new = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": why}
        return [*before, {**new, "lastTransitionTime": rfc3339(now)}]


def _alike(old: Object | None, new: Object) -> bool:
    """Tell whether only the status differs."""
    return old is not None and old["spec"] == new["spec"] and meta.terminating(old) == meta.terminating(new)


def _replicas(owner: Object) -> int:
    wanted = owner["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)
