"""limit-rps, limit-rpm and their family: a leaky bucket for each address."""

from typing import Any

import pytest

from ..support import call, draft, status


@pytest.mark.parametrize(
    ("annotations", "passed"),
    [
        pytest.param({"limit_rps": "2"}, 11, id="one, and a burst of five times the rate"),
        pytest.param({"limit_rps": "2", "limit_burst_multiplier": "1"}, 3, id="another multiplier"),
        pytest.param({"limit_rpm": "3"}, 16, id="by the minute"),
        pytest.param({"limit_rps": "1", "limit_rpm": "3"}, 6, id="the stricter one"),
        pytest.param({"limit_rps": "1", "limit_whitelist": "10.0.0.0/8"}, 40, id="exempt"),
        pytest.param({"limit_rps": "1", "limit_allowlist": "10.0.0.0/8"}, 40, id="exempt, by the newer name"),
        pytest.param({"limit_rps": "0"}, 40, id="no limit"),
    ],
)
def test_how_many_pass_at_once(annotations: dict[str, str], passed: int) -> None:
    """The rest is refused with 503."""
    made, state = draft(**annotations), dict[Any, Any]()
    got = [status(made, call(state=state)) for _ in range(40)]
    assert got == [200] * passed + [503] * (40 - passed)


def test_the_bucket_leaks_at_the_rate() -> None:
    """Half a second later one more passes at two a second; other addresses have buckets of their own."""
    made, state = draft(limit_rps="2"), dict[Any, Any]()
    while status(made, call(state=state)) == 200:
        pass
    assert status(made, call(state=state, remote="10.0.0.2")) == 200
    assert [status(made, call(state=state, now=0.5)) for _ in range(2)] == [200, 503]
