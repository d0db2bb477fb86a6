"""What happens to a pod (events) and what is to be done about it (commands): the vocabulary of `PodState`.

Stands for the kubelet's pod lifecycle event generator (PLEG) on the one side and kuberuntime's podActions on the other.
"""

from dataclasses import dataclass
from typing import TypeAlias

from minikube_py.apimachinery.meta import Object
from minikube_py.kubelet.probes import ProbeKind

__all__ = [
    "Begin",
    "Command",
    "Emit",
    "Event",
    "Exited",
    "Kill",
    "KillPod",
    "PodChanged",
    "Probed",
    "RunProbe",
    "Start",
    "StartFailed",
    "Started",
    "Terminate",
    "Tick",
]

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
    success: bool | None
    """None: the probe could not be made, which counts as nothing."""
    message: str = ""
    """Why it failed; of a success, a warning."""
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
    grace: float | None = None
    """Seconds; None: the pod's terminationGracePeriodSeconds."""


@dataclass(frozen=True, slots=True)
class KillPod:
    """End all containers gracefully: sidecars after the others, the last one first."""


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


Command: TypeAlias = Start | Kill | KillPod | RunProbe | Emit
