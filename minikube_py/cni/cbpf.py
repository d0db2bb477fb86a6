"""Classic BPF programs that look at a packet's source address: pure, from ranges to instructions.

    ld  [SKF_NET_OFF + 12]          source address of the IPv4 header
    jge boundary, right, left       a binary search over the borders between denied and other addresses
    …
    ret hit | ret miss

An instruction is `struct sock_filter` of linux/filter.h: code, jump if true, jump if false, operand; 8 bytes.
"""

import struct
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from socket import inet_aton
from typing import TypeAlias

__all__ = [
    "MOST_INSTRUCTIONS",
    "Ranges",
    "compile_ranges",
    "contains",
    "fitting",
    "intersect",
    "merge",
    "number",
    "subtract",
]

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""IPv4 addresses as integers, first and last included; sorted, disjoint and not touching."""

MOST_INSTRUCTIONS = 4096
"""BPF_MAXINSNS."""

_LD_ABS_W, _JGE, _JA, _RET = 0x20, 0x35, 0x05, 0x06
_SOURCE = 0xFFF00000 + 12
"""SKF_NET_OFF (-0x100000) + the offset of the source address."""
_LAST = 0xFFFFFFFF
_FEW = 16

_Insn: TypeAlias = tuple[int, int, int, int]


def number(ip: str) -> int:
    """Return an IPv4 address as an integer, twenty times as fast as `ipaddress` does."""
    return int.from_bytes(inet_aton(ip), "big")


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sort ranges and join those that overlap or touch."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            if last > result[-1][1]:
                result[-1] = result[-1][0], last
        else:
            result.append((first, last))
    return tuple(result)


def subtract(ranges: Ranges, points: Collection[int]) -> Ranges:
    """Return `ranges` without some single addresses; what is not cut is the same objects, to share their memory."""
    if len(points) > _FEW:
        return _subtract_many(ranges, points)
    result = list(ranges)
    for point in points:
        at = bisect_right(result, (point, _LAST + 1)) - 1
        if at >= 0 and result[at][0] <= point <= result[at][1]:
            first, last = result[at]
            parts = ((first, point - 1), (point + 1, last))
            result[at : at + 1] = [part for part in parts if part[0] <= part[1]]
    return tuple(result)


def _subtract_many(ranges: Ranges, points: Collection[int]) -> Ranges:
    gaps: list[tuple[int, int]] = []
    start = 0
    for first, last in merge((point, point) for point in points):
        if start < first:
            gaps.append((start, first - 1))
        start = last + 1
    if start <= _LAST:
        gaps.append((start, _LAST))
    return intersect(ranges, tuple(gaps))


def intersect(one: Ranges, other: Ranges) -> Ranges:
    """Return what is in both."""
    result: list[tuple[int, int]] = []
    i = j = 0
    while i < len(one) and j < len(other):
        first, last = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if first <= last:
            result.append((first, last))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(result)


def contains(ranges: Ranges, address: int) -> bool:
    return any(first <= address <= last for first, last in ranges)


def fitting(ranges: Ranges, most: int = MOST_INSTRUCTIONS) -> Ranges:
    """Return the widest of the ranges, as many as surely fit into one program of `most` instructions."""
    room = max((most - 8) // 5, 1)  # 2 borders of 2 instructions each, and a long jump for some
    if len(ranges) <= room:
        return ranges
    return tuple(sorted(sorted(ranges, key=lambda one: one[0] - one[1])[:room]))


def compile_ranges(ranges: Ranges, *, hit: int, miss: int) -> bytes:
    """Return the program that answers `hit` for a source address in `ranges` and `miss` for any other."""
    borders: list[int] = []
    inside = False
    for first, last in ranges:
        if first == 0:
            inside = True
        else:
            borders.append(first)
        if last < _LAST:
            borders.append(last + 1)
    body = _search(borders, hit if inside else miss, miss if inside else hit)
    program = [(_LD_ABS_W, 0, 0, _SOURCE), *body]
    return b"".join(struct.pack("=HBBI", *insn) for insn in program)


def _search(borders: Sequence[int], before: int, after: int) -> list[_Insn]:
    """Return a search tree: below the first border the answer is `before`, and it changes at each border."""
    if not borders:
        return [(_RET, 0, 0, before)]
    middle = len(borders) // 2
    left = _search(borders[:middle], before, after)
    right = _search(borders[middle + 1 :], *((after, before) if middle % 2 == 0 else (before, after)))
    if len(left) <= 255:
        return [(_JGE, len(left), 0, borders[middle]), *left, *right]
    return [(_JGE, 0, 1, borders[middle]), (_JA, 0, 0, len(left)), *left, *right]
