"""HorizontalPodAutoscaler (autoscaling/v2)."""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules, workload
from minikube_py.kinds.kind import Column, Kind, Subresource
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["KIND"]

_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def default(autoscaler: Object) -> None:
    spec = autoscaler.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is None:
        return
    pods, percent = (
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    )
    up, down = behavior.get("scaleUp") or {}, behavior.get("scaleDown") or {}
    behavior["scaleUp"] = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, percent], **up}
    behavior["scaleDown"] = {"selectPolicy": "Max", "policies": [percent], **down}


@rules.collected
def validate(autoscaler: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(autoscaler, old)
    spec = meta.spec(autoscaler)
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if low is not None and low < 1:
        yield errors.invalid_value("spec.minReplicas", low, "must be greater than or equal to 1")
    if high < 1:
        yield errors.invalid_value("spec.maxReplicas", high, "must be greater than 0")
    elif low is not None and high < low:
        yield errors.invalid_value("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef") or {}
    for key in ("kind", "name"):
        if not target.get(key):
            yield errors.required(f"spec.scaleTargetRef.{key}")
    for index, metric in enumerate(spec.get("metrics") or ()):
        yield from _metric(metric, f"spec.metrics[{index}]")


def _metric(metric: Mapping[str, Any], at: str) -> rules.Errors:
    type_ = metric.get("type") or ""
    if not type_:
        yield errors.required(f"{at}.type", "must specify a metric source type")
        return
    if type_ not in _SOURCES:
        yield errors.not_supported(f"{at}.type", type_, _SOURCES)
        return
    source = metric.get(_SOURCES[type_])
    if source is None:
        yield errors.required(f"{at}.{_SOURCES[type_]}", "must populate information for the given metric source")
        return
    target = source.get("target") or {}
    if type_ in ("Resource", "ContainerResource"):
        if not source.get("name"):
            yield errors.required(f"{at}.{_SOURCES[type_]}.name", "must specify a resource name")
        given = [key for key in ("averageUtilization", "averageValue") if target.get(key) is not None]
        where = f"{at}.{_SOURCES[type_]}.target"
        if not given:
            why = "must set either a target raw value or a target utilization"
            yield errors.required(f"{where}.averageUtilization", why)
        elif len(given) > 1:
            why = "may not set both a target raw value and a target utilization"
            yield errors.forbidden_field(f"{where}.averageValue", why)
        if (use := target.get("averageUtilization")) is not None and use < 1:
            yield errors.invalid_value(f"{where}.averageUtilization", use, "must be greater than 0")
    yield from rules.one_of(
        target.get("type"), f"{at}.{_SOURCES[type_]}.target.type", ("AverageValue", "Utilization", "Value"), needed=True
    )


def row(autoscaler: Object, now: float) -> list[Any]:
    spec, status = meta.spec(autoscaler), meta.status(autoscaler)
    target = spec.get("scaleTargetRef") or {}
    return [
        meta.name(autoscaler),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(spec.get("metrics") or (), status.get("currentMetrics") or ()),
        str(spec["minReplicas"]) if spec.get("minReplicas") is not None else "<unset>",
        int(spec.get("maxReplicas") or 0),
        workload.count(status, "currentReplicas"),
        age(autoscaler, now),
    ]


def _targets(metrics: Any, current: Any) -> str:
    if not metrics:
        return "<none>"
    shown = [_target(metric, current[index] if index < len(current) else {}) for index, metric in enumerate(metrics)]
    text = ", ".join(shown[:2])
    return f"{text} + {len(shown) - 2} more..." if len(shown) > 2 else text


def _target(metric: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    key = _SOURCES.get(str(metric.get("type")), "")
    source, have = metric.get(key) or {}, (current.get(key) or {}).get("current") or {}
    target = source.get("target") or {}
    prefix = f"{source['name']}: " if key in ("resource", "containerResource") and source.get("name") else ""
    if target.get("averageUtilization") is not None:
        value = have.get("averageUtilization")
        shown = "<unknown>" if value is None else f"{value}%"
        return f"{prefix}{shown}/{target['averageUtilization']}%"
    if target.get("averageValue") is not None:
        suffix = " (avg)" if key in ("object", "external") else ""
        return f"{prefix}{have.get('averageValue', '<unknown>')}/{target['averageValue']}{suffix}"
    return f"{prefix}{have.get('value', '<unknown>')}/{target.get('value', '<unset>')}"


KIND = Kind(
    group="autoscaling",
    version="v2",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    singular="horizontalpodautoscaler",
    short_names=("hpa",),
    categories=("all",),
    subresources=(Subresource("status", "HorizontalPodAutoscaler", "autoscaling", "v2"),),
    columns=(
        NAME,
        Column("Reference"),
        Column("Targets"),
        Column("MinPods"),
        Column("MaxPods", "integer"),
        Column("Replicas", "integer"),
        AGE,
    ),
    row=row,
    prepare=workload.reset_status,
    default=default,
    validate=validate,
    unsupported={
        "spec.metrics[].external": "there is no metrics adapter for metrics from outside",
        "spec.metrics[].object": "there is no metrics adapter for metrics of other objects",
    },
)
