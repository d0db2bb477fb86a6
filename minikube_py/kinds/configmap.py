"""ConfigMap."""

from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["KIND", "immutable_data"]

LIMIT = 1024 * 1024
"""Bytes; MaxSecretSize, for both kinds."""


@rules.collected
def validate(config_map: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(config_map, old)
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    for group, values in (("data", data), ("binaryData", binary)):
        for key in values:
            for why in names.config_key_errors(key):
                yield errors.invalid_value(f"{group}[{key}]", key, why)
    for key in data:
        if key in binary:
            yield errors.invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")
    if sum(len(value) for values in (data, binary) for value in values.values()) > LIMIT:
        yield errors.too_long("", LIMIT)
    if old is not None:
        yield from immutable_data(config_map, old, ("data", "binaryData"))


def immutable_data(obj: Object, old: Object, keys: tuple[str, ...]) -> rules.Errors:
    """Check that what is marked `immutable` stays as it is."""
    if not old.get("immutable"):
        return
    why = "field is immutable when `immutable` is set"
    if not obj.get("immutable"):
        yield errors.forbidden_field("immutable", why)
    for key in keys:
        if (obj.get(key) or {}) != (old.get(key) or {}):
            yield errors.forbidden_field(key, why)


def row(config_map: Object, now: float) -> list[Any]:
    count = len(config_map.get("data") or ()) + len(config_map.get("binaryData") or ())
    return [meta.name(config_map), count, age(config_map, now)]


KIND = Kind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    short_names=("cm",),
    columns=(NAME, Column("Data", "integer"), AGE),
    row=row,
    validate=validate,
)
