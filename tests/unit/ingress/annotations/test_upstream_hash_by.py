"""upstream-hash-by."""

import pytest

from ..support import World, named


@pytest.mark.usefixtures("both_ways")
async def test_equal_keys_go_to_one_pod(running: World) -> None:
    """The same URI goes to the same pod; different ones spread."""
    running.serve("web", *[await running.pod(named(name)) for name in "abc"], upstream_hash_by="$request_uri")
    seen = {target: {(await running.get(target))[2] for _ in range(3)} for target in map("/{}".format, range(12))}
    assert all(len(each) == 1 for each in seen.values())
    assert len({next(iter(each)) for each in seen.values()}) == 3


@pytest.mark.usefixtures("both_ways")
async def test_a_subset_shares_a_key(running: World) -> None:
    """Its pods take turns; other keys have other subsets."""
    pods = [await running.pod(named(name)) for name in "abcd"]
    running.serve(
        "web",
        *pods,
        upstream_hash_by="$request_uri",
        upstream_hash_by_subset="true",
        upstream_hash_by_subset_size="2",
    )
    seen = {frozenset([(await running.get(f"/{key}"))[2] for _ in range(4)]) for key in range(8)}
    assert seen == {frozenset({b"a", b"b"}), frozenset({b"c", b"d"})}
