"""Structural schemas: what a CustomResourceDefinition's openAPIV3Schema says of an object.

Stands for apiextensions-apiserver's defaulting, pruning and validation. Left out: CEL rules (x-kubernetes-validations),
which are stored and not evaluated.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.decoding import SchemaError, check_as
from minikube_py.apimachinery.errors import FieldError, GoText
from minikube_py.apimachinery.meta import Object
from minikube_py.apimachinery.schema import OBJECT_META

__all__ = ["check", "default", "prune", "unknown_fields", "validate"]

Schema = Mapping[str, Any]

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_ROOT_FIELDS = ("apiVersion", "kind", "metadata")


def check(schema: Schema, obj: Object) -> list[SchemaError]:
    """Return what strict decoding has against a custom resource: wrong metadata, fields its schema doesn't know."""
    return [*check_as(OBJECT_META, obj.get("metadata"), "metadata"), *unknown_fields(schema, obj)]


def default(schema: Schema, value: Any) -> None:
    """Fill in the schema's defaults, in place."""
    if isinstance(value, dict):
        for key, child in (schema.get("properties") or {}).items():
            if "default" in child and (key not in value or (value[key] is None and not child.get("nullable"))):
                value[key] = meta.copy(child["default"])
            if key in value:
                default(child, value[key])
        extra = schema.get("additionalProperties")
        if isinstance(extra, Mapping):
            for key, item in value.items():
                if key not in (schema.get("properties") or {}):
                    default(extra, item)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for item in value:
            default(schema["items"], item)


def prune(schema: Schema, value: Any, *, root: bool = True) -> Any:
    """Return a value without the fields that the schema doesn't know."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        kept: dict[str, Any] = {}
        for key, item in value.items():
            if (root or schema.get(_EMBEDDED)) and key in _ROOT_FIELDS:
                kept[key] = item
            elif key in properties:
                kept[key] = prune(properties[key], item, root=False)
            elif isinstance(extra, Mapping):
                kept[key] = prune(extra, item, root=False)
            elif extra or schema.get(_PRESERVE):
                kept[key] = item
        return kept
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [prune(schema["items"], item, root=False) for item in value]
    return value


def unknown_fields(schema: Schema, value: Any, path: str = "", *, root: bool = True) -> Iterator[SchemaError]:
    """Return the fields that pruning would drop, in the words of strict decoding."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        for key, item in value.items():
            at = f"{path}.{key}" if path else key
            if (root or schema.get(_EMBEDDED)) and key in _ROOT_FIELDS:
                continue
            if key in properties:
                yield from unknown_fields(properties[key], item, at, root=False)
            elif isinstance(extra, Mapping):
                yield from unknown_fields(extra, item, at, root=False)
            elif not extra and not schema.get(_PRESERVE):
                yield SchemaError("unknown", at, f'unknown field "{at}"', names.nearest(key, properties))
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for index, item in enumerate(value):
            yield from unknown_fields(schema["items"], item, f"{path}[{index}]", root=False)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_JSON_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


