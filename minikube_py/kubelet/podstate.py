"""The life of a pod on its node, as a pure state machine: events in, commands out, and the status to publish.

Stands for the kubelet's syncPod, its container manager and its status manager. Laws:
    - init containers run one after another, each to success; a sidecar (restartPolicy: Always) only has to be started;
    - the other containers start together once all init containers are done;
    - an exit is answered by the restart policy; a failure that repeats waits longer each time (`backoff.py`);
    - the phase follows from the container states alone (`_phase`, kubelet's getPhase);
    - after `Terminate` nothing is started any more.
Times are seconds since the epoch; whoever runs the machine calls `handle(Tick(), deadline())` when a deadline passes.
Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.images.reference import Reference
from minikube_py.kubelet.backoff import Backoff
from minikube_py.kubelet.probes import KINDS, Probe, ProbeKind

__all__ = [
    "Begin",
    "Command",
    "Emit",
    "Event",
    "Exited",
    "Kill",
    "PodChanged",
    "PodState",
    "Probed",
    "Role",
    "RunProbe",
    "Start",
    "StartFailed",
    "Started",
    "Terminate",
    "Tick",
]


class Role(Enum):
    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"
    EPHEMERAL = "ephemeral"


# Events


@dataclass(frozen=True, slots=True)
class Begin:
    """The pod has its sandbox: an address and a network namespace."""

    pod_ip: str
    host_ip: str


@dataclass(frozen=True, slots=True)
class Started:
    """A container's program is up, or has ended before it said so."""

    container: str


@dataclass(frozen=True, slots=True)
class Exited:
    container: str
    code: int
    message: str = ""
    reason: str = ""
    """Empty: Completed for 0, Error otherwise."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """A container can't be started: `ErrImagePull`, `CreateContainerConfigError`, …"""

    container: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Probed:
    container: str
    kind: ProbeKind
    success: bool
    message: str = ""
    attempt: int = 0
    """The restart count of the instance that was probed: a late result says nothing about its successor."""


@dataclass(frozen=True, slots=True)
class PodChanged:
    """The stored pod changed: labels, readiness gates' conditions, ephemeral containers."""

    pod: Object


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline has passed."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """The pod is being deleted or evicted: containers end one by one and none comes back."""


Event: TypeAlias = Begin | Started | Exited | StartFailed | Probed | PodChanged | Tick | Terminate


# Commands


@dataclass(frozen=True, slots=True)
class Start:
    """Start a container; `attempt` counts its restarts."""

    container: str
    attempt: int
    pull: bool = True
    """False for what was pulled in this pod before."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End a running container gracefully; `Exited` follows."""

    container: str
    message: str


@dataclass(frozen=True, slots=True)
class RunProbe:
    container: str
    kind: ProbeKind
    attempt: int


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an event; `container` names the one it is about."""

    type: str
    reason: str
    message: str
    container: str = ""


Command: TypeAlias = Start | Kill | RunProbe | Emit

_PULL_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull")


@dataclass(slots=True)
class _Container:
    """One container's state; exactly one of waiting, running (`started_at`), terminated."""

    spec: Mapping[str, Any]
    role: Role
    order: int
    waiting: tuple[str, str] | None = ("ContainerCreating", "")
    starting: bool = False
    running_since: float | None = None
    terminated: Object | None = None
    last: Object | None = None
    restarts: int = 0
    instance: int = 0
    """Counts every instance ever started, for container ids."""
    finished_at: float = 0.0
    retry_at: float | None = None
    """When a failed start or a back-off ends."""
    backoff: Backoff = field(default_factory=Backoff)
    pull_backoff: Backoff = field(default_factory=Backoff)
    probes: dict[ProbeKind, Probe] = field(default_factory=dict)
    killing: bool = False
    done: bool = False
    """An init container that succeeded, or a container that is never restarted."""

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def running(self) -> bool:
        return self.running_since is not None

    @property
    def started(self) -> bool:
        """Running, and past its startup probe."""
        probe = self.probes.get(ProbeKind.STARTUP)
        return self.running and (probe is None or probe.succeeded)

    @property
    def ready(self) -> bool:
        if self.role is Role.INIT:
            return self.done
        if self.role is Role.EPHEMERAL:
            return False
        probe = self.probes.get(ProbeKind.READINESS)
        return self.started and (probe is None or probe.succeeded)


