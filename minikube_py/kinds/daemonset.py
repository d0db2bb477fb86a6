"""DaemonSet."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podspec, rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, WIDE, age, map_cell, template_spec

__all__ = ["KIND"]

_GENERATION = "deprecated.daemonset.template.generation"


def prepare(daemon_set: Object, old: Object | None) -> None:
    if old is None:
        daemon_set["status"] = {
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        }
    generation = meta.annotations(old).get(_GENERATION, "0") if old is not None else "0"
    changed = old is None or meta.spec(old).get("template") != meta.spec(daemon_set).get("template")
    annotations = {**meta.annotations(daemon_set), _GENERATION: str(int(generation) + changed)}
    daemon_set["metadata"]["annotations"] = annotations


def default(daemon_set: Object) -> None:
    spec = daemon_set.setdefault("spec", {})
    workload.default_template(spec)
    strategy = spec.get("updateStrategy") or {}
    spec["updateStrategy"] = strategy
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        strategy["rollingUpdate"] = rolling
        if rolling.get("maxUnavailable") is None:
            rolling["maxUnavailable"] = 1
        if rolling.get("maxSurge") is None:
            rolling["maxSurge"] = 0
    if spec.get("revisionHistoryLimit") is None:
        spec["revisionHistoryLimit"] = 10


@rules.collected
def validate(daemon_set: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(daemon_set, old)
    spec = meta.spec(daemon_set)
    yield from workload.selected_template(daemon_set, old)
    for key in ("minReadySeconds", "revisionHistoryLimit"):
        yield from rules.non_negative(spec.get(key), f"spec.{key}")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        at = "spec.updateStrategy.rollingUpdate"
        yield from rules.int_or_percent(unavailable, f"{at}.maxUnavailable", cap=True)
        yield from rules.int_or_percent(surge, f"{at}.maxSurge", cap=True)
        if unavailable in (0, "0%") and surge in (0, "0%"):
            yield errors.required(f"{at}.maxUnavailable", "cannot be 0 when maxSurge is 0")
        if unavailable not in (0, "0%") and surge not in (0, "0%"):
            yield errors.invalid_value(f"{at}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
    elif strategy.get("type") != "OnDelete":
        supported = ("RollingUpdate", "OnDelete")
        yield errors.not_supported("spec.updateStrategy.type", strategy.get("type") or "", supported)


def row(daemon_set: Object, now: float) -> list[Any]:
    status = meta.status(daemon_set)
    return [
        meta.name(daemon_set),
        workload.count(status, "desiredNumberScheduled"),
        workload.count(status, "currentNumberScheduled"),
        workload.count(status, "numberReady"),
        workload.count(status, "updatedNumberScheduled"),
        workload.count(status, "numberAvailable"),
        map_cell(template_spec(daemon_set).get("nodeSelector")),
        age(daemon_set, now),
        *workload.wide_cells(daemon_set),
    ]


KIND = Kind(
    group="apps",
    version="v1",
    kind="DaemonSet",
    plural="daemonsets",
    singular="daemonset",
    short_names=("ds",),
    categories=("all",),
    subresources=(workload.status_of("DaemonSet"),),
    columns=(
        NAME,
        Column("Desired", "integer"),
        Column("Current", "integer"),
        Column("Ready", "integer"),
        Column("Up-to-date", "integer"),
        Column("Available", "integer"),
        Column("Node Selector"),
        AGE,
        *WIDE,
    ),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    unsupported=podspec.unsupported("spec.template.spec"),
)
