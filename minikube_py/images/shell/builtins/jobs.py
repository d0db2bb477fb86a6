"""Builtins about processes and signals: trap, wait, jobs, kill, times.

Leaves out: fg, bg and ^Z.
"""

import asyncio
from collections.abc import Mapping

from minikube_py.images.shell.builtins.words import number, signal_name
from minikube_py.images.shell.control import Exit
from minikube_py.images.shell.process import Process, Tool, UsageError, table_of

__all__ = ["BUILTINS"]


async def _trap(p: Process) -> int:
    shell, args = p.shell, [arg for arg in p.args if arg != "--"]
    if not args or args == ["-p"]:
        for name, known in shell.traps.items():
            await p.out(f"trap -- '{known}' {name}\n")
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
    wanted = [number(arg.removeprefix("%")) for arg in p.args if arg != "-n"] or list(shell.jobs)
    for pid in wanted:
        task = shell.jobs.get(pid) or (list(shell.jobs.values())[pid - 1] if 0 < pid <= len(shell.jobs) else None)
        if task is None:
            status = 127
            continue
        signalled = asyncio.ensure_future(shell.signalled.wait())
        try:
            await asyncio.wait((task, signalled), return_when=asyncio.FIRST_COMPLETED)
        finally:
            signalled.cancel()
        if not task.done():
            return 143
        status = 143 if task.cancelled() else task.result()
        shell.jobs.pop(pid, None)
    return status if p.args else 0


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
        if pid == p.shell.pid and pid != 1:
            if not p.shell.signal(name):
                raise Exit(143)
            await p.shell.handle_signals()
        elif entry is None:
            await p.err(f"{p.shell.name}: can't kill pid {pid}: No such process\n")
            status = 1
        elif name in ("0", "EXIT"):
            continue
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
