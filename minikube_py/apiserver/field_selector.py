"""Field selectors: `metadata.name=web,status.phase!=Running`, for the fields that a kind offers.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import bad_request
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.kind import Kind

__all__ = ["FieldSelector", "parse"]

_TERM = re.compile(r"(?P<field>(?:[^\\=!,]|\\.)+?)(?P<op>==|!=|=)(?P<value>(?:[^\\=!,]|\\.)*)")
_SPLIT = re.compile(r"(?<!\\),")


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """A conjunction of terms."""

    terms: tuple[tuple[Callable[[Object], str], bool, str], ...] = ()
    """(how to read the field, equal or not, value)"""
    name: str | None = None
    """The only name that can match, if the selector says so: saves looking at all objects."""

    def matches(self, obj: Object) -> bool:
        return all((read(obj) == value) is equal for read, equal, value in self.terms)


def parse(text: str, kind: Kind) -> FieldSelector:
    """Compile a selector for one kind.

    Error handling: 400 in Kubernetes' words for bad syntax and for fields that the kind doesn't offer.
    """
    terms: list[tuple[Callable[[Object], str], bool, str]] = []
    only: str | None = None
    for part in _SPLIT.split(text):
        if not part:
            continue
        found = _TERM.fullmatch(part)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        name, equal = found["field"], found["op"] != "!="
        value = re.sub(r"\\(.)", r"\1", found["value"])
        terms.append((_reader(name, kind), equal, value))
        if name == "metadata.name" and equal:
            only = value
    return FieldSelector(tuple(terms), only)


def _reader(name: str, kind: Kind) -> Callable[[Object], str]:
    if name == "metadata.name":
        return meta.name
    if name == "metadata.namespace" and kind.namespaced:
        return meta.namespace
    if read := kind.selectable.get(name):
        return read
    raise bad_request(f"field label not supported: {name}")
