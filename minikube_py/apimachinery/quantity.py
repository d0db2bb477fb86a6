"""Resource quantities: `100m`, `1.5`, `128Mi`, `1e3`.

Stands for k8s.io/apimachinery/pkg/api/resource.Quantity. Values are exact decimals.
Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

__all__ = ["QUANTITY", "QUANTITY_REGEX", "add", "canonical", "milli", "parse", "quantity_text", "value"]

QUANTITY_REGEX = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
"""What Kubernetes quotes to whoever gets it wrong."""

_SUFFIXES: Mapping[str, Decimal] = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+|)"
)


def parse(quantity: Any) -> Decimal:
    """Return the number that a quantity stands for (bytes, cores, …).

    Error handling: ValueError with Kubernetes' wording for what is none.
    """
    text = str(quantity).strip()
    found = QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"quantities must match the regular expression '{QUANTITY_REGEX}'")
    number, suffix = Decimal(found["number"]), found["suffix"]
    if suffix in _SUFFIXES:
        return number * _SUFFIXES[suffix]
    return number.scaleb(int(suffix[1:]))


def milli(quantity: Any) -> int:
    """Return thousandths, rounded up: CPU `250m` → 250."""
    return int((parse(quantity) * 1000).to_integral_value(ROUND_CEILING))


def value(quantity: Any) -> int:
    """Return the whole number, rounded up: memory in bytes."""
    return int(parse(quantity).to_integral_value(ROUND_CEILING))


def add(quantities: Iterable[Any]) -> Decimal:
    """Return the sum of quantities."""
    return sum((parse(q) for q in quantities), Decimal(0))


def canonical(quantity: Any) -> str:
    """Return the canonical form: the largest suffix of the family used that leaves a whole number.

    `1000m` → `1`, `1024Mi` → `1Gi`, `0.5` → `500m`, `1.5Gi` → `1536Mi`, `1e3` → `1e3`.
    """
    text = str(quantity).strip()
    found = QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"quantities must match the regular expression '{QUANTITY_REGEX}'")
    number, suffix = parse(text), found["suffix"]
    if suffix.endswith("i") and number == number.to_integral_value():
        return quantity_text(number, binary=True)
    if suffix[:1] in "eE" and len(suffix) > 1:
        whole, exponent = int(number * 10**9), -9
        while whole and whole % 1000 == 0:
            whole, exponent = whole // 1000, exponent + 3
        return f"{whole}e{exponent}" if exponent else str(whole)
    return quantity_text(number)


def quantity_text(number: Decimal | int, *, binary: bool = False) -> str:
    """Write a number as a quantity: decimal suffixes (`1500m`, `2k`), or binary ones (`128Mi`)."""
    number = Decimal(number)
    if number == 0:
        return "0"
    if binary and number == number.to_integral_value() and abs(number) >= 1024:
        for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
            if number % _SUFFIXES[suffix] == 0:
                return f"{int(number / _SUFFIXES[suffix])}{suffix}"
        return str(int(number))
    for suffix in ("E", "P", "T", "G", "M", "k", "", "m", "u", "n"):
        if (scaled := number / _SUFFIXES[suffix]) == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    return f"{int((number / _SUFFIXES['n']).to_integral_value(ROUND_CEILING))}n"
