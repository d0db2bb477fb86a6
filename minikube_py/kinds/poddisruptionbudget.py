"""PodDisruptionBudget."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["KIND"]


def prepare(budget: Object, old: Object | None) -> None:
    if old is None:
        budget["status"] = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}


@rules.collected
def validate(budget: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(budget, old)
    spec = meta.spec(budget)
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        yield errors.invalid_value("spec", errors.GoText("{}"), "minAvailable and maxUnavailable cannot be both set")
    yield from rules.int_or_percent(least, "spec.minAvailable", cap=True)
    yield from rules.int_or_percent(most, "spec.maxUnavailable", cap=True)
    yield from rules.label_selector(spec.get("selector"), "spec.selector")
    policies = ("AlwaysAllow", "IfHealthyBudget")
    yield from rules.one_of(spec.get("unhealthyPodEvictionPolicy"), "spec.unhealthyPodEvictionPolicy", policies)


def row(budget: Object, now: float) -> list[Any]:
    spec, status = meta.spec(budget), meta.status(budget)
    return [
        meta.name(budget),
        str(spec["minAvailable"]) if spec.get("minAvailable") is not None else "N/A",
        str(spec["maxUnavailable"]) if spec.get("maxUnavailable") is not None else "N/A",
        workload.count(status, "disruptionsAllowed"),
        age(budget, now),
    ]


KIND = Kind(
    group="policy",
    version="v1",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    singular="poddisruptionbudget",
    short_names=("pdb",),
    subresources=(workload.status_of("PodDisruptionBudget", "policy"),),
    columns=(NAME, Column("Min Available"), Column("Max Unavailable"), Column("Allowed Disruptions", "integer"), AGE),
    row=row,
    prepare=prepare,
    validate=validate,
)
