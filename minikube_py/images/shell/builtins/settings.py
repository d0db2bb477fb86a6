"""Builtins about the shell itself: shopt, ulimit, hash, builtin, pushd, popd, dirs; and those that need no effect here.

Leaves out: limits that hold (`ulimit` remembers nothing), aliases (a script's are not expanded by bash either).
"""

from collections.abc import Mapping

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.state import SHELL_OPTIONS

__all__ = ["BUILTINS"]


async def _shopt(p: Process) -> int:
    from minikube_py.images.shell.tools.options import read_options

    options = read_options(p.args, "supqo", code=2)
    shell = p.shell
    for name in options.rest:
        if name not in SHELL_OPTIONS:
            await shell.complain(f"shopt: {name}: invalid shell option name")
            return 1
    if "s" in options:
        shell.shopt |= set(options.rest)
    elif "u" in options:
        shell.shopt -= set(options.rest)
    else:
        for name in options.rest or sorted(SHELL_OPTIONS):
            if "q" not in options:
                await p.out(f"{name:<20}\t{'on' if name in shell.shopt else 'off'}\n")
        return int(any(name not in shell.shopt for name in options.rest))
    return 0


async def _ulimit(p: Process) -> int:
    """Nothing is limited here: a limit that is set is accepted, and asked for, none is told."""
    if not any(arg.lstrip("-").isdigit() or arg in ("unlimited", "hard", "soft") for arg in p.args):
        await p.out("1048576\n" if "-n" in p.args or "-Hn" in p.args else "unlimited\n")
    return 0


async def _nothing(p: Process) -> int:
    return 0


async def _pushd(p: Process) -> int:
    stack: list[str] = p.shell.folders
    if not p.args:
        raise UsageError("no other directory")
    before = p.shell.view.cwd
    p.shell.enter(p.args[0])
    stack.append(before)
    return await _dirs(p)


async def _popd(p: Process) -> int:
    if not p.shell.folders:
        raise UsageError("directory stack empty")
    p.shell.enter(p.shell.folders.pop())
    return await _dirs(p)


async def _dirs(p: Process) -> int:
    await p.out(" ".join([p.shell.view.cwd, *reversed(p.shell.folders)]) + "\n")
    return 0


BUILTINS: Mapping[str, Tool] = {
    "alias": _nothing,
    "dirs": _dirs,
    "disown": _nothing,
    "hash": _nothing,
    "popd": _popd,
    "pushd": _pushd,
    "shopt": _shopt,
    "ulimit": _ulimit,
    "unalias": _nothing,
}
