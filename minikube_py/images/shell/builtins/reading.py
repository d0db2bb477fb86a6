"""read: a line of input into variables.

Leaves out: -a, -u, and -s's silence (a terminal here always echoes).
"""

import asyncio
from collections.abc import Mapping

from minikube_py.images.shell.builtins.words import number
from minikube_py.images.shell.process import Process, Tool, UsageError

__all__ = ["BUILTINS"]


async def _read(p: Process) -> int:
    shell, args = p.shell, list(p.args)
    raw = silent = False
    timeout: float | None = None
    count: int | None = None
    delimiter = b"\n"
    while args and args[0].startswith("-") and len(args[0]) > 1:
        option = args.pop(0)[1:]
        while option:
            letter, option = option[0], option[1:]
            if letter == "r":
                raw = True
            elif letter == "s":
                silent = True
            elif letter in "ptnd":
                value = option or (args.pop(0) if args else "")
                option = ""
                if letter == "p":
                    await p.err(value)
                elif letter == "t":
                    timeout = float(value)
                elif letter == "d":
                    delimiter = value[:1].encode() or b"\0"
                else:
                    count = number(value)
            else:
                raise UsageError(f"illegal option -{letter}", 2)
    del silent
    names = args or ["REPLY"]
    try:
        async with asyncio.timeout(timeout):
            data, ended = await _read_line(p, raw, delimiter, count)
    except TimeoutError:
        return 142
    ifs = shell.variables.get("IFS", " \t\n")
    white = "".join(char for char in ifs if char in " \t\n")
    chars = data
    fields: list[str] = []
    at = 0
    while at < len(chars) and chars[at][0] in white and not chars[at][1] and white:
        at += 1
    while len(fields) < len(names) - 1 and at < len(chars):
        field = ""
        while at < len(chars) and (chars[at][1] or chars[at][0] not in ifs):
            field += chars[at][0]
            at += 1
        fields.append(field)
        while at < len(chars) and chars[at][0] in white and not chars[at][1]:
            at += 1
        if at < len(chars) and not chars[at][1] and chars[at][0] in ifs and chars[at][0] not in white:
            at += 1
            while at < len(chars) and chars[at][0] in white and not chars[at][1]:
                at += 1
        elif at < len(chars) and chars[at - 1][0] not in ifs:
            at += 1
    rest = "".join(char for char, _ in chars[at:])
    fields.append(rest.rstrip(white) if white else rest)
    fields += [""] * (len(names) - len(fields))
    for name, value in zip(names, fields, strict=False):
        shell.assign(name, value)
    return int(ended)


async def _read_line(p: Process, raw: bool, delimiter: bytes, count: int | None) -> tuple[list[tuple[str, bool]], bool]:
    """Return the characters with a note of which were escaped, and whether the input ended."""
    data = bytearray()
    marks: list[tuple[str, bool]] = []
    ended = False
    if count is None and delimiter == b"\n":
        while True:
            line = await p.stdin.line()
            ended = not line.endswith(b"\n")
            data += line.removesuffix(b"\n")
            if not raw and not ended and data.endswith(b"\\") and (len(data) - len(data.rstrip(b"\\"))) % 2:
                del data[-1:]
                continue
            break
    else:
        while count is None or len(data) < count:
            byte = await p.stdin.read(1)
            if not byte:
                ended = True
                break
            if byte == delimiter:
                break
            data += byte
    text = data.decode("utf-8", "surrogateescape")
    at = 0
    while at < len(text):
        if not raw and text[at] == "\\" and at + 1 < len(text):
            marks.append((text[at + 1], True))
            at += 2
            continue
        marks.append((text[at], False))
        at += 1
    return marks, ended


BUILTINS: Mapping[str, Tool] = {
    "read": _read,
}
