"""What a program knows of the container that it runs in."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["Container", "Main", "PodInfo"]


_MOST = 1 << 30
"""Bytes for a container without a limit: what one takes, all pods of the process lack."""


@dataclass(frozen=True, slots=True)
class PodInfo:
    """The pod around a container."""

    namespace: str
    name: str
    uid: str
    ip: str
    hostname: str
    node: str
    node_ip: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "default"


@dataclass(slots=True)
class Container:
    """A starting or running container, as its image's `main` sees it.

    `main` runs as a task in the pod's context: whatever it opens has the pod's address.
    """

    name: str
    image: str
    pod: PodInfo
    write: Callable[[str], None]
    """Write to the container's log (stdout); a line end ends a line."""
    command: tuple[str, ...] = ()
    """The manifest's `command` (the image's ENTRYPOINT where it is empty), `$(VAR)` expanded."""
    args: tuple[str, ...] = ()
    """The manifest's `args`, `$(VAR)` expanded."""
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    """TCP ports: the containerPorts, then probe ports and targetPorts of the Services that select the pod."""
    udp_ports: tuple[int, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    """Mount path in the container → folder or file on this machine."""
    memory: int = 0
    """limits.memory in bytes; 0: none."""
    working_dir: str = "/"
    tty: bool = False
    ends: bool = False
    """It is expected to come to its end: an init container, or one of a pod that isn't always restarted."""
    stdin: asyncio.StreamReader | None = None
    """Set when the manifest says `stdin: true`."""
    terminated: asyncio.Event = field(default_factory=asyncio.Event)
    """SIGTERM was sent."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by `started()`."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What the program wants exec sessions to find (a shell's state, an app's handle)."""

    @property
    def argv(self) -> tuple[str, ...]:
        return (*self.command, *self.args)

    def started(self) -> None:
        """Say that the program is up: its ports are open. Until then the container is not Running."""
        self.ready.set()

    def hold(self, size: int) -> None:
        """Say that the program wants to hold `size` bytes.

        Memory is not limited as a cgroup does; only programs that know what they take say so.
        Error handling: MemoryError beyond limits.memory (without one, a gibibyte): the container is OOMKilled.
        """
        if size > (self.memory or _MOST):
            raise MemoryError(f"{size} bytes are more than the container's {self.memory or _MOST}")

    def print(self, line: str) -> None:
        """Write one line to the log."""
        self.write(f"{line}\n")

    @property
    def logger(self) -> logging.Logger:
        """A logger of the program's own, for what is not the container's output."""
        return logging.getLogger(f"minikube_py.images.{self.name}")


Main: TypeAlias = Callable[[Container], Awaitable[int | None]]
"""An image's program; returns the exit code (None is 0)."""
