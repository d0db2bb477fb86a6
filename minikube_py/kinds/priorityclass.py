"""PriorityClass."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["HIGHEST_USER_PRIORITY", "KIND"]

HIGHEST_USER_PRIORITY = 1_000_000_000
_SYSTEM = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def default(class_: Object) -> None:
    if not class_.get("preemptionPolicy"):
        class_["preemptionPolicy"] = "PreemptLowerPriority"


@rules.collected
def validate(class_: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(class_, old)
    name, value = meta.name(class_), class_.get("value") or 0
    if name.startswith("system-"):
        if _SYSTEM.get(name) != value:
            why = "priority class names with 'system-' prefix are reserved for system use only"
            yield errors.forbidden_field("metadata.name", why)
    elif value > HIGHEST_USER_PRIORITY:
        why = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        yield errors.forbidden_field("value", why)
    policies = ("Never", "PreemptLowerPriority")
    yield from rules.one_of(class_.get("preemptionPolicy"), "preemptionPolicy", policies)
    if old is not None:
        for key in ("value", "preemptionPolicy"):
            if class_.get(key) != old.get(key):
                what = "may not be changed in an update."
                yield errors.forbidden_field(key, what)


def row(class_: Object, now: float) -> list[Any]:
    return [
        meta.name(class_),
        class_.get("value", 0),
        bool(class_.get("globalDefault")),
        age(class_, now),
        class_.get("preemptionPolicy") or "<unset>",
    ]


KIND = Kind(
    group="scheduling.k8s.io",
    version="v1",
    kind="PriorityClass",
    plural="priorityclasses",
    singular="priorityclass",
    namespaced=False,
    short_names=("pc",),
    columns=(
        NAME,
        Column("Value", "integer"),
        Column("Global-Default", "boolean"),
        AGE,
        Column("PreemptionPolicy"),
    ),
    row=row,
    default=default,
    validate=validate,
)
