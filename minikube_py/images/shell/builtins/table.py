"""All builtins by name; and type and command, which look into it."""

from collections.abc import Mapping

from minikube_py.images.shell import tools
from minikube_py.images.shell.builtins import flow, jobs, reading, settings, variables
from minikube_py.images.shell.process import Process, Tool

__all__ = ["BUILTINS", "DECLARATIONS", "SPECIAL"]


async def _type(p: Process) -> int:
    """type, command -v, command -V."""
    shell = p.shell
    status = 0
    brief = p.name == "command"
    kind = p.args[:1] == ["-t"]
    for name in p.args[1:] if kind else p.args:
        if kind:
            word = "function" if name in shell.functions else "builtin" if name in BUILTINS else "file"
            if word == "file" and shell.lookup(name) is None and shell.find(name) is None:
                status = 1
                continue
            text = word
        elif name in shell.functions:
            text = name if brief else f"{name} is a function"
        elif name in BUILTINS:
            text = name if brief else f"{name} is a shell builtin"
        elif (path := shell.lookup(name)) is not None:
            text = path if brief else f"{name} is {path}"
        elif shell.find(name) is not None:
            path = name if "/" in name else tools.path(name)
            text = path if brief else f"{name} is {path}"
        else:
            status = 127
            if not brief:
                await p.err(f"{shell.name}: {name}: not found\n")
            continue
        await p.out(f"{text}\n")
    return status


async def _command(p: Process) -> int:
    args = p.args
    if args[:1] in (["-v"], ["-V"]):
        p.argv = ["command" if args[0] == "-v" else "type", *args[1:]]
        return await _type(p)
    while args[:1] in (["-p"], ["--"]):
        args = args[1:]
    if not args:
        return 0
    if (builtin := BUILTINS.get(args[0])) is not None:
        p.argv = list(args)
        return await builtin(p)
    return await p.shell.spawn(args, p.stdin, p.stdout, p.stderr, p.env, p.view.copy(), found_by_shell=True)


BUILTINS: Mapping[str, Tool] = {
    **flow.BUILTINS,
    **jobs.BUILTINS,
    **reading.BUILTINS,
    **settings.BUILTINS,
    **variables.BUILTINS,
    "builtin": _command,
    "command": _command,
    "type": _type,
}


DECLARATIONS = frozenset(("export", "readonly", "local", "declare", "typeset"))


SPECIAL = frozenset((":", ".", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set"))
"""POSIX' special builtins: assignments before them last, and a failed redirection ends the shell."""
