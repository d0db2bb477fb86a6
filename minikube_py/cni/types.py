"""Where components above and the network below meet: values and Protocols, no sockets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ALLOWED", "Flow", "Gate", "OpenGate", "Resolver", "Verdict"]


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection attempt or datagram flow, after Service translation: what a NetworkPolicy judges."""

    source: str
    """Address of the caller: a pod's, a node's, or another (127.0.0.1: outside the cluster)."""
    destination: str
    """Address of the pod (or of the outside) that is to receive it, never a Service's."""
    port: int
    """The destination's own port (targetPort), as the pod sees it."""
    protocol: str = "TCP"
    seen_as: str = ""
    """Whom the destination sees instead of the source, where a Service hides it (externalTrafficPolicy: Cluster)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a flow may pass, and why: never a bare bool, because somebody will ask."""

    allowed: bool
    because: str = ""
    """One sentence naming the deciding objects: `default-deny selects user-api-7d9…; no rule admits app=batch`."""
    policies: tuple[str, ...] = ()
    """`namespace/name` of the policies that selected the pod in the deciding direction."""

    def __bool__(self) -> bool:
        raise TypeError("ask verdict.allowed: a verdict has reasons, a bool has none")


ALLOWED = Verdict(True, "no policy selects either end: everything is allowed")


class Gate(Protocol):
    """Asked for every connection before its first byte; implemented by networkpolicy."""

    def check(self, flow: Flow) -> Verdict:
        """Judge both directions: egress of the source if it is a pod, ingress of the destination if it is a pod."""
        ...

    def record(self, flow: Flow, verdict: Verdict) -> None:
        """Log and count a denied attempt: called once for each, however often it is judged."""
        ...

    def denied_sources(self, ip: str, port: int, protocol: str, seen_as: str = "") -> Sequence[tuple[int, int]]:
        """Return the addresses that `check` denies `ip`:`port`: sorted, disjoint (first, last) as integers."""
        ...

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after verdicts may have changed (held connections are judged anew); return its cancel."""
        ...


class OpenGate:
    """Kubernetes' default: every pod reaches every pod."""

    def check(self, flow: Flow) -> Verdict:
        return ALLOWED

    def record(self, flow: Flow, verdict: Verdict) -> None:
        pass

    def denied_sources(self, ip: str, port: int, protocol: str, seen_as: str = "") -> Sequence[tuple[int, int]]:
        return ()

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


class Resolver(Protocol):
    """A pod's libc resolver: search path, ndots, nameserver, /etc/hosts; implemented by `cni.resolver`."""

    async def resolve(self, host: str) -> Sequence[str]:
        """Return the IPv4 addresses of `host`; raise `socket.gaierror` as getaddrinfo does."""
        ...
