"""load-balance."""

import pytest

from ..support import draft


@pytest.mark.parametrize(("name", "good"), [("round_robin", True), ("ewma", True), ("least_conn", False)])
def test_names(name: str, good: bool) -> None:
    """Those that ingress-nginx knows."""
    assert bool(draft(load_balance=name).problems) is not good
