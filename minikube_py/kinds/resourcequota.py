"""ResourceQuota; admission (`apiserver/resourcequota.py`) gives it effect, `quota.py` has the arithmetic."""

from typing import Any

from minikube_py.apimachinery import errors, meta, quantities
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podspec, rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import NAME, age

__all__ = ["KIND"]


def _default(quota: Object) -> None:
    podspec.canonical_quantities(meta.spec(quota).get("hard"))


@rules.collected
def _validate(quota: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(quota, old)
    for name, value in (meta.spec(quota).get("hard") or {}).items():
        if quantities.quantity(value) < 0:
            yield errors.invalid_value(f"spec.hard[{name}]", str(value), rules.NOT_NEGATIVE)


def _row(quota: Object, now: float) -> list[Any]:
    hard, used = meta.status(quota).get("hard") or {}, meta.status(quota).get("used") or {}
    requests = [f"{name}: {used.get(name, 0)}/{hard[name]}" for name in sorted(hard) if not name.startswith("limits.")]
    limits = [f"{name}: {used.get(name, 0)}/{hard[name]}" for name in sorted(hard) if name.startswith("limits.")]
    return [meta.name(quota), ", ".join(requests), ", ".join(limits), age(quota, now)]


KIND = Kind(
    group="",
    version="v1",
    kind="ResourceQuota",
    plural="resourcequotas",
    singular="resourcequota",
    short_names=("quota",),
    subresources=(workload.status_of("ResourceQuota", ""),),
    columns=(NAME, Column("Request"), Column("Limit"), Column("Age")),
    row=_row,
    prepare=workload.reset_status,
    default=_default,
    validate=_validate,
)
