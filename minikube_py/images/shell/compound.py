"""Compound commands: pipelines, groups and subshells, if, for, while, until, case.

Leaves out: `select`, `coproc`.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minikube_py.images.shell import patterns, redirection
from minikube_py.images.shell.control import Break, Continue
from minikube_py.images.shell.process import table_of
from minikube_py.images.shell.streams import Pipe, Source
from minikube_py.images.shell.syntax import (
    Case,
    CFor,
    Command,
    For,
    Group,
    If,
    Redirect,
    Script,
    While,
)

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["branch", "case", "group", "loop", "pipeline"]


async def pipeline(shell: "Shell", commands: tuple[Command, ...], negated: bool) -> None:
    """Run `a | b | c`, or `! a`; the status is the last part's, or with pipefail the last failure's."""
    if negated:
        shell.tested += 1
    try:
        if len(commands) == 1:
            await shell.command(commands[0])
        else:
            shell.status = await _piped(shell, commands)
    finally:
        if negated:
            shell.tested -= 1
    if negated:
        shell.status = int(not shell.status)
    elif len(commands) > 1:
        await shell.failed()


async def _piped(shell: "Shell", commands: tuple[Command, ...]) -> int:
    await shell.check_fork()
    tasks: list[asyncio.Task[int]] = []
    source: Source | None = None
    for number, command in enumerate(commands):
        part = shell.child()
        if source is not None:
            part.descriptors[0] = source
        pipe = Pipe() if number < len(commands) - 1 else None
        if pipe is not None:
            part.descriptors[1] = pipe.sink
        tasks.append(asyncio.ensure_future(_stage(part, command, source, pipe)))
        table_of(shell.container).fork(tasks[-1])
        source = pipe
    codes = shell.pipe_status = await _together(tasks)
    failed = [code for code in codes if code]
    return (failed[-1] if failed else 0) if "pipefail" in shell.options else codes[-1]


async def _stage(shell: "Shell", command: Command, source: Source | None, pipe: Pipe | None) -> int:
    """Run one part of a pipeline; its ends are closed when it is done."""
    try:
        return await shell.isolated(command)
    finally:
        if source is not None:
            source.close()
        if pipe is not None:
            pipe.end()


async def _together(tasks: "Sequence[asyncio.Task[int]]") -> list[int]:
    """Wait for all; if this is cancelled or one fails, so are they."""
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.gather(*left, return_exceptions=True)


async def group(shell: "Shell", body: Script, subshell: bool, redirects: tuple[Redirect, ...]) -> None:
    """Run `{ … }` in this shell or `( … )` in a child."""
    saved = shell.descriptors
    opened = await redirection.redirected(shell, redirects)
    if opened is None:
        shell.status = 1
        return
    try:
        if subshell:
            inner = shell.child()
            inner.descriptors = opened
            shell.status = await inner.isolated(Group(body), heir=shell)
            await shell.failed()
        else:
            shell.descriptors = opened
            await shell.script(body)
    finally:
        shell.descriptors = saved


async def branch(shell: "Shell", command: If) -> None:
    """Run if, elif, else; 0 where no condition holds."""
    for condition, body in command.branches:
        if await shell.tested_script(condition):
            await shell.script(body)
            return
    shell.status = 0
    if command.otherwise is not None:
        await shell.script(command.otherwise)


async def loop(shell: "Shell", command: For | CFor | While) -> None:
    """Run for, while or until; after each round others run, too."""
    status = 0
    async for _ in _rounds(shell, command):
        try:
            status = await shell.script(command.body)
        except Break as stop:
            if stop.levels > 1:
                raise Break(stop.levels - 1) from None
            status = 0
            break
        except Continue as stop:
            if stop.levels > 1:
                raise Continue(stop.levels - 1) from None
            status = 0
        await shell.turn()
    shell.status = status


async def _rounds(shell: "Shell", command: For | CFor | While) -> Any:
    match command:
        case For(name, words):
            for value in list(shell.positional) if words is None else await shell.expand.fields(words):
                shell.assign(name, value)
                yield
        case While(condition, _, until):
            while await shell.tested_script(condition) != until:
                yield
                await shell.turn()
        case CFor(start, condition, step):
            await shell.expand.arithmetic(start)
            while not condition.parts or await shell.expand.arithmetic(condition):
                yield
                await shell.expand.arithmetic(step)


async def case(shell: "Shell", command: Case) -> None:
    """Run the branches that match: `;;` ends, `;&` falls through, `;;&` goes on judging."""
    subject = await shell.expand.text(command.word)
    shell.status = 0
    falling = False
    for choices, body, ending in command.branches:
        hit = falling
        for choice in choices:
            hit = hit or patterns.matches(
                await shell.expand.segments(choice), subject, cases="nocasematch" not in shell.shopt
            )
        if not hit:
            continue
        await shell.script(body)
        if ending == ";;":
            return
        falling = ending == ";&"
