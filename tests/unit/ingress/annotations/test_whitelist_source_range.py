"""whitelist-source-range, and its newer name."""

import pytest

from ..support import World, call, draft, echo, status


@pytest.mark.parametrize("name", ["whitelist_source_range", "allowlist_source_range"])
@pytest.mark.parametrize(
    ("ranges", "caller", "expected"),
    [
        ("10.0.0.0/8", "10.9.9.9", 200),
        ("10.0.0.0/8", "11.0.0.1", 403),
        ("192.0.2.7, 10.0.0.0/8", "192.0.2.7", 200),
        ("10.0.0.1/8", "10.5.0.0", 200),
        ("2001:db8::/32", "10.0.0.1", 403),
    ],
)
def test_who_gets_in(name: str, ranges: str, caller: str, expected: int) -> None:
    """CIDRs and single addresses; host bits don't matter; everybody else is refused."""
    assert status(draft(**{name: ranges}), call(remote=caller)) == expected


@pytest.mark.usefixtures("both_ways")
async def test_the_address_is_the_sockets(running: World) -> None:
    """What a caller says in X-Forwarded-For doesn't count."""
    running.serve("web", await running.pod(echo), whitelist_source_range="10.0.0.0/8")
    assert (await running.get(X_Forwarded_For="10.0.0.1"))[0] == 403
