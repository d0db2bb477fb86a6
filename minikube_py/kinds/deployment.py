"""Deployment."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podspec, rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, WIDE, age

__all__ = ["KIND"]


def default(deployment: Object) -> None:
    spec = deployment.setdefault("spec", {})
    workload.default_replicas(spec)
    workload.default_template(spec)
    strategy = spec.get("strategy") or {}
    spec["strategy"] = strategy
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        strategy["rollingUpdate"] = rolling
        for key in ("maxUnavailable", "maxSurge"):
            if rolling.get(key) is None:
                rolling[key] = "25%"
    if spec.get("revisionHistoryLimit") is None:
        spec["revisionHistoryLimit"] = 10
    if spec.get("progressDeadlineSeconds") is None:
        spec["progressDeadlineSeconds"] = 600


@rules.collected
def validate(deployment: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(deployment, old)
    spec = meta.spec(deployment)
    yield from rules.non_negative(spec.get("replicas"), "spec.replicas")
    yield from workload.selected_template(deployment, old)
    yield from _strategy(spec.get("strategy") or {})
    for key in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        yield from rules.non_negative(spec.get(key), f"spec.{key}")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        yield errors.invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _strategy(strategy: Object) -> rules.Errors:
    rolling = strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "Recreate":
            if rolling is not None:
                why = "may not be specified when strategy `type` is 'Recreate'"
                yield errors.forbidden_field("spec.strategy.rollingUpdate", why)
        case "RollingUpdate":
            unavailable, surge = (rolling or {}).get("maxUnavailable"), (rolling or {}).get("maxSurge")
            at = "spec.strategy.rollingUpdate"
            yield from rules.int_or_percent(unavailable, f"{at}.maxUnavailable", cap=True)
            yield from rules.int_or_percent(surge, f"{at}.maxSurge")
            if unavailable in (0, "0%") and surge in (0, "0%"):
                yield errors.invalid_value(f"{at}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
        case other:
            yield errors.not_supported("spec.strategy.type", other or "", ("Recreate", "RollingUpdate"))


def row(deployment: Object, now: float) -> list[Any]:
    spec, status = meta.spec(deployment), meta.status(deployment)
    return [
        meta.name(deployment),
        f"{workload.count(status, 'readyReplicas')}/{spec.get('replicas', 1)}",
        workload.count(status, "updatedReplicas"),
        workload.count(status, "availableReplicas"),
        age(deployment, now),
        *workload.wide_cells(deployment),
    ]


KIND = Kind(
    group="apps",
    version="v1",
    kind="Deployment",
    plural="deployments",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    subresources=(workload.SCALE, workload.status_of("Deployment")),
    columns=(
        NAME,
        Column("Ready"),
        Column("Up-to-date", "integer"),
        Column("Available", "integer"),
        AGE,
        *WIDE,
    ),
    row=row,
    prepare=workload.reset_status,
    default=default,
    validate=validate,
    unsupported=podspec.unsupported("spec.template.spec"),
)
