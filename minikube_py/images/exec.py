"""Running a command in a container, for its main process, exec, probes and hooks: the built-in shell and its tools.

The host's own programs are never run from here: only `images:` with `command:` may do that.
"""

from collections.abc import Sequence

from minikube_py.client.runtime import Streams
from minikube_py.images.container import Container
from minikube_py.images.reference import Reference, picks

__all__ = ["NotFound", "PermissionDenied", "execute", "is_shell_image", "run"]


class NotFound(Exception):
    """No such program in the container; the message is the runtime's own."""


class PermissionDenied(Exception):
    """The program is no program; the message is the runtime's own."""


def is_shell_image(image: str) -> bool:
    """Tell whether an image is a tool box whose commands are all ours: there, an unknown one is an error."""
    from minikube_py.images import toolbox

    return any(picks(pattern, Reference.parse(image).repository) for pattern in toolbox.IMAGES)


async def run(container: Container, argv: Sequence[str], *, main: bool = False, missing: set[str] | None = None) -> int:
    """Run `argv` as the container would, its output in the log; return its exit code.

    Args:
        main: it is the container's process 1, which gets SIGTERM.
        missing: is told the programs and files that were looked for in vain.

    Error handling: NotFound for a program that is not built in, PermissionDenied for a file that is none.
    """
    from minikube_py.images import shell  # costs start time; most pods never run a command

    return await shell.run(container, list(argv), main=main, missing=missing)


async def execute(container: Container, argv: Sequence[str], streams: Streams) -> int:
    """Run `argv` on the streams of an exec; return its exit code. Errors as `run`'s."""
    from minikube_py.images import shell

    return await shell.execute(container, list(argv), streams)
