"""One container of a pod as the kubelet knows it, and the `ContainerStatus` that it publishes.

Stands for kubecontainer.Status and the kubelet's convertToAPIContainerStatuses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery.meta import Object
from minikube_py.images.reference import Reference
from minikube_py.kubelet.backoff import Backoff
from minikube_py.kubelet.probes import Probe, ProbeKind

__all__ = ["ContainerState", "Role"]


class Role(Enum):
    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"
    EPHEMERAL = "ephemeral"


@dataclass(slots=True)
class ContainerState:
    """One container's state; exactly one of waiting, running (`running_since`), terminated."""

    spec: Mapping[str, Any]
    role: Role
    order: int
    uid: str
    """The pod's."""
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
    ever_started: bool = False
    """Some instance got past its startup probe."""
    done: bool = False
    """An init container that succeeded, or a container that is never restarted."""

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def running(self) -> bool:
        return self.running_since is not None

    @property
    def live(self) -> bool:
        """Running, or about to."""
        return self.running or self.starting

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

    @property
    def initialized(self) -> bool:
        """Whether an init container or sidecar lets the next one start; a sidecar that crashes later holds nobody."""
        return self.ever_started if self.role is Role.SIDECAR else self.done

    @property
    def runnable_probes(self) -> list[Probe]:
        """The probes that may run now: only the startup probe until it has succeeded, and not after."""
        startup = self.probes.get(ProbeKind.STARTUP)
        if startup is not None and not startup.succeeded:
            return [startup]
        return [p for p in self.probes.values() if p.kind is not ProbeKind.STARTUP]

    @property
    def container_id(self) -> str:
        return f"minikube-py://{self.uid.replace('-', '')}{self.order:02x}{self.instance:04x}".ljust(14 + 64, "0")

    def exited(self, code: int, reason: str, message: str, now: float) -> None:
        """Note how the running instance ended."""
        self.terminated = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": rfc3339(0.0 if reason == "StartError" else self.running_since or now),
            "finishedAt": rfc3339(now),
            "containerID": self.container_id,
            **({"message": message} if message else {}),
        }
        self.waiting = None
        self.starting = False
        self.running_since = None
        self.killing = False
        self.finished_at = now
        self.probes = {}

    def status(self) -> Object:
        """Return the entry of `containerStatuses`."""
        reference = Reference.parse(str(self.spec.get("image", "")))
        state: Object
        if self.running_since is not None:
            state = {"running": {"startedAt": rfc3339(self.running_since)}}
        elif self.waiting is not None:
            reason, message = self.waiting
            state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        elif self.terminated is not None:
            state = {"terminated": self.terminated}
        else:
            state = {"waiting": {"reason": "ContainerCreating"}}
        seen = self.instance > 0 and (self.running or self.terminated is not None or self.last)
        return {
            "name": self.name,
            "state": state,
            "lastState": {"terminated": self.last} if self.last else {},
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": reference.canonical if seen else str(self.spec.get("image", "")),
            "imageID": f"minikube-py://{reference.repository}" if seen else "",
            **({"containerID": self.container_id} if seen else {}),
            "started": self.started,
        }
