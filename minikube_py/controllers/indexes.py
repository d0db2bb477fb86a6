"""Completed indexes of an Indexed Job, as its status writes them: `0,2-4,7`."""

from collections.abc import Iterable

__all__ = ["parse", "text"]


def parse(written: str) -> set[int]:
    found: set[int] = set()
    for part in filter(None, written.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def text(indexes: Iterable[int]) -> str:
    """Write sorted indexes; three or more in a row as `first-last`, two as `a,b`."""
    parts: list[list[int]] = []
    for index in sorted(indexes):
        if parts and parts[-1][-1] == index - 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ",".join(f"{p[0]}-{p[-1]}" if len(p) > 2 else ",".join(map(str, p)) for p in parts)
