"""A simple command: its words expanded, its descriptors opened, then a function, a builtin or a program.

Leaves out: aliases.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minikube_py.images.shell import builtins, programs, redirection
from minikube_py.images.shell.arrays import Array, Numbers
from minikube_py.images.shell.control import Exit, Return
from minikube_py.images.shell.expansion import ExpansionError
from minikube_py.images.shell.process import Process
from minikube_py.images.shell.state import Descriptors
from minikube_py.images.shell.syntax import Assignment, Command, Simple
from minikube_py.images.shell.view import View

if TYPE_CHECKING:
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["argv_of", "assign", "run"]


async def run(shell: "Shell", command: Simple) -> None:
    """Run a command, or only set variables; leave the exit code in the shell's status."""
    shell.substituted = None
    argv = await _fields(shell, command)
    opened = await redirection.redirected(shell, command.redirects)
    if opened is None:
        shell.status = 1
        if argv and argv[0] in builtins.SPECIAL and not (shell.tty or shell.bash):
            raise Exit(2)
        return
    values: dict[str, str] = {}
    for assignment in command.assignments:
        if assignment.elements is not None or assignment.subscript is not None:
            await assign(shell, assignment)
            values[assignment.name] = shell.variables.get(assignment.name, "")
            continue
        value = await shell.expand.text(assignment.value)
        if assignment.append:
            value = _appended(shell, assignment.name, value)
        if not argv:
            shell.assign(assignment.name, value)
        values[assignment.name] = value
    if "x" in shell.options and (argv or values):
        await _trace(shell, argv, values)
    if not argv:
        shell.status = shell.substituted or 0
        return
    await _execute(shell, argv, values, opened)
    for assignment in command.arrays:  # of `declare -A a=(…)`, which has just made them
        protected = assignment.name in shell.read_only
        shell.read_only.discard(assignment.name)
        await assign(shell, assignment)
        if protected:
            shell.read_only.add(assignment.name)


def _appended(shell: "Shell", name: str, value: str) -> str:
    before = shell.fetch(name) or ""
    return f"{before or 0}+({value or 0})" if name in shell.integers else before + value


async def assign(shell: "Shell", assignment: Assignment) -> None:
    """Carry out `a[i]=x`, `a=(x y)` or `a+=([k]=v)`."""
    name = assignment.name
    if assignment.elements is None:
        assert assignment.subscript is not None
        key = shell.key(name, await shell.expand.text(assignment.subscript))
        value = await shell.expand.text(assignment.value)
        array = shell.array(name)
        if assignment.append and array is not None:
            value = (array.get(key) or "") + value
        shell.set_element(name, key, value)
        return
    before = shell.array(name)
    if assignment.append:
        made = before.copy() if before is not None else Array(shell.values(name))
    else:
        made = Array(associative=before is not None and before.associative)
    at = made.end if not made.associative else 0
    waiting: str | None = None
    for subscript, word in assignment.elements:
        if subscript is not None:
            text = await shell.expand.text(subscript)
            key = text if made.associative else Numbers(shell).value(text)
            made.set(key, await shell.expand.text(word))
            at = key + 1 if isinstance(key, int) else 0
            continue
        for value in await shell.expand.fields((word,)):
            if not made.associative:
                made.set(at, value)
                at += 1
            elif waiting is None:
                waiting = value
            else:
                made.set(waiting, value)
                waiting = None
    shell.set_array(name, made)


async def _fields(shell: "Shell", command: Simple) -> list[str]:
    words = command.words
    if words and words[0].plain in builtins.DECLARATIONS:
        found = await shell.expand.fields(words[:1])
        for word in words[1:]:
            first = word.parts[0] if word.parts else None
            if getattr(first, "quoted", True) or not re.match(r"[A-Za-z_]\w*(\[.*\])?\+?=", getattr(first, "text", "")):
                found.extend(await shell.expand.fields((word,)))
            else:
                found.append(await shell.expand.text(word))  # an assignment's value isn't split
        return found
    return await shell.expand.fields(words)


async def _trace(shell: "Shell", argv: Sequence[str], values: dict[str, str]) -> None:
    words = [*(f"{name}={_quoted(value)}" for name, value in values.items()), *map(_quoted, argv)]
    prefix = shell.variables.get("PS4", "+ ")
    await shell.sink(2).write(f"{prefix}{' '.join(words)}\n".encode("utf-8", "surrogateescape"))


async def _execute(shell: "Shell", argv: list[str], values: dict[str, str], opened: Descriptors) -> None:
    name = argv[0]
    if name in shell.functions:
        shell.calls.append(name)
        try:
            await _call(shell, shell.functions[name], argv, values, opened)
        finally:
            shell.calls.pop()
        return
    builtin = builtins.BUILTINS.get(name)
    saved = shell.descriptors
    shell.descriptors = opened
    try:
        if builtin is not None:
            before = {key: shell.saved(key) for key in values}
            shell.variables.update(values)
            process = _process(shell, argv, shell.view)
            try:
                shell.status = await programs.quietly(shell, builtin, process)
            finally:
                if name not in builtins.SPECIAL:
                    shell.restore(before)
            if name == "exec":
                saved = shell.descriptors
                shell.close_opened(0)
            return
        env = {**shell.environment(), **values}
        shell.status = await shell.spawn(
            argv, shell.stdin, shell.sink(1), shell.sink(2), env, shell.view.copy(), found_by_shell=True
        )
    finally:
        shell.descriptors = saved


def _process(shell: "Shell", argv: Sequence[str], view: View) -> Process:
    return Process(list(argv), shell.stdin, shell.sink(1), shell.sink(2), shell.environment(), view, shell, shell.tty)


async def _call(shell: "Shell", body: Command, argv: list[str], values: dict[str, str], opened: Descriptors) -> None:
    positional, saved = shell.positional, shell.descriptors
    shell.positional, shell.descriptors = argv[1:], opened
    shell.locals.append({key: shell.saved(key) for key in values})
    shell.variables.update(values)
    shell.depth += 1
    try:
        if shell.depth > 200:
            raise ExpansionError("maximum function recursion depth (200) reached")
        await shell.command(body)
    except Return as end:
        shell.status = end.code
    finally:
        shell.depth -= 1
        shell.restore(shell.locals.pop())
        shell.positional, shell.descriptors = positional, saved


def _quoted(text: str) -> str:
    if text and re.fullmatch(r"[\w@%+=:,./\[\]-]+", text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def argv_of(command: Simple) -> tuple[str, ...]:
    """Return the words before their expansion, for a process table."""
    return tuple(
        "".join(getattr(part, "text", f"${getattr(part, 'name', '')}") for part in w.parts) for w in command.words
    )
