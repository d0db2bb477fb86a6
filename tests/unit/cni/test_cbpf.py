"""minikube_py/cni/cbpf.py: range arithmetic, and programs run by a machine of our own."""

import itertools
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.cni.cbpf import (
    MOST_INSTRUCTIONS,
    Ranges,
    compile_ranges,
    contains,
    fitting,
    intersect,
    merge,
    subtract,
)

_LAST = 0xFFFFFFFF
_SMALL = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)).map(lambda one: (one[0], one[0] + one[1])))


def run(program: bytes, source: int) -> int:
    """Interpret a program on a packet from `source`, and check that every jump stays inside."""
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = accumulator = 0
    while True:
        operation, jump_true, jump_false, operand = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = source
            case 0x35:
                at += jump_true if accumulator >= operand else jump_false
            case 0x05:
                at += operand
            case 0x06:
                return int(operand)


def addresses(ranges: Ranges) -> set[int]:
    return {address for first, last in ranges for address in range(first, last + 1)}


@given(_SMALL, _SMALL, st.lists(st.integers(0, 50), max_size=30))
def test_range_arithmetic_is_that_of_sets(one: list[tuple[int, int]], other: list[tuple[int, int]], points: list[int]):
    """Merging, subtracting and intersecting ranges does what it does to sets of addresses."""
    left, right = merge(one), merge(other)
    assert addresses(left) == {address for first, last in one for address in range(first, last + 1)}
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(left))
    assert addresses(intersect(left, right)) == addresses(left) & addresses(right)
    assert addresses(subtract(left, points)) == addresses(left) - set(points)


def test_the_ends_of_the_address_space() -> None:
    """The first and the last address can be taken out of everything."""
    everything = ((0, _LAST),)
    assert subtract(everything, [0, 7, _LAST]) == ((1, 6), (8, _LAST - 1))
    assert subtract(everything, []) == everything


@pytest.mark.parametrize("count", [0, 1, 2, 5, 40, 130, 500, 800])
def test_a_program_answers_as_its_ranges_do(count: int) -> None:
    """On every border and beside it, whatever the size; long jumps included."""
    chance = random.Random(count)
    ranges = merge(
        (first, min(first + chance.choice([0, 0, 3, 70_000]), _LAST))
        for first in (chance.randrange(_LAST) for _ in range(count))
    )
    program = compile_ranges(ranges, hit=1, miss=0)
    borders = {edge + step for one in ranges for edge in one for step in (-1, 0, 1)} | {0, _LAST}
    for source in sorted(borders)[:: 1 + len(borders) // 500]:
        if 0 <= source <= _LAST:
            assert run(program, source) == contains(ranges, source)


@pytest.mark.parametrize("ranges", [((0, _LAST),), ((0, 5),), ((9, _LAST),), ((0, 0), (_LAST, _LAST))])
def test_ranges_at_the_ends(ranges: Ranges) -> None:
    """Ranges that begin at 0.0.0.0 or end at 255.255.255.255 need no border there."""
    program = compile_ranges(ranges, hit=0, miss=7)
    for source in (0, 1, 5, 6, 8, 9, _LAST - 1, _LAST):
        assert run(program, source) == (0 if contains(ranges, source) else 7)


def test_too_many_ranges_are_cut_to_the_widest() -> None:
    """A program never exceeds the kernel's limit, and never hits an address outside of the ranges."""
    ranges = merge([(number * 10, number * 10 + number % 5) for number in range(5000)])
    kept = fitting(ranges)
    assert set(kept) < set(ranges)
    assert len(compile_ranges(kept, hit=1, miss=0)) // 8 <= MOST_INSTRUCTIONS
    assert min(last - first for first, last in kept) == 4