class PodState:
    """What the kubelet knows of one pod."""

    def __init__(self, pod: Object) -> None:
        spec = meta.spec(pod)
        self._pod = pod
        self._identity = f"{meta.name(pod)}_{meta.namespace(pod)}({meta.uid(pod)})"
        self._restart_policy: str = spec.get("restartPolicy") or "Always"
        self._containers: dict[str, _Container] = {}
        order = 0
        for container in spec.get("initContainers") or ():
            role = Role.SIDECAR if container.get("restartPolicy") == "Always" else Role.INIT
            self._containers[container["name"]] = _Container(container, role, order, ("PodInitializing", ""))
            order += 1
        if order:
            self._main_waiting = ("PodInitializing", "")
        else:
            self._main_waiting = ("ContainerCreating", "")
        for container in spec.get("containers") or ():
            self._containers[container["name"]] = _Container(container, Role.MAIN, order, self._main_waiting)
            order += 1
        self._sandbox: Begin | None = None
        self._terminating = False
        self._start_time: float | None = None
        self._conditions: list[Object] = [dict(c) for c in meta.status(pod).get("conditions") or ()]
        self._active_deadline: float | None = None
        self._deadline_exceeded = False

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
                times += [p.due for p in self._runnable(container) if p.due is not None]
        if self._active_deadline is not None and not self._deadline_exceeded:
            times.append(self._active_deadline)
        return min(times, default=None)

    @staticmethod
    def _runnable(container: _Container) -> Iterable[Probe]:
        """The probes that may run now: only the startup probe until it has succeeded, and not after."""
        startup = container.probes.get(ProbeKind.STARTUP)
        if startup is not None and not startup.succeeded:
            return (startup,)
        return [p for p in container.probes.values() if p.kind is not ProbeKind.STARTUP]

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
        stored = {c.get("type"): c for c in meta.status(pod).get("conditions") or ()}
        for kind, condition in stored.items():
            if kind not in _OWN and condition not in self._conditions:
                self._conditions = [c for c in self._conditions if c.get("type") != kind] + [dict(condition)]
        for spec in meta.spec(pod).get("ephemeralContainers") or ():
            if spec["name"] not in self._containers:
                added = _Container(spec, Role.EPHEMERAL, len(self._containers))
                self._containers[spec["name"]] = added
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

    def _started(self, container: _Container, now: float, commands: list[Command]) -> None:
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

    def _exited(self, container: _Container, code: int, message: str, reason: str, now: float) -> None:
        terminated: Object = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": rfc3339(container.running_since or now),
            "finishedAt": rfc3339(now),
            "containerID": self._container_id(container),
        }
        if message:
            terminated["message"] = message
        container.terminated = terminated
        container.waiting = None
        container.starting = False
        container.running_since = None
        container.killing = False
        container.finished_at = now
        container.probes = {}
        if not self._restarts(container, code):
            container.done = container.role is not Role.INIT or code == 0
            if container.role is Role.INIT and code and self._restart_policy == "Never":
                self._fail_unstarted()

    def _restarts(self, container: _Container, code: int) -> bool:
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
        self, container: _Container, reason: str, message: str, now: float, commands: list[Command]
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
        container: _Container,
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
            for probe in self._runnable(container):
                if probe.due is not None and probe.due <= now:
                    probe.begin()
                    commands.append(RunProbe(container.name, probe.kind, container.restarts))

    def _try_start(self, container: _Container, now: float, commands: list[Command]) -> None:
        if container.running or container.starting or container.done:
            return
        if container.terminated is not None:
            self._try_restart(container, now, commands)
        elif container.retry_at is not None:
            if now >= container.retry_at:
                self._retry_start(container, now, commands)
        elif container.waiting is None or container.waiting[0] in ("ContainerCreating", "PodInitializing"):
            self._start(container, commands)

    def _start(self, container: _Container, commands: list[Command]) -> None:
        container.starting = True
        container.retry_at = None
        container.instance += 1
        if container.waiting is not None and container.waiting[0] == "PodInitializing":
            container.waiting = ("PodInitializing", "")
        commands.append(Start(container.name, container.restarts, pull=container.instance == 1))

    def _try_restart(self, container: _Container, now: float, commands: list[Command]) -> None:
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

    def _retry_start(self, container: _Container, now: float, commands: list[Command]) -> None:
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

    def _of(self, *roles: Role) -> list[_Container]:
        return [c for c in self._containers.values() if c.role in roles]

    def _initialized(self) -> bool:
        for container in self._of(Role.INIT, Role.SIDECAR):
            if container.role is Role.INIT and not container.done:
                return False
            if container.role is Role.SIDECAR and not (container.started or container.restarts or container.done):
                return False
        return True

    def _phase(self) -> str:
        """As kubelet's getPhase."""
        if self._deadline_exceeded:
            return "Running" if self.live else "Failed"
        failed_init = [
            c for c in self._of(Role.INIT) if c.terminated and not c.done and not c.running and not c.starting
        ]
        if failed_init and self._restart_policy == "Never":
            return "Failed"
        mains = self._of(Role.MAIN)
        if not self._initialized() or any(not c.running and not c.terminated and not c.last for c in mains):
            if self._terminating and not self.live and any(c.terminated for c in self._containers.values()):
                return "Failed"
            return "Pending"
        if any(c.running for c in mains) or any(c.running for c in self._of(Role.SIDECAR)):
            return "Running"
        if not self._terminating:
            if self._restart_policy == "Always" or any(not c.terminated for c in mains):
                return "Running"
            if self._restart_policy == "OnFailure" and any(not c.done for c in mains):
                return "Running"
        codes = [int((c.terminated or c.last or {"exitCode": 0})["exitCode"]) for c in mains]
        return "Succeeded" if not any(codes) else "Failed"

    def _container_id(self, container: _Container) -> str:
        uid = meta.uid(self._pod).replace("-", "")
        return f"minikube-py://{uid}{container.order:02x}{container.instance:04x}".ljust(14 + 64, "0")

    def _container_status(self, container: _Container) -> Object:
        reference = Reference.parse(str(container.spec.get("image", "")))
        state: Object
        if container.running_since is not None:
            state = {"running": {"startedAt": rfc3339(container.running_since)}}
        elif container.waiting is not None:
            reason, message = container.waiting
            state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        elif container.terminated is not None:
            state = {"terminated": container.terminated}
        else:
            state = {"waiting": {"reason": "ContainerCreating"}}
        seen = container.instance > 0 and (container.running or container.terminated is not None or container.last)
        return {
            "name": container.name,
            "state": state,
            "lastState": {"terminated": container.last} if container.last else {},
            "ready": container.ready,
            "restartCount": container.restarts,
            "image": reference.canonical if seen else str(container.spec.get("image", "")),
            "imageID": f"minikube-py://{reference.repository}" if seen else "",
            **({"containerID": self._container_id(container)} if seen else {}),
            "started": container.started,
        }

    def status(self, now: float) -> Object:
        """Return the pod's `status` as it is to be published; conditions keep the time of their last change."""
        phase = self._phase()
        pod_status: Object = {
            "phase": phase,
            "conditions": self._refresh_conditions(phase, now),
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
            if chosen := self._of(*roles):
                pod_status[field_name] = [self._container_status(c) for c in chosen]
        pod_status["qosClass"] = meta.status(self._pod).get("qosClass") or qos_class(meta.spec(self._pod))
        for kept in ("nominatedNodeName", "observedGeneration"):
            if kept in meta.status(self._pod):
                pod_status[kept] = meta.status(self._pod)[kept]
        return pod_status

    def _refresh_conditions(self, phase: str, now: float) -> list[Object]:
        counted = self._of(Role.MAIN, Role.SIDECAR)
        unready = [c.name for c in counted if not c.ready]
        uninitialized = [
            c.name
            for c in self._of(Role.INIT, Role.SIDECAR)
            if not (c.done if c.role is Role.INIT else c.started or c.restarts or c.done)
        ]
        self._set("PodReadyToStartContainers", self._sandbox is not None and phase not in ("Succeeded", "Failed"), now)
        if phase == "Succeeded":
            self._set("Initialized", True, now, "PodCompleted")
            self._set("Ready", False, now, "PodCompleted")
            self._set("ContainersReady", False, now, "PodCompleted")
        else:
            message = f"containers with incomplete status: [{' '.join(uninitialized)}]"
            if uninitialized:
                self._set("Initialized", False, now, "ContainersNotInitialized", message)
            else:
                self._set("Initialized", True, now)
            reason, message = "", ""
            if phase == "Failed":
                reason = "PodFailed"
            elif unready:
                reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
            gates = self._unmet_gates()
            if reason or not gates:
                self._set("Ready", not reason, now, reason, message)
            else:
                self._set("Ready", False, now, "ReadinessGatesNotReady", ", ".join(gates))
            self._set("ContainersReady", not reason, now, reason, message)
        self._set("PodScheduled", True, now)
        return [dict(condition) for condition in self._conditions]

    def _unmet_gates(self) -> list[str]:
        found = []
        conditions = {c.get("type"): c.get("status") for c in self._conditions}
        for gate in meta.spec(self._pod).get("readinessGates") or ():
            kind = gate.get("conditionType")
            if kind not in conditions:
                found.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
            elif conditions[kind] != "True":
                found.append(f'the status of pod readiness gate "{kind}" is not "True", but {conditions[kind]}')
        return found

    def _set(self, kind: str, holds: bool, now: float, reason: str = "", message: str = "") -> None:
        value = "True" if holds else "False"
        condition: Object = {"type": kind, "status": value, "lastProbeTime": None}
        for old in self._conditions:
            if old.get("type") == kind:
                same = old.get("status") == value and old.get("lastTransitionTime")
                condition["lastTransitionTime"] = old["lastTransitionTime"] if same else rfc3339(now)
                break
        else:
            condition["lastTransitionTime"] = rfc3339(now)
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        for index, old in enumerate(self._conditions):
            if old.get("type") == kind:
                self._conditions[index] = condition
                return
        self._conditions.append(condition)


_OWN = frozenset(("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"))
"""Conditions that the kubelet (or the scheduler before it) owns; others are readiness gates' and kept as stored."""

_SYNC = 1.0
"""Seconds until a failed start is looked at again; the kubelet's own period is 10 s, which nobody would wait for."""


def qos_class(spec: Mapping[str, Any]) -> str:
    """Return the pod's QoS class.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
    """
    containers: Sequence[Mapping[str, Any]] = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    anything, guaranteed = False, True
    for container in containers:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            anything = anything or name in requests or name in limits
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
