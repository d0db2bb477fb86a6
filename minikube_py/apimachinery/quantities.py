"""Quantities: `500m` cores, `64Mi` bytes, as numbers.

Exact arithmetic; formats are read, never written. Source:
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from fractions import Fraction
from functools import lru_cache

__all__ = ["milli", "quantity", "whole"]

_SUFFIX = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{letter: Fraction(1000**power) for power, letter in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate(("K", "M", "G", "T", "P", "E"), 1)},
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|(n|u|m|k|[MGTPE]i?|Ki)?)")


@lru_cache(maxsize=4096)
def quantity(value: str | int | float) -> Fraction:
    """Read a quantity exactly: "1.5Gi", "100m", "1e3", 2.

    Error handling: ValueError in Kubernetes' words for what is none.
    """
    found = _QUANTITY.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    number, exponent, suffix = found.groups()
    return Fraction(number + (exponent or "")) * _SUFFIX[suffix or ""]


def milli(value: str | int | float) -> int:
    """Return thousandths, rounded up: what cpu is counted in."""
    return -int(-quantity(value) * 1000 // 1)


def whole(value: str | int | float) -> int:
    """Return whole units, rounded up: what memory (bytes) and pods are counted in."""
    return -int(-quantity(value) // 1)
