"""Level-triggered reconcilers and the agent that runs them.

A `Reconciler` is pure: it looks at an object and a view of the world and returns the actions that bring the world
nearer to what the object says. `Agent` does the rest:

    commit → handler marks keys dirty → queue → reconcile(key) → actions → writes → commit → …

An action that loses a race (Conflict, NotFound, AlreadyExists) puts its key back: the next look decides anew.
What merely counts (a thousand pods becoming ready one after the other) says `Soon`, so that one look serves many.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from minikube_py.aiokit.clock import Clock, Timer
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client.api import API, Event, Subscription, View
from minikube_py.client.events import Recorder
from minikube_py.client.queue import WorkQueue

__all__ = [
    "Action",
    "Agent",
    "Create",
    "Delete",
    "Emit",
    "Reconciler",
    "Requeue",
    "Soon",
    "Update",
    "UpdateStatus",
]

logger = logging.getLogger(__name__)

_LONG = 0.002
"""Seconds of a look that is worth pacing."""
_SHARE = 10
"""A long look has at most a tenth of the time."""
_LONGEST_PACE = 0.5
"""Seconds: the most that a count may lag behind."""


class Create(Struct, frozen=True):
    """Store a new object."""

    object: Object
    about: Object | None = None
    """Whom a refusal concerns: it gets the Warning FailedCreate."""
    created: str = ""
    """What `about` is told of success (SuccessfulCreate); `{name}` is the new object's name, `{owner}` its own."""
    refused: Callable[[StatusError], None] | None = None
    """Who remembers a refusal until the next look, to write it into a status."""


class Update(Struct, frozen=True):
    """Replace spec and metadata of an object; carry its resourceVersion to be safe from lost updates."""

    object: Object
    subresource: str = ""


class UpdateStatus(Struct, frozen=True):
    """Replace the status of an object."""

    object: Object


class Delete(Struct, frozen=True):
    """Delete an object; `uid` guards against deleting its successor."""

    resource: str
    key: Key
    uid: str | None = None
    grace_period: int | None = None
    propagation: str = "Background"


class Emit(Struct, frozen=True):
    """Record an Event about an object."""

    about: Object
    type: str
    reason: str
    message: str


class Requeue(Struct, frozen=True):
    """Look at the same key again in `after` seconds, whatever happens."""

    after: float


class Soon(Struct, frozen=True):
    """Makes a key dirty, but looks at it at most once in `within` seconds: at once, if the last look is longer ago."""

    key: Key
    within: float = 0.005


Action: TypeAlias = Create | Update | UpdateStatus | Delete | Emit | Requeue


class Reconciler(Protocol):
    """One controller: one file under `controllers/`.

    `watches` says which resources make which keys dirty: resource → (event → keys); the resource `*` is every one.
    """

    @property
    def name(self) -> str:
        """As in Kubernetes' events: `deployment-controller`."""
        ...

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]: ...

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        """Return what to do about the object at `key`; it may be gone. Pure but for chance given at construction."""
        ...


