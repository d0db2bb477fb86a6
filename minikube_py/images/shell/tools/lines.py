"""Lines of files and stdin: what the text tools read."""

import re
from collections.abc import AsyncIterator

from minikube_py.images.shell.process import Process, UsageError
from minikube_py.images.shell.streams import Source

__all__ = ["all_lines", "byte_count", "dashed_count", "each_source", "lines"]


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


async def all_lines(p: Process, names: list[str], status: list[int]) -> list[str]:
    found: list[str] = []
    async for _, source in each_source(p, names, status):
        async for line in lines(source):
            found.append(line)
    return found


def dashed_count(args: list[str]) -> list[str]:
    """Turn `-5` into `-n 5`, unless it is itself the value of an option."""
    made: list[str] = []
    for arg in args:
        old = re.fullmatch(r"-\d+", arg) and made[-1:] not in (["-n"], ["-c"])
        made += ["-n", arg[1:]] if old else [arg]
    return made


def byte_count(text: str) -> int:
    match = re.fullmatch(r"([-+]?\d+)([kKmMb]?)", text)
    if match is None:
        raise UsageError(f"invalid number '{text}'")
    return int(match[1]) * {"": 1, "k": 1024, "K": 1024, "m": 1 << 20, "M": 1 << 20, "b": 512}[match[2]]
