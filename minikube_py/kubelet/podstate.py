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
from minikube_py.kubelet.backoff import go_duration
from minikube_py.kubelet.container_status import ContainerState, Role
from minikube_py.kubelet.pod_status import Conditions, chosen, init_failed, phase, qos_class
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
    Started,
    StartFailed,
    Terminate,
    Tick,
)
from minikube_py.kubelet.probes import KINDS, Probe, ProbeKind

__all__ = ["PodState"]

_IMAGE_EVENTS = {
    "ErrImagePull": "Failed",
    "ErrImageNeverPull": "ErrImageNeverPull",
    "InvalidImageName": "InspectFailed",
}
"""Why there is no image → the reason of the event that says so."""

_SYNC = 1.0
"""Seconds until a failed start is looked at again; the kubelet's own period is 10 s, which nobody would wait for."""

_DEADLINE_EXCEEDED = "Pod was active on the node longer than the specified deadline"
_TICK = Tick()


class PodState:
    """What the kubelet knows of one pod."""

    def __init__(self, pod: Object) -> None:
        spec = meta.spec(pod)
        self._pod = pod
        self.revision = 0
        """Grows with each event that may have changed the status: most probes don't."""
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
        self._killed = False
        """The pod's containers were told to end because it is finished."""

    def _add(self, spec: Mapping[str, Any], role: Role) -> ContainerState:
        added = ContainerState(spec, role, len(self._containers), meta.uid(self._pod))
        self._containers[added.name] = added
        return added

    # Reading

    @property
    def sandbox(self) -> Begin | None:
        return self._sandbox

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
        found = [c for c in self._containers.values() if c.live]
        return [c.name for c in sorted(found, key=lambda c: (c.role is Role.SIDECAR, -c.order))]

    def deadline(self) -> float | None:
        """Return when the next thing is due by itself."""
        times = [c.retry_at for c in self._containers.values() if c.retry_at is not None]
        for container in self._containers.values():
            times += [p.due for p in self._probes(container) if p.due is not None]
        if self._active_deadline is not None and not self._deadline_exceeded:
            times.append(self._active_deadline)
        return min(times, default=None)

    # The machine

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event and return what is to be done, in order."""
        commands: list[Command] = []
        changed = True
        match event:
            case Begin():
                self._sandbox = event
                self._start_time = now
                if (limit := meta.spec(self._pod).get("activeDeadlineSeconds")) is not None:
                    self._active_deadline = now + float(limit)
            case Started(name):
                self._started(self._containers[name], now)
            case Exited(name, code, message, reason):
                self._exited(self._containers[name], code, message, reason, now)
            case StartFailed(name, reason, message):
                self._start_failed(self._containers[name], reason, message, now, commands)
            case Probed():
                changed = self._probed(event, now, commands)
            case PodChanged(pod):
                self._changed(pod, commands)
            case Terminate():
                self._terminating = True
                for container in self._containers.values():
                    container.retry_at = None
            case Tick():
                pass
        self._advance(now, commands)
        self.revision += changed and not (event == _TICK and all(isinstance(c, RunProbe) for c in commands))
        return commands

    def _changed(self, pod: Object, commands: list[Command]) -> None:
        self._pod = pod
        self._conditions.take_over(pod)
        for spec in meta.spec(pod).get("ephemeralContainers") or ():
            if spec["name"] not in self._containers:
                added = self._add(spec, Role.EPHEMERAL)
                if self._sandbox and not self._ending:
                    self._start(added, commands)
        for spec in meta.spec(pod).get("containers") or ():  # an image may be changed in place: that restarts it
            container = self._containers.get(spec["name"])
            if container and container.spec is not spec:
                changed = container.spec.get("image") != spec.get("image")
                container.spec = spec
                if changed and container.running and not container.killing:
                    container.killing = True
                    message = f"Container {container.name} definition changed, will be restarted"
                    commands += [Emit("Normal", "Killing", message, container.name), Kill(container.name)]

    def _started(self, container: ContainerState, now: float) -> None:
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
        container.ever_started = container.ever_started or container.started

    def _exited(self, container: ContainerState, code: int, message: str, reason: str, now: float) -> None:
        container.exited(code, reason, message, now)
        if not self._restarts(container, code):
            container.done = container.role is not Role.INIT or code == 0

    def _restarts(self, container: ContainerState, code: int) -> bool:
        if self._terminating or container.role is Role.EPHEMERAL or self._deadline_exceeded:
            return False
        if container.role is Role.SIDECAR:
            return not self._finished
        if container.role is Role.INIT:
            return code != 0 and self._restart_policy != "Never"
        return self._restart_policy == "Always" or (self._restart_policy == "OnFailure" and code != 0)

    @property
    def _finished(self) -> bool:
        """Whether all that is left to do is to end: the main containers are done, or an init container failed."""
        containers = self._containers.values()
        if init_failed(containers, self._restart_policy):
            return True
        return all(c.done for c in chosen(containers, Role.MAIN))

    def _start_failed(
        self, container: ContainerState, reason: str, message: str, now: float, commands: list[Command]
    ) -> None:
        container.starting = False
        container.waiting = (reason, message)
        container.retry_at = now + _SYNC
        if reason in _IMAGE_EVENTS:
            image = f'Failed to pull image "{container.spec.get("image")}": ' if reason == "ErrImagePull" else ""
            commands.append(Emit("Warning", _IMAGE_EVENTS[reason], f"{image}{message}", container.name))
        if reason == "ErrImagePull":
            container.pull_backoff.attempt(now, now)
            container.finished_at = now
        shown = reason if reason in _IMAGE_EVENTS else message
        commands.append(Emit("Warning", "Failed", f"Error: {shown}", container.name))

    def _probed(self, event: Probed, now: float, commands: list[Command]) -> bool:
        """Count a probe's result; return whether it changes what the container is."""
        container, kind = self._containers.get(event.container), event.kind
        probe = container.probes.get(kind) if container else None
        if container is None or probe is None or event.attempt != container.restarts or not container.running:
            return False
        if event.success is None:
            probe.missed(now)
            text = f"{kind.word} probe errored and resulted in unknown state: {event.message}"
            commands.append(Emit("Warning", "Unhealthy", text, container.name))
            return False
        reached = probe.result(event.success, now)
        if not event.success:
            commands.append(Emit("Warning", "Unhealthy", f"{kind.word} probe failed: {event.message}", container.name))
        elif event.message:
            text = f"{kind.word} probe warning: {event.message}"
            commands.append(Emit("Warning", "ProbeWarning", text, container.name))
        if not reached:
            return False
        if event.success and kind is ProbeKind.STARTUP:  # the others start now, not at the next round number
            container.ever_started = True
            for other in container.probes.values():
                if other.kind is not ProbeKind.STARTUP and container.running_since is not None:
                    other.due = max(now, container.running_since + other.initial_delay)
        elif not event.success and kind is not ProbeKind.READINESS and not container.killing and not self._ending:
            container.killing = True
            text = f"Container {container.name} failed {kind.word.lower()} probe"
            if self._restarts(container, 137):
                text += ", will be restarted"
            commands += [Emit("Normal", "Killing", text, container.name), Kill(container.name, probe.grace)]
        return True

    @property
    def _ending(self) -> bool:
        return self._terminating or self._deadline_exceeded

    def _advance(self, now: float, commands: list[Command]) -> None:
        """Do whatever is possible and due."""
        if self._sandbox is None:
            return
        if self._active_deadline is not None and now >= self._active_deadline and not self._ending:
            self._deadline_exceeded = True
            commands += [Emit("Normal", "DeadlineExceeded", _DEADLINE_EXCEEDED), KillPod()]
        for container in self._containers.values():
            for probe in self._probes(container):
                if probe.due is not None and probe.due <= now:
                    probe.begin()
                    commands.append(RunProbe(container.name, probe.kind, container.restarts))
        if self._ending:
            return
        if self._finished:
            if not self._killed and self.live:
                self._killed = True
                commands.append(KillPod())
            return
        mains = chosen(self._containers.values(), Role.MAIN)
        for container in chosen(self._containers.values(), Role.INIT, Role.SIDECAR):
            self._try_start(container, now, commands)
            if not container.initialized and not any(c.instance for c in mains):
                return  # the next one has to wait; a sidecar that crashes later holds nobody back
        for container in mains:
            if container.waiting == ("PodInitializing", ""):
                container.waiting = ("ContainerCreating", "")
            self._try_start(container, now, commands)
            if container.starting and (container.spec.get("lifecycle") or {}).get("postStart"):
                return  # the kubelet starts them one by one, hooks included

    def _probes(self, container: ContainerState) -> list[Probe]:
        """Return the probes that run while the pod is what it is: when it ends, readiness alone."""
        if not container.running or container.killing or not container.probes:
            return []
        probes = container.runnable_probes
        return [p for p in probes if p.kind is ProbeKind.READINESS] if self._ending else probes

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
        commands.append(Start(container.name, container.restarts, pull=container.instance == 1))

    def _try_restart(self, container: ContainerState, now: float, commands: list[Command]) -> None:
        assert container.terminated is not None
        code = int(container.terminated["exitCode"])
        if not self._restarts(container, code):
            return
        due = container.backoff.until(container.finished_at)
        if now < due:
            delay = go_duration(container.backoff.delay)
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
        reason, message = container.waiting or ("", "")
        due = container.finished_at + container.pull_backoff.delay
        if reason == "ErrImagePull" and now < due:
            text = f'Back-off pulling image "{container.spec.get("image")}"'
            container.waiting = ("ImagePullBackOff", f"{text}: ErrImagePull: {message}")
            container.retry_at = due
            commands.append(Emit("Normal", "BackOff", text, container.name))
            commands.append(Emit("Warning", "Failed", "Error: ImagePullBackOff", container.name))
            return
        container.instance -= 1  # this instance never came to be
        self._start(container, commands)

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
        if self._deadline_exceeded and reached == "Failed":
            pod_status["reason"] = "DeadlineExceeded"
            pod_status["message"] = _DEADLINE_EXCEEDED
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
