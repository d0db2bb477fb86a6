"""cut, tr, paste, fold: parts of lines.

Leaves out: bytes apart from characters, tr's equivalence classes.
"""

import re

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.lines import all_lines, dashed_count, each_source, lines
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


def _ranges(text: str) -> list[tuple[int, int]]:
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d*)(-?)(\d*)", part)
        if match is None or not part or part == "-":
            raise UsageError(f"invalid range '{text}'")
        first = int(match[1] or 1)
        found.append((first, int(match[3] or 10**9) if match[2] else first))
    return found


async def _cut(p: Process) -> int:
    options = read_options(p.args, "d:f:c:b:sn", {"delimiter=": "d", "fields=": "f", "output-delimiter=": "O"})
    status: list[int] = []
    spec = options.get("f") or options.get("c") or options.get("b")
    if not spec:
        raise UsageError("expected a list of bytes, characters, or fields")
    ranges = _ranges(spec)
    delimiter = options.get("d", "\t")
    joint = options.get("O", delimiter)
    async for _, source in each_source(p, options.rest, status):
        async for line in lines(source):
            if "f" not in options:
                await p.out("".join(c for i, c in enumerate(line, 1) if any(a <= i <= b for a, b in ranges)) + "\n")
                continue
            if delimiter not in line:
                if "s" not in options:
                    await p.out(f"{line}\n")
                continue
            parts = line.split(delimiter)
            await p.out(joint.join(c for i, c in enumerate(parts, 1) if any(a <= i <= b for a, b in ranges)) + "\n")
    return max(status, default=0)


_TR_CLASSES = {
    "[:lower:]": "abcdefghijklmnopqrstuvwxyz",
    "[:upper:]": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "[:digit:]": "0123456789",
    "[:space:]": " \t\n\r\v\f",
    "[:blank:]": " \t",
    "[:punct:]": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "[:cntrl:]": "".join(map(chr, range(32))) + "\x7f",
}
_TR_CLASSES["[:alpha:]"] = _TR_CLASSES["[:upper:]"] + _TR_CLASSES["[:lower:]"]
_TR_CLASSES["[:alnum:]"] = _TR_CLASSES["[:digit:]"] + _TR_CLASSES["[:alpha:]"]


def _tr_set(text: str) -> str:
    from minikube_py.images.shell.tools.basics import unescape

    for name, members in _TR_CLASSES.items():
        text = text.replace(name, members.replace("\\", "\\\\").replace("-", "\\055"))
    out: list[str] = []
    parts = re.findall(r"\\(?:[0-7]{1,3}|.)|.", text, re.DOTALL)
    at = 0
    while at < len(parts):
        char = unescape(parts[at])[0] if parts[at] != "\\-" else "-"
        if at + 2 < len(parts) and parts[at + 1] == "-":
            last = unescape(parts[at + 2])[0]
            out.extend(map(chr, range(ord(char), ord(last) + 1)))
            at += 3
            continue
        out.append(char[-1:])
        at += 1
    return "".join(out)


async def _tr(p: Process) -> int:
    options = read_options(p.args, "cCds")
    if not options.rest:
        raise UsageError("usage: tr [-cds] STRING1 [STRING2]")
    first = _tr_set(options.rest[0])
    second = _tr_set(options.rest[1]) if len(options.rest) > 1 else ""
    text = (await p.stdin.rest()).decode("utf-8", "surrogateescape")
    inverse = "c" in options or "C" in options
    members = set(first)

    def within(char: str) -> bool:
        return (char in members) != inverse

    if "d" in options:
        text = "".join(char for char in text if not within(char))
        squeezed = set(second)
    elif second:
        if inverse:
            text = "".join(second[-1] if within(char) else char for char in text)
        else:
            table = {char: second[min(i, len(second) - 1)] for i, char in reversed(list(enumerate(first)))}
            text = "".join(table.get(char, char) for char in text)
        squeezed = set(second)
    else:
        squeezed = members
    if "s" in options:
        out: list[str] = []
        for char in text:
            hit = (char in squeezed) != (inverse and not second)
            if not (out and out[-1] == char and hit):
                out.append(char)
        text = "".join(out)
    await p.out(text)
    return 0


async def _paste(p: Process) -> int:
    options = read_options(p.args, "d:s")
    delimiter = options.get("d", "\t")
    status: list[int] = []
    columns = []
    async for _, source in each_source(p, options.rest, status):
        columns.append([line async for line in lines(source)])
    if "s" in options:
        for column in columns:
            await p.out(delimiter.join(column) + "\n")
    else:
        for row in range(max(map(len, columns), default=0)):
            await p.out(delimiter.join(c[row] if row < len(c) else "" for c in columns) + "\n")
    return max(status, default=0)


async def _fold(p: Process) -> int:
    options = read_options(dashed_count(p.args), "w:sn:")
    width = int(options.number("w", options.number("n", 80)))
    status: list[int] = []
    for line in await all_lines(p, options.rest, status):
        for at in range(0, max(len(line), 1), width):
            await p.out(line[at : at + width] + "\n")
    return max(status, default=0)


TOOLS: dict[str, Tool] = {
    "cut": _cut,
    "tr": _tr,
    "paste": _paste,
    "fold": _fold,
}
