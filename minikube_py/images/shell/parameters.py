"""What `${…}` comes to: defaults, lengths, substrings, patterns, cases, quoting, for one value or a list of them.

Source: POSIX XCU §2.6.2; bash's manual, Shell Parameter Expansion and Arrays. Leaves out: `@A`, `@K`, `@a`, `@P`.
"""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from minikube_py.images.shell import patterns
from minikube_py.images.shell.arrays import quoted
from minikube_py.images.shell.expansion import ExpansionError
from minikube_py.images.shell.patterns import Segment
from minikube_py.images.shell.syntax import Parameter, ShellSyntaxError
from minikube_py.images.shell.words import parse_parameter

if TYPE_CHECKING:
    from minikube_py.images.shell.expansion import Expander
    from minikube_py.images.shell.interpreter import Shell

__all__ = ["DEFAULTS", "listed", "resolved", "segments"]

DEFAULTS = frozenset(("-", "+", "=", "?", ":-", ":+", ":=", ":?"))


def resolved(shell: "Shell", part: Parameter) -> Parameter:
    """Return what `${!name…}` points at; anything else as it is."""
    if not part.indirect or (part.subscript is not None and part.join):
        return part
    name = shell.parameter(part.name)
    if name is None:
        raise ExpansionError(f"{part.name}: invalid indirect expansion")
    try:
        target = parse_parameter(name, part.quoted)
    except ShellSyntaxError:
        raise ExpansionError(f"{name}: invalid variable name") from None
    return replace(target, op=part.op, operand=part.operand, second=part.second)


async def listed(expand: "Expander", part: Parameter) -> list[str]:
    """Return the values of `$@`, `${a[@]:1:2}`, `${!a[@]}`, …; what stands in a default's word is not looked at."""
    shell = expand.shell
    if part.op.startswith("names"):
        return sorted(name for name in {*shell.variables, *shell.arrays} if name.startswith(part.name))
    array = shell.array(part.name) if part.subscript is not None else None
    if part.indirect:
        return [str(key) for key in array.indices()] if array is not None else ["0"] * bool(shell.values(part.name))
    values = shell.values(part.name) if part.subscript is not None else list(shell.positional)
    if part.operand is None or part.op in DEFAULTS:
        return values
    if part.op == ":":
        start, length = await _slice(expand, part)
        if array is not None:
            return array.slice(start, length)
        if part.subscript is None:
            values = [shell.name, *values] if start <= 0 else values
            start = max(start - 1, 0) if start > 0 else start
            if start < 0:
                start = max(len(values) + start, 0)
        return values[start:] if length is None else values[start : start + length]
    return ["".join(text for text, _ in await _changed(expand, value, part)) for value in values]


async def segments(expand: "Expander", part: Parameter) -> list[Segment]:
    """Return what a parameter that is one value comes to, with a note of what was quoted."""
    shell = expand.shell
    op = part.op
    if op == "len":
        if part.join or part.name in "@*":
            count = len(shell.values(part.name)) if part.subscript is not None else len(shell.positional)
            return [(str(count), part.quoted)]
        return [(str(len(await _value(expand, part) or "")), part.quoted)]
    if op in DEFAULTS:
        return await _default(expand, part)
    value = await _value(expand, part)
    if part.operand is None:
        return [(value or "", part.quoted)]
    if op.startswith("@") and value is None:
        return [("", part.quoted)]
    return await _changed(expand, value or "", part)


async def _name(expand: "Expander", part: Parameter) -> str:
    """Return `a[1]` for messages and assignments."""
    return part.name if part.subscript is None else f"{part.name}[{await expand.text(part.subscript)}]"


async def _value(expand: "Expander", part: Parameter, *, checked: bool = True) -> str | None:
    shell = expand.shell
    name = await _name(expand, part)
    value = shell.fetch(name) if part.subscript is not None else shell.parameter(name)
    if value is None and checked and "u" in shell.options and part.name not in "@*" and not part.join:
        raise ExpansionError(f"{name}: {'unbound variable' if shell.bash else 'parameter not set'}")
    return value


async def _default(expand: "Expander", part: Parameter) -> list[Segment]:
    assert part.operand is not None
    shell, op = expand.shell, part.op
    if part.many:
        values = await listed(expand, part)
        value: str | None = " ".join(values)
        absent = not values or (op.startswith(":") and not value)
    else:
        value = await _value(expand, part, checked=False)
        absent = value is None or (op.startswith(":") and not value)
    match op.lstrip(":"):
        case "-" if absent:
            return await expand.segments(part.operand)
        case "+":
            return [] if absent else await expand.segments(part.operand)
        case "=" if absent:
            value = await expand.text(part.operand)
            shell.assign(await _name(expand, part), value)
        case "?" if absent:
            message = await expand.text(part.operand)
            raise ExpansionError(f"{await _name(expand, part)}: {message or 'parameter not set or null'}")
    return [(value or "", part.quoted)]


async def _slice(expand: "Expander", part: Parameter) -> tuple[int, int | None]:
    assert part.operand is not None
    start = await expand.arithmetic(part.operand)
    return start, None if part.second is None else await expand.arithmetic(part.second)


async def _changed(expand: "Expander", value: str, part: Parameter) -> list[Segment]:
    """Apply an operator to one value."""
    assert part.operand is not None
    op = part.op
    if op == ":":
        start, length = await _slice(expand, part)
        if start < 0:
            start = len(value) + start
            if start < 0:
                return [("", part.quoted)]
        end = None if length is None else start + length if length >= 0 else len(value) + length
        return [(value[start:end], part.quoted)]
    if op.startswith("@"):
        return [(_transformed(value, op[1], part.name), part.quoted)]
    pattern = await expand.segments(part.operand)
    if op[0] in "^,":
        return [(_cased(value, op, pattern), part.quoted)]
    match op:
        case "#" | "##":
            result = patterns.strip_prefix(value, pattern, longest=op == "##")
        case "%" | "%%":
            result = patterns.strip_suffix(value, pattern, longest=op == "%%")
        case _:
            result = await _replaced(expand, value, pattern, part)
    return [(result, part.quoted)]


def _cased(value: str, op: str, pattern: list[Segment]) -> str:
    change = str.upper if op[0] == "^" else str.lower
    everything = not any(text for text, _ in pattern)
    count = len(value) if len(op) == 2 else 1
    changed = (
        change(char) if at < count and (everything or patterns.matches(pattern, char)) else char
        for at, char in enumerate(value)
    )
    return "".join(changed)


def _transformed(value: str, letter: str, name: str) -> str:
    match letter:
        case "Q":
            return quoted(value)
        case "U":
            return value.upper()
        case "u":
            return value[:1].upper() + value[1:]
        case "L":
            return value.lower()
        case "E":
            from minikube_py.images.shell.words import ansi

            return ansi(value)
    raise ExpansionError(f"${{{name}@{letter}}}: bad substitution")


async def _replaced(expand: "Expander", value: str, pattern: list[Segment], part: Parameter) -> str:
    with_ = "" if part.second is None else await expand.text(part.second)
    source = patterns.regex(tuple(pattern))
    if not source:
        return with_ + value if part.op == "/#" else value + with_ if part.op == "/%" else value
    if part.op == "/#":
        source = f"\\A(?:{source})"
    elif part.op == "/%":
        source = f"(?:{source})\\Z"
    return re.sub(source, lambda _: with_, value, count=0 if part.op == "//" else 1, flags=re.DOTALL)
