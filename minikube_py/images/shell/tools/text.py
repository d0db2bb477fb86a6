"""cat, head, tail, wc, sort, uniq, cut, tr and others over lines of text."""

import asyncio
import re
from collections.abc import AsyncIterator

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.streams import Source
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS", "each_source", "lines"]


async def each_source(p: Process, names: list[str], status: list[int]) -> AsyncIterator[tuple[str, Source]]:
    """Yield (name, source) of each file that can be opened, stdin if there are none; the rest is told on stderr."""
    for name in names or ["-"]:
        try:
            if name != "-" and p.view.is_dir(name):
                await p.err(f"{p.name}: read error: Is a directory\n")
                status.append(1)
                continue
            source = p.source(name)
        except OSError as error:
            verb = "" if p.name not in ("cat", "head", "tail", "wc", "tac") else "can't open "
            shown = f"'{name}'" if verb else name
            await p.err(f"{p.name}: {verb}{shown}: {error.strerror}\n")
            status.append(1)
            continue
        yield name, source


async def lines(source: Source) -> AsyncIterator[str]:
    """Yield lines without their line ends."""
    while line := await source.line():
        yield line.decode("utf-8", "surrogateescape").removesuffix("\n")


async def _all_lines(p: Process, names: list[str], status: list[int]) -> list[str]:
    found: list[str] = []
    async for _, source in each_source(p, names, status):
        async for line in lines(source):
            found.append(line)
    return found


async def _cat(p: Process) -> int:
    options = read_options(p.args, "nbeAvtus", {"number": "n", "show-all": "A"})
    status: list[int] = []
    number = 0
    async for _, source in each_source(p, options.rest, status):
        if not options.values.keys() - {"u"}:
            while data := await source.read():
                await p.out(data)
                await asyncio.sleep(0)
            continue
        while line := await source.line():
            text = line.decode("utf-8", "surrogateescape")
            if "A" in options or "e" in options:
                text = text.replace("\t", "^I").replace("\r", "^M").replace("\n", "$\n")
            if "n" in options or ("b" in options and text.strip("\n")):
                number += 1
                text = f"{number:6d}\t{text}"
            await p.out(text)
    return max(status, default=0)


async def _tac(p: Process) -> int:
    status: list[int] = []
    for line in reversed(await _all_lines(p, p.args, status)):
        await p.out(f"{line}\n")
    return max(status, default=0)


def _old_count(args: list[str]) -> list[str]:
    """Turn `-5` into `-n 5`, unless it is itself the value of an option."""
    made: list[str] = []
    for arg in args:
        old = re.fullmatch(r"-\d+", arg) and made[-1:] not in (["-n"], ["-c"])
        made += ["-n", arg[1:]] if old else [arg]
    return made


def _count(text: str) -> int:
    match = re.fullmatch(r"([-+]?\d+)([kKmMb]?)", text)
    if match is None:
        raise UsageError(f"invalid number '{text}'")
    return int(match[1]) * {"": 1, "k": 1024, "K": 1024, "m": 1 << 20, "M": 1 << 20, "b": 512}[match[2]]


async def _head(p: Process) -> int:
    options = read_options(_old_count(p.args), "n:c:qv", {"lines=": "n", "bytes=": "c"})
    status: list[int] = []
    several = len(options.rest) > 1 and "q" not in options
    first = True
    async for name, source in each_source(p, options.rest, status):
        if several or "v" in options:
            await p.out(f"{'' if first else chr(10)}==> {name} <==\n")
        first = False
        if "c" in options:
            left = _count(options.get("c"))
            while left > 0 and (data := await source.read(left)):
                left -= len(data)
                await p.out(data)
            continue
        count = _count(options.get("n", "10"))
        if count < 0:
            kept = [line async for line in lines(source)]
            for text in kept[:count]:
                await p.out(f"{text}\n")
            continue
        while count > 0 and (line := await source.line()):
            count -= 1
            await p.out(line)
    return max(status, default=0)


async def _tail(p: Process) -> int:
    options = read_options(_old_count(p.args), "n:c:fFqvs:", {"lines=": "n", "bytes=": "c", "follow": "f"})
    status: list[int] = []
    several = len(options.rest) > 1 and "q" not in options
    follow = "f" in options or "F" in options
    first = True
    followed: list[tuple[str, int]] = []
    async for name, source in each_source(p, options.rest, status):
        if several or "v" in options:
            await p.out(f"{'' if first else chr(10)}==> {name} <==\n")
        first = False
        data = await source.rest()
        followed.append((name, len(data)))
        if "c" in options:
            text = options.get("c")
            count = _count(text)
            await p.out(data[count - 1 :] if text.startswith("+") else data[-abs(count) :] if count else b"")
            continue
        text = options.get("n", "10")
        count = _count(text)
        kept = data.splitlines(keepends=True)
        await p.out(
            b"".join(kept[max(count - 1, 0) :] if text.startswith("+") else kept[-abs(count) :] if count else [])
        )
    if follow and (followed or "F" in options):
        await _follow(p, followed)
    return max(status, default=0)


