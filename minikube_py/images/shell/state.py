"""What a shell remembers: variables, functions, options, descriptors, traps and jobs.

Leaves out: arrays, `umask`'s effect.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from minikube_py.images.container import Container
from minikube_py.images.shell.expansion import ExpansionError
from minikube_py.images.shell.streams import EMPTY, NULL, Sink, Source
from minikube_py.images.shell.syntax import (
    Command,
)
from minikube_py.images.shell.view import View

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell
    from minikube_py.images.shell.terminal import Terminal

__all__ = ["Descriptors", "State"]

Descriptors = dict[int, Source | Sink]


class State:
    """One shell's variables and streams, without the ability to run anything."""

    def __init__(
        self,
        container: Container,
        view: View,
        descriptors: Descriptors,
        *,
        variables: Mapping[str, str] | None = None,
        name: str = "sh",
        tty: bool = False,
    ) -> None:
        self.container = container
        self.view = view
        self.descriptors = descriptors
        self.variables: dict[str, str] = dict(container.env if variables is None else variables)
        self.exported: set[str] = set(self.variables)
        self.variables.setdefault("PWD", view.cwd)
        self.variables.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        self.variables.setdefault("HOME", "/root")
        self.exported |= {"PATH", "PWD", "HOME"}
        self.read_only: set[str] = set()
        self.functions: dict[str, Command] = {}
        self.positional: list[str] = []
        self.name = name
        self.bash = name.rpartition("/")[2] == "bash"
        self.tty = tty
        self.options: set[str] = set()
        self.status = 0
        self.traps: dict[str, str] = {}
        self.pending: list[str] = []
        self.signalled = asyncio.Event()
        self.jobs: dict[int, asyncio.Task[int]] = {}
        self.orphans: set[asyncio.Task[int]] = set()
        """Jobs that subshells left running: nobody waits for them, but they end with this shell."""
        self.last_job = 0
        self.locals: list[dict[str, str | None]] = []
        self.pid = 0
        self.is_root = False
        """It only stands for the container runtime: what it runs is the session's first process."""
        self.main: Shell | None = None
        """Of the root: the shell that is the session's first process."""
        self.terminal: Terminal | None = None
        self.depth = 0
        """Of functions and sourced files."""
        self.tested = 0
        self.substituted: int | None = None

    # Variables

    def parameter(self, name: str) -> str | None:
        """Return the value of `$name`; None if unset."""
        match name:
            case "?":
                return str(self.status)
            case "#":
                return str(len(self.positional))
            case "$":
                return str(self.pid)
            case "!":
                return str(self.last_job) if self.last_job else None
            case "-":
                return "".join(sorted(self.options))
            case "0":
                return self.name
            case "@" | "*":
                return " ".join(self.positional)
            case "RANDOM" if "RANDOM" not in self.variables:
                import random

                return str(random.randrange(32768))
            case "PPID":
                return "0"
        if name.isdigit():
            index = int(name) - 1
            return self.positional[index] if index < len(self.positional) else None
        return self.variables.get(name)

    def assign(self, name: str, value: str) -> None:
        """Set a variable; ExpansionError for a read-only one."""
        if name in self.read_only:
            raise ExpansionError(f"{name}: is read only")
        self.variables[name] = value
        if "a" in self.options:
            self.exported.add(name)

    def restore(self, values: Mapping[str, str | None]) -> None:
        """Set variables as they were; None: it wasn't set."""
        for name, old in values.items():
            if old is None:
                self.variables.pop(name, None)
            else:
                self.variables[name] = old

    def environment(self) -> dict[str, str]:
        return {name: value for name, value in self.variables.items() if name in self.exported}

    # Streams

    @property
    def stdin(self) -> Source:
        found = self.descriptors.get(0)
        return found if isinstance(found, Source) else EMPTY

    def sink(self, number: int) -> Sink:
        found = self.descriptors.get(number)
        return NULL if found is None or isinstance(found, Source) else found

    async def complain(self, message: str) -> None:
        """Write `sh: message` to stderr."""
        try:
            await self.sink(2).write(f"{self.name}: {message}\n".encode("utf-8", "surrogateescape"))
        except BrokenPipeError:
            pass

    # Signals

    def signal(self, name: str) -> bool:
        """Take a signal: True if a trap will handle (or ignores) it."""
        if name not in self.traps:
            return False
        if self.traps[name]:
            self.pending.append(name)
            self.signalled.set()
        return True
