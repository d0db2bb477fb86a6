"""Programs: the built-in tools, and the scripts of the container's files, each run as a process of its own.

Leaves out: programs of other formats (ELF): nothing of this machine is ever run.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from minikube_py.images.exec import STAND_IN, is_shell_image
from minikube_py.images.reference import Reference, picks
from minikube_py.images.shell import tools
from minikube_py.images.shell.conditions import ConditionError
from minikube_py.images.shell.process import Process, Tool, UsageError, table_of
from minikube_py.images.shell.streams import Sink, Source
from minikube_py.images.shell.view import View

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["find", "lookup", "quietly", "spawn"]

_BIN = re.compile(r"(/usr/local|/usr)?/s?bin/([^/]+)")


async def spawn(
    shell: "Shell",
    argv: Sequence[str],
    stdin: Source,
    stdout: Sink,
    stderr: Sink,
    env: dict[str, str],
    view: View,
    *,
    found_by_shell: bool = False,
) -> int:
    """Run a tool, or a script of the container's files, as a process of its own; return its exit code."""
    process = Process(list(argv), stdin, stdout, stderr, env, view, shell, shell.tty)
    tool = find(shell, argv[0])
    if tool is not None:
        return await quietly(shell, tool, process)
    who = f"{shell.name}: " if found_by_shell else "can't execute "
    path = lookup(shell, argv[0])
    if path is None:
        stand_in = shell.container.extra.get(STAND_IN) if shell.main_session else None
        if stand_in is not None and await stand_in(argv[0]):
            return 0
        hint = "" if shell.view.missing else _hint(shell, argv[0])
        shell.view.missing.add(argv[0])
        words = "command not found" if shell.bash else "not found"
        await process.err(
            f"{who}{argv[0]}: {words}\n" if found_by_shell else f"{who}'{argv[0]}': No such file or directory\n"
        )
        await process.err(hint)
        return 127
    if shell.view.is_dir(path) or not shell.view.stat(path).mode & 0o111:
        await process.err(f"{who}{argv[0]}: Permission denied\n")
        return 126
    text = shell.view.read(path).decode("utf-8", "surrogateescape")
    inner = type(shell)(
        shell.container,
        view.copy(),
        {0: stdin, 1: stdout, 2: stderr},
        variables=env,
        name=argv[0],
    )
    inner.bash = text.startswith("#!") and "bash" in text.partition("\n")[0]
    inner.main_session = shell.main_session
    inner.pid, inner.positional = table_of(shell.container).pid(), list(argv[1:])
    first = text.partition("\n")[0]
    if first.startswith("#!") and not re.search(r"\b(ba|da|a|k|z)?sh\b", first):
        await process.err(f"{who}{argv[0]}: not found (its interpreter {first[2:].strip()} is not built in)\n")
        return 127
    try:
        return await inner.run(text)
    finally:
        await inner.end_jobs()


def _hint(shell: "Shell", name: str) -> str:
    """Return what to do about a program that the real image may have; none where the image is a tool box of ours."""
    image = shell.container.image
    if "/" in name or is_shell_image(image):
        return ""
    return (
        f"minikube-py: {name} is not among the built-in tools that stand in for {image}; to run real programs, map the "
        f'image to one of this machine: images: {{"{image}": {{command: [...]}}}}\n'
    )


def find(shell: "Shell", name: str) -> Tool | None:
    """Return the tool that a name or path means; a file of the container's that has the path goes first."""
    if (base := name.rpartition("/")[2]) in tools.PER_IMAGE:
        there = "/" in name and shell.view.exists(name)
        return None if there or not _is_in_image(shell, base) else tools.find(base)
    if "/" in name:
        match = _BIN.fullmatch(name)
        if match is None or shell.view.exists(name):
            return None
        name = match[2]
    return tools.find(name)


def _is_in_image(shell: "Shell", name: str) -> bool:
    """Tell whether the container's image has a program that only some have."""
    if name == "agnhost":
        from minikube_py.images import agnhost

        repository = Reference.parse(shell.container.image).repository
        return any(picks(pattern, repository) for pattern in agnhost.IMAGES)
    from minikube_py.images.shell.tools import servers

    return servers.has(shell.container, name)


def lookup(shell: "Shell", name: str) -> str | None:
    """Return the path of a file that a command's name means."""
    if "/" in name:
        return name if shell.view.find(name) is not None else None
    for folder in shell.variables.get("PATH", "").split(":"):
        path = f"{folder.rstrip('/')}/{name}"
        found = shell.view.files.stat if folder else None
        try:
            if found is not None and found(shell.view.path(path)).is_file:
                return path
        except OSError:
            continue
    return None


async def quietly(shell: "Shell", tool: Callable[[Process], Awaitable[int]], process: Process) -> int:
    """Run a tool; what it didn't catch becomes its message and exit code."""
    try:
        return await tool(process) & 0xFF
    except UsageError as error:
        await process.err(f"{process.name}: {error}\n")
        return error.code
    except BrokenPipeError:
        return 141
    except ConditionError as error:
        await process.err(f"{shell.name}: {error}\n")
        return 2
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        await process.err(f"{process.name}: {what}{error.strerror or error}\n")
        return 1
