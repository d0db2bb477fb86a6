"""IngressClass."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["DEFAULT_CLASS", "KIND"]

DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
"""Annotation: "true" on the class of Ingresses that name none."""


@rules.collected
def validate(class_: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(class_, old)
    controller = meta.spec(class_).get("controller") or ""
    if len(controller) > 250:
        yield errors.too_long("spec.controller", 250)
    if not controller or "/" not in controller:
        why = 'must be a domain-prefixed path (such as "acme.io/foo")'
        yield errors.invalid_value("spec.controller", controller, why)
    parameters = meta.spec(class_).get("parameters")
    if parameters is not None:
        for key in ("kind", "name"):
            if not parameters.get(key):
                yield errors.required(f"spec.parameters.{key}", f"{key} is required")
    if old is not None:
        yield from rules.immutable(controller, meta.spec(old).get("controller"), "spec.controller")


def row(class_: Object, now: float) -> list[Any]:
    parameters = meta.spec(class_).get("parameters") or {}
    shown = "<none>"
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [meta.name(class_), meta.spec(class_).get("controller", ""), shown, age(class_, now)]


KIND = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="IngressClass",
    plural="ingressclasses",
    singular="ingressclass",
    namespaced=False,
    columns=(NAME, Column("Controller"), Column("Parameters"), AGE),
    row=row,
    validate=validate,
)
