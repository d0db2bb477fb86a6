"""ControllerRevision: the templates that StatefulSets and DaemonSets had."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["KIND"]


@rules.collected
def validate(revision: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(revision, old)
    yield from rules.non_negative(revision.get("revision"), "revision")
    if old is None and revision.get("data") is None:
        yield errors.required("data", "data is mandatory")
    if old is not None and revision.get("data") != old.get("data"):
        yield errors.invalid_value("data", "", rules.IMMUTABLE)


def row(revision: Object, now: float) -> list[Any]:
    owner = meta.controller_of(revision)
    controller = "<none>"
    if owner:
        group = meta.group_of(owner["apiVersion"])
        controller = f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}"
    return [meta.name(revision), controller, revision.get("revision", 0), age(revision, now)]


KIND = Kind(
    group="apps",
    version="v1",
    kind="ControllerRevision",
    plural="controllerrevisions",
    singular="controllerrevision",
    columns=(NAME, Column("Controller"), Column("Revision", "integer"), AGE),
    row=row,
    validate=validate,
)
