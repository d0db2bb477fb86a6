"""read and mapfile: input into variables; printf -v: output into one.

Leaves out: -s's silence (a terminal here always echoes), mapfile's callbacks.
"""

import asyncio
from collections.abc import Mapping

from minikube_py.images.shell.arrays import Array
from minikube_py.images.shell.builtins.words import number
from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.streams import Collected, Source
from minikube_py.images.shell.tools import find

__all__ = ["BUILTINS"]


async def _read(p: Process) -> int:
    shell, args = p.shell, list(p.args)
    raw = silent = False
    array: str | None = None
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
            elif letter == "e":
                continue
            elif letter in "ptndNiau":
                value = option or (args.pop(0) if args else "")
                option = ""
                if letter == "p":
                    await p.err(value)
                elif letter == "t":
                    timeout = float(value)
                elif letter == "d":
                    delimiter = value[:1].encode() or b"\0"
                elif letter == "a":
                    array = value
                elif letter == "u":
                    p.stdin = _descriptor(p, value)
                elif letter == "i":
                    continue
                else:
                    count = number(value)
            else:
                raise UsageError(f"illegal option -{letter}", 2)
    del silent
    names = args or ["REPLY"]
    if array is not None:
        names = [""] * (1 << 16)
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
    while (args or array) and at < len(chars) and chars[at][0] in white and not chars[at][1] and white:
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
    if rest or array is None:
        fields.append(rest.rstrip(white) if white and (args or array) else rest)
    if array is not None:
        shell.set_array(array, Array(fields if fields != [""] else []))
        return int(ended)
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


def _descriptor(p: Process, text: str) -> Source:
    found = p.shell.descriptors.get(number(text))
    if not isinstance(found, Source):
        raise UsageError(f"{text}: invalid file descriptor: Bad file descriptor", 1)
    return found


async def _mapfile(p: Process) -> int:
    """mapfile, readarray: all lines of the input into an array."""
    from minikube_py.images.shell.tools.options import read_options

    options = read_options(p.args, "td:n:O:s:u:C:c:", code=2)
    source = _descriptor(p, options.get("u")) if "u" in options else p.stdin
    delimiter = (options.get("d")[:1].encode() or b"\0") if "d" in options else b"\n"
    pieces = (await source.rest()).split(delimiter)
    ends = [piece + delimiter for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])
    chosen = ends[int(options.number("s", 0)) :]
    if count := int(options.number("n", 0)):
        chosen = chosen[:count]
    name = options.rest[0] if options.rest else "MAPFILE"
    start = int(options.number("O", 0))
    array = (p.shell.arrays.get(name) or Array()).copy() if "O" in options else Array()
    for index, line in enumerate(chosen, start):
        text = (line.removesuffix(delimiter) if "t" in options else line).decode("utf-8", "surrogateescape")
        array.set(index, text.replace("\0", ""))
    p.shell.set_array(name, array)
    return 0


async def _printf(p: Process) -> int:
    """printf, which is a tool as well; with -v its output is a variable's value."""
    tool = find("printf")
    assert tool is not None
    if not p.shell.bash or p.args[:1] != ["-v"] or len(p.args) < 3:
        return await tool(p)
    name, p.argv = p.args[1], [p.argv[0], *p.args[2:]]
    collected = Collected()
    p.stdout = collected
    status = await tool(p)
    p.shell.assign(name, collected.data.decode("utf-8", "surrogateescape"))
    return status


BUILTINS: Mapping[str, Tool] = {
    "mapfile": _mapfile,
    "printf": _printf,
    "read": _read,
    "readarray": _mapfile,
}
