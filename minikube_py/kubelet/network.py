"""What the kubelet needs of the network below: one namespace for each pod. Implemented by `cni.fabric`."""

import contextvars
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from minikube_py.apimachinery.meta import Object
from minikube_py.cni.filters import Target
from minikube_py.cni.types import Resolver

__all__ = ["Announcer", "Identity", "Namespace", "Network"]


class Namespace(Protocol):
    """A pod's network namespace: code run in (a copy of) its context has the pod's address and names."""

    @property
    def ip(self) -> str: ...

    @property
    def context(self) -> contextvars.Context: ...

    async def first_bytes(self, wait_seconds: float) -> None:
        """Return once no connection younger than `wait_seconds` is still to bring its first byte."""
        ...

    async def close(self, drain: float) -> None:
        """Stop accepting, let connections in flight finish for up to `drain` seconds, abort the rest."""
        ...

    async def end(self, owned: Callable[[contextvars.Context], bool]) -> None:
        """Close the servers and datagram sockets that code of such contexts has opened."""
        ...

    def listeners(self) -> Sequence[tuple[str, int]]: ...


class Network(Protocol):
    def namespace(self, ip: str, *, hostname: str, name: str, resolver: Resolver) -> Any:
        """Make the namespace of a pod or node with this address."""
        ...

    def listen(
        self,
        ip: str,
        port: int,
        handler: Callable[[Any], object],
        *,
        targets: Callable[[], Sequence[Target]] = tuple,
    ) -> Any:
        """Open an address of the node's; `handler` gets each connection and hands it off. OSError if it is taken.

        `targets` says where that leads to, so that the policies there are asked before the handshake.
        """
        ...

    def listen_udp(self, ip: str, port: int, pick: Callable[[tuple[str, int]], tuple[str, int] | None]) -> Any:
        """Open an address of the node's for datagrams; `pick` says for each client where they go. OSError likewise."""
        ...

    def real_address(self, ip: str, port: int) -> tuple[str, int]:
        """Return the address of the kernel's that stands for one of the cluster's (ports below 1024)."""
        ...


class Identity(Protocol):
    """What makes a pod known to the API server; made by whoever has the cluster's credentials."""

    def token(self, namespace: str, account: str, *, seconds: int, audience: str = "") -> str:
        """Return a token of a ServiceAccount that is valid for `seconds`; "" while the account doesn't exist."""
        ...

    def root_certificate(self) -> str:
        """Return the certificate of the cluster's authority, in PEM."""
        ...


class Announcer(Protocol):
    """The part of the policy gate that hears of a pod's address before its first byte."""

    def announce(self, ip: str, pod: Object) -> None: ...

    def forget(self, ip: str) -> None: ...
