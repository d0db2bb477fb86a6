"""denylist-source-range."""

import pytest

from ..support import call, draft, status


@pytest.mark.parametrize(
    ("caller", "expected"), [("10.1.2.3", 403), ("192.0.2.1", 403), ("192.0.2.2", 200), ("11.0.0.1", 200)]
)
def test_who_is_kept_out(caller: str, expected: int) -> None:
    """Only the listed networks."""
    assert status(draft(denylist_source_range="10.0.0.0/8,192.0.2.1"), call(remote=caller)) == expected


def test_both_lists_hold() -> None:
    """Somebody on the allow list who is on the deny list, too, stays out."""
    made = draft(whitelist_source_range="10.0.0.0/8", denylist_source_range="10.6.0.0/16")
    assert [status(made, call(remote=each)) for each in ("10.1.0.1", "10.6.0.1")] == [200, 403]
