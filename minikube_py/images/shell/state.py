"""What a shell remembers: variables, functions, options, descriptors, traps and jobs.

Leaves out: `umask`'s effect.
"""

import asyncio
import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minikube_py.images.container import Container
from minikube_py.images.shell.arrays import Array, Key, Numbers, reference
from minikube_py.images.shell.expansion import ReadOnlyError
from minikube_py.images.shell.streams import EMPTY, Connection, Pipe, Sink, Source, writable
from minikube_py.images.shell.syntax import (
    Command,
)
from minikube_py.images.shell.view import View

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell
    from minikube_py.images.shell.terminal import Terminal

__all__ = ["SHELL_OPTIONS", "Descriptors", "Saved", "State"]

Descriptors = dict[int, Source | Sink]

SHELL_OPTIONS = frozenset(
    (
        *("cmdhist", "dotglob", "errtrace", "expand_aliases", "extglob", "failglob", "globstar", "inherit_errexit"),
        *("interactive_comments", "lastpipe", "login_shell", "nocaseglob", "nocasematch", "nullglob", "sourcepath"),
    )
)
"""What `shopt` knows; dotglob, nocasematch and nullglob have an effect, extglob's patterns are always read."""

_LONG = 1 << 16
"""Characters of a value that count as memory."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A variable as it was before a function made it local."""

    value: str | None
    array: Array | None
    target: str | None


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
        self.arrays: dict[str, Array] = {}
        """bash's; element 0 of each is in `variables`, too."""
        self.targets: dict[str, str] = {}
        """`declare -n`: name → the variable that it stands for."""
        self.integers: set[str] = set()
        """`declare -i`: what is assigned is arithmetic."""
        self.pipe_status: list[int] = [0]
        self.shopt: set[str] = {"interactive_comments", "sourcepath"}
        self.calls: list[str] = []
        """The functions that run, the innermost last."""
        self.folders: list[str] = []
        """`pushd`'s stack."""
        self.started = time.monotonic()
        self.functions: dict[str, Command] = {}
        self.positional: list[str] = []
        self.name = name
        self.bash = name.rpartition("/")[2] == "bash"
        self.tty = tty
        self.options: set[str] = set()
        self.status = 0
        self.traps: dict[str, str] = {}
        self.pending: list[str] = []
        self.opened: list[Pipe | Connection] = []
        """What process substitutions and /dev/tcp opened: it ends with the command that it was opened for."""
        self.signalled = asyncio.Event()
        self.jobs: dict[int, asyncio.Task[int]] = {}
        self.orphans: set[asyncio.Task[int]] = set()
        """Jobs that subshells left running: nobody waits for them, but they end with this shell."""
        self.last_job = 0
        self.locals: list[dict[str, Saved]] = []
        self.pid = 0
        """`$$`: of the shell that subshells are copies of."""
        self.own_pid: int | None = None
        """Of a subshell that is a job."""
        self.main_session = False
        """It is, or is run by, the container's main process: an exec's shell is not."""
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
            case "PPID":
                return "0"
        if name.isdigit():
            index = int(name) - 1
            return self.positional[index] if index < len(self.positional) else None
        if name in self.targets:
            return self.fetch(name)
        value = self.variables.get(name)
        return self._given(name) if value is None else value

    def _given(self, name: str) -> str | None:
        """Return what a shell sets by itself; bash gives more than ash."""
        match name:
            case "RANDOM":
                import random

                return str(random.randrange(32768))
            case "LINENO":
                return "1"
        if not self.bash:
            return None
        match name:
            case "SECONDS":
                return str(int(time.monotonic() - self.started))
            case "EPOCHSECONDS":
                return str(int(time.time()))
            case "HOSTNAME":
                return self.container.pod.hostname
            case "UID" | "EUID":
                return "0"
            case "BASH":
                return "/bin/bash"
            case "BASH_VERSION":
                return "5.2.15(1)-release"
            case "BASHPID":
                return str(self.own_pid or self.pid)
            case "OSTYPE":
                return "linux-gnu"
            case "BASH_SOURCE":
                return self.name
        array = self.array(name)
        return None if array is None else array.first

    def array(self, name: str) -> Array | None:
        """Return an array; of a plain variable none."""
        name = self.targets.get(name, name)
        if name in self.arrays or not self.bash:
            return self.arrays.get(name)
        match name:
            case "PIPESTATUS":
                return Array([str(code) for code in self.pipe_status])
            case "BASH_SOURCE":
                return Array([self.name] * (len(self.calls) + 1))
            case "FUNCNAME" if self.calls:
                return Array([*reversed(self.calls), "main"])
            case "BASH_VERSINFO":
                return Array(["5", "2", "15", "1", "release", "x86_64-pc-linux-gnu"])
        return None

    def values(self, name: str) -> list[str]:
        """Return `${name[@]}`: a plain variable is an array of one."""
        array = self.array(name)
        if array is not None:
            return array.values()
        value = self.parameter(name)
        return [] if value is None else [value]

    def key(self, name: str, subscript: str) -> Key:
        """Return the key that a subscript means: arithmetic, unless the array is associative."""
        array = self.array(name)
        if array is not None and array.associative:
            return subscript
        index = Numbers(self).value(subscript)
        return index if index >= 0 or array is None else array.end + index

    def fetch(self, text: str) -> str | None:
        """Return the value of `name` or `name[subscript]`; None if unset."""
        found = reference(text)
        if found is None:
            return self.parameter(text)
        name, subscript = found
        if name in self.targets:
            return self.fetch(self.targets[name])
        if subscript is None:
            return self.parameter(name)
        if subscript in "@*" and subscript:
            return " ".join(self.values(name)) if self.values(name) else None
        array = self.array(name)
        key = self.key(name, subscript)
        if array is None:
            return self.parameter(name) if key == 0 else None
        return array.get(key)

    def assign(self, name: str, value: str) -> None:
        """Set `name` or `name[subscript]`; ExpansionError for a read-only one."""
        if name in self.targets:
            self.assign(self.targets[name], value)
            return
        if name.endswith("]") and (found := reference(name)) is not None and found[1] is not None:
            self.set_element(found[0], self.key(found[0], found[1]), value)
            return
        if name in self.read_only:
            raise ReadOnlyError(f"{name}: {'readonly variable' if self.bash else 'is read only'}")
        if len(value) > _LONG:
            self.container.hold(len(value))
        if name in self.integers:
            value = str(Numbers(self).value(value))
        if (array := self.arrays.get(name)) is not None:
            array.set("0" if array.associative else 0, value)
        if name == "SECONDS" and value.isdigit():
            self.started = time.monotonic() - int(value)
            return
        self.variables[name] = value
        if "a" in self.options:
            self.exported.add(name)

    def set_element(self, name: str, key: Key, value: str) -> None:
        """Set one element; a plain variable becomes an array with its value as the first."""
        name = self.targets.get(name, name)
        if name in self.read_only:
            raise ReadOnlyError(f"{name}: {'readonly variable' if self.bash else 'is read only'}")
        if name in self.integers:
            value = str(Numbers(self).value(value))
        if name not in self.arrays:
            self.arrays[name] = Array([self.variables[name]] if name in self.variables else [])
        self.arrays[name].set(key, value)
        self._mirror(name)

    def set_array(self, name: str, array: Array) -> None:
        """Set all of an array; ExpansionError for a read-only one."""
        name = self.targets.get(name, name)
        if name in self.read_only:
            raise ReadOnlyError(f"{name}: {'readonly variable' if self.bash else 'is read only'}")
        self.arrays[name] = array
        self._mirror(name)

    def _mirror(self, name: str) -> None:
        first = self.arrays[name].first
        if first is None:
            self.variables.pop(name, None)
        else:
            self.variables[name] = first

    def unset(self, text: str) -> bool:
        """Forget `name` or `name[subscript]`; tell whether there was such a variable."""
        name, subscript = reference(text) or (text, None)
        name = self.targets.get(name, name)
        if subscript is not None and (array := self.arrays.get(name)) is not None and subscript not in ("@", "*"):
            array.remove(self.key(name, subscript))
            self._mirror(name)
            return True
        known = self.arrays.pop(name, None) is not None
        known = self.variables.pop(name, None) is not None or known
        self.exported.discard(name)
        self.integers.discard(name)
        return known

    def saved(self, name: str) -> Saved:
        return Saved(self.variables.get(name), self.arrays.get(name), self.targets.get(name))

    def restore(self, values: Mapping[str, Saved]) -> None:
        """Set variables as they were."""
        for name, old in values.items():
            for table, value in ((self.variables, old.value), (self.targets, old.target)):
                if value is None:
                    table.pop(name, None)
                else:
                    table[name] = value
            if old.array is None:
                self.arrays.pop(name, None)
            else:
                self.arrays[name] = old.array

    def environment(self) -> dict[str, str]:
        return {name: value for name, value in self.variables.items() if name in self.exported}

    def enter(self, folder: str) -> None:
        """Change the working directory; FileNotFoundError or NotADirectoryError."""
        path = self.view.path(folder)
        if not self.view.stat(path).is_dir:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", folder)
        self.variables["OLDPWD"] = self.view.cwd
        self.view.cwd = self.variables["PWD"] = path

    # Streams

    @property
    def stdin(self) -> Source:
        found = self.descriptors.get(0)
        return found if isinstance(found, Source) else EMPTY

    def sink(self, number: int) -> Sink:
        found = self.descriptors.get(number)
        return writable(found)

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
