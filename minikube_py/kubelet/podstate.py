"""The life of a pod on its node, as a pure state machine: events in, commands out, and the status to publish.

Stands for the kubelet's syncPod and kuberuntime's computePodActions. Laws:
    - init containers run one after another, each to success; a sidecar (restartPolicy: Always) only has to be started;
    - the other containers start together once all init containers are done;
    - an exit is answered by the restart policy; a failure that repeats waits longer each time (`backoff.py`);
    - the phase follows from the container states alone (`pod_status.py`);
    - after `Terminate` nothing is started any more.
Times are seconds since the epoch; whoever runs the machine calls `handle(Tick(), deadline())` when a deadline passes.
Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from collections.abc import Mapping
from typing import Any

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kubelet.container_status import ContainerState, Role
from minikube_py.kubelet.pod_status import Conditions, chosen, phase, qos_class
from minikube_py.kubelet.podactions import (
    Begin,
    Command,
    Emit,
    Event,
    Exited,
    Kill,
    PodChanged,
    Probed,
    RunProbe,
    Start,
    Started,
    StartFailed,
    Terminate,
    Tick,
)
from minikube_py.kubelet.probes import KINDS, Probe, ProbeKind

__all__ = ["PodState"]

_PULL_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull")

_SYNC = 1.0
"""Seconds until a failed start is looked at again; the kubelet's own period is 10 s, which nobody would wait for."""


