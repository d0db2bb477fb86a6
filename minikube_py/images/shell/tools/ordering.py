"""sort and uniq.

Leaves out: locales (bytes' order, as LC_ALL=C), keys that begin within a field, sort -m.
"""

import re

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.lines import all_lines
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


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
    found = await all_lines(p, options.rest, status)
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
    for line in await all_lines(p, options.rest[:1], status):
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


TOOLS: dict[str, Tool] = {
    "sort": _sort,
    "uniq": _uniq,
}
