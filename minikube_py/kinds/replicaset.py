"""ReplicaSet."""

from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podspec, rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, WIDE, age

__all__ = ["KIND"]


def prepare(replica_set: Object, old: Object | None) -> None:
    if old is None:
        replica_set["status"] = {"replicas": 0}


def default(replica_set: Object) -> None:
    spec = replica_set.setdefault("spec", {})
    workload.default_replicas(spec)
    workload.default_template(spec)


@rules.collected
def validate(replica_set: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(replica_set, old)
    spec = meta.spec(replica_set)
    yield from rules.non_negative(spec.get("replicas"), "spec.replicas")
    yield from rules.non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    yield from workload.selected_template(replica_set, old)


def row(replica_set: Object, now: float) -> list[Any]:
    spec, status = meta.spec(replica_set), meta.status(replica_set)
    return [
        meta.name(replica_set),
        spec.get("replicas", 1),
        workload.count(status, "replicas"),
        workload.count(status, "readyReplicas"),
        age(replica_set, now),
        *workload.wide_cells(replica_set),
    ]


KIND = Kind(
    group="apps",
    version="v1",
    kind="ReplicaSet",
    plural="replicasets",
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    subresources=(workload.SCALE, workload.status_of("ReplicaSet")),
    columns=(
        NAME,
        Column("Desired", "integer"),
        Column("Current", "integer"),
        Column("Ready", "integer"),
        AGE,
        *WIDE,
    ),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    selectable={"status.replicas": lambda obj: str(workload.count(meta.status(obj), "replicas"))},
    unsupported=podspec.unsupported("spec.template.spec"),
)
