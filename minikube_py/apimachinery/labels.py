"""Label selectors: `matchLabels`/`matchExpressions` objects, plain maps, and kubectl's `-l` text.

**The law of selectors** (labels.Selector of Kubernetes): an *empty* selector matches everything; a *missing* one
(None) matches nothing. `NotIn` and `!=` also match objects that lack the key.
Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from msgspec import Struct

__all__ = ["EVERYTHING", "NOTHING", "Operator", "Requirement", "Selector", "matches"]


class Operator(Enum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


class Requirement(Struct, frozen=True):
    """One term of a selector."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels
            case Operator.GT | Operator.LT:
                try:
                    have, want = int(labels[self.key]), int(next(iter(self.values)))
                except (KeyError, ValueError, StopIteration):
                    return False
                return have > want if self.operator is Operator.GT else have < want

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        match self.operator:
            case Operator.IN if len(self.values) == 1:
                return f"{self.key}={values}"
            case Operator.IN:
                return f"{self.key} in ({values})"
            case Operator.NOT_IN if len(self.values) == 1:
                return f"{self.key}!={values}"
            case Operator.NOT_IN:
                return f"{self.key} notin ({values})"
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.GT:
                return f"{self.key}>{values}"
            case Operator.LT:
                return f"{self.key}<{values}"


class Selector(Struct, frozen=True):
    """A conjunction of requirements; `everything=False` with none matches nothing."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.nothing and all(term.matches(labels) for term in self.requirements)

    def __str__(self) -> str:
        return "<none>" if self.nothing or not self.requirements else ",".join(map(str, self.requirements))

    @classmethod
    def from_map(cls, labels: Mapping[str, str] | None) -> "Selector":
        """Compile a plain map, as `Service.spec.selector` has it; None matches nothing."""
        if labels is None:
            return NOTHING
        return cls(tuple(Requirement(k, Operator.IN, frozenset((str(v),))) for k, v in sorted(labels.items())))

    @classmethod
    def from_object(cls, selector: Mapping[str, Any] | None) -> "Selector":
        """Compile a `metav1.LabelSelector`; None matches nothing, `{}` everything."""
        if selector is None:
            return NOTHING
        terms = list(cls.from_map(selector.get("matchLabels") or {}).requirements)
        for term in selector.get("matchExpressions") or ():
            terms.append(Requirement(term["key"], Operator(term["operator"]), frozenset(term.get("values") or ())))
        return cls(tuple(terms))

    @classmethod
    def parse(cls, text: str) -> "Selector":
        """Read `-l` syntax: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

        Error handling: raises ValueError with Kubernetes' wording for text that is not a selector.
        """
        terms: list[Requirement] = []
        for part in re.split(r",(?![^(]*\))", text):
            part = part.strip()
            if not part:
                continue
            if found := _SET.fullmatch(part):
                values = frozenset(value.strip() for value in found["values"].split(","))
                terms.append(Requirement(found["key"], Operator.IN if found["op"] == "in" else Operator.NOT_IN, values))
            elif found := _EQUALITY.fullmatch(part):
                terms.append(Requirement(found["key"], _OPERATORS[found["op"]], frozenset((found["value"],))))
            elif found := _EXISTS.fullmatch(part):
                terms.append(Requirement(found["key"], Operator.DOES_NOT_EXIST if found["not"] else Operator.EXISTS))
            else:
                raise ValueError(f'unable to parse requirement: found {part!r}, expected: a selector like "app=web"')
        return cls(tuple(terms))


_KEY = r"(?P<key>[A-Za-z0-9][A-Za-z0-9_./-]*)"
_SET = re.compile(rf"{_KEY}\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)")
_EQUALITY = re.compile(rf"{_KEY}\s*(?P<op>==|!=|=|>|<)\s*(?P<value>[A-Za-z0-9_.-]*)")
_EXISTS = re.compile(rf"(?P<not>!?)\s*{_KEY}")
_OPERATORS = {"=": Operator.IN, "==": Operator.IN, "!=": Operator.NOT_IN, ">": Operator.GT, "<": Operator.LT}

EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a `metav1.LabelSelector` matches these labels."""
    return Selector.from_object(selector).matches(labels)
