"""What whoever applies an Ingress is told at once: annotations that its controller doesn't know. Pure.

The controllers say the same in Events, with what only they can know (a Secret that is missing). Real ones say nothing;
ingress-nginx's webhook comes closest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.flavors import NAMES, flavor
from minikube_py.ingress.rules.sources import Sources
from minikube_py.kinds.ingress import KIND, class_of
from minikube_py.kinds.registry import Registry

__all__ = ["advise"]


def advise(registry: Registry, controllers: Sequence[str] = NAMES) -> None:
    """Let checks of Ingresses tell of annotations; the first of the controllers has the default class."""
    if controllers:
        registry.add(replace(KIND, advice=partial(_unknown, tuple(controllers))))


def _unknown(controllers: Sequence[str], ingress: Object) -> Iterator[tuple[str, str]]:
    annotations = meta.annotations(ingress)
    if not any("/" in name for name in annotations):
        return
    asked = class_of(ingress)
    it = flavor(asked if asked in controllers else controllers[0])
    for sentence in it.read(ingress, Sources(), it.options).unknown:
        name, _, rest = sentence.partition(" ")
        name = name.rstrip(":")
        yield (f"metadata.annotations.{name}", rest) if name in annotations else ("metadata.annotations", sentence)