class PodState:
    """What the kubelet knows of one pod."""

    def __init__(self, pod: Object) -> None:
        spec = meta.spec(pod)
        self._pod = pod
        self._identity = f"{meta.name(pod)}_{meta.namespace(pod)}({meta.uid(pod)})"
        self._restart_policy: str = spec.get("restartPolicy") or "Always"
        self._containers: dict[str, ContainerState] = {}
        for container in spec.get("initContainers") or ():
            self._add(container, Role.SIDECAR if container.get("restartPolicy") == "Always" else Role.INIT)
        for container in spec.get("containers") or ():
            self._add(container, Role.MAIN)
        if spec.get("initContainers"):
            for state in self._containers.values():
                state.waiting = ("PodInitializing", "")
        self._sandbox: Begin | None = None
        self._terminating = False
        self._start_time: float | None = None
        self._conditions = Conditions(pod)
        self._active_deadline: float | None = None
        self._deadline_exceeded = False

    def _add(self, spec: Mapping[str, Any], role: Role) -> ContainerState:
        added = ContainerState(spec, role, len(self._containers), meta.uid(self._pod))
        self._containers[added.name] = added
        return added

    # Reading

    @property
    def sandbox(self) -> Begin | None:
        return self._sandbox

    def role(self, name: str) -> Role:
        return self._containers[name].role

    def attempt(self, name: str) -> int:
        return self._containers[name].restarts

    def is_running(self, name: str) -> bool:
        container = self._containers.get(name)
        return container is not None and container.running

    def waiting_reason(self, name: str) -> tuple[str, str] | None:
        container = self._containers.get(name)
        return container.waiting if container else None

    @property
    def over(self) -> bool:
        """Succeeded or Failed: nothing will run here any more."""
        return self._phase() in ("Succeeded", "Failed")

    @property
    def live(self) -> list[str]:
        """The containers that run now or are about to, in the order in which to stop them (sidecars last)."""
        found = [c for c in self._containers.values() if c.running or c.starting]
        return [c.name for c in sorted(found, key=lambda c: (c.role is Role.SIDECAR, -c.order))]

    def deadline(self) -> float | None:
        """Return when the next thing is due by itself."""
        times = [c.retry_at for c in self._containers.values() if c.retry_at is not None]
        for container in self._containers.values():
            if container.running and not container.killing:
                times += [p.due for p in container.runnable_probes if p.due is not None]
        if self._active_deadline is not None and not self._deadline_exceeded:
            times.append(self._active_deadline)
        return min(times, default=None)

    # The machine

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event and return what is to be done, in order."""
        commands: list[Command] = []
        match event:
            case Begin():
                self._sandbox = event
                self._start_time = now
                if (limit := meta.spec(self._pod).get("activeDeadlineSeconds")) is not None:
                    self._active_deadline = now + float(limit)
            case Started(name):
                self._started(self._containers[name], now, commands)
            case Exited(name, code, message, reason):
                self._exited(self._containers[name], code, message, reason, now)
            case StartFailed(name, reason, message):
                self._start_failed(self._containers[name], reason, message, now, commands)
            case Probed(name, kind, success, message, attempt):
                if name in self._containers:
                    self._probed(self._containers[name], kind, success, message, attempt, now, commands)
            case PodChanged(pod):
                self._changed(pod, commands)
            case Terminate():
                self._terminating = True
                for container in self._containers.values():
                    container.retry_at = None
            case Tick():
                pass
        self._advance(now, commands)
        return commands

    def _changed(self, pod: Object, commands: list[Command]) -> None:
        self._pod = pod
        self._conditions.take_over(pod)
        for spec in meta.spec(pod).get("ephemeralContainers") or ():
            if spec["name"] not in self._containers:
                added = self._add(spec, Role.EPHEMERAL)
                if self._sandbox and not self._terminating:
                    added.starting = True
                    commands.append(Start(added.name, 0))
        for spec in meta.spec(pod).get("containers") or ():  # an image may be changed in place: that restarts it
            container = self._containers.get(spec["name"])
            if container and container.spec is not spec:
                changed = container.spec.get("image") != spec.get("image")
                container.spec = spec
                if changed and container.running and not container.killing:
                    container.killing = True
                    message = f"Container {container.name} definition changed, will be restarted"
                    commands += [Emit("Normal", "Killing", message, container.name), Kill(container.name, message)]

    def _started(self, container: ContainerState, now: float, commands: list[Command]) -> None:
        if container.running:
            return
        container.starting = False
        container.waiting = None
        container.terminated = None
        container.running_since = now
        container.killing = False
        container.probes = {
            kind: Probe.of(kind, container.spec[kind.value], now)
            for kind in KINDS
            if container.spec.get(kind.value) is not None and container.role in (Role.MAIN, Role.SIDECAR)
        }
        message = f"Started container {container.name}"
        commands.append(Emit("Normal", "Started", message, container.name))

    def _exited(self, container: ContainerState, code: int, message: str, reason: str, now: float) -> None:
        container.exited(code, reason, message, now)
        if not self._restarts(container, code):
            container.done = container.role is not Role.INIT or code == 0
            if container.role is Role.INIT and code and self._restart_policy == "Never":
                self._fail_unstarted()

    def _restarts(self, container: ContainerState, code: int) -> bool:
        if self._terminating or container.role is Role.EPHEMERAL or self._deadline_exceeded:
            return False
        if container.role is Role.SIDECAR:
            return any(c.role in (Role.MAIN, Role.INIT) and not c.done for c in self._containers.values())
        if container.role is Role.INIT:
            return code != 0 and self._restart_policy != "Never"
        return self._restart_policy == "Always" or (self._restart_policy == "OnFailure" and code != 0)

    def _fail_unstarted(self) -> None:
        """An init container failed for good: what was to come after it never starts."""
        for container in self._containers.values():
            container.retry_at = None

    def _start_failed(
        self, container: ContainerState, reason: str, message: str, now: float, commands: list[Command]
    ) -> None:
        container.starting = False
        container.waiting = (reason, message)
        if reason in _PULL_REASONS:
            commands.append(Emit("Warning", "Failed", message, container.name))
            commands.append(Emit("Warning", "Failed", f"Error: {reason}", container.name))
            container.pull_backoff.attempt(now, now)
            container.finished_at = now
            container.retry_at = now + min(_SYNC, container.pull_backoff.delay)
        else:
            commands.append(Emit("Warning", "Failed", f"Error: {message}", container.name))
            container.retry_at = now + _SYNC

    def _probed(
        self,
        container: ContainerState,
        kind: ProbeKind,
        success: bool,
        message: str,
        attempt: int,
        now: float,
        commands: list[Command],
    ) -> None:
        probe = container.probes.get(kind)
        if probe is None or attempt != container.restarts or not container.running:
            return
        reached = probe.result(success, now)
        if not success:
            commands.append(Emit("Warning", "Unhealthy", f"{kind.word} probe failed: {message}", container.name))
        if not reached:
            return
        if success and kind is ProbeKind.STARTUP:  # the others start now, not at the next round number
            for other in container.probes.values():
                if other.kind is not ProbeKind.STARTUP and container.running_since is not None:
                    other.due = max(now, container.running_since + other.initial_delay)
        elif not success and kind is not ProbeKind.READINESS and not container.killing and not self._terminating:
            container.killing = True
            text = f"Container {container.name} failed {kind.word.lower()} probe"
            if self._restarts(container, 137):
                text += ", will be restarted"
            commands += [Emit("Normal", "Killing", text, container.name), Kill(container.name, text)]

    def _advance(self, now: float, commands: list[Command]) -> None:
        """Do whatever is possible and due."""
        if self._sandbox is None or self._terminating:
            return
        if self._active_deadline is not None and now >= self._active_deadline and not self._deadline_exceeded:
            self._deadline_exceeded = True
            message = "Pod was active on the node longer than the specified deadline"
            commands.append(Emit("Normal", "DeadlineExceeded", message))
            commands += [Kill(name, message) for name in self.live]
        if self._deadline_exceeded:
            return
        self._run_probes(now, commands)
        for container in self._containers.values():
            if container.role in (Role.INIT, Role.SIDECAR):
                self._try_start(container, now, commands)
                blocked = not container.started if container.role is Role.SIDECAR else not container.done
                if blocked and not (container.role is Role.SIDECAR and container.restarts and container.terminated):
                    return  # the next one has to wait; a sidecar that crashed later holds nobody back
        for container in self._containers.values():
            if container.role is Role.MAIN:
                if container.waiting == ("PodInitializing", ""):
                    container.waiting = ("ContainerCreating", "")
                self._try_start(container, now, commands)
        self._stop_sidecars(commands)

    def _run_probes(self, now: float, commands: list[Command]) -> None:
        for container in self._containers.values():
            if not container.running or container.killing:
                continue
            for probe in container.runnable_probes:
                if probe.due is not None and probe.due <= now:
                    probe.begin()
                    commands.append(RunProbe(container.name, probe.kind, container.restarts))

    def _try_start(self, container: ContainerState, now: float, commands: list[Command]) -> None:
        if container.running or container.starting or container.done:
            return
        if container.terminated is not None:
            self._try_restart(container, now, commands)
        elif container.retry_at is not None:
            if now >= container.retry_at:
                self._retry_start(container, now, commands)
        elif container.waiting is None or container.waiting[0] in ("ContainerCreating", "PodInitializing"):
            self._start(container, commands)

    def _start(self, container: ContainerState, commands: list[Command]) -> None:
        container.starting = True
        container.retry_at = None
        container.instance += 1
        if container.waiting is not None and container.waiting[0] == "PodInitializing":
            container.waiting = ("PodInitializing", "")
        commands.append(Start(container.name, container.restarts, pull=container.instance == 1))

    def _try_restart(self, container: ContainerState, now: float, commands: list[Command]) -> None:
        assert container.terminated is not None
        code = int(container.terminated["exitCode"])
        if not self._restarts(container, code):
            return
        due = container.backoff.until(container.finished_at)
        if now < due:
            delay = f"{container.backoff.delay:.0f}s"
            if container.backoff.delay >= 60:
                minutes, seconds = divmod(int(container.backoff.delay), 60)
                delay = f"{minutes}m{seconds}s"
            container.waiting = (
                "CrashLoopBackOff",
                f"back-off {delay} restarting failed container={container.name} pod={self._identity}",
            )
            container.last = container.terminated
            if container.retry_at is None:
                container.retry_at = due
                text = f"Back-off restarting failed container {container.name} in pod {self._identity}"
                commands.append(Emit("Warning", "BackOff", text, container.name))
            return
        container.backoff.attempt(container.finished_at, now)
        container.last = container.terminated
        container.terminated = None
        container.restarts += 1
        container.waiting = ("ContainerCreating", "")
        self._start(container, commands)

    def _retry_start(self, container: ContainerState, now: float, commands: list[Command]) -> None:
        """A failed start is due again: pulls back off, config errors are looked at every sync."""
        reason = container.waiting[0] if container.waiting else ""
        image = container.spec.get("image", "")
        due = container.finished_at + container.pull_backoff.delay
        if reason == "ErrImagePull" and now < due:
            text = f'Back-off pulling image "{image}"'
            container.waiting = ("ImagePullBackOff", text)
            container.retry_at = due
            commands.append(Emit("Normal", "BackOff", text, container.name))
            commands.append(Emit("Warning", "Failed", "Error: ImagePullBackOff", container.name))
            return
        container.instance -= 1  # this instance never came to be
        self._start(container, commands)

    def _stop_sidecars(self, commands: list[Command]) -> None:
        """When every main container is done for good, sidecars end, the last one first."""
        mains = [c for c in self._containers.values() if c.role is Role.MAIN]
        if not mains or not all(c.done for c in mains):
            return
        for container in self._containers.values():
            if container.role is Role.SIDECAR and container.running and not container.killing:
                container.killing = True
                message = f"Stopping container {container.name}"
                commands += [Emit("Normal", "Killing", message, container.name), Kill(container.name, message)]

    # Status

    def _phase(self) -> str:
        return phase(
            self._containers.values(),
            self._restart_policy,
            terminating=self._terminating,
            deadline_exceeded=self._deadline_exceeded,
        )

    def status(self, now: float) -> Object:
        """Return the pod's `status` as it is to be published; conditions keep the time of their last change."""
        containers, reached = self._containers.values(), self._phase()
        pod_status: Object = {
            "phase": reached,
            "conditions": self._conditions.refresh(
                containers,
                reached,
                now,
                sandbox=self._sandbox is not None,
                gates=meta.spec(self._pod).get("readinessGates") or (),
            ),
        }
        if self._sandbox:
            pod_status["hostIP"] = self._sandbox.host_ip
            pod_status["hostIPs"] = [{"ip": self._sandbox.host_ip}]
            pod_status["podIP"] = self._sandbox.pod_ip
            pod_status["podIPs"] = [{"ip": self._sandbox.pod_ip}]
        if self._start_time is not None:
            pod_status["startTime"] = rfc3339(self._start_time)
        if self._deadline_exceeded:
            pod_status["reason"] = "DeadlineExceeded"
            pod_status["message"] = "Pod was active on the node longer than the specified deadline"
        for field_name, roles in (
            ("initContainerStatuses", (Role.INIT, Role.SIDECAR)),
            ("containerStatuses", (Role.MAIN,)),
            ("ephemeralContainerStatuses", (Role.EPHEMERAL,)),
        ):
            if some := chosen(containers, *roles):
                pod_status[field_name] = [c.status() for c in some]
        pod_status["qosClass"] = meta.status(self._pod).get("qosClass") or qos_class(meta.spec(self._pod))
        for kept in ("nominatedNodeName", "observedGeneration"):
            if kept in meta.status(self._pod):
                pod_status[kept] = meta.status(self._pod)[kept]
        return pod_status
