"""One pod on its node: runs what `podstate` decides and tells it what happened.

Stands for the kubelet's pod workers.

    pod stored ──► begin: sandbox, volumes ──► PodState ──commands──► containers, probes: tasks in the pod's context
                                                  ▲                        │
                                                  └──────────events────────┘
    deleted ──► endpoints published ──► preStop ──► SIGTERM ──► grace ──► cancel ──► sockets drained ──► address back
"""

import asyncio
import contextvars
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from minikube_py.aiokit.clock import Timer
from minikube_py.aiokit.linelog import LineLog
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.cni.ipam import Exhausted
from minikube_py.kubelet.containers import Containers, Instance
from minikube_py.kubelet.environment import ConfigError
from minikube_py.kubelet.podactions import (
    Begin,
    Command,
    Emit,
    Event,
    Exited,
    Kill,
    KillPod,
    PodChanged,
    Probed,
    RunProbe,
    Start,
    Terminate,
    Tick,
)
from minikube_py.kubelet.podstate import PodState
from minikube_py.kubelet.prober import ProbeErrored, ProbeFailed
from minikube_py.kubelet.probes import ProbeKind
from minikube_py.kubelet.sandbox import Sandbox, SandboxError
from minikube_py.kubelet.status_manager import StatusManager
from minikube_py.kubelet.volume_manager import VolumeManager

if TYPE_CHECKING:
    from minikube_py.kubelet.agent import Kubelet

__all__ = ["PodWorker"]

_RETRY = 1.0
"""Seconds until missing volumes or addresses are looked for again."""

_FIRST_BYTES = 0.5
"""Seconds that a connection may be without its first byte before its pod doesn't wait for it any more."""

_FORCED_DRAIN = 2.0
"""Seconds that connections in flight have when a pod is killed without grace."""

_CREATING = ("ContainerCreating", "PodInitializing")


