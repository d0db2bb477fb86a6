"""cat, tac, head, tail, wc, tee, nl, rev, split: text passed on, counted or cut into pieces.

Leaves out: tail --pid, wc over several encodings.
"""

import asyncio
import re

from minikube_py.images.shell.process import Process, Tool
from minikube_py.images.shell.tools.lines import all_lines, byte_count, dashed_count, each_source, lines
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


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
    for line in reversed(await all_lines(p, p.args, status)):
        await p.out(f"{line}\n")
    return max(status, default=0)


async def _head(p: Process) -> int:
    options = read_options(dashed_count(p.args), "n:c:qv", {"lines=": "n", "bytes=": "c"})
    status: list[int] = []
    several = len(options.rest) > 1 and "q" not in options
    first = True
    async for name, source in each_source(p, options.rest, status):
        if several or "v" in options:
            await p.out(f"{'' if first else chr(10)}==> {name} <==\n")
        first = False
        if "c" in options:
            left = byte_count(options.get("c"))
            while left > 0 and (data := await source.read(left)):
                left -= len(data)
                await p.out(data)
            continue
        count = byte_count(options.get("n", "10"))
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
    options = read_options(dashed_count(p.args), "n:c:fFqvs:", {"lines=": "n", "bytes=": "c", "follow": "f"})
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
            count = byte_count(text)
            await p.out(data[count - 1 :] if text.startswith("+") else data[-abs(count) :] if count else b"")
            continue
        text = options.get("n", "10")
        count = byte_count(text)
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
    for line in await all_lines(p, options.rest, status):
        if line or options.get("b") == "a":
            number += 1
            await p.out(f"{number:6d}{options.get('s', chr(9))}{line}\n")
        else:
            await p.out(f"       {line}\n")
    return max(status, default=0)


async def _rev(p: Process) -> int:
    status: list[int] = []
    for line in await all_lines(p, p.args, status):
        await p.out(f"{line[::-1]}\n")
    return max(status, default=0)


async def _split(p: Process) -> int:
    options = read_options(p.args, "l:b:a:")
    name = options.rest[0] if options.rest else "-"
    prefix = options.rest[1] if len(options.rest) > 1 else "x"
    data = await p.source(name).rest()
    if "b" in options:
        size = byte_count(options.get("b"))
        chunks = [data[i : i + size] for i in range(0, len(data), size)]
    else:
        size = int(options.number("l", 1000))
        rows = data.splitlines(keepends=True)
        chunks = [b"".join(rows[i : i + size]) for i in range(0, len(rows), size)]
    for index, chunk in enumerate(chunks):
        p.view.write(f"{prefix}{chr(97 + index // 26)}{chr(97 + index % 26)}", chunk)
    return 0


async def _envsubst(p: Process) -> int:
    """Put variables of the environment into text: all, or those that the argument names."""
    chosen = set(re.findall(r"\$\{?([A-Za-z_]\w*)", " ".join(p.args))) if p.args else None

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return match[0] if chosen is not None and name not in chosen else p.env.get(name, "")

    text = (await p.stdin.rest()).decode("utf-8", "surrogateescape")
    await p.out(re.sub(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", value, text))
    return 0


TOOLS: dict[str, Tool] = {
    "envsubst": _envsubst,
    "cat": _cat,
    "tac": _tac,
    "head": _head,
    "tail": _tail,
    "wc": _wc,
    "tee": _tee,
    "nl": _nl,
    "rev": _rev,
    "split": _split,
}
