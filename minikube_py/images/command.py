"""`command:` a program of this machine as a pod, allowed only by being listed in the cluster's `images:`.

It must listen on POD_IP, and is told where by PORT (the mapping's `port`, else the first declared one; where a user
may not bind it, the real one that stands for it), each declared port by PORT_<number>. Its output is the container's
log. POD_ROOT is a folder in which the container's mounts are found under their own paths: `$POD_ROOT/etc/nginx/conf.d`.

It runs in a session of its own, so that its whole process group ends with its container, and also when this process
is killed: a guard, a shell that waits for the end of a pipe that we hold, then ends the group. It is there before the
program is.

    we ──pipe──► guard (sh: read the group; read; kill -KILL -group)
    └──────────► the program, leader of its group

Leaves out: NetworkPolicy for what it calls itself, DNS of the cluster (it sees this machine's resolver), a root of its
own. Programs that leave their process group (daemons) outlive their pod: start them in the foreground.
"""

import asyncio
import codecs
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from minikube_py.images import environ
from minikube_py.images.container import Container, Main
from minikube_py.images.expansion import expand

__all__ = ["PROCESS", "adapt", "arguments"]

PROCESS = "process"
"""Key of `Container.extra`: the process id, which is its group's too, while the program runs."""

_GUARD = 'read -r group && { read -r _; kill -KILL "-$group"; }'
_SHELLS = frozenset(("sh", "bash", "ash", "dash"))


def arguments(container: Container) -> tuple[str, ...]:
    """Return the manifest's arguments for the mapped program: its `args`, and what follows the name in its `command`.

    A shell's script is none: it would name programs of the real image.
    """
    if not container.command or container.command[0].rpartition("/")[2] in _SHELLS:
        return () if container.command else container.args
    return (*container.command[1:], *container.args)


def _environment(container: Container, options: Mapping[str, Any]) -> dict[str, str]:
    port = int(options.get("port") or 0) or (container.ports[0] if container.ports else 0)
    real_port: Callable[[int], int] = container.extra.get("real_port", lambda port: port)
    real = real_port(port) if port else 0
    root = container.extra.get("root")
    env = {
        **(machine := environ.machine()),
        **container.env,
        "PATH": machine.get("PATH", os.defpath),
        "POD_IP": container.pod.ip,
        "POD_NAME": container.pod.name,
        "POD_NAMESPACE": container.pod.namespace,
        **{f"PORT_{number}": str(real_port(number)) for number in container.ports},
        **({"PORT": str(real)} if real else {}),
        **({"POD_ROOT": str(root())} if root else {}),
    }
    return env | {str(name): expand(str(value), env) for name, value in (options.get("env") or {}).items()}


def adapt(target: Sequence[str], options: Mapping[str, Any]) -> Main:
    """Return the program that runs `target`; the manifest's arguments follow it."""
    argv = [str(word) for word in ([target] if isinstance(target, str) else target)]

    async def main(container: Container) -> int:
        env = _environment(container, options)
        words = [expand(word, env) for word in (*argv, *arguments(container))]
        async with _guarded() as guard:
            try:
                process, output = await _start(words, env, options.get("cwd"))
            except OSError as error:
                return _cannot_start(container, words[0], options, error)
            guard(process.pid)
            code = await _run(process, output, words[0], container)
        return code if code >= 0 else 128 - code

    return main


async def _start(words: list[str], env: dict[str, str], cwd: str | None) -> tuple[Process, int]:
    """Return the started program, and the end of the pipe from which its output is read."""
    output, pipe = os.pipe()  # not the loop's own, which is a socket: that can't be opened as /dev/stdout
    try:
        os.fchmod(pipe, 0o666)  # also by a program that drops root's rights
        process = await asyncio.create_subprocess_exec(
            *words,
            env=env,
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except BaseException:
        os.close(output)
        raise
    finally:
        os.close(pipe)
    return process, output


async def _run(process: Process, output: int, program: str, container: Container) -> int:
    """Wait for the program's end, with its output as the log; return its code, -n for signal n."""
    container.extra[PROCESS] = process.pid
    waiting = asyncio.create_task(process.wait(), name=f"wait for {program}")
    reading = asyncio.create_task(_copy(output, container), name=f"output of {program}")
    ending = asyncio.create_task(container.terminated.wait(), name=f"SIGTERM for {program}")
    try:
        container.started()
        await asyncio.wait((ending, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            _signal(process.pid, signal.SIGTERM)
        return await asyncio.shield(waiting)
    finally:
        container.extra.pop(PROCESS, None)
        _signal(process.pid, signal.SIGKILL)  # the rest of the group, and the process if we were cancelled
        await asyncio.wait((waiting, reading), timeout=1.0)
        for task in (waiting, reading, ending):
            task.cancel()
        await asyncio.gather(waiting, reading, ending, return_exceptions=True)


def _cannot_start(container: Container, program: str, options: Mapping[str, Any], error: OSError) -> int:
    """Say why, in a runtime's words; return the exit code that a shell would."""
    if isinstance(error, FileNotFoundError) and options.get("cwd") and error.filename == options["cwd"]:
        why, code = f"cwd: {error.filename}: {error.strerror}", 127
    elif isinstance(error, FileNotFoundError):
        why, code = f'exec: "{program}": executable file not found in $PATH', 127
    else:
        why, code = f'exec: "{program}": {(error.strerror or str(error)).lower()}', 126
    container.print(why)
    container.extra["termination_message"] = why
    return code


@asynccontextmanager
async def _guarded() -> AsyncIterator[Callable[[int], None]]:
    """Start the process that ends a group when we are gone; yield how it learns which."""
    guard = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        _GUARD,
        "minikube-py-guard",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    pipe = guard.stdin
    assert pipe is not None
    try:
        yield lambda group: pipe.write(f"{group}\n".encode())
    finally:
        guard.kill()
        await guard.wait()


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass  # all of it has ended, or has become another user's (a program that drops its privileges)


async def _copy(pipe: int, container: Container) -> None:
    """Write what comes out of a pipe into the log; closes it."""
    reader, decoder = asyncio.StreamReader(), codecs.getincrementaldecoder("utf-8")("replace")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", buffering=0)
    )
    try:
        while chunk := await reader.read(65536):
            container.write(decoder.decode(chunk))
    finally:
        transport.close()
