"""Watches over HTTP: each committed write is turned into bytes once per form, however many clients watch.

    store ── Event ──► Shared(event) ──┬──► Watcher (namespace, selectors) ──► b'{"type":"MODIFIED",...}\\n'
                        bytes by form  └──► Watcher …

A watcher whose selector an object leaves gets DELETED, one that it enters gets ADDED. A client that reads too slowly
is cut off with 410 and lists again, as a reflector does.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.field_selector import FieldSelector
from minikube_py.apiserver.representation import Form, Representation, encode, render, table
from minikube_py.apiserver.store import Store
from minikube_py.client.api import Change, Event, Subscription
from minikube_py.kinds.kind import Kind

__all__ = ["Filter", "Hub", "Watcher"]

_BACKLOG = 8192
"""Events that may wait for one client."""

Convert = Callable[[Object], Object]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which objects a list or watch is about."""

    namespace: str | None = None
    name: str | None = None
    labels: Selector | None = None
    fields: FieldSelector | None = None

    def matches(self, obj: Object) -> bool:
        metadata = obj["metadata"]
        if self.namespace is not None and metadata.get("namespace") != self.namespace:
            return False
        if self.name is not None and metadata.get("name") != self.name:
            return False
        if self.labels is not None and not self.labels.matches(meta.labels(obj)):
            return False
        return self.fields is None or self.fields.matches(obj)


class Shared:
    """One event and the bytes it was turned into."""

    __slots__ = ("_bytes", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._bytes: dict[tuple[Change, Representation, bool, str], bytes] = {}

    def line(self, change: Change, watcher: "Watcher", columns: bool) -> bytes:
        key = (change, watcher.how, columns, watcher.kind.api_version)
        line = self._bytes.get(key)
        if line is None:
            event = self.event
            obj = event.object
            if change is Change.DELETED and event.change is not Change.DELETED and event.old is not None:
                # It left the selector: the client gets what it knew, at this revision.
                old = event.old
                obj = {**old, "metadata": {**old["metadata"], "resourceVersion": str(event.revision)}}
            line = self._bytes[key] = watcher.frame(change.value, obj, columns)
        return line


class Watcher:
    """One client's watch."""

    def __init__(
        self, hub: "Hub", kind: Kind, resource: str, which: Filter, how: Representation, convert: Convert | None
    ) -> None:
        self.kind = kind
        self.how = how
        self._hub = hub
        self._resource = resource
        self._which = which
        self._convert = convert
        self._pending: deque[Shared] = deque()
        self._wake = asyncio.Event()
        self._columns = True
        self.overrun = False
        self.closed = False

    def push(self, shared: Shared) -> None:
        if len(self._pending) >= _BACKLOG:
            self.overrun = True
            self._pending.clear()
        elif not self.overrun:
            self._pending.append(shared)
        self._wake.set()

    def frame(self, change: str, obj: Object, columns: bool) -> bytes:
        if self._convert:
            obj = self._convert(obj)
        if self.how.form is Form.TABLE:
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            obj = table(self.kind, [obj], self.how, self._hub.now(), metadata, columns=columns)
        else:
            obj = render(self.kind, obj, self.how, self._hub.now())
        return b'{"type":"%s","object":%s}\n' % (change.encode(), encode(obj))

    def initial(self, objects: Iterable[Object]) -> bytes:
        """Return the present state as ADDED events."""
        lines = []
        for obj in objects:
            if self._which.matches(obj):
                lines.append(self.frame("ADDED", obj, self._columns))
                self._columns = False
        return b"".join(lines)

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        metadata: Object = {"resourceVersion": str(revision)}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        if self.how.form is Form.TABLE:
            obj: Object = {
                "kind": "Table",
                "apiVersion": f"meta.k8s.io/{self.how.version}",
                "metadata": metadata,
                "columnDefinitions": None,
                "rows": [],
            }
        elif self.how.form is Form.METADATA:
            obj = {
                "kind": "PartialObjectMetadata",
                "apiVersion": f"meta.k8s.io/{self.how.version}",
                "metadata": metadata,
            }
        else:
            obj = {"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata}
        return b'{"type":"BOOKMARK","object":%s}\n' % encode(obj)

    async def wait(self, timeout: float) -> bool:
        """Return True when there is something to take, False after `timeout` seconds."""
        if self._pending or self.overrun or self.closed:
            return True
        self._wake.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> bytes:
        """Return the lines of all that waits; empty if none of it concerns this client."""
        lines: list[bytes] = []
        while self._pending:
            shared = self._pending.popleft()
            if change := relevant(shared.event, self._which):
                lines.append(shared.line(change, self, self._columns))
                self._columns = False
        return b"".join(lines)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._hub._leave(self._resource, self)
            self._wake.set()


def relevant(event: Event, which: Filter) -> Change | None:
    """Say what an event is to a client with this filter; None for nothing."""
    if event.change is Change.DELETED:
        return Change.DELETED if which.matches(event.old or event.object) else None
    now = which.matches(event.object)
    before = event.old is not None and which.matches(event.old)
    if now:
        return Change.MODIFIED if before else Change.ADDED
    return Change.DELETED if before else None


class Hub:
    """All watches of one server.

    Resource handling: one store subscription per watched resource; `close()` ends all watches.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self.now = now
        self._store = store
        self._watchers: dict[str, list[Watcher]] = {}
        self._subscriptions: dict[str, Subscription] = {}

    def __len__(self) -> int:
        return sum(map(len, self._watchers.values()))

    def open(
        self,
        kind: Kind,
        resource: str,
        which: Filter,
        how: Representation,
        *,
        since: int | None,
        convert: Convert | None = None,
    ) -> Watcher:
        """Start a watch; `since=None` begins with the next event, else with the first after that revision.

        Error handling: 410 Expired when that is forgotten.
        """
        backlog: Sequence[Event] = self._store.events_since(since, resource) if since is not None else ()
        watcher = Watcher(self, kind, resource, which, how, convert)
        for event in backlog:
            watcher._pending.append(Shared(event))
        if resource not in self._subscriptions:
            self._subscriptions[resource] = self._store.subscribe([resource], self._committed, replay=False)
        self._watchers.setdefault(resource, []).append(watcher)
        return watcher

    def _committed(self, event: Event) -> None:
        shared = Shared(event)
        for watcher in self._watchers.get(event.resource, ()):
            watcher.push(shared)

    def _leave(self, resource: str, watcher: Watcher) -> None:
        watchers = self._watchers.get(resource, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers and (subscription := self._subscriptions.pop(resource, None)):
            subscription.cancel()

    def close(self) -> None:
        for watchers in list(self._watchers.values()):
            for watcher in list(watchers):
                watcher.close()
