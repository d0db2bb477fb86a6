"""backend-protocol."""

import pytest

from ..support import draft


@pytest.mark.parametrize(
    ("written", "protocol"),
    [("https", "HTTPS"), ("HTTP", "HTTP"), ("AUTO_HTTP", "HTTP"), ("gRPC", "GRPC"), ("GRPCS", "GRPCS")],
)
def test_protocols(written: str, protocol: str) -> None:
    """In either case."""
    assert draft(backend_protocol=written).options().protocol == protocol


@pytest.mark.parametrize("written", ["AJP", "FCGI", "carrier pigeon"])
def test_what_is_not_spoken_is_a_problem(written: str) -> None:
    """And HTTP is spoken."""
    made = draft(backend_protocol=written)
    assert made.problems
    assert made.options().protocol == "HTTP"
