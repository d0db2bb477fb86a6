"""The built-in shell and tool box: what runs when a container's command, an exec, a probe or a hook is a command.

    grammar, words  a script's text, read (tree-sitter-bash), as the values of `syntax`
    expansion       words become arguments: parameters, $(…), $((…)), globs
    interpreter     sh: walks a script; `state` is what it remembers
    compound, simple, double_bracket, redirection, builtins/, programs    one kind of command each
    files, view     the container's file system (`image_root`: what is in it at first), and a process' look at it
    process         what a tool is called with, and the container's process table
    streams         pipes and descriptors
    terminal        line editing for `kubectl exec -it`
    tools/          one family of tools = one module; its docstring says how to add one

Everything is coroutines in this process, in the pod's context: sockets come from the pod's address, names resolve
the pod's way, policies hold. No program of this machine is ever run. Stands for busybox, curl, dig and friends.

Signals: SIGTERM ends a main process at once with 143 unless a trap handles it. (A real process 1 without a handler
would ignore it until SIGKILL at the end of the grace period; nobody wants to wait for that.)
"""

import asyncio
import codecs
from collections.abc import Sequence

from minikube_py.client.runtime import Streams
from minikube_py.images.container import Container
from minikube_py.images.exec import SERVER, NotFound, PermissionDenied
from minikube_py.images.shell import tools
from minikube_py.images.shell.interpreter import Shell
from minikube_py.images.shell.process import table_of
from minikube_py.images.shell.streams import EMPTY, Called, Feed, Sink, Source
from minikube_py.images.shell.terminal import Terminal
from minikube_py.images.shell.view import View, files_of

__all__ = ["execute", "has", "run"]


_SETTLE = 0.05
"""Seconds that a script with ports may take until its container counts as started."""


def has(program: str) -> bool:
    """Tell whether a program is built in."""
    return tools.find(program.rpartition("/")[2]) is not None


async def run(container: Container, argv: Sequence[str], *, main: bool = True, missing: set[str] | None = None) -> int:
    """Run a command whose output is the container's log; return its exit code.

    Args:
        main: it is the container's process 1: SIGTERM is for it, and the container has started once it has.
        missing: is told the programs and files that were looked for in vain.

    Error handling: NotFound, PermissionDenied.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    sink = Called(lambda data: container.write(decoder.decode(data)))
    stdin = Feed(container.stdin) if container.stdin is not None else EMPTY
    terminated = container.terminated if main else None
    return await _session(container, argv, stdin, sink, sink, container.tty and main, terminated, missing)


async def execute(container: Container, argv: Sequence[str], streams: Streams) -> int:
    """Run a command on the streams of an exec; return its exit code.

    Error handling: NotFound, PermissionDenied.
    """
    stdin = Feed(streams.stdin) if streams.stdin is not None else EMPTY
    out, err = Called(streams.stdout), Called(streams.stderr)
    return await _session(container, argv, stdin, out, err, streams.tty, None, None)


async def _session(
    container: Container,
    argv: Sequence[str],
    stdin: Source,
    stdout: Sink,
    stderr: Sink,
    tty: bool,
    terminated: asyncio.Event | None,
    missing: set[str] | None,
) -> int:
    view = View(files_of(container), "/", missing)
    view.cwd = view.path(container.working_dir or "/")
    env = {"HOME": "/root", **container.env}
    if tty:
        env.setdefault("TERM", "xterm")
    terminal: Terminal | None = None
    typing: asyncio.Task[None] | None = None
    running: asyncio.Task[int] | None = None
    if tty:

        def interrupt() -> None:
            if running is not None:
                running.cancel("interrupt")

        terminal = Terminal(stdin, stdout, interrupt)
        stdin, stdout, stderr = terminal.stdin, terminal.stdout, terminal.stdout
    root = Shell(container, view, {0: stdin, 1: stdout, 2: stderr}, variables=env, tty=tty)
    root.is_root, root.terminal, root.main_session = True, terminal, terminated is not None
    _check(root, argv)
    table = table_of(container)
    entry = None
    if terminated is None:
        entry = table.add(argv)
        root.pid = entry.pid
    else:
        root.pid = 1
        ending = table.running[1].signal
        table.running[1].signal = lambda name: (
            (root.main is not None and root.main.signal(name)) or (ending is not None and ending(name))
        )
    if terminal is not None:
        typing = asyncio.ensure_future(terminal.run())
    try:
        running = asyncio.ensure_future(root.spawn(argv, stdin, stdout, stderr, env, view))
        if terminated is not None:
            if container.ports:  # a server that the script begins with is up before the first probe comes
                await asyncio.wait((running,), timeout=_SETTLE)
            if SERVER not in container.extra:
                container.started()
        if entry is not None:
            entry.signal = lambda name: (root.main is not None and root.main.signal(name)) or running.cancel("signal")
        return await _until(running, root, terminated)
    finally:
        if entry is not None:
            table.remove(entry)
        if typing is not None:
            typing.cancel()
            await asyncio.gather(typing, return_exceptions=True)


def _check(root: Shell, argv: Sequence[str]) -> None:
    """Refuse what the container runtime could not start.

    Error handling: NotFound, PermissionDenied in runc's words.
    """
    name = argv[0] if argv else ""
    if name and root.find(name) is not None:
        return
    path = root.lookup(name) if name else None
    if path is None:
        root.view.missing.add(name)
        why = "no such file or directory" if "/" in name else "executable file not found in $PATH"
        where = f"stat {name}: {why}" if "/" in name else why
        raise NotFound(f'exec: "{name}": {where}')
    entry = root.view.stat(path)
    if entry.is_dir or not entry.mode & 0o111:
        raise PermissionDenied(f'exec: "{name}": {"is a directory" if entry.is_dir else "permission denied"}')


async def _until(running: "asyncio.Task[int]", root: Shell, terminated: asyncio.Event | None) -> int:
    """Wait for the command; hand it SIGTERM when that comes, and end it if it has no trap."""
    waiting = asyncio.ensure_future(terminated.wait()) if terminated is not None else None
    ended = False
    try:
        if waiting is not None:
            await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and not (root.main is not None and root.main.signal("TERM")):
                ended = True
                running.cancel()
        return await running
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        if ended or "signal" in error.args:
            return 143
        return 130
    finally:
        if waiting is not None:
            waiting.cancel()
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
