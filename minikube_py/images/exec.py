"""Running a command in a container, for its main process, exec, probes and hooks: the built-in shell and its tools.

The host's own programs are never run from here: only `images:` with `command:` may do that.
"""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

from minikube_py.client.runtime import Streams, TerminalSize
from minikube_py.images.container import Container
from minikube_py.images.reference import Reference, picks

__all__ = [
    "NOT_SAID",
    "SERVER",
    "STAND_IN",
    "WINDOW",
    "NotFound",
    "PermissionDenied",
    "Window",
    "execute",
    "is_shell_image",
    "run",
]


SERVER = "server"
"""Key of `Container.extra`: a script has begun a server, which says itself when it is up."""

STAND_IN = "program_stand_in"
"""Key of `Container.extra`: told of a program that the main process lacks; returns whether it is stood for."""


NOT_SAID = "\0"
"""Begins a note, among what was looked for in vain, of text or of a process: what only the real program would show."""


class NotFound(Exception):
    """No such program in the container; the message is the runtime's own."""


class PermissionDenied(Exception):
    """The program is no program; the message is the runtime's own."""


class Window:
    """How large the terminal is on which somebody looks at a program."""

    _PATIENCE = 0.2
    """Seconds to wait for the first size: clients send it right after they have connected."""

    def __init__(self, changes: "asyncio.Queue[TerminalSize]") -> None:
        self._changes = changes
        self._size: TerminalSize | None = None

    async def size(self) -> TerminalSize | None:
        """Return the size of this moment, None for a client that doesn't tell."""
        if self._size is None:
            try:
                self._size = await asyncio.wait_for(self._changes.get(), self._PATIENCE)
            except TimeoutError:
                return None
        while not self._changes.empty():
            self._size = self._changes.get_nowait()
        return self._size


WINDOW: ContextVar[Window | None] = ContextVar("minikube_py_window", default=None)
"""The window of the exec whose code is running."""


def is_shell_image(image: str) -> bool:
    """Tell whether an image is a tool box whose commands are all ours: there, an unknown one is an error."""
    from minikube_py.images import toolbox

    return any(picks(pattern, Reference.parse(image).repository) for pattern in toolbox.IMAGES)


async def run(container: Container, argv: Sequence[str], *, main: bool = False, missing: set[str] | None = None) -> int:
    """Run `argv` as the container would, its output in the log; return its exit code.

    Args:
        main: it is the container's process 1, which gets SIGTERM, and makes the container a started one.
        missing: is told the programs and files that were looked for in vain.

    Error handling: NotFound for a program that is not built in, PermissionDenied for a file that is none.
    """
    from minikube_py.images import shell  # costs start time; most pods never run a command

    return await shell.run(container, list(argv), main=main, missing=missing)


async def execute(container: Container, argv: Sequence[str], streams: Streams) -> int:
    """Run `argv` on the streams of an exec; return its exit code. Errors as `run`'s."""
    from minikube_py.images import shell

    if streams.tty:
        WINDOW.set(Window(streams.resize))
    return await shell.execute(container, list(argv), streams)
