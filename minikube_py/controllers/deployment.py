"""Deployments: roll ReplicaSets from one pod template to the next.

Stands for kube-controller-manager's deployment controller. One look takes one step (one scaling); the commit it
makes brings the next look. The pure arithmetic of a rollout is in `rollout.py`.

    find new ReplicaSet ── none? create it ──┐
    scale only (paused, or replicas changed) ├→ status → conditions → clean up old revisions
    rolling step │ recreate step ────────────┘
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from minikube_py.aiokit.clock import rfc3339, timestamp
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Delete, Emit, Event, Requeue, Soon, Update, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.controllers import pods, revisions, rollout

__all__ = ["DeploymentController"]

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"
_NOT_COPIED = frozenset(
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        HISTORY,
        DESIRED,
        MAX,
        "deprecated.deployment.rollback.to",
    )
)
_RESOURCE = "deployments.apps"
_SETS = "replicasets.apps"


@final
class DeploymentController:
    name = "deployment-controller"

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {
            _RESOURCE: lambda event, view: (event.key,),
            _SETS: self._set,
            "pods": self._pod,
        }

    def _set(self, event: Event, view: View) -> Iterable[Key | Soon]:
        return pods.owned(event, view, "Deployment", _RESOURCE)

    def _pod(self, event: Event, view: View) -> Iterable[Key | Soon]:
        """Only Recreate waits for pods: for the last old one to be gone."""
        if event.change is not Change.DELETED and not pods.finished(event.object):
            return
        if key := pods.controller_key(event.object, "ReplicaSet"):
            owner = view.get(_SETS, key.name, key.namespace)
            if owner is not None and (deployment := pods.controller_key(owner, "Deployment")):
                yield deployment

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        deployment = view.get(_RESOURCE, key.name, key.namespace)
        if deployment is None:
            return ()
        if not meta.spec(deployment).get("selector"):
            return ()
        return _Look(deployment, view, now).actions()


class _Look:
    """One look at one Deployment: what is, and what has been decided so far."""

    def __init__(self, deployment: Object, view: View, now: float) -> None:
        self.deployment = deployment
        self.spec = deployment["spec"]
        self.view = view
        self.now = now
        self.replicas = int(self.spec["replicas"]) if self.spec.get("replicas") is not None else 1
        strategy = self.spec.get("strategy") or {}
        self.recreate = strategy.get("type") == "Recreate"
        rolling = strategy.get("rollingUpdate") or {}
        self.surge, self.unavailable = (
            (0, self.replicas) if self.recreate else rollout.fenceposts(rolling, self.replicas)
        )
        self.done: list[Action] = []
        selector = Selector.from_object(self.spec["selector"])
        sets, adoptions = pods.claim(deployment, _SETS, view, selector)
        self.done.extend(adoptions)
        self.sets = sets
        self.new: Object | None = next(
            (rs for rs in sets if revisions.templates_equal(rs["spec"]["template"], self.spec["template"])), None
        )
        self.conditions: list[Object] = list(meta.status(deployment).get("conditions") or ())
        self.collisions: int | None = meta.status(deployment).get("collisionCount")

    @property
    def old(self) -> list[Object]:
        return [rs for rs in self.sets if rs is not self.new]

    def actions(self) -> list[Action]:
        if not meta.terminating(self.deployment):
            self._step()
        self._status()
        return self.done

    # Steps

    def _step(self) -> None:
        paused = bool(self.spec.get("paused"))
        self._pause_condition(paused)
        if paused or self._only_scaled():
            if self.new is not None:
                self._sync_new()
            self._scale()
            return
        if self.recreate:
            self._recreate()
        else:
            self._roll()
        if self.new is not None and self._complete():
            self._clean_up()

    def _only_scaled(self) -> bool:
        return any(
            rs["spec"]["replicas"] > 0
            and DESIRED in meta.annotations(rs)
            and meta.annotations(rs)[DESIRED] != str(self.replicas)
            for rs in self.sets
        )

    def _roll(self) -> None:
        if not self._ensure_new():
            return
        assert self.new is not None
        sets = [self._counts(rs) for rs in self.sets]
        wanted = rollout.new_replicas(self._counts(self.new), sets, self.replicas, self.surge)
        if wanted != self.new["spec"]["replicas"]:
            self._resize(self.new, wanted)
            return
        for name, size in rollout.shrink_old(
            self._counts(self.new), [self._counts(rs) for rs in self.old], self.replicas, self.unavailable
        ):
            self._resize(next(rs for rs in self.sets if meta.name(rs) == name), size)

    def _recreate(self) -> None:
        alive = [rs for rs in self.old if rs["spec"]["replicas"]]
        for rs in alive:
            self._resize(rs, 0)
        if alive:
            return
        if any(not pods.finished(pod) for rs in self.old for pod in self.view.owned_by(meta.uid(rs), "pods")):
            return  # the old pods have to be gone first
        if self._ensure_new() and self.new is not None and self.new["spec"]["replicas"] != self.replicas:
            self._resize(self.new, self.replicas)

    def _counts(self, rs: Object) -> rollout.Counts:
        return rollout.Counts(
            name=meta.name(rs),
            spec=int(rs["spec"]["replicas"]),
            available=int(meta.status(rs).get("availableReplicas", 0)),
            pods=int(meta.status(rs).get("replicas", 0)),
            annotated_max=int(meta.annotations(rs).get(MAX, "0") or 0),
        )

    def _ensure_new(self) -> bool:
        """Have a ReplicaSet of the present template; False: come back after the collision was counted."""
        if self.new is not None:
            self._sync_new()
            return True
        template = self.spec["template"]
        hash_ = revisions.template_hash(template, self.collisions or 0)
        name = f"{meta.name(self.deployment)}-{hash_}"
        if self.view.get(_SETS, name, meta.namespace(self.deployment)) is not None:
            self.collisions = (self.collisions or 0) + 1
            return False
        metadata = template.get("metadata") or {}
        labels = {**(metadata.get("labels") or {}), HASH: hash_}
        selector = self.spec["selector"]
        size = (
            self.replicas
            if self.recreate
            else rollout.first_replicas([self._counts(rs) for rs in self.sets], self.replicas, self.surge)
        )
        revision = str(self._newest_revision() + 1)
        new: Object = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": meta.namespace(self.deployment),
                "labels": labels,
                "annotations": {**self._copied(), **self._sizes(), REVISION: revision},
                "ownerReferences": [meta.owner_reference(self.deployment)],
            },
            "spec": {
                "replicas": size,
                "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH: hash_}},
                "template": {**template, "metadata": {**metadata, "labels": labels}},
            },
        }
        if self.spec.get("minReadySeconds"):
            new["spec"]["minReadySeconds"] = self.spec["minReadySeconds"]
        self.done.append(Create(new, about=self.deployment))
        if size:
            self._say(f"Scaled up replica set {name} from 0 to {size}")
        self._set_revision(revision)
        self.new = new
        self.sets.append(new)
        if self._deadline() is not None:
            self._progressing("True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
        return True

    def _sync_new(self) -> None:
        """Bring annotations, revision and minReadySeconds of the new ReplicaSet up to date."""
        assert self.new is not None
        if any(isinstance(a, Create) and a.object is self.new for a in self.done):
            return
        annotations = {**meta.annotations(self.new), **self._copied()}
        newest = max((_revision(rs) for rs in self.old), default=0)
        mine = _revision(self.new)
        if mine <= newest:  # an old template again: a rollback makes it the newest revision
            if mine:
                before = annotations.get(HISTORY)
                annotations[HISTORY] = f"{before},{mine}" if before else str(mine)
            annotations[REVISION] = str(newest + 1)
        changed = {**self.new, "metadata": {**self.new["metadata"], "annotations": annotations}}
        if self.new["spec"].get("minReadySeconds", 0) != (self.spec.get("minReadySeconds") or 0):
            changed["spec"] = {**self.new["spec"], "minReadySeconds": self.spec.get("minReadySeconds") or 0}
        if changed != self.new:
            self._update(self.new, changed)
        self._set_revision(annotations[REVISION])
        if self._deadline() is not None and self._condition("Progressing") is None:
            self._progressing("True", "FoundNewReplicaSet", f'Found new replica set "{meta.name(self.new)}"')

    def _scale(self) -> None:
        sizes = rollout.proportional(
            self._counts(self.new) if self.new is not None else None,
            [self._counts(rs) for rs in self.old],
            self.replicas,
            self.surge,
            rolling=not self.recreate,
        )
        for rs in list(self.sets):
            if meta.name(rs) in sizes:
                self._resize(rs, sizes[meta.name(rs)])

    def _resize(self, rs: Object, size: int) -> None:
        before = rs["spec"]["replicas"]
        annotations = {**meta.annotations(rs), **self._sizes()}
        if before == size and annotations == meta.annotations(rs):
            return
        changed = {
            **rs,
            "metadata": {**rs["metadata"], "annotations": annotations},
            "spec": {**rs["spec"], "replicas": size},
        }
        self._update(rs, changed)
        if before != size:
            word = "up" if size > before else "down"
            self._say(f"Scaled {word} replica set {meta.name(rs)} from {before} to {size}")

    def _update(self, old: Object, new: Object) -> None:
        """Write a ReplicaSet once per look, however many things change in it."""
        for index, action in enumerate(self.done):
            if isinstance(action, Create | Update) and action.object is old:
                self.done[index] = Update(new) if isinstance(action, Update) else Create(new, about=self.deployment)
                break
        else:
            self.done.append(Update(new))
        self.sets[next(i for i, rs in enumerate(self.sets) if rs is old)] = new
        if self.new is old:
            self.new = new

    def _say(self, message: str) -> None:
        self.done.append(Emit(self.deployment, "Normal", "ScalingReplicaSet", message))

    # Revisions

    def _copied(self) -> dict[str, str]:
        return {k: v for k, v in meta.annotations(self.deployment).items() if k not in _NOT_COPIED}

    def _sizes(self) -> dict[str, str]:
        """What a set was scaled for last, by which the next scaling gives each its share."""
        return {DESIRED: str(self.replicas), MAX: str(self.replicas + self.surge)}

    def _newest_revision(self) -> int:
        return max((_revision(rs) for rs in self.old), default=0)

    def _set_revision(self, revision: str) -> None:
        if meta.annotations(self.deployment).get(REVISION) != revision:
            annotations = {**meta.annotations(self.deployment), REVISION: revision}
            # without a resourceVersion: the status write that follows in this look must not conflict with it
            metadata = {k: v for k, v in self.deployment["metadata"].items() if k != "resourceVersion"}
            self.done.append(Update({**self.deployment, "metadata": {**metadata, "annotations": annotations}}))
            self.deployment = {**self.deployment, "metadata": {**metadata, "annotations": annotations}}

    def _clean_up(self) -> None:
        limit = self.spec.get("revisionHistoryLimit")
        spare = [
            rs
            for rs in self.old
            if not rs["spec"]["replicas"]
            and not meta.status(rs).get("replicas")
            and not meta.terminating(rs)
            and rs["metadata"].get("generation", 0) <= meta.status(rs).get("observedGeneration", 0)
        ]
        spare.sort(key=_revision)
        for rs in spare[: max(len(spare) - (10 if limit is None else int(limit)), 0)]:
            self.done.append(Delete(_SETS, meta.key(rs), uid=meta.uid(rs)))

    # Status

    def _totals(self) -> Object:
        def total(field: str) -> int:
            return sum(int(meta.status(rs).get(field, 0)) for rs in self.sets)

        wanted = sum(int(rs["spec"]["replicas"]) for rs in self.sets)
        available = total("availableReplicas")
        return {
            "replicas": total("replicas"),
            "updatedReplicas": int(meta.status(self.new).get("replicas", 0)) if self.new else 0,
            "readyReplicas": total("readyReplicas"),
            "availableReplicas": available,
            "unavailableReplicas": max(wanted - available, 0),
        }

    def _complete(self, totals: Mapping[str, int] | None = None) -> bool:
        totals = totals or self._totals()
        return totals["updatedReplicas"] == totals["replicas"] == totals["availableReplicas"] == self.replicas

    def _deadline(self) -> int | None:
        deadline = self.spec.get("progressDeadlineSeconds")
        return None if deadline is None or deadline == 2**31 - 1 else int(deadline)

    def _condition(self, type_: str) -> Mapping[str, Any] | None:
        return next((c for c in self.conditions if c["type"] == type_), None)

    def _set(self, type_: str, status: str, reason: str, message: str, *, renew: bool = False) -> None:
        """As SetDeploymentCondition: the same status and reason changes nothing, unless it is news again (`renew`)."""
        old = self._condition(type_)
        if old is not None and old["status"] == status and old["reason"] == reason and not renew:
            return
        stamp = rfc3339(self.now)
        self.conditions = [c for c in self.conditions if c["type"] != type_]
        self.conditions.append(
            {
                "type": type_,
                "status": status,
                "reason": reason,
                "message": message,
                "lastUpdateTime": stamp,
                "lastTransitionTime": old["lastTransitionTime"] if old and old["status"] == status else stamp,
            }
        )

    def _progressing(self, status: str, reason: str, message: str, *, renew: bool = False) -> None:
        self._set("Progressing", status, reason, message, renew=renew)

    def _pause_condition(self, paused: bool) -> None:
        if self._deadline() is None:
            return
        found = self._condition("Progressing")
        if found and found["reason"] == "ProgressDeadlineExceeded":
            return
        was = bool(found and found["reason"] == "DeploymentPaused")
        if paused and not was:
            self._progressing("Unknown", "DeploymentPaused", "Deployment is paused")
        elif was and not paused:
            self._progressing("Unknown", "DeploymentResumed", "Deployment is resumed")

    def _status(self) -> None:
        totals = self._totals()
        if totals["availableReplicas"] >= self.replicas - min(self.unavailable, self.replicas):
            self._set("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        else:
            why = "Deployment does not have minimum availability."
            self._set("Available", "False", "MinimumReplicasUnavailable", why)
        wait = self._progress(totals)
        self._replica_failure()
        old = meta.status(self.deployment)
        status: Object = {field: count for field, count in totals.items() if count}
        if generation := self.deployment["metadata"].get("generation"):
            status["observedGeneration"] = generation
        if self.conditions:
            status["conditions"] = self.conditions
        if self.collisions:
            status["collisionCount"] = self.collisions
        if status != old:
            self.done.append(UpdateStatus({**self.deployment, "status": status}))
        if wait is not None:
            self.done.append(Requeue(wait))

    def _replica_failure(self) -> None:
        """Pass on that pods are refused: of the new ReplicaSet, else of an old one."""
        sets = [self.new, *self.old] if self.new is not None else self.old
        found = next((c for rs in sets if (c := pods.condition(rs, "ReplicaFailure"))), None)
        if found is None:
            self.conditions = [c for c in self.conditions if c["type"] != "ReplicaFailure"]
        else:
            self._set("ReplicaFailure", found["status"], found["reason"], found["message"])

    def _progress(self, totals: Mapping[str, int]) -> float | None:
        """Say how the rollout is getting on; return when to look whether its deadline has passed."""
        deadline = self._deadline()
        if deadline is None:
            self.conditions = [c for c in self.conditions if c["type"] != "Progressing"]
            return None
        found = self._condition("Progressing")
        finished = found is not None and found["reason"] == "NewReplicaSetAvailable"
        if (finished and totals["replicas"] == totals["updatedReplicas"]) or self.spec.get("paused"):
            return None
        old = meta.status(self.deployment)
        what = f'ReplicaSet "{meta.name(self.new)}"' if self.new else f'Deployment "{meta.name(self.deployment)}"'
        if self._complete(totals):
            self._progressing("True", "NewReplicaSetAvailable", f"{what} has successfully progressed.")
            return None
        if (
            totals["updatedReplicas"] > old.get("updatedReplicas", 0)
            or totals["replicas"] - totals["updatedReplicas"] < old.get("replicas", 0) - old.get("updatedReplicas", 0)
            or totals["readyReplicas"] > old.get("readyReplicas", 0)
            or totals["availableReplicas"] > old.get("availableReplicas", 0)
        ):
            self._progressing("True", "ReplicaSetUpdated", f"{what} is progressing.", renew=True)
            return float(deadline)
        found = self._condition("Progressing")
        if found is None or found["reason"] == "ProgressDeadlineExceeded":
            return None
        left = timestamp(found["lastUpdateTime"]) + deadline - self.now
        if left <= 0:
            self._progressing("False", "ProgressDeadlineExceeded", f"{what} has timed out progressing.")
            return None
        return left + 1.0


def _revision(rs: Object) -> int:
    try:
        return int(meta.annotations(rs).get(REVISION, "0"))
    except ValueError:
        return 0
