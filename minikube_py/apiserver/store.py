"""The store: every object of the cluster, one revision counter, and the events that watches are made of.

Stands for etcd with kube-apiserver's watch cache. In memory; objects are kept as they are given and shared with
every reader (the law of objects: never mutate what is stored).

    commit(write) → revision + 1 → indexes → event ring → subscribers (synchronously, in order of subscription)
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import gone
from minikube_py.apimachinery.labels import Operator, Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client.api import Change, Event

__all__ = ["Store"]

logger = logging.getLogger(__name__)

_BY_LABEL = frozenset(("pods", "endpointslices.discovery.k8s.io"))
"""Resources that are always listed by selector, and many: without an index every Service would look at every pod."""


class _Subscription:
    __slots__ = ("_store", "active", "handler", "resources")

    def __init__(self, store: "Store", resources: frozenset[str], handler: Callable[[Event], None]) -> None:
        self._store = store
        self.resources = resources
        self.handler = handler
        self.active = True

    def cancel(self) -> None:
        self.active = False
        for resource in self.resources:
            if self in (listeners := self._store._subscribers.get(resource, [])):
                listeners.remove(self)


class Store:
    """Objects by resource and key, with an index of owners.

    Writes come from `operations.py` alone, which has checked them.
    """

    def __init__(self, history: int = 4096) -> None:
        self.revision = 0
        self._history = history
        self._objects: dict[str, dict[Key, Object]] = {}
        self._by_namespace: dict[str, dict[str, dict[Key, Object]]] = {}
        self._by_owner: dict[str, dict[tuple[str, Key], None]] = {}
        self._by_label: dict[tuple[str, str, str, str], dict[Key, None]] = {}
        self._subscribers: dict[str, list[_Subscription]] = {}
        self._rings: dict[str, deque[Event]] = {}
        self._forgotten: dict[str, int] = {}
        self._pending: deque[Event] = deque()
        self._delivering = False

    # Reads

    def get(self, resource: str, key: Key) -> Object | None:
        objects = self._objects.get(resource)
        return objects.get(key) if objects is not None else None

    def list(self, resource: str, namespace: str | None = None, selector: Selector | None = None) -> Sequence[Object]:
        if namespace is None:
            objects = self._objects.get(resource, {})
        else:
            objects = self._by_namespace.get(resource, {}).get(namespace, {})
        if selector is None:
            return [*objects.values()]
        if resource in _BY_LABEL and namespace is not None and selector.requirements:
            return self._labelled(resource, namespace, objects, selector)
        return [obj for obj in objects.values() if selector.matches(meta.labels(obj))]

    def _labelled(
        self, resource: str, namespace: str, objects: Mapping[Key, Object], selector: Selector
    ) -> Sequence[Object]:
        """Return the matches: what the index knows of labels that have one value needs no second look."""
        known: list[Mapping[Key, object]] = []
        others = []
        for term in selector.requirements:
            if term.operator is Operator.IN and len(term.values) == 1:
                (value,) = term.values
                known.append(self._by_label.get((resource, namespace, term.key, value), {}))
            else:
                others.append(term)
        fewest, *rest = sorted(known, key=len) or [objects]
        for keys in rest:
            fewest = {key: None for key in fewest if key in keys}
        found = [objects[key] for key in fewest]
        return [obj for obj in found if all(term.matches(meta.labels(obj)) for term in others)] if others else found

    def owned_by(self, uid: str, resource: str | None = None) -> Sequence[Object]:
        return [self._objects[owned][key] for owned, key in self._by_owner.get(uid, ()) if resource in (None, owned)]

    def resources(self) -> Iterator[str]:
        return iter([resource for resource, objects in self._objects.items() if objects])

    def events_since(self, revision: int, resource: str) -> Sequence[Event]:
        """Return the events of `resource` after `revision`, in order.

        Each resource has a ring of its own, so that a busy one doesn't make a quiet one's history expire.
        Error handling: 410 Expired when some of them are forgotten already.
        """
        forgotten = self._forgotten.get(resource, 0)
        if revision < forgotten:
            raise gone(f"too old resource version: {revision} ({forgotten})")
        found: list[Event] = []
        for event in reversed(self._rings.get(resource, ())):
            if event.revision <= revision:
                break
            found.append(event)
        found.reverse()
        return found

    def compact(self) -> None:
        """Forget all events: every watch that starts before now gets 410 Expired (etcd's compaction)."""
        for resource, ring in self._rings.items():
            ring.clear()
            self._forgotten[resource] = self.revision

    # Writes

    def put(self, resource: str, obj: Object) -> Object:
        """Store a checked object under the next revision (written into its metadata) and tell the subscribers."""
        metadata = obj["metadata"]
        key = Key(metadata.get("namespace") or "", metadata["name"])
        objects = self._objects.get(resource)
        if objects is None:
            objects = self._objects[resource] = {}
            self._by_namespace[resource] = {}
        old = objects.get(key)
        self.revision += 1
        metadata["resourceVersion"] = str(self.revision)
        objects[key] = obj
        in_namespace = self._by_namespace[resource].get(key.namespace)
        if in_namespace is None:
            in_namespace = self._by_namespace[resource][key.namespace] = {}
        in_namespace[key] = obj
        self._index(resource, key, old, obj)
        self._commit(Event(Change.MODIFIED if old else Change.ADDED, resource, obj, old, self.revision))
        return obj

    def remove(self, resource: str, key: Key) -> Object:
        old = self._objects[resource].pop(key)
        del self._by_namespace[resource][key.namespace][key]
        self.revision += 1
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.revision)}}
        self._index(resource, key, old, None)
        self._commit(Event(Change.DELETED, resource, last, old, self.revision))
        return last

    def _index_labels(self, resource: str, key: Key, old: Object | None, new: Object | None) -> None:
        before = meta.labels(old) if old else {}
        after = meta.labels(new) if new else {}
        if before == after:
            return
        for item in before.items() - after.items():
            bucket = (resource, key.namespace, *item)
            if keys := self._by_label.get(bucket):
                keys.pop(key, None)
                if not keys:
                    del self._by_label[bucket]
        for item in after.items() - before.items():
            self._by_label.setdefault((resource, key.namespace, *item), {})[key] = None

    def _index(self, resource: str, key: Key, old: Object | None, new: Object | None) -> None:
        if resource in _BY_LABEL:
            self._index_labels(resource, key, old, new)
        before = old["metadata"].get("ownerReferences") if old else None
        after = new["metadata"].get("ownerReferences") if new else None
        if before == after:
            return
        was = {reference["uid"] for reference in before or ()}
        now = {reference["uid"] for reference in after or ()}
        for uid in was - now:
            if owned := self._by_owner.get(uid):
                owned.pop((resource, key), None)
                if not owned:
                    del self._by_owner[uid]
        for uid in now - was:
            self._by_owner.setdefault(uid, {})[resource, key] = None

    def _commit(self, event: Event) -> None:
        ring = self._rings.get(event.resource)
        if ring is None:
            ring = self._rings[event.resource] = deque()
        ring.append(event)
        if len(ring) > self._history:
            self._forgotten[event.resource] = ring.popleft().revision
        # Deliver in commit order even if a handler writes: its event waits until this one has reached everybody.
        self._pending.append(event)
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._pending:
                current = self._pending.popleft()
                listeners = self._subscribers.get(current.resource, ())
                for subscription in (*listeners, *self._subscribers.get("*", ())):
                    if subscription.active:
                        self._tell(subscription, current)
        finally:
            self._delivering = False

    def _tell(self, subscription: _Subscription, event: Event) -> None:
        try:
            subscription.handler(event)
        except Exception:
            # The write is done: one listener's bug must neither fail the writer nor hide the event from the others.
            logger.exception("watch handler failed resource=%s key=%s", event.resource, event.key)

    # Watches

    def subscribe(
        self, resources: Iterable[str], handler: Callable[[Event], None], *, replay: bool = True
    ) -> _Subscription:
        """See `client.API`; the resource `*` stands for all, also those that come later."""
        wanted = tuple(dict.fromkeys(resources))
        subscription = _Subscription(self, frozenset(wanted), handler)
        for resource in wanted:
            if replay:
                for each in self.resources() if resource == "*" else (resource,):
                    for obj in self.list(each):
                        handler(Event(Change.ADDED, each, obj, None, int(obj["metadata"]["resourceVersion"])))
            self._subscribers.setdefault(resource, []).append(subscription)
        return subscription
