"""Builtins about processes and signals: trap, wait, jobs, kill, times.

Leaves out: fg, bg and ^Z.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from minikube_py.images.shell.builtins.words import number, signal_name, signal_number
from minikube_py.images.shell.control import Exit
from minikube_py.images.shell.process import Process, Tool, UsageError, table_of

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["BUILTINS"]


async def _trap(p: Process) -> int:
    shell, args = p.shell, [arg for arg in p.args if arg != "--"]
    if not args or args == ["-p"]:
        for name, known in shell.traps.items():
            prefix = "SIG" if shell.bash and name not in ("EXIT", "ERR", "DEBUG", "RETURN") else ""
            await p.out(f"trap -- '{known}' {prefix}{name}\n")
        return 0
    action: str | None = args.pop(0)
    if action == "-" or (not args and action is not None):
        args = args or [action or ""]
        action = None
    for arg in args:
        name = signal_name(arg)
        if action is None:
            shell.traps.pop(name, None)
        else:
            shell.traps[name] = action
    return 0


async def _wait(p: Process) -> int:
    shell = p.shell
    status = 0
    named = [arg for arg in p.args if not arg.startswith("-")]
    if "-n" in p.args:
        return await _any(p, [_job(shell, arg) for arg in named] or list(shell.jobs))
    for pid in [_job(shell, arg) for arg in named] or list(shell.jobs):
        task = shell.jobs.get(pid)
        if task is None:
            status = 127
            continue
        if (ended := await _until(shell, {task})) is None:
            return _signalled(shell)
        status = _status(ended)
        shell.jobs.pop(pid, None)
    return status if named else 0


async def _any(p: Process, pids: list[int]) -> int:
    """`wait -n`: the next job that ends."""
    tasks = {shell_task: pid for pid in pids if (shell_task := p.shell.jobs.get(pid)) is not None}
    if not tasks:
        return 127
    if (ended := await _until(p.shell, set(tasks))) is None:
        return _signalled(p.shell)
    del p.shell.jobs[tasks[ended]]
    return _status(ended)


def _job(shell: "Shell", text: str) -> int:
    if not text.startswith("%"):
        return number(text)
    pids = list(shell.jobs)
    index = number(text[1:] or str(len(pids)))
    return pids[index - 1] if 0 < index <= len(pids) else 0


async def _until(shell: "Shell", tasks: "set[asyncio.Task[int]]") -> "asyncio.Task[int] | None":
    """Return the first job that ends; None if a trapped signal came first."""
    signalled = asyncio.ensure_future(shell.signalled.wait())
    try:
        await asyncio.wait((*tasks, signalled), return_when=asyncio.FIRST_COMPLETED)
    finally:
        signalled.cancel()
    return next((task for task in tasks if task.done()), None)


def _status(task: "asyncio.Task[int]") -> int:
    return 143 if task.cancelled() else task.result()


def _signalled(shell: "Shell") -> int:
    """Return 128 and the signal's number."""
    return 128 + signal_number(shell.pending[0]) if shell.pending else 143


async def _jobs(p: Process) -> int:
    running = table_of(p.container).running
    for index, (pid, task) in enumerate(p.shell.jobs.items(), 1):
        if not task.done():
            command = " ".join(running[pid].argv) if pid in running else ""
            await p.out(f"[{index}]+ Running                    {command}\n")
    return 0


async def _kill(p: Process) -> int:
    args = list(p.args)
    name = "TERM"
    if args and args[0] == "-l":
        await p.out("HUP INT QUIT KILL USR1 USR2 TERM\n")
        return 0
    if args and args[0] == "-s":
        name, args = signal_name(args[1]), args[2:]
    elif args and args[0].startswith("-") and args[0] != "--":
        name, args = signal_name(args[0][1:]), args[1:]
    if not args:
        raise UsageError("you need to specify whom to kill")
    status = 0
    table = table_of(p.container)
    for arg in args:
        if arg.startswith("%"):
            pids = list(p.shell.jobs)
            pid = pids[int(arg[1:] or len(pids)) - 1] if pids else 0
        else:
            pid = number(arg)
        entry = table.running.get(pid)
        if name in ("0", "EXIT"):
            known = entry is not None or pid in (p.shell.pid, p.shell.own_pid)
            if not known:
                await p.err(f"{p.shell.name}: can't kill pid {pid}: No such process\n")
                status = 1
        elif pid == (p.shell.own_pid or p.shell.pid) and pid != 1:
            if not p.shell.signal(name):
                raise Exit(143)
            await p.shell.handle_signals()
        elif entry is None:
            await p.err(f"{p.shell.name}: can't kill pid {pid}: No such process\n")
            status = 1
        elif (entry.signal is None or not entry.signal(name)) and entry.task is not None:
            entry.task.cancel()
    return status


async def _times(p: Process) -> int:
    await p.out("0m0.00s 0m0.00s\n0m0.00s 0m0.00s\n")
    return 0


BUILTINS: Mapping[str, Tool] = {
    "trap": _trap,
    "wait": _wait,
    "jobs": _jobs,
    "kill": _kill,
    "times": _times,
}
