"""Garbage collection: dependents follow their owners, as ownerReferences say.

Stands for kube-controller-manager's garbage collector. As there, every object of every resource is watched to know
which UIDs exist.

    owner gone                → dependents without another living owner are deleted, the others drop the reference
    foregroundDeletion        → dependents first (those that block), then the finalizer goes
    orphan                    → dependents drop the reference, then the finalizer goes
    reference to no such UID  → as if the owner were gone (a recreated owner of the same name is another one)

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import final

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Delete, Event, Requeue, Soon, Update, View
from minikube_py.client.api import Change

__all__ = ["GarbageCollector"]

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"
_BATCH = 250
"""Deletions in one look: between looks sockets have their turn."""


@final
class GarbageCollector:
    """Its keys are `("", uid)` for an owner that is gone, `(resource, namespace/name)` for an object to look at."""

    name = "garbage-collector-controller"

    def __init__(self) -> None:
        self._alive: dict[str, tuple[str, Key]] = {}

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"*": self._seen}

    def _seen(self, event: Event, view: View) -> Iterable[Key]:
        if event.resource == "events":
            return
        obj = event.object
        metadata = obj["metadata"]
        uid = metadata.get("uid", "")
        references = metadata.get("ownerReferences") or ()
        if event.change is Change.DELETED:
            self._alive.pop(uid, None)
            if view.owned_by(uid):
                yield Key("", uid)
            for reference in references:  # an owner may be waiting for this one
                if owner := self._alive.get(reference["uid"]):
                    found = view.get(owner[0], owner[1].name, owner[1].namespace)
                    if found is not None and meta.terminating(found):
                        yield _look_at(*owner)
            return
        self._alive[uid] = (event.resource, event.key)
        if metadata.get("deletionTimestamp"):
            finalizers = metadata.get("finalizers") or ()
            if _FOREGROUND in finalizers or _ORPHAN in finalizers:
                yield _look_at(event.resource, event.key)
        elif (
            references
            and (event.old is None or event.old["metadata"].get("ownerReferences") != references)
            and any(not self._exists(reference["uid"], event.key.namespace) for reference in references)
        ):
            yield _look_at(event.resource, event.key)

    def _exists(self, uid: str, namespace: str) -> bool:
        found = self._alive.get(uid)
        return found is not None and found[1].namespace in ("", namespace)

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        if not key.namespace:
            return _limited(self._settle(obj, view) for obj in view.owned_by(key.name))
        namespace, _, name = key.name.partition("/")
        obj = view.get(key.namespace, name, namespace)
        if obj is None:
            return ()
        if not meta.terminating(obj):
            return _limited([self._settle(obj, view)])
        finalizers = obj["metadata"].get("finalizers") or ()
        if _ORPHAN in finalizers:
            return [*self._release(obj, view), Update(_without(obj, _ORPHAN))]
        if _FOREGROUND in finalizers:
            return self._foreground(obj, view)
        return ()

    def _settle(self, obj: Object, view: View) -> Action | None:
        """Decide about one dependent of an owner that is gone."""
        if meta.terminating(obj):
            return None
        references = obj["metadata"].get("ownerReferences") or []
        living = [r for r in references if self._exists(r["uid"], meta.namespace(obj))]
        if len(living) == len(references):
            return None
        if living:
            return Update(meta.with_owners(obj, living))
        finalizers = obj["metadata"].get("finalizers") or ()
        propagation = "Orphan" if _ORPHAN in finalizers else "Foreground" if _FOREGROUND in finalizers else "Background"
        return Delete(self._resource(obj), meta.key(obj), uid=meta.uid(obj), propagation=propagation)

    def _resource(self, obj: Object) -> str:
        return self._alive[meta.uid(obj)][0]

    def _release(self, owner: Object, view: View) -> Iterable[Action]:
        uid = meta.uid(owner)
        for obj in view.owned_by(uid):
            yield Update(meta.with_owners(obj, [r for r in obj["metadata"]["ownerReferences"] if r["uid"] != uid]))

    def _foreground(self, owner: Object, view: View) -> Sequence[Action]:
        uid = meta.uid(owner)
        dependents = view.owned_by(uid)
        blocking = [
            obj
            for obj in dependents
            if any(r["uid"] == uid and r.get("blockOwnerDeletion") for r in obj["metadata"]["ownerReferences"])
        ]
        if not blocking:
            return [Update(_without(owner, _FOREGROUND))]
        actions: list[Action | None] = []
        for obj in dependents:
            if meta.terminating(obj):
                continue
            others = [
                r
                for r in obj["metadata"]["ownerReferences"]
                if r["uid"] != uid and self._exists(r["uid"], meta.namespace(obj))
            ]
            if others:
                actions.append(Update(meta.with_owners(obj, others)))
            else:
                propagation = "Foreground" if view.owned_by(meta.uid(obj)) else "Background"
                resource = self._resource(obj)
                actions.append(Delete(resource, meta.key(obj), uid=meta.uid(obj), propagation=propagation))
        return _limited(actions)


def _look_at(resource: str, key: Key) -> Key:
    return Key(resource, f"{key.namespace}/{key.name}")


def _limited(actions: Iterable[Action | None]) -> list[Action]:
    wanted = [*islice((action for action in actions if action is not None), _BATCH + 1)]
    return wanted if len(wanted) <= _BATCH else [*wanted[:_BATCH], Requeue(0.0)]


def _without(obj: Object, finalizer: str) -> Object:
    finalizers = [f for f in obj["metadata"].get("finalizers") or () if f != finalizer]
    return {**obj, "metadata": {**obj["metadata"], "finalizers": finalizers}}
