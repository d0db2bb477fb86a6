"""Older or parallel API versions of kinds that are stored in another one.

kubectl ≤ 1.32 creates HorizontalPodAutoscalers as autoscaling/v1; newer event recorders write events.k8s.io/v1.
Source: https://kubernetes.io/docs/reference/using-api/deprecation-guide/ and pkg/apis/autoscaling/v1/conversion.go.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.kind import Kind
from minikube_py.kinds.registry import Registry

__all__ = ["ALIASES", "Alias", "Served", "served"]


@dataclass(frozen=True, slots=True)
class Alias:
    """A served version that isn't the stored one."""

    group: str
    version: str
    plural: str
    storage: str
    """The resource under which objects are stored."""
    to_storage: Callable[[Object], Object]
    from_storage: Callable[[Object], Object]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"


@dataclass(frozen=True, slots=True)
class Served:
    """A kind in one of the versions in which clients may speak of it."""

    kind: Kind
    resource: str
    """As the store knows it."""
    alias: Alias | None = None

    @property
    def out(self) -> Callable[[Object], Object] | None:
        return self.alias.from_storage if self.alias else None


def _autoscaler_to_storage(obj: Object) -> Object:
    result = meta.copy(obj)
    result["apiVersion"] = "autoscaling/v2"
    spec = result.get("spec") or {}
    target = spec.pop("targetCPUUtilizationPercentage", None)
    if target is not None:
        spec["metrics"] = [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}},
            }
        ]
    result["spec"] = spec
    result.pop("status", None)
    return dict(result)


def _cpu(metrics: object, field: str) -> int | None:
    for metric in metrics if isinstance(metrics, list) else ():
        if metric.get("type") == "Resource" and metric.get("resource", {}).get("name") == "cpu":
            value = metric["resource"].get(field, {}).get("averageUtilization")
            return int(value) if value is not None else None
    return None


def _autoscaler_from_storage(obj: Object) -> Object:
    spec = {k: v for k, v in meta.spec(obj).items() if k not in ("metrics", "behavior")}
    if (target := _cpu(meta.spec(obj).get("metrics"), "target")) is not None:
        spec["targetCPUUtilizationPercentage"] = target
    result = {**obj, "apiVersion": "autoscaling/v1", "spec": spec}
    if status := obj.get("status"):
        kept = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
        result["status"] = {k: v for k, v in status.items() if k in kept}
        if (current := _cpu(status.get("currentMetrics"), "current")) is not None:
            result["status"]["currentCPUUtilizationPercentage"] = current
    return result


def _event_to_storage(obj: Object) -> Object:
    result: Object = meta.copy(obj)
    result["apiVersion"] = "v1"
    for new, old in _EVENT_FIELDS.items():
        if new in result:
            result[old] = result.pop(new)
    return result


def _event_from_storage(obj: Object) -> Object:
    result: Object = {**obj, "apiVersion": "events.k8s.io/v1"}
    for new, old in _EVENT_FIELDS.items():
        if old in result:
            result[new] = result.pop(old)
    return result


_EVENT_FIELDS: Mapping[str, str] = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}

ALIASES: tuple[Alias, ...] = (
    Alias(
        "autoscaling",
        "v1",
        "horizontalpodautoscalers",
        "horizontalpodautoscalers.autoscaling",
        _autoscaler_to_storage,
        _autoscaler_from_storage,
    ),
    Alias("events.k8s.io", "v1", "events", "events", _event_to_storage, _event_from_storage),
)


def served(registry: Registry, group: str, version: str, plural: str) -> Served | None:
    """Return the kind that a URL names; None if nothing is served there."""
    for alias in ALIASES:
        if (alias.group, alias.version, alias.plural) == (group, version, plural):
            kind = next((k for k in registry.kinds() if k.resource == alias.storage), None)
            if kind is None or (kind.group, kind.version) == (group, version):
                break
            return Served(_in_version(kind, alias), alias.storage, alias)
    for kind in registry.kinds():
        if kind.plural == plural and kind.group == group and kind.version == version:
            stored = registry.by_resource(kind.resource)
            if stored.version == version:
                return Served(kind, kind.resource)
            return Served(kind, kind.resource, _renaming(kind, stored))
    return None


def _in_version(kind: Kind, alias: Alias) -> Kind:
    """Return the kind under its other name; its table is made from the stored form."""
    row = kind.row
    if row is None:
        return replace(kind, group=alias.group, version=alias.version)
    return replace(kind, group=alias.group, version=alias.version, row=lambda obj, now: row(alias.to_storage(obj), now))


def _renaming(kind: Kind, stored: Kind) -> Alias:
    """Convert between versions of a custom kind as strategy None does: only apiVersion differs."""
    return Alias(
        kind.group,
        kind.version,
        kind.plural,
        kind.resource,
        lambda obj: {**obj, "apiVersion": stored.api_version},
        lambda obj: {**obj, "apiVersion": kind.api_version},
    )
