"""Lease."""

from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["KIND"]


@rules.collected
def validate(lease: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(lease, old)
    yield from rules.non_negative(meta.spec(lease).get("leaseDurationSeconds"), "spec.leaseDurationSeconds")
    yield from rules.non_negative(meta.spec(lease).get("leaseTransitions"), "spec.leaseTransitions")


def row(lease: Object, now: float) -> list[Any]:
    return [meta.name(lease), meta.spec(lease).get("holderIdentity") or "", age(lease, now)]


KIND = Kind(
    group="coordination.k8s.io",
    version="v1",
    kind="Lease",
    plural="leases",
    singular="lease",
    columns=(NAME, Column("Holder"), AGE),
    row=row,
    validate=validate,
)
