"""The arithmetic of rolling updates keeps its law from every start."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.controllers.intstr import scaled
from minikube_py.controllers.rollout import Counts, fenceposts, first_replicas, new_replicas, proportional, shrink_old


@pytest.mark.parametrize(
    ("rolling", "replicas", "expected"),
    [
        ({}, 4, (1, 1)),
        ({}, 10, (3, 2)),
        ({}, 1, (1, 0)),
        ({"maxSurge": 0, "maxUnavailable": 0}, 5, (0, 1)),
        ({"maxSurge": "100%", "maxUnavailable": "50%"}, 3, (3, 1)),
        ({"maxSurge": 0, "maxUnavailable": "10%"}, 5, (0, 1)),
        ({"maxSurge": 0, "maxUnavailable": 9}, 5, (0, 5)),
    ],
)
def test_fenceposts(rolling: dict[str, Any], replicas: int, expected: tuple[int, int]) -> None:
    """maxSurge is rounded up, maxUnavailable down, and one of them is at least one."""
    assert fenceposts(rolling, replicas) == expected


@pytest.mark.parametrize(
    ("value", "total", "up", "expected"),
    [("25%", 10, True, 3), ("25%", 10, False, 2), (7, 3, True, 7), ("0%", 5, True, 0), (None, 5, True, 0)],
)
def test_scaled(value: int | str | None, total: int, up: bool, expected: int) -> None:
    """A percentage is of the total, a number is itself."""
    assert scaled(value, total, up=up) == expected


@given(
    replicas=st.integers(0, 12),
    surge=st.integers(0, 5),
    unavailable=st.integers(0, 5),
    old=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=3),
    new_ready=st.lists(st.integers(0, 12), max_size=4),
)
def test_a_rollout_ends_and_keeps_the_law(
    replicas: int, surge: int, unavailable: int, old: list[tuple[int, int]], new_ready: list[int]
) -> None:
    """From any start the steps end with all pods new, never exceeding the surge nor undercutting what was available."""
    if surge == unavailable == 0:
        unavailable = 1
    unavailable = min(unavailable, replicas)
    sizes = {f"old{i}": spec for i, (spec, _) in enumerate(old)}
    available = {f"old{i}": min(spec, ready) for i, (spec, ready) in enumerate(old)}
    sizes["new"] = first_replicas([Counts(n, s, available[n]) for n, s in sizes.items()], replicas, surge)
    available["new"] = 0
    ready = iter(new_ready)
    for _ in range(200):
        counts = {name: Counts(name, sizes[name], available[name], sizes[name]) for name in sizes}
        before_total, before_available = sum(sizes.values()), sum(available.values())
        others = [c for n, c in counts.items() if n != "new"]
        wanted = new_replicas(counts["new"], [*counts.values()], replicas, surge)
        if wanted != sizes["new"]:
            sizes["new"] = wanted
        else:
            for name, size in shrink_old(counts["new"], others, replicas, unavailable):
                sizes[name] = size
                available[name] = min(available[name], size)  # what is broken goes first
        assert sum(sizes.values()) <= max(before_total, replicas + surge)
        assert sum(available.values()) >= min(before_available, replicas - unavailable)
        available["new"] = min(sizes["new"], available["new"] + next(ready, 12))
        if sizes == {**dict.fromkeys(sizes, 0), "new": replicas}:
            return
    raise AssertionError(f"no end: {sizes} {available}")


@pytest.mark.parametrize(
    ("new", "old", "replicas", "surge", "expected"),
    [
        pytest.param(Counts("n", 5, 5), [], 8, 2, {"n": 8}, id="one active set gets all"),
        pytest.param(
            Counts("n", 4, 4), [Counts("o", 2, 2)], 4, 1, {"n": 4, "o": 0}, id="a complete one empties others"
        ),
        pytest.param(
            Counts("n", 5, 0, annotated_max=13),
            [Counts("o", 8, 8, annotated_max=13)],
            15,
            3,
            {"n": 7, "o": 11},
            id="in the middle, each its share",
        ),
        pytest.param(Counts("n", 5, 0), [Counts("o", 5, 5)], 0, 0, {"n": 0, "o": 0}, id="to nothing"),
    ],
)
def test_proportional(new: Counts, old: list[Counts], replicas: int, surge: int, expected: dict[str, int]) -> None:
    """Scaling in the middle of a rollout keeps the proportions and the sum."""
    assert proportional(new, old, replicas, surge, rolling=True) == expected
