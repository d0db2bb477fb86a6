"""Running a command in a container: the built-in shell if it knows the command, for exec, probes and hooks.

The host's own programs are never run from here: only `images:` with `command:` may do that.
"""

import importlib
from collections.abc import Sequence
from typing import Any

from minikube_py.images.container import Container
from minikube_py.images.reference import Reference, picks

__all__ = ["NotFound", "is_shell_image", "run"]


class NotFound(Exception):
    """No such program in the container; the message is the runtime's own."""


def _shell() -> Any:
    try:
        shell = importlib.import_module("minikube_py.images.shell")
    except ModuleNotFoundError:
        return None
    return shell if hasattr(shell, "run") else None


def is_shell_image(image: str) -> bool:
    """Tell whether an image is a tool box whose commands are all ours: there, an unknown one is an error."""
    from minikube_py.images import toolbox

    return any(picks(pattern, Reference.parse(image).repository) for pattern in toolbox.IMAGES)


async def run(container: Container, argv: Sequence[str]) -> int:
    """Run `argv` as the container would; return its exit code.

    Error handling: NotFound for a program that neither the shell nor this module has.
    """
    shell = _shell()
    if shell is not None:
        has = getattr(shell, "has", None)
        if has is None or not argv or has(argv[0]):
            return int(await shell.run(container, list(argv)))
    elif argv and (builtin := _BUILTIN.get(argv[0].rpartition("/")[2])) is not None:
        return int(await builtin(container, list(argv)))
    program = argv[0] if argv else ""
    raise NotFound(f'exec: "{program}": executable file not found in $PATH')


async def _sleep(container: Container, argv: Sequence[str]) -> int:
    """`sleep N|infinity`; SIGTERM ends it as it ends a real sleep in a container with an init: 143."""
    import asyncio

    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    total = 0.0
    for word in argv[1:]:
        try:
            scale = units.get(word[-1:], 0.0)
            total += float(word[:-1]) * scale if scale else float(word)
        except ValueError:
            container.print(f"sleep: invalid number '{word}'")
            return 1
    if len(argv) < 2:
        container.print("sleep: missing operand")
        return 1
    try:
        async with asyncio.timeout(None if total == float("inf") else total):
            await container.terminated.wait()
    except TimeoutError:
        return 0
    return 143


async def _true(container: Container, argv: Sequence[str]) -> int:
    return 0


async def _false(container: Container, argv: Sequence[str]) -> int:
    return 1


async def _echo(container: Container, argv: Sequence[str]) -> int:
    container.print(" ".join(argv[1:]))
    return 0


_BUILTIN = {"sleep": _sleep, "true": _true, "false": _false, "echo": _echo}
"""What works even without the shell."""
