"""The store: every object of the cluster, one revision counter, and the events that watches are made of.

Stands for etcd with kube-apiserver's watch cache. In memory; objects are kept as they are given and shared with
every reader (the law of objects: never mutate what is stored).

    commit(write) → revision + 1 → indexes → event ring → subscribers (synchronously, in order of subscription)
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import gone
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client.api import Change, Event

__all__ = ["Store"]


class _Subscription:
    __slots__ = ("_store", "handler", "resources")

    def __init__(self, store: "Store", resources: frozenset[str], handler: Callable[[Event], None]) -> None:
        self._store = store
        self.resources = resources
        self.handler = handler

    def cancel(self) -> None:
        for resource in self.resources:
            if self in (listeners := self._store._subscribers.get(resource, [])):
                listeners.remove(self)


class Store:
    """Objects by resource and key, with an index of owners.

    Writes come from `operations.py` alone, which has checked them.
    """

    def __init__(self, history: int = 4096) -> None:
        self.revision = 0
        self._objects: dict[str, dict[Key, Object]] = {}
        self._by_namespace: dict[str, dict[str, dict[Key, Object]]] = {}
        self._by_owner: dict[str, dict[tuple[str, Key], None]] = {}
        self._subscribers: dict[str, list[_Subscription]] = {}
        self._ring: deque[Event] = deque(maxlen=history)

    # Reads

    def get(self, resource: str, key: Key) -> Object | None:
        return self._objects.get(resource, {}).get(key)

    def list(self, resource: str, namespace: str | None = None, selector: Selector | None = None) -> Sequence[Object]:
        if namespace is None:
            objects = self._objects.get(resource, {})
        else:
            objects = self._by_namespace.get(resource, {}).get(namespace, {})
        if selector is None:
            return [*objects.values()]
        return [obj for obj in objects.values() if selector.matches(meta.labels(obj))]

    def owned_by(self, uid: str, resource: str | None = None) -> Sequence[Object]:
        return [self._objects[owned][key] for owned, key in self._by_owner.get(uid, ()) if resource in (None, owned)]

    def resources(self) -> Iterator[str]:
        return iter(self._objects)

    def events_since(self, revision: int, resource: str) -> Iterable[Event]:
        """Return the events of `resource` after `revision`, in order.

        Error handling: 410 Expired when some of them may be forgotten already.
        """
        if self._ring and revision < self._ring[0].revision - 1:
            raise gone(f"too old resource version: {revision} ({self._ring[0].revision})")
        return [event for event in self._ring if event.revision > revision and event.resource == resource]

    # Writes

    def put(self, resource: str, obj: Object) -> Object:
        """Store a checked object under the next revision (written into its metadata) and tell the subscribers."""
        key = meta.key(obj)
        old = self._objects.get(resource, {}).get(key)
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self._objects.setdefault(resource, {})[key] = obj
        self._by_namespace.setdefault(resource, {}).setdefault(key.namespace, {})[key] = obj
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

    def _index(self, resource: str, key: Key, old: Object | None, new: Object | None) -> None:
        before = {r["uid"] for r in old["metadata"].get("ownerReferences") or ()} if old else set()
        after = {r["uid"] for r in new["metadata"].get("ownerReferences") or ()} if new else set()
        for uid in before - after:
            if owned := self._by_owner.get(uid):
                owned.pop((resource, key), None)
                if not owned:
                    del self._by_owner[uid]
        for uid in after - before:
            self._by_owner.setdefault(uid, {})[resource, key] = None

    def _commit(self, event: Event) -> None:
        self._ring.append(event)
        for subscription in tuple(self._subscribers.get(event.resource, ())):
            subscription.handler(event)

    # Watches

    def subscribe(
        self, resources: Iterable[str], handler: Callable[[Event], None], *, replay: bool = True
    ) -> _Subscription:
        subscription = _Subscription(self, frozenset(resources), handler)
        for resource in resources:
            if replay:
                for obj in self.list(resource):
                    handler(Event(Change.ADDED, resource, obj, None, int(obj["metadata"]["resourceVersion"])))
            self._subscribers.setdefault(resource, []).append(subscription)
        return subscription
