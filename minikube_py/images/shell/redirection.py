"""`>`, `<`, `>&`, `<<` and their like: the descriptors a command runs with.

Leaves out: `<>` for writing (but to /dev/tcp), `{name}>`.
"""

import errno
import os
import re
from typing import TYPE_CHECKING

from minikube_py.images.shell.state import Descriptors
from minikube_py.images.shell.streams import EMPTY, Bytes, Connection, Sink, writable
from minikube_py.images.shell.syntax import Redirect

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["redirected"]

_DEVICE = re.compile(r"/dev/tcp/([^/]+)/([^/]+)")
"""bash's way to open a connection."""


async def redirected(shell: "Shell", redirects: tuple[Redirect, ...]) -> Descriptors | None:
    """Return the descriptors with redirections; None, its message told, if one fails."""
    if not redirects:
        return shell.descriptors
    opened = dict(shell.descriptors)
    for redirect in redirects:
        target = await shell.expand.text(redirect.target)
        try:
            if shell.bash and (address := _DEVICE.fullmatch(target)) is not None:
                opened[redirect.fd] = await _connected(shell, address[1], address[2])
            else:
                _open(shell, opened, redirect.fd, redirect.op, target)
        except OSError as error:
            verb = "open" if redirect.op in ("<", "<&") else "create"
            reason = {2: "no such file" if verb == "open" else "nonexistent directory"}.get(error.errno or 0)
            text = (error.strerror or str(error)) if reason is None else reason
            if shell.bash:
                if _DEVICE.fullmatch(target) is not None:
                    text = os.strerror(error.errno) if error.errno and error.errno > 0 else "Invalid argument"
                    await shell.complain(f"connect: {text}")
                    await shell.complain(f"{target}: {text}")
                else:
                    text = "Bad file descriptor" if error.errno == 9 else error.strerror or str(error)
                    await shell.complain(f"{target}: {'cannot overwrite existing file' if error.errno == 17 else text}")
            elif error.errno == 9:
                await shell.complain(f"{target}: bad file descriptor")
            else:
                await shell.complain(f"can't {verb} {target}: {text}")
            return None
    return opened


async def _connected(shell: "Shell", host: str, port: str) -> Connection:
    """Connect as the pod; OSError."""
    from minikube_py.images.shell.tools.network import connect

    if not port.isdigit() or int(port) > 65535:
        raise OSError(errno.EINVAL, f"{port}: Servname not supported for ai_socktype")
    connection = Connection(*await connect(host, int(port)))
    shell.opened.append(connection)
    return connection


def _open(shell: "Shell", opened: Descriptors, fd: int, op: str, target: str) -> None:
    match op:
        case "<<":
            opened[fd] = Bytes(target.encode("utf-8", "surrogateescape"))
        case "<<<":
            opened[fd] = Bytes(f"{target}\n".encode("utf-8", "surrogateescape"))
        case "<" | "<>":
            device = {"/dev/stdin": 0, "/proc/self/fd/0": 0}.get(target)
            opened[fd] = opened.get(device, EMPTY) if device is not None else shell.view.source(target)
        case ">&" | "<&" if target == "-":
            opened.pop(fd, None)
        case ">&" | "<&" if target.isdigit():
            if int(target) not in opened:
                raise OSError(9, "Bad file descriptor")
            opened[fd] = opened[int(target)]
        case "&>" | "&>>" | ">&":
            opened[1] = opened[2] = _writing(shell, opened, target, append=op == "&>>")
        case _:
            if op == ">" and "C" in shell.options and shell.view.find(target) is not None:
                raise OSError(17, "File exists")
            opened[fd] = _writing(shell, opened, target, append=op == ">>")


def _writing(shell: "Shell", opened: Descriptors, target: str, *, append: bool) -> Sink:
    number = {"/dev/stdout": 1, "/dev/stderr": 2, "/proc/self/fd/1": 1, "/proc/self/fd/2": 2}.get(target)
    if number is None and target in ("/proc/1/fd/1", "/proc/1/fd/2"):
        from minikube_py.images.shell.streams import Called

        return Called(lambda data: shell.container.write(data.decode("utf-8", "replace")))
    if number is not None:
        return writable(opened.get(number))
    return shell.view.sink(target, append=append)
