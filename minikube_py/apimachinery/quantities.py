"""Quantities: `500m` cores, `64Mi` bytes, as numbers.

Exact arithmetic. Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from fractions import Fraction
from functools import lru_cache

__all__ = ["QUANTITY", "REGEX", "canonical", "milli", "quantity", "text", "whole"]

REGEX = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
"""What Kubernetes quotes to whoever gets one wrong."""

_SUFFIX = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{letter: Fraction(1000**power) for power, letter in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate(("K", "M", "G", "T", "P", "E"), 1)},
}
QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|(n|u|m|k|[MGTPE]i?|Ki)?)")


@lru_cache(maxsize=4096)
def quantity(value: str | int | float) -> Fraction:
    """Read a quantity exactly: "1.5Gi", "100m", "1e3", 2.

    Error handling: ValueError in Kubernetes' words for what is none.
    """
    found = QUANTITY.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(f"quantities must match the regular expression '{REGEX}'")
    number, exponent, suffix = found.groups()
    return Fraction(number + (exponent or "")) * _SUFFIX[suffix or ""]


def milli(value: str | int | float) -> int:
    """Return thousandths, rounded up: what cpu is counted in."""
    return -int(-quantity(value) * 1000 // 1)


def whole(value: str | int | float) -> int:
    """Return whole units, rounded up: what memory (bytes) and pods are counted in."""
    return -int(-quantity(value) // 1)


def text(number: Fraction | int, *, binary: bool = False) -> str:
    """Write a number with the largest suffix that leaves it whole: `1500m`, `2k`, or binary `128Mi`."""
    number = Fraction(number)
    if number == 0:
        return "0"
    if binary and abs(number) >= 1024:
        for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
            if (scaled := number / _SUFFIX[suffix]).denominator == 1:
                return f"{scaled}{suffix}"
    for suffix in ("", "m", "u", "n") if binary else ("E", "P", "T", "G", "M", "k", "", "m", "u", "n"):
        if (scaled := number / _SUFFIX[suffix]).denominator == 1:
            return f"{scaled}{suffix}"
    return f"{-int(-number * 10**9 // 1)}n"


def canonical(value: str | int | float) -> str:
    """Write a quantity as the API server gives it back: `1000m` → `1`, `1024Mi` → `1Gi`, `0.5` → `500m`.

    Error handling: ValueError as of `quantity`.
    """
    number = quantity(value)
    found = QUANTITY.fullmatch(str(value).strip())
    _, exponent, suffix = found.groups() if found else ("", None, None)
    if exponent:
        power = 0
        while number and (number / 1000).denominator == 1:
            number, power = number / 1000, power + 3
        return f"{number}e{power}" if power and number.denominator == 1 else text(number)
    return text(number, binary=bool(suffix and suffix.endswith("i")))
