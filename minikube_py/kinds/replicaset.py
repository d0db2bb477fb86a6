"""ReplicaSet, and what it shares with its elder, the ReplicationController."""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podspec, rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, WIDE, age

__all__ = ["COLUMNS", "KIND", "SELECTABLE", "cells", "prepare", "size_errors"]

COLUMNS = (NAME, Column("Desired", "integer"), Column("Current", "integer"), Column("Ready", "integer"), AGE, *WIDE)
SELECTABLE = {"status.replicas": lambda obj: str(workload.count(meta.status(obj), "replicas"))}


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
    yield from size_errors(meta.spec(replica_set))
    yield from workload.selected_template(replica_set, old)


def size_errors(spec: Mapping[str, Any]) -> rules.Errors:
    for field in ("replicas", "minReadySeconds"):
        yield from rules.non_negative(spec.get(field), f"spec.{field}")


def cells(obj: Object, now: float) -> list[Any]:
    """Return the cells from Name to Age."""
    status = meta.status(obj)
    counts = (workload.count(status, field) for field in ("replicas", "readyReplicas"))
    return [meta.name(obj), meta.spec(obj).get("replicas", 1), *counts, age(obj, now)]


def row(replica_set: Object, now: float) -> list[Any]:
    return [*cells(replica_set, now), *workload.wide_cells(replica_set)]


KIND = Kind(
    group="apps",
    version="v1",
    kind="ReplicaSet",
    plural="replicasets",
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    subresources=(workload.SCALE, workload.status_of("ReplicaSet")),
    columns=COLUMNS,
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    selectable=SELECTABLE,
    unsupported=podspec.unsupported("spec.template.spec"),
)
