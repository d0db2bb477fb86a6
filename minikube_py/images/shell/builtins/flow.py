"""Builtins that steer a script: exit, return, break, continue, eval, `.`, exec, `:`."""

from collections.abc import Mapping

from minikube_py.images.shell.builtins.words import number
from minikube_py.images.shell.control import Break, Continue, Exit, Return
from minikube_py.images.shell.process import Process, Tool, UsageError

__all__ = ["BUILTINS"]


async def _colon(p: Process) -> int:
    return 0


async def _exit(p: Process) -> int:
    raise Exit(number(p.args[0]) if p.args else p.shell.status)


async def _return(p: Process) -> int:
    code = number(p.args[0]) if p.args else p.shell.status
    if not p.shell.depth:
        raise Exit(code)
    raise Return(code)


async def _break(p: Process) -> int:
    raise Break(number(p.args[0]) if p.args else 1)


async def _continue(p: Process) -> int:
    raise Continue(number(p.args[0]) if p.args else 1)


async def _eval(p: Process) -> int:
    text = " ".join(p.args)
    return await p.shell.evaluate(text) if text.strip() else 0


async def _source(p: Process) -> int:
    shell = p.shell
    if not p.args:
        raise UsageError("filename argument required", 2)
    name = p.args[0]
    path = name if "/" in name else shell.lookup(name) or name
    try:
        text = (await shell.view.source(path).rest()).decode("utf-8", "surrogateescape")
    except OSError as error:
        await shell.complain(f"{p.argv[0]}: can't open '{name}': {error.strerror}")
        if shell.tty or shell.bash:
            return 1
        raise Exit(2) from None
    positional = shell.positional
    if len(p.args) > 1:
        shell.positional = p.args[1:]
    shell.depth += 1
    try:
        return await shell.evaluate(text)
    except Return as end:
        return end.code
    finally:
        shell.depth -= 1
        shell.positional = positional


async def _exec(p: Process) -> int:
    shell = p.shell
    if not p.args:
        return 0
    code = await shell.spawn(p.args, p.stdin, p.stdout, p.stderr, p.env, shell.view.copy(), found_by_shell=True)
    raise Exit(code)


BUILTINS: Mapping[str, Tool] = {
    ".": _source,
    ":": _colon,
    "break": _break,
    "continue": _continue,
    "eval": _eval,
    "exec": _exec,
    "exit": _exit,
    "return": _return,
    "source": _source,
}