def validate(schema: Schema, value: Any, path: str = "") -> Iterator[FieldError]:
    """Return what the schema has against a value, in the API server's words."""
    if value is None and (schema.get("nullable") or not path):
        return
    wrong = list(_type(schema, value, path))
    yield from wrong
    if wrong:
        return
    if (choices := schema.get("enum")) is not None and value not in choices:
        yield errors.not_supported(path, value, [str(choice) for choice in choices])
    if isinstance(value, str):
        yield from _string(schema, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(schema, value, path)
    elif isinstance(value, list):
        yield from _array(schema, value, path)
    elif isinstance(value, dict):
        yield from _object(schema, value, path)
    yield from _logic(schema, value, path)


def _invalid(path: str, value: Any, why: str) -> FieldError:
    shown: Any = GoText(f'"{_JSON_NAMES.get(type(value), "null")}"') if isinstance(value, dict | list) else value
    return errors.invalid_value(path or "<nil>", shown, f"{path} in body {why}")


def _type(schema: Schema, value: Any, path: str) -> Iterator[FieldError]:
    if schema.get(_INT_OR_STRING):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield _invalid(path, value, f'must be of type integer,string: "{_JSON_NAMES.get(type(value), "null")}"')
        return
    wanted = str(schema.get("type"))
    if wanted not in _TYPES:
        return
    fits = isinstance(value, _TYPES[wanted]) and not (isinstance(value, bool) and wanted != "boolean")
    if wanted == "integer" and isinstance(value, float) and value.is_integer():
        fits = True
    if not fits:
        have = _JSON_NAMES.get(type(value), "null")
        why = f'{path} in body must be of type {wanted}: "{have}"'
        yield errors.invalid_value(path or "<nil>", GoText(f'"{have}"'), why)


def _string(schema: Schema, value: str, path: str) -> Iterator[FieldError]:
    if (pattern := schema.get("pattern")) and not _matches(pattern, value):
        yield _invalid(path, value, f"should match '{pattern}'")
    if (least := schema.get("minLength")) is not None and len(value) < least:
        yield _invalid(path, value, f"should be at least {least} chars long")
    if (most := schema.get("maxLength")) is not None and len(value) > most:
        yield errors.too_long(path, most)
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            yield _invalid(path, value, f'must be of type date-time: "{value}"')


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True  # RE2 syntax that Python doesn't know: rather accept than refuse wrongly


def _number(schema: Schema, value: int | float, path: str) -> Iterator[FieldError]:
    if (low := schema.get("minimum")) is not None:
        if schema.get("exclusiveMinimum") and value <= low:
            yield _invalid(path, value, f"should be greater than {low}")
        elif value < low:
            yield _invalid(path, value, f"should be greater than or equal to {low}")
    if (high := schema.get("maximum")) is not None:
        if schema.get("exclusiveMaximum") and value >= high:
            yield _invalid(path, value, f"should be less than {high}")
        elif value > high:
            yield _invalid(path, value, f"should be less than or equal to {high}")
    if (factor := schema.get("multipleOf")) and value % factor:
        yield _invalid(path, value, f"should be a multiple of {factor}")


def _array(schema: Schema, value: list[Any], path: str) -> Iterator[FieldError]:
    if (least := schema.get("minItems")) is not None and len(value) < least:
        yield _invalid(path, value, f"should have at least {least} items")
    if (most := schema.get("maxItems")) is not None and len(value) > most:
        yield errors.too_many(path, len(value), most)
    keys = schema.get("x-kubernetes-list-map-keys")
    if schema.get("uniqueItems") or schema.get("x-kubernetes-list-type") in ("set", "map"):
        seen: list[Any] = []
        for index, item in enumerate(value):
            identity = [item.get(key) for key in keys] if keys and isinstance(item, dict) else item
            if identity in seen:
                shown = {key: item.get(key) for key in keys} if keys and isinstance(item, dict) else item
                yield errors.duplicate(f"{path}[{index}]", shown)
            seen.append(identity)
    if isinstance(schema.get("items"), Mapping):
        for index, item in enumerate(value):
            yield from validate(schema["items"], item, f"{path}[{index}]")


def _object(schema: Schema, value: dict[str, Any], path: str) -> Iterator[FieldError]:
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    for key in schema.get("required") or ():
        if key not in value:
            yield errors.required(f"{path}.{key}" if path else key)
    if (least := schema.get("minProperties")) is not None and len(value) < least:
        yield _invalid(path, value, f"should have at least {least} properties")
    if (most := schema.get("maxProperties")) is not None and len(value) > most:
        yield errors.too_many(path, len(value), most)
    for key, item in value.items():
        at = f"{path}.{key}" if path else key
        if not path and key in _ROOT_FIELDS:
            continue
        if key in properties:
            if item is not None or not properties[key].get("nullable"):
                yield from validate(properties[key], item, at)
        elif isinstance(extra, Mapping):
            yield from validate(extra, item, at)


def _logic(schema: Schema, value: Any, path: str) -> Iterator[FieldError]:
    for part in schema.get("allOf") or ():
        yield from validate(part, value, path or "")
    if (parts := schema.get("anyOf")) and not any(_holds(part, value, path) for part in parts):
        yield _invalid(path, value, "must validate at least one schema (anyOf)")
    if (parts := schema.get("oneOf")) and sum(_holds(part, value, path) for part in parts) != 1:
        yield _invalid(path, value, "must validate one and only one schema (oneOf)")
    if (part := schema.get("not")) is not None and _holds(part, value, path):
        yield _invalid(path, value, "must not validate the schema (not)")


def _holds(schema: Schema, value: Any, path: str) -> bool:
    return next(validate(schema, value, path or "."), None) is None