async def _follow(p: Process, followed: list[tuple[str, int]]) -> None:
    """Write what is appended, for ever; files of the tree tell nobody that they have grown."""
    seen = dict(followed)
    while True:
        await asyncio.sleep(0.2 if any(not name.startswith("/dev/") and name != "-" for name in seen) else 3600)
        for name, size in list(seen.items()):
            if name == "-" or name.startswith("/dev/"):
                continue
            try:
                data = p.view.read(name)
            except OSError:
                continue
            if len(data) < size:
                size = 0
            if len(data) > size:
                await p.out(data[size:])
            seen[name] = len(data)


async def _wc(p: Process) -> int:
    options = read_options(p.args, "lwcmL", {"lines": "l", "words": "w", "bytes": "c", "chars": "m"})
    kinds = [kind for kind in "lwmcL" if kind in options] or ["l", "w", "c"]
    status: list[int] = []
    totals = dict.fromkeys(kinds, 0)
    rows: list[tuple[dict[str, int], str]] = []
    async for name, source in each_source(p, options.rest, status):
        data = await source.rest()
        text = data.decode("utf-8", "surrogateescape")
        counts = {
            "l": data.count(b"\n"),
            "w": len(data.split()),
            "m": len(text),
            "c": len(data),
            "L": max(map(len, text.splitlines()), default=0),
        }
        rows.append((counts, "" if name == "-" and not options.rest else name))
        for kind in kinds:
            totals[kind] += counts[kind]
    if len(rows) > 1:
        rows.append((totals, "total"))
    for counts, name in rows:
        text = str(counts[kinds[0]]) if len(kinds) == 1 else " ".join(f"{counts[kind]:9d}" for kind in kinds)
        await p.out(f"{text}{' ' + name if name else ''}\n")
    return max(status, default=0)


def _number_key(text: str) -> float:
    match = re.match(r"\s*-?\d*\.?\d+", text)
    return float(match[0]) if match else 0.0


_SIZES = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def _human_key(text: str) -> float:
    match = re.match(r"\s*(-?\d*\.?\d+)\s*([KMGT]?)", text)
    return float(match[1]) * _SIZES.get(match[2], 1) if match else 0.0


def _version_key(text: str) -> list[tuple[int, int, str]]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", text) if part]


async def _sort(p: Process) -> int:
    options = read_options(
        p.args, "nrufk:t:o:hVbcsMdi", {"reverse": "r", "unique": "u", "numeric-sort": "n", "key=": "k"}
    )
    status: list[int] = []
    found = await _all_lines(p, options.rest, status)
    separator = options.get("t") or None
    keys = [_sort_key(text) for text in options.all("k")] or [(1, 0, "")]

    def key(line: str) -> list[object]:
        made: list[object] = []
        for start, end, flags in keys:
            text = line
            if "k" in options:
                parts = line.split(separator) if separator else line.split()
                text = (separator or " ").join(parts[start - 1 : end or None])
            letters = flags or "".join(options.values)
            if "n" in letters:
                made.append(_number_key(text))
            elif "h" in letters:
                made.append(_human_key(text))
            elif "V" in letters:
                made.append(_version_key(text))
            else:
                made.append(text.lower() if "f" in letters else text)
        return made

    if "n" not in options and "k" not in options and "u" not in options:
        ordered = sorted(found, key=key, reverse="r" in options)
    else:
        ordered = (
            sorted(sorted(found), key=key, reverse="r" in options) if "s" not in options else sorted(found, key=key)
        )
    if "c" in options:
        return int(ordered != found)
    if "u" in options:
        unique: list[str] = []
        for line in ordered:
            if not unique or key(unique[-1]) != key(line):
                unique.append(line)
        ordered = unique
    text = "".join(f"{line}\n" for line in ordered)
    if "o" in options:
        p.view.write(options.get("o"), text.encode("utf-8", "surrogateescape"))
    else:
        await p.out(text)
    return max(status, default=0)


def _sort_key(text: str) -> tuple[int, int, str]:
    match = re.fullmatch(r"(\d+)(?:\.\d+)?([a-zA-Z]*)(?:,(\d+)(?:\.\d+)?([a-zA-Z]*))?", text)
    if match is None:
        raise UsageError(f"bad field specification '{text}'", 2)
    return int(match[1]), int(match[3] or 0), match[2] + (match[4] or "")


