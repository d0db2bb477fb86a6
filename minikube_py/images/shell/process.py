"""What a tool sees: its arguments, streams, environment and files; and the container's table of processes.

Stands for a process and the kernel's process table. A process here is a coroutine in the pod's context.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from minikube_py.images.container import Container
from minikube_py.images.shell.streams import Sink, Source
from minikube_py.images.shell.view import View

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["Process", "Running", "Table", "Tool", "UsageError", "table_of"]


class UsageError(Exception):
    """A tool was called wrongly: the message goes to stderr, the exit code is `code`."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Process:
    """One call of a tool."""

    argv: list[str]
    stdin: Source
    stdout: Sink
    stderr: Sink
    env: dict[str, str]
    view: View
    shell: "Shell"
    """The shell that calls; its state is none of an ordinary tool's business, its container is."""
    tty: bool = False

    @property
    def container(self) -> Container:
        return self.shell.container

    @property
    def name(self) -> str:
        return self.argv[0].rpartition("/")[2]

    @property
    def args(self) -> list[str]:
        return self.argv[1:]

    async def out(self, text: str | bytes) -> None:
        """Write to stdout."""
        await self.stdout.write(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)

    async def err(self, text: str | bytes) -> None:
        """Write to stderr."""
        await self.stderr.write(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)

    async def fail(self, message: str, code: int = 1) -> int:
        """Say `name: message` on stderr; return `code`."""
        await self.err(f"{self.name}: {message}\n")
        return code

    def source(self, path: str) -> Source:
        """Open a file, or stdin for `-`."""
        return self.stdin if path in ("-", "/dev/stdin") else self.view.source(path)

    async def call(
        self,
        argv: Sequence[str],
        *,
        stdin: Source | None = None,
        stdout: Sink | None = None,
        env: dict[str, str] | None = None,
    ) -> int:
        """Run another tool as this one's child; return its exit code (127 if there is none)."""
        return await self.shell.spawn(
            argv, stdin or self.stdin, stdout or self.stdout, self.stderr, self.env if env is None else env, self.view
        )


Tool: TypeAlias = Callable[[Process], Awaitable[int]]


_MOST_FORKS = 1024
"""Subshells of a container at a time, as a kubelet's podPidsLimit bounds a pod's processes."""


@dataclass(slots=True)
class Running:
    """One entry of the process table."""

    pid: int
    argv: tuple[str, ...]
    task: "asyncio.Task[int] | None" = None
    signal: Callable[[str], bool] | None = None
    """Deliver a signal (`TERM`); True if it was."""
    started: float = field(default_factory=time.time)


class Table:
    """The processes of one container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._pids = itertools.count(7)
        self._forks = 0
        self.running: dict[int, Running] = {1: Running(1, container.argv or (container.image,), signal=self._main)}

    def _main(self, signal: str) -> bool:
        if signal in ("TERM", "INT", "QUIT", "KILL"):
            self._container.terminated.set()
        return True

    def pid(self) -> int:
        return next(self._pids)

    @property
    def full(self) -> bool:
        """Whether no further subshell may be started: what a fork bomb runs into."""
        return self._forks >= _MOST_FORKS

    def fork(self, task: "asyncio.Task[int]") -> None:
        """Count a subshell that runs beside its parent, until it ends."""
        self._forks += 1
        task.add_done_callback(self._forked)

    def _forked(self, task: "asyncio.Task[int]") -> None:
        self._forks -= 1

    def add(self, argv: Sequence[str], signal: Callable[[str], bool] | None = None) -> Running:
        entry = Running(self.pid(), tuple(argv), signal=signal)
        self.running[entry.pid] = entry
        return entry

    def remove(self, entry: Running) -> None:
        if self.running.get(entry.pid) is entry:
            del self.running[entry.pid]


def table_of(container: Container) -> Table:
    """Return the container's process table, made at the first use."""
    table: Table | None = container.extra.get("processes")
    if table is None:
        table = container.extra["processes"] = Table(container)
    return table
