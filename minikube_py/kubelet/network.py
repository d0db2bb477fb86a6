"""What the kubelet needs of the network below: one namespace for each pod. Implemented by `cni.fabric`."""

import contextvars
from collections.abc import Sequence
from typing import Any, Protocol

from minikube_py.apimachinery.meta import Object
from minikube_py.cni.types import Resolver

__all__ = ["Announcer", "Namespace", "Network"]


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

    def listeners(self) -> Sequence[tuple[str, int]]: ...


class Network(Protocol):
    def namespace(self, ip: str, *, hostname: str, name: str, resolver: Resolver) -> Any:
        """Make the namespace of a pod or node with this address."""
        ...

    def real_address(self, ip: str, port: int) -> tuple[str, int]:
        """Return the address of the kernel's that stands for one of the cluster's (ports below 1024)."""
        ...


class Announcer(Protocol):
    """The part of the policy gate that hears of a pod's address before its first byte."""

    def announce(self, ip: str, pod: Object) -> None: ...

    def forget(self, ip: str) -> None: ...
