"""What happens to a pod (events) and what is to be done about it (commands): the vocabulary of `PodState`.

Stands for the kubelet's pod lifecycle event generator (PLEG) on the one side and kuberuntime's podActions on the other.
"""

from typing import TypeAlias

from msgspec import Struct

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


class Begin(Struct, frozen=True):
    """The pod has its sandbox: an address and a network namespace."""

    pod_ip: str
    host_ip: str


class Started(Struct, frozen=True):
    """A container's program is up, or has ended before it said so."""

    container: str


class Exited(Struct, frozen=True):
    container: str
    code: int
    message: str = ""
    reason: str = ""
    """Empty: Completed for 0, Error otherwise."""


class StartFailed(Struct, frozen=True):
    """A container can't be started: `ErrImagePull`, `CreateContainerConfigError`, …"""

    container: str
    reason: str
    message: str


class Probed(Struct, frozen=True):
    container: str
    kind: ProbeKind
    success: bool | None
    """None: the probe could not be made, which counts as nothing."""
    message: str = ""
    """Why it failed; of a success, a warning."""
    attempt: int = 0
    """The restart count of the instance that was probed: a late result says nothing about its successor."""


class PodChanged(Struct, frozen=True):
    """The stored pod changed: labels, readiness gates' conditions, ephemeral containers."""

    pod: Object


class Tick(Struct, frozen=True):
    """A deadline has passed."""


class Terminate(Struct, frozen=True):
    """The pod is being deleted or evicted: containers end one by one and none comes back."""


Event: TypeAlias = Begin | Started | Exited | StartFailed | Probed | PodChanged | Tick | Terminate

# Commands


class Start(Struct, frozen=True):
    """Start a container; `attempt` counts its restarts."""

    container: str
    attempt: int
    pull: bool = True
    """False for what was pulled in this pod before."""


class Kill(Struct, frozen=True):
    """End a running container gracefully; `Exited` follows."""

    container: str
    grace: float | None = None
    """Seconds; None: the pod's terminationGracePeriodSeconds."""


class KillPod(Struct, frozen=True):
    """End all containers gracefully: sidecars after the others, the last one first."""


class RunProbe(Struct, frozen=True):
    container: str
    kind: ProbeKind
    attempt: int


class Emit(Struct, frozen=True):
    """Record an event; `container` names the one it is about."""

    type: str
    reason: str
    message: str
    container: str = ""


Command: TypeAlias = Start | Kill | KillPod | RunProbe | Emit
