"""The pods of each controller, counted as they change: a look at ten thousand replicas costs what has changed, not all.

pod event ──► Census ──► Tally of its controller: who is alive, how many are ready, which labels they have
                   └───► orphans of the namespace: whom somebody may adopt
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Event
from minikube_py.client.api import Change
from minikube_py.controllers import pods

__all__ = ["Census", "Tally"]


class Tally:
    """The pods of one controller that are not going away."""

    __slots__ = ("_labels", "alive", "finished", "ready")

    def __init__(self) -> None:
        self.alive: dict[Key, Object] = {}
        """In order of creation."""
        self.finished: dict[Key, Object] = {}
        self.ready = 0
        """How many of `alive` are."""
        self._labels: Counter[frozenset[tuple[str, str]]] = Counter()
        """Each set of labels → how many of `alive` have it: mostly there is one."""

    def __bool__(self) -> bool:
        return bool(self.alive or self.finished)

    def add(self, key: Key, pod: Object) -> None:
        if pods.finished(pod):
            self.finished[key] = pod
            return
        self.alive[key] = pod
        self.ready += pods.ready(pod)
        self._labels[frozenset(meta.labels(pod).items())] += 1

    def replace(self, key: Key, pod: Object) -> None:
        """Count a new version of a pod, which keeps its place in the order."""
        if (old := self.alive.get(key)) is None or pods.finished(pod):
            self.remove(key)
            self.add(key, pod)
            return
        self.alive[key] = pod
        self.ready += pods.ready(pod) - pods.ready(old)
        if meta.labels(old) != meta.labels(pod):
            self._uncount(old)
            self._labels[frozenset(meta.labels(pod).items())] += 1

    def remove(self, key: Key) -> None:
        self.finished.pop(key, None)
        if (old := self.alive.pop(key, None)) is not None:
            self.ready -= pods.ready(old)
            self._uncount(old)

    def _uncount(self, pod: Object) -> None:
        labels = frozenset(meta.labels(pod).items())
        self._labels[labels] -= 1
        if not self._labels[labels]:
            del self._labels[labels]

    def labelled(self, labels: Mapping[str, str]) -> int:
        """Return how many of `alive` have these labels, among others."""
        return sum(count for have, count in self._labels.items() if labels.items() <= have)

    def all_match(self, selector: Selector) -> bool:
        return all(selector.matches(dict(labels)) for labels in self._labels) and all(
            selector.matches(meta.labels(pod)) for pod in self.finished.values()
        )


_NOBODY = Tally()


class Census:
    """The pods of all controllers of one kind."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._tallies: dict[str, Tally] = {}
        self._orphans: dict[str, dict[Key, Object]] = {}

    def of(self, uid: str) -> Tally:
        """Return the tally of the controller with this UID: read it before the next event."""
        return self._tallies.get(uid, _NOBODY)

    def orphans(self, namespace: str) -> Iterable[Object]:
        """Return the pods of a namespace that no controller has."""
        return self._orphans.get(namespace, {}).values()

    def count(self, event: Event) -> None:
        """Take a pod's event."""
        key, pod = event.key, event.object
        stays = event.change is not Change.DELETED and not meta.terminating(pod)
        before = self._owner(event.old) if event.old is not None else None
        after = self._owner(pod) if stays else None
        if after and before == after:
            self._tally(after).replace(key, pod)
            return
        if before and (tally := self._tallies.get(before)) is not None:
            tally.remove(key)
            if not tally:
                del self._tallies[before]
        if after:
            self._tally(after).add(key, pod)
        orphans = self._orphans.setdefault(key.namespace, {})
        if stays and not any(reference.get("controller") for reference in _references(pod)):
            orphans[key] = pod
        else:
            orphans.pop(key, None)

    def _tally(self, uid: str) -> Tally:
        return self._tallies.setdefault(uid, Tally())

    def _owner(self, pod: Mapping[str, Any]) -> str | None:
        for reference in _references(pod):
            if reference.get("controller"):
                return str(reference["uid"]) if reference["kind"] == self._kind else None
        return None


def _references(pod: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return pod["metadata"].get("ownerReferences") or ()
