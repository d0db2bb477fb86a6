"""LimitRange; admission (`apiserver/limitranger.py`) gives it effect."""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import errors, meta, quantities
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podspec, rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import NAME

__all__ = ["KIND"]

_TYPES = ("Container", "PersistentVolumeClaim", "Pod")


def _default(limit_range: Object) -> None:
    """Fill `default` from `max`, and `defaultRequest` from `default` or `min`, as the real server does."""
    for item in meta.spec(limit_range).get("limits") or ():
        for key in ("default", "defaultRequest", "max", "min", "maxLimitRequestRatio"):
            podspec.canonical_quantities(item.get(key))
        if item.get("type") != "Container":
            continue
        default = {**(item.get("max") or {}), **(item.get("default") or {})}
        requests = {**(item.get("min") or {}), **default, **(item.get("defaultRequest") or {})}
        if default:
            item["default"] = default
        if requests:
            item["defaultRequest"] = requests


@rules.collected
def _validate(limit_range: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(limit_range, old)
    seen: set[str] = set()
    for index, item in enumerate(meta.spec(limit_range).get("limits") or ()):
        at = f"spec.limits[{index}]"
        type_ = item.get("type") or ""
        if type_ not in _TYPES and "/" not in type_:
            yield errors.not_supported(f"{at}.type", type_, _TYPES)
        if type_ in seen:
            yield errors.duplicate(f"{at}.type", type_)
        seen.add(type_)
        yield from _order(item, at)


def _order(item: Mapping[str, Any], at: str) -> rules.Errors:
    low, high = item.get("min") or {}, item.get("max") or {}
    request, default = item.get("defaultRequest") or {}, item.get("default") or {}
    for smaller, larger, path, words in (
        (low, high, "min", "min value {} is greater than max value {}"),
        (request, default, "defaultRequest", "default request value {} is greater than default limit value {}"),
        (low, request, "defaultRequest", "min value {} is greater than default request value {}"),
        (default, high, "default", "default value {} is greater than max value {}"),
    ):
        for name in smaller:
            if name in larger and quantities.quantity(smaller[name]) > quantities.quantity(larger[name]):
                shown = str((item.get(path) or {}).get(name, smaller[name]))
                yield errors.invalid_value(f"{at}.{path}[{name}]", shown, words.format(smaller[name], larger[name]))


KIND = Kind(
    group="",
    version="v1",
    kind="LimitRange",
    plural="limitranges",
    singular="limitrange",
    short_names=("limits",),
    columns=(NAME, Column("Created At")),
    row=lambda obj, now: [meta.name(obj), obj["metadata"].get("creationTimestamp") or "<unknown>"],
    default=_default,
    validate=_validate,
)
