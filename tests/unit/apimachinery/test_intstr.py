"""Numbers and percentages of a total."""

import pytest

from minikube_py.apimachinery.intstr import scaled


@pytest.mark.parametrize(
    ("value", "total", "round_up", "expected"),
    [(2, 10, True, 2), ("25%", 3, True, 1), ("25%", 3, False, 0), ("100%", 7, False, 7), ("0%", 7, True, 0)],
)
def test_scaled(value: int | str, total: int, round_up: bool, expected: int) -> None:
    """maxSurge rounds up, maxUnavailable down."""
    assert scaled(value, total, round_up=round_up) == expected


def test_text_that_is_no_percentage_is_refused() -> None:
    """Only `%` gives a share."""
    with pytest.raises(ValueError, match="neither a number nor a percentage"):
        scaled("x", 1, round_up=True)