class PodWorker:
    """Owns a pod's sandbox, folders and tasks.

    Resource handling: `terminate()` or `close()` gives everything back, in reverse order.
    """

    def __init__(self, kubelet: "Kubelet", pod: Object) -> None:
        self._kubelet = kubelet
        self.uid = meta.uid(pod)
        self.key = meta.key(pod)
        self.state = PodState(pod)
        self.sandbox = Sandbox(kubelet, pod)
        self._volumes = VolumeManager(kubelet, pod, self.sandbox)
        self._containers = Containers(kubelet, pod, self.sandbox, self._volumes, self._spawn, self.feed)
        self._status = StatusManager(
            kubelet.clock,
            lambda: self.state.status(kubelet.clock.now()),
            lambda status: kubelet.write_status(self.pod, status),
        )
        self._scope = TaskScope(f"pod {self.key}")
        self._timer: Timer | None = None
        self._due: float | None = None
        self._revision = 0
        self.terminating = False
        self._closed = False

    @property
    def pod(self) -> Object:
        """The pod as stored now."""
        return self._containers.pod

    @pod.setter
    def pod(self, pod: Object) -> None:
        self._containers.pod = pod

    @property
    def ip(self) -> str:
        return self.sandbox.ip

    @property
    def namespace(self) -> Any:
        return self.sandbox.namespace

    @property
    def instances(self) -> Mapping[str, Instance]:
        return self._containers.instances

    @property
    def previous(self) -> Mapping[str, LineLog]:
        """The logs of containers' last instances but one."""
        return self._containers.previous

    def spec_of(self, name: str) -> Mapping[str, Any]:
        """Return a container's spec; empty if there is none of this name."""
        return self._containers.spec_of(name)

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return the containers' main programs that run."""
        return self._containers.tasks()

    # Start

    def begin(self) -> None:
        """Give the pod its address and start it; what is missing is looked for again in a second."""
        if self.state.sandbox or self._closed or self.terminating:
            return
        try:
            if not self.ip:
                self.sandbox.lease()
            self._volumes.mount(self.pod)
        except (Exhausted, SandboxError) as error:
            self._event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            self._later(_RETRY, self.begin)
            return
        except ConfigError as error:
            self._event("Warning", "FailedMount", str(error))
            self._later(_RETRY, self.begin)
            self._mark()
            return
        self.sandbox.open_host_ports()
        self.feed(Begin(self.ip, self._kubelet.ip))

    def refresh_volumes(self) -> None:
        """What volumes show may have changed: their files follow."""
        if self.state.sandbox and not self._closed:
            self._volumes.refresh(self.pod)

    def open_ports(self) -> None:
        """Services came or went: programs that listen on what Services want open the new ports."""
        self._containers.open_ports()

    # The machine

    def feed(self, event: Event) -> None:
        """Hand an event to the state machine and do what it says."""
        if self._closed:
            return
        pending = [event]
        while pending:
            for command in self.state.handle(pending.pop(0), self._kubelet.clock.now()):
                if (answer := self._do(command)) is not None:
                    pending.append(answer)
        self._arm()
        if self.state.revision == self._revision:
            return
        self._revision = self.state.revision
        self._mark()
        if isinstance(event, Exited) and self.state.over and not self.terminating:
            self._spawn(self.sandbox.close(0.0), "release")

    def _do(self, command: Command) -> Event | None:
        match command:
            case Start(name, attempt, pull):
                return self._containers.start(name, attempt, pull=pull)
            case Kill(name, grace):
                if instance := self.instances.get(name):
                    self._spawn(self._containers.kill(instance, grace), f"kill {name}")
            case KillPod():
                self._spawn(self._containers.kill_all(self.state.live), "kill pod")
            case RunProbe(name, kind, attempt):
                self._spawn(self._probe(name, kind, attempt), f"probe {name}", self._kubelet.node_context())
            case Emit(type_, reason, message, name):
                self._event(type_, reason, message, name)
        return None

    def _spawn(self, coro: Any, name: str, context: contextvars.Context | None = None) -> asyncio.Task[Any]:
        return self._scope.spawn(coro, name=f"{self.key} {name}", context=context)

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        if not self._closed:
            self._kubelet.clock.call_later(delay, lambda: None if self._closed else callback())

    def _arm(self) -> None:
        due = self.state.deadline()
        if due == self._due:
            return
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._due = due
        if due is not None:
            self._timer = self._kubelet.clock.call_later(max(due - self._kubelet.clock.now(), 0.0), self._tick)

    def _tick(self) -> None:
        self._timer, self._due = None, None
        self.feed(Tick())

    def _event(self, type_: str, reason: str, message: str, container: str = "") -> None:
        if container:
            self._containers.event(type_, reason, message, container)
        else:
            self._kubelet.record(self.pod, type_, reason, message, "")

    def _mark(self) -> None:
        """The status may have changed."""
        if not self._closed:
            self._status.changed(settling=self._unsettled())

    def _unsettled(self) -> bool:
        return any(
            not self.state.is_running(name) and (self.state.waiting_reason(name) or ("", ""))[0] in _CREATING
            for name in self.state.live
        )

    async def _probe(self, name: str, kind: ProbeKind, attempt: int) -> None:
        spec, instance = self.spec_of(name), self.instances[name]
        success: bool | None = True
        try:
            message = await self._containers.handlers.probe(instance.container, spec, spec.get(kind.value) or {})
        except ProbeFailed as error:
            success, message = False, str(error)
        except ProbeErrored as error:
            success, message = None, str(error)
        self.feed(Probed(name, kind, success, message, attempt))

    # Change and end

    def changed(self, pod: Object) -> None:
        """The stored pod changed; files that show its labels and annotations follow."""
        shown = [(meta.labels(one), meta.annotations(one)) for one in (self.pod, pod)]
        self.pod = pod
        if shown[0] != shown[1]:
            self.refresh_volumes()
        self.feed(PodChanged(pod))

    async def terminate(self, grace: float, *, forced: bool = False) -> None:
        """End the pod gracefully, or at once but without failing requests in flight if it is `forced`."""
        if self.terminating:
            return
        self.terminating = True
        self.feed(Terminate())
        started = time.monotonic()
        await self._kubelet.published()
        if self.namespace is not None:
            await self.namespace.first_bytes(_FIRST_BYTES)
        if forced:
            await self._abandon(started)
        else:
            await self._containers.kill_all(self.state.live, self._left(grace, started))
            await self.sandbox.close(min(self._left(grace, started), _FORCED_DRAIN))
        if meta.terminating(self.pod) and self.pod["metadata"].get("finalizers"):
            self._status.write()
        await self._finish()

    async def _abandon(self, started: float) -> None:
        """The pod is gone from the API: end it now, but let requests in flight finish."""
        live = [self.instances[name] for name in self.state.live if name in self.instances]
        for instance in live:
            name = instance.container.name
            self._event("Normal", "Killing", f"Stopping container {name}", name)
            instance.container.terminated.set()
        if tasks := self.tasks():  # servers that know how to finish keep-alive connections do so without a loss
            await asyncio.wait(tasks, timeout=_FORCED_DRAIN / 4)
        await self.sandbox.close(self._left(_FORCED_DRAIN, started))
        for instance in live:
            if instance.task:
                instance.task.cancel()

    @staticmethod
    def _left(grace: float, started: float) -> float:
        return max(grace - (time.monotonic() - started), 0.0)

    def sigterm(self) -> None:
        """Ask every container to end: the cluster stops."""
        self.terminating = True
        self.state.handle(Terminate(), self._kubelet.clock.now())
        for instance in self.instances.values():
            instance.container.terminated.set()

    async def close(self) -> None:
        """End everything now."""
        self.terminating = True
        self._closed = True
        await self.sandbox.close(0.0)
        await self._finish()

    async def _finish(self) -> None:
        self._closed = True
        self._containers.close()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._status.close()
        await self._scope.close()
        self._volumes.remove()