class Agent:
    """Runs one reconciler against the API.

    Resource handling: `start()` subscribes and spawns one task in `scope`; `stop()` unsubscribes. The scope ends
    the task.
    Error handling: a failing reconcile is logged with its key and retried with back-off; it never stops the agent.
    """

    def __init__(self, reconciler: Reconciler, api: API, clock: Clock) -> None:
        self.reconciler = reconciler
        self.name = reconciler.name
        self._api = api
        self._clock = clock
        self._watches = reconciler.watches
        self._recorder = Recorder(api, clock, reconciler.name)
        self._queue: WorkQueue[Key] = WorkQueue(clock)
        self._subscription: Subscription | None = None
        self._busy = False
        self._looked: dict[Key, float] = {}
        """When each key was looked at last, for `Soon`."""
        self._pace: dict[Key, float] = {}
        """Of keys whose last look was a long one: seconds that `Soon` waits for the next, so that a Service or a set of
        ten thousand pods, each of which makes it dirty, doesn't take the loop from them."""
        self._soon: dict[Key, Timer] = {}
        self._refused: dict[tuple[str, str], str] = {}
        """What each object was refused last: the same refusal on every retry is one event."""

    def start(self, scope: TaskScope) -> None:
        self._subscription = self._api.subscribe(self._watches, self._changed)
        scope.spawn(self._run(), name=self.name)

    def stop(self) -> None:
        if self._subscription:
            self._subscription.cancel()
        for timer in self._soon.values():
            timer.cancel()
        self._soon.clear()
        self._queue.close()

    def _changed(self, event: Event) -> None:
        for key in (self._watches.get(event.resource) or self._watches["*"])(event, self._api):
            if isinstance(key, Soon):
                self._add_soon(key)
            else:
                self._queue.add(key)

    def _add_soon(self, soon: Soon) -> None:
        key = soon.key
        if key in self._soon:
            return
        within = max(soon.within, self._pace.get(key, 0.0))
        wait = self._looked.get(key, 0.0) + within - self._clock.now()
        if wait <= 0:
            self._queue.add(key)
        else:
            self._soon[key] = self._clock.call_later(wait, lambda: self._due(key))

    def _due(self, key: Key) -> None:
        self._soon.pop(key, None)
        self._queue.add(key)

    @property
    def idle(self) -> bool:
        """Nothing is dirty now (keys that are due later, also `Soon`, don't count)."""
        return not self._busy and not len(self._queue)

    @property
    def settled(self) -> bool:
        """Nothing is dirty, nor will be `Soon`."""
        return self.idle and not self._soon

    async def _run(self) -> None:
        while True:
            await self._queue.wait()
            self._busy = True
            until = time.perf_counter() + 0.004  # then let sockets have their turn
            while len(self._queue):
                self.step()
                if time.perf_counter() > until:
                    break
            self._busy = False
            await asyncio.sleep(0)

    def step(self) -> None:
        """Reconcile one dirty key."""
        key = self._queue.pop()
        now = self._clock.now()
        if len(self._looked) > 4096:  # who was last looked at long ago needs no pacing
            self._looked = {known: then for known, then in self._looked.items() if then > now - 1.0}
        self._looked[key] = now
        begun = time.perf_counter()
        try:
            actions = self.reconciler.reconcile(key, self._api, now)
            for action in actions:
                self._apply(key, action)
        except StatusError as error:
            if error.reason not in ("Conflict", "NotFound", "AlreadyExists", "Forbidden"):
                logger.warning("reconcile refused controller=%s key=%s error=%s", self.name, key, error)
            self._queue.retry(key)
        except Exception:
            logger.exception("reconcile failed controller=%s key=%s", self.name, key)
            self._queue.retry(key)
        else:
            self._queue.forget(key)
        took = time.perf_counter() - begun
        if took > _LONG:
            self._pace[key] = min(_SHARE * took, _LONGEST_PACE)
        elif self._pace:
            self._pace.pop(key, None)

    def _create(self, action: Create) -> None:
        obj, about, created = action.object, action.about, action.created
        try:
            new = self._api.create(obj)
            if about is not None and created:
                self._recorder.record(
                    about, "Normal", "SuccessfulCreate", created.format(name=meta.name(new), owner=meta.name(about))
                )
        except StatusError as error:
            if about is not None and error.reason not in ("AlreadyExists", "NotFound"):
                if action.refused is not None:
                    action.refused(error)
                whom = (meta.uid(about), obj["metadata"].get("name", ""))
                # each try of a generated name is another: that alone is no news
                what = error.message.replace(str((error.details or {}).get("name")), "")
                if len(self._refused) > 4096:
                    self._refused.clear()
                if self._refused.get(whom) != what:
                    self._refused[whom] = what
                    said = f"Error creating: {error.message}"
                    if about["kind"] == "StatefulSet":  # in words of its own
                        said = f"create {obj['kind']} {whom[1]} in StatefulSet {meta.name(about)} failed error: "
                        said += error.message
                    self._recorder.record(about, "Warning", "FailedCreate", said)
            raise

    def _apply(self, key: Key, action: Action) -> None:
        match action:
            case Create():
                self._create(action)
            case Update(obj, subresource):
                self._api.update(obj, subresource=subresource)
            case UpdateStatus(obj):
                self._api.update(obj, subresource="status")
            case Delete(resource, target, uid, grace_period, propagation):
                try:
                    self._api.delete(
                        resource,
                        target.name,
                        target.namespace,
                        uid=uid,
                        grace_period=grace_period,
                        propagation=propagation,
                    )
                except StatusError as error:
                    if error.reason != "NotFound":  # gone already is what was wanted
                        raise
            case Emit(about, type_, reason, message):
                self._recorder.record(about, type_, reason, message)
            case Requeue(after):
                self._queue.add_after(key, after)
