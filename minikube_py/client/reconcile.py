"""Level-triggered reconcilers and the agent that runs them.

A `Reconciler` is pure: it looks at an object and a view of the world and returns the actions that bring the world
nearer to what the object says. `Agent` does the rest:

    commit → handler marks keys dirty → queue → reconcile(key) → actions → writes → commit → …

An action that loses a race (Conflict, NotFound, AlreadyExists) puts its key back: the next look decides anew.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from minikube_py.aiokit.clock import Clock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client.api import API, Event, Subscription, View
from minikube_py.client.events import Recorder
from minikube_py.client.queue import WorkQueue

__all__ = ["Action", "Agent", "Create", "Delete", "Emit", "Reconciler", "Requeue", "Update", "UpdateStatus"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Create:
    """Store a new object."""

    object: Object


@dataclass(frozen=True, slots=True)
class Update:
    """Replace spec and metadata of an object; carry its resourceVersion to be safe from lost updates."""

    object: Object


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """Replace the status of an object."""

    object: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object; `uid` guards against deleting its successor."""

    resource: str
    key: Key
    uid: str | None = None
    grace_period: int | None = None
    propagation: str = "Background"


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an Event about an object."""

    about: Object
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Requeue:
    """Look at the same key again in `after` seconds, whatever happens."""

    after: float


Action: TypeAlias = Create | Update | UpdateStatus | Delete | Emit | Requeue


class Reconciler(Protocol):
    """One controller: one file under `controllers/`.

    `watches` says which resources make which keys dirty: resource → (event → keys).
    """

    name: str
    """As in Kubernetes' events: `deployment-controller`."""
    watches: Mapping[str, Callable[[Event, View], Iterable[Key]]]

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
        self._recorder = Recorder(api, clock, reconciler.name)
        self._queue: WorkQueue[Key] = WorkQueue(clock)
        self._subscription: Subscription | None = None
        self._idle = asyncio.Event()
        self._busy = False

    def start(self, scope: TaskScope) -> None:
        self._subscription = self._api.subscribe(self.reconciler.watches, self._changed)
        scope.spawn(self._run(), name=self.name)

    def stop(self) -> None:
        if self._subscription:
            self._subscription.cancel()
        self._queue.close()

    def _changed(self, event: Event) -> None:
        for key in self.reconciler.watches[event.resource](event, self._api):
            self._queue.add(key)

    @property
    def idle(self) -> bool:
        """Nothing is dirty now (delayed keys don't count)."""
        return not self._busy and not len(self._queue)

    async def _run(self) -> None:
        while True:
            await self._queue.wait()
            self._busy = True
            for _ in range(64):  # then let sockets have their turn
                if not len(self._queue):
                    break
                self.step()
            self._busy = False
            await asyncio.sleep(0)

    def step(self) -> None:
        """Reconcile one dirty key."""
        key = self._queue.pop()
        try:
            actions = self.reconciler.reconcile(key, self._api, self._clock.now())
            for action in actions:
                self._apply(key, action)
        except StatusError as error:
            if error.reason not in ("Conflict", "NotFound", "AlreadyExists"):
                logger.warning("reconcile refused controller=%s key=%s error=%s", self.name, key, error)
            self._queue.retry(key)
        except Exception:
            logger.exception("reconcile failed controller=%s key=%s", self.name, key)
            self._queue.retry(key)
        else:
            self._queue.forget(key)

    def _apply(self, key: Key, action: Action) -> None:
        match action:
            case Create(obj):
                self._api.create(obj)
            case Update(obj):
                self._api.update(obj)
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
