"""Which Ingresses a controller serves: IngressClass, the old annotation, the default class.

1. `spec.ingressClassName`: served if that IngressClass exists and names this controller.
2. else the annotation `kubernetes.io/ingress.class`: its value is compared with the names of this controller's
   classes; ingress-nginx also takes its default name `nginx` where no class object exists.
3. else the class annotated `ingressclass.kubernetes.io/is-default-class: "true"`, if it is this controller's.
4. else nobody serves it, and somebody should be told.

Source: https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class
"""

from collections.abc import Iterable

from msgspec import Struct

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.ingress import CLASS_ANNOTATION
from minikube_py.kinds.ingressclass import DEFAULT_CLASS

__all__ = ["Claim", "claim"]


class Claim(Struct, frozen=True):
    """Whether this controller serves an Ingress, and why (not)."""

    served: bool
    because: str
    orphan: bool = False
    """Not served, and no other controller has a claim either."""


def claim(ingress: Object, classes: Iterable[Object], controller: str, names: Iterable[str] = ("nginx",)) -> Claim:
    """Decide; `names` are the annotation's values taken where no class object of that name exists."""
    by_name = {meta.name(each): each for each in classes}
    ours = {name for name, each in by_name.items() if meta.spec(each).get("controller") == controller}
    wanted = meta.spec(ingress).get("ingressClassName")
    if wanted is not None:
        if wanted in ours:
            return Claim(True, f'ingressClassName "{wanted}"')
        if wanted in by_name:
            other = meta.spec(by_name[wanted]).get("controller")
            return Claim(False, f'ingressClassName "{wanted}" belongs to controller "{other}"')
        known = ", ".join(sorted(by_name)) or "none"
        return Claim(False, f'ingressClassName "{wanted}" names no IngressClass (existing: {known})', orphan=True)
    annotated = meta.annotations(ingress).get(CLASS_ANNOTATION)
    if annotated:
        if annotated in ours or (annotated not in by_name and annotated in names):
            return Claim(True, f'annotation {CLASS_ANNOTATION} "{annotated}"')
        return Claim(
            False,
            f'annotation {CLASS_ANNOTATION} "{annotated}" names another controller',
            orphan=annotated not in by_name,
        )
    defaults = sorted(n for n, each in by_name.items() if meta.annotations(each).get(DEFAULT_CLASS) == "true")
    if any(name in ours for name in defaults):
        return Claim(True, f'default IngressClass "{next(name for name in defaults if name in ours)}"')
    if defaults:
        return Claim(False, f'the default IngressClass "{defaults[0]}" belongs to another controller')
    return Claim(
        False,
        "it names no class and no IngressClass is the default: set spec.ingressClassName"
        + (f" ({', '.join(sorted(ours))})" if ours else ""),
        orphan=True,
    )
