"""Quantities are read exactly."""

from fractions import Fraction

import pytest

from minikube_py.apimachinery.quantities import milli, quantity, whole


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100m", Fraction(1, 10)),
        ("1.5Gi", Fraction(3 * 2**29)),
        ("1e3", Fraction(1000)),
        ("2E", Fraction(2 * 10**18)),
        ("12E2", Fraction(1200)),
        (".5", Fraction(1, 2)),
        (4, Fraction(4)),
        ("-1Ki", Fraction(-1024)),
    ],
)
def test_reads(text: str | int, number: Fraction) -> None:
    """A quantity is a number and a suffix or an exponent."""
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "1 Gi", "Gi", "1K", "1mm", "one"])
def test_refuses(text: str) -> None:
    """What is no quantity is refused in Kubernetes' words."""
    with pytest.raises(ValueError, match="quantities must match"):
        quantity(text)


def test_rounds_up() -> None:
    """Requests are rounded up: nothing is free."""
    assert milli("0.0001") == 1
    assert milli("250m") == 250
    assert whole("1500m") == 2