async def _uniq(p: Process) -> int:
    options = read_options(p.args, "cduif:s:", {"count": "c", "repeated": "d", "unique": "u"})
    status: list[int] = []
    groups: list[tuple[str, int]] = []
    for line in await _all_lines(p, options.rest[:1], status):
        same = groups and (groups[-1][0].lower() == line.lower() if "i" in options else groups[-1][0] == line)
        if same:
            groups[-1] = (groups[-1][0], groups[-1][1] + 1)
        else:
            groups.append((line, 1))
    for line, count in groups:
        if ("d" in options and count < 2) or ("u" in options and count > 1):
            continue
        await p.out(f"{count:7d} {line}\n" if "c" in options else f"{line}\n")
    return max(status, default=0)


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


async def _tee(p: Process) -> int:
    options = read_options(p.args, "ai", {"append": "a"})
    status = 0
    sinks = []
    for name in options.rest:
        try:
            sinks.append(p.view.sink(name, append="a" in options))
        except OSError as error:
            status = await p.fail(f"{name}: {error.strerror}")
    while data := await p.stdin.read():
        await p.out(data)
        for sink in sinks:
            await sink.write(data)
    return status


async def _nl(p: Process) -> int:
    options = read_options(p.args, "b:w:s:")
    status: list[int] = []
    number = 0
    for line in await _all_lines(p, options.rest, status):
        if line or options.get("b") == "a":
            number += 1
            await p.out(f"{number:6d}{options.get('s', chr(9))}{line}\n")
        else:
            await p.out(f"       {line}\n")
    return max(status, default=0)


async def _rev(p: Process) -> int:
    status: list[int] = []
    for line in await _all_lines(p, p.args, status):
        await p.out(f"{line[::-1]}\n")
    return max(status, default=0)


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
    options = read_options(_old_count(p.args), "w:sn:")
    width = int(options.number("w", options.number("n", 80)))
    status: list[int] = []
    for line in await _all_lines(p, options.rest, status):
        for at in range(0, max(len(line), 1), width):
            await p.out(line[at : at + width] + "\n")
    return max(status, default=0)


async def _split(p: Process) -> int:
    options = read_options(p.args, "l:b:a:")
    name = options.rest[0] if options.rest else "-"
    prefix = options.rest[1] if len(options.rest) > 1 else "x"
    data = await p.source(name).rest()
    if "b" in options:
        size = _count(options.get("b"))
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
    else:
        size = int(options.number("l", 1000))
        rows = data.splitlines(keepends=True)
        chunks = [b"".join(rows[i : i + size]) for i in range(0, len(rows), size)]
    for index, chunk in enumerate(chunks):
        p.view.write(f"{prefix}{chr(97 + index // 26)}{chr(97 + index % 26)}", chunk)
    return 0


async def _cmp(p: Process) -> int:
    options = read_options(p.args, "sl", code=2)
    if len(options.rest) < 2:
        raise UsageError("usage: cmp FILE1 FILE2", 2)
    one, two = [await p.source(name).rest() for name in options.rest[:2]]
    if one == two:
        return 0
    at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
    if "s" not in options:
        if at is None:
            await p.err(f"cmp: EOF on {options.rest[0] if len(one) < len(two) else options.rest[1]}\n")
        else:
            row = one[:at].count(b"\n") + 1
            await p.out(f"{options.rest[0]} {options.rest[1]} differ: char {at + 1}, line {row}\n")
    return 1


async def _diff(p: Process) -> int:
    import difflib

    options = read_options(p.args, "uqrNbwi", code=2)
    if len(options.rest) < 2:
        raise UsageError("usage: diff FILE1 FILE2", 2)
    one, two = [
        (await p.source(name).rest()).decode("utf-8", "surrogateescape").splitlines() for name in options.rest[:2]
    ]
    if one == two:
        return 0
    if "q" in options:
        await p.out(f"Files {options.rest[0]} and {options.rest[1]} differ\n")
        return 1
    for line in difflib.unified_diff(one, two, options.rest[0], options.rest[1], lineterm=""):
        await p.out(f"{line}\n")
    return 1


TOOLS: dict[str, Tool] = {
    "cat": _cat,
    "tac": _tac,
    "head": _head,
    "tail": _tail,
    "wc": _wc,
    "sort": _sort,
    "uniq": _uniq,
    "cut": _cut,
    "tr": _tr,
    "tee": _tee,
    "nl": _nl,
    "rev": _rev,
    "paste": _paste,
    "fold": _fold,
    "split": _split,
    "cmp": _cmp,
    "diff": _diff,
}
