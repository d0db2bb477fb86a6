"""What the API server asks the kubelets for: logs, exec, attach, port-forward. They meet in this Protocol."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from minikube_py.aiokit.linelog import LineLog

__all__ = ["Runtime", "Streams", "TerminalSize"]


class TerminalSize(Struct, frozen=True):
    width: int
    height: int


@dataclass(slots=True)
class Streams:
    """The standard streams of one exec or attach."""

    stdin: asyncio.StreamReader | None
    """None: no stdin was asked for."""
    stdout: Callable[[bytes], Awaitable[None]]
    stderr: Callable[[bytes], Awaitable[None]]
    """With a tty, the same as `stdout`."""
    tty: bool = False
    resize: asyncio.Queue[TerminalSize] = field(default_factory=asyncio.Queue)


class Runtime(Protocol):
    """The containers of all nodes.

    Error handling: each call raises StatusError in the kubelet's words (container not found, not running, …).
    """

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> LineLog:
        """Return the container's log; `previous` is that of the instance before the last restart."""
        ...

    async def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], streams: Streams) -> int:
        """Run a command in the container; return its exit code."""
        ...

    async def attach(self, namespace: str, pod: str, container: str, streams: Streams) -> int:
        """Join the container's main process until it ends (its exit code) or the caller goes (0)."""
        ...

    async def connect(self, namespace: str, pod: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to the pod's port from its own network namespace (port-forward; policies don't apply)."""
        ...

    def usage(self) -> Mapping[tuple[str, str, str], tuple[float, int]]:
        """Return (namespace, pod, container) → (cores in use, bytes), as far as it can be measured."""
        ...
