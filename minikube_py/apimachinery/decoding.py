"""Strict decoding: what Go would say of an object that is decoded into the types of its kind.

    obj ──► schema.definition_of(gvk) ──► compiled walker ──► [SchemaError(path="spec.ports[0].taragetPort", ...)]

Stands for kube-apiserver's decoder (sigs.k8s.io/json), in its words.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from minikube_py.apimachinery import names, schema
from minikube_py.apimachinery.meta import GVK, Object
from minikube_py.apimachinery.quantities import QUANTITY, REGEX

__all__ = ["SchemaError", "check", "check_as", "decoding_message", "duplicate_fields"]


@dataclass(frozen=True, slots=True)
class SchemaError:
    """One field that the Go types don't have, have twice, or have with another type."""

    kind: str
    """`unknown`, `duplicate` or `type`."""
    path: str
    """As Kubernetes writes it: `spec.ports[0].taragetPort`."""
    message: str
    """In the words of Go's strict decoding: `unknown field "spec.foo"`."""
    suggestion: str | None = None
    """The known field that is nearest to an unknown one."""

    def __str__(self) -> str:
        return self.message


def check(obj: Object) -> list[SchemaError]:
    """Compare an object with the definition of its kind; nothing is said about kinds that have none."""
    definition = schema.definition_of(GVK.of(obj))
    return check_as(definition, obj) if definition else []


def check_as(definition: str, value: Any, path: str = "") -> list[SchemaError]:
    """Compare a value with a definition; `path` is where it stands."""
    found: list[SchemaError] = []
    _walker(definition)(value, (None, path) if path else None, found, None)
    return found


def decoding_message(obj: Object, errors: Iterable[SchemaError]) -> str:
    """Return the message of the 400 answer that kube-apiserver gives for these errors."""
    errors = list(errors)
    kind = str(obj.get("kind", ""))
    version = str(obj.get("apiVersion", "")).rpartition("/")[2]
    intro = f'{kind} in version "{version}" cannot be handled as a {kind}: '
    for error in errors:
        if error.kind == "type":  # Go reports the first and stops
            return intro + error.message
    return intro + "strict decoding error: " + ", ".join(error.message for error in errors)


def duplicate_fields(body: bytes | str) -> list[SchemaError]:
    """Return the keys that occur twice within one object of a JSON text, each with its path."""
    marker = object()

    def pairs(items: list[tuple[str, Any]]) -> dict[Any, Any]:
        read: dict[Any, Any] = dict(items)
        if len(read) != len(items):
            seen: set[str] = set()
            read[marker] = [key for key, _ in items if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
        return read

    found: list[SchemaError] = []

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key in value.pop(marker, ()):
                at = f"{path}.{key}" if path else key
                found.append(SchemaError("duplicate", at, f'duplicate field "{at}"'))
            for key, item in value.items():
                walk(item, f"{path}.{key}" if path else key)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, f"{path}[{index}]")

    walk(json.loads(body, object_pairs_hook=pairs), "")
    return found


# Walkers. A path is a linked list (parent, key), written out only when something is wrong: the good case stays fast.

_Path = tuple[Any, Any] | None
_Holder = tuple[str, _Path] | None
"""The Go struct that holds a value, and the path in it."""
_Walker = Callable[[Any, _Path, list[SchemaError], _Holder], None]
"""(value, path, found, holder)."""


def _written(path: _Path, *, indexes: bool = True) -> str:
    parts: list[Any] = []
    while path is not None:
        path, key = path
        parts.append(key)
    text = ""
    for key in reversed(parts):
        if isinstance(key, int):
            text += f"[{key}]" if indexes else ""
        else:
            text += f".{key}" if text else str(key)
    return text


_JSON_NAMES: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    dict: "object",
    list: "array",
}


def _mismatch(value: Any, path: _Path, found: list[SchemaError], holder: _Holder, want: str) -> None:
    have = _JSON_NAMES.get(type(value), type(value).__name__)
    if have == "number" and want in ("int32", "int64"):
        have = f"number {value}"
    if holder:
        target = f"Go struct field {holder[0]}.{_written(holder[1], indexes=False)} of type {want}"
    else:
        target = f"Go value of type {want}"
    found.append(SchemaError("type", _written(path), f"json: cannot unmarshal {have} into {target}"))


@cache
def _walker(definition: str) -> _Walker:
    body = schema.definitions()[definition]
    if definition.endswith(".Quantity"):
        return _walk_quantity
    if "properties" not in body:
        return _compile(body)
    struct = definition.rpartition(".")[2]
    go_type = _go_name(definition)
    compiled: dict[str, _Walker] = {}
    known: dict[str, Any] = body["properties"]

    def walk(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
        if value is None:
            return
        if type(value) is not dict:
            _mismatch(value, path, found, holder, go_type)
            return
        for key, item in value.items():
            walker = compiled.get(key)
            at = (path, key)
            if walker is None:
                property_ = known.get(key)
                if property_ is None:
                    where = _written(at)
                    near = names.nearest(str(key), known)
                    found.append(SchemaError("unknown", where, f'unknown field "{where}"', near))
                    continue
                walker = compiled[key] = _compile(property_)
            walker(item, at, found, (struct, at))

    return walk


def _compile(node: Mapping[str, Any]) -> _Walker:
    if target := schema.reference(node):
        body = schema.definitions()[target]
        if target.endswith(".Quantity") or "properties" in body:
            return _deferred(target)
        node = body
    match node.get("type"):
        case "string":
            return _STRINGS.get(node.get("format", ""), _walk_string)
        case "integer":
            return _walk_int64 if node.get("format") == "int64" else _walk_int32
        case "number":
            return _walk_number
        case "boolean":
            return _walk_boolean
        case "array":
            return _walk_array(_compile(node["items"]), _go_type(node))
        case "object" if "additionalProperties" in node:
            return _walk_map(_compile(node["additionalProperties"]), _go_type(node))
        case _:
            return _walk_anything


def _deferred(definition: str) -> _Walker:
    """Definitions refer to themselves (JSONSchemaProps): compile at first use."""

    def walk(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
        _walker(definition)(value, path, found, holder)

    return walk


def _walk_anything(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
    """RawExtension, FieldsV1, JSON: whatever it is."""


def _walk_string(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
    if type(value) is not str and value is not None:
        _mismatch(value, path, found, holder, "string")


def _walk_int_or_string(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
    if type(value) is not str and type(value) is not int and value is not None:
        if type(value) is float and value.is_integer():
            return
        have = f"number {value}" if type(value) is float else _JSON_NAMES.get(type(value), "value")
        message = f"json: cannot unmarshal {have} into Go value of type int32"
        found.append(SchemaError("type", _written(path), message))


def _walk_bytes(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
    if type(value) is not str:
        if value is not None:
            _mismatch(value, path, found, holder, "[]uint8")
        return
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        bad = re.match(r"[A-Za-z0-9+/\r\n]*", value)
        message = f"illegal base64 data at input byte {bad.end() if bad else 0}"
        found.append(SchemaError("type", _written(path), message))


def _walk_time(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
    if type(value) is not str:
        if value is not None:
            _mismatch(value, path, found, holder, "string")
        return
    try:
        if datetime.fromisoformat(value).tzinfo is None or "T" not in value:
            raise ValueError
    except ValueError:
        message = f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse "{value}" as "2006"'
        found.append(SchemaError("type", _written(path), message))


def _walk_quantity(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
    if (type(value) is str and QUANTITY.fullmatch(value)) or type(value) in (int, float) or value is None:
        return
    message = f"quantities must match the regular expression '{REGEX}'"
    found.append(SchemaError("type", _written(path), message))


def _integer(bits: int) -> _Walker:
    low, high, name = -(1 << bits - 1), (1 << bits - 1) - 1, f"int{bits}"

    def walk(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
        if type(value) is int:
            if low <= value <= high:
                return
        elif value is None or (type(value) is float and value.is_integer() and low <= value <= high):
            return  # YAML's 1.0 reaches Go as 1
        _mismatch(value, path, found, holder, name)

    return walk


_walk_int32, _walk_int64 = _integer(32), _integer(64)


def _walk_number(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
    if type(value) not in (int, float) and value is not None:
        _mismatch(value, path, found, holder, "float64")


def _walk_boolean(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
    if type(value) is not bool and value is not None:
        _mismatch(value, path, found, holder, "bool")


def _walk_array(walker: _Walker, go_type: str) -> _Walker:
    def walk(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
        if type(value) is list:
            for index, item in enumerate(value):
                walker(item, (path, index), found, holder)
        elif value is not None:
            _mismatch(value, path, found, holder, go_type)

    return walk


def _walk_map(walker: _Walker, go_type: str) -> _Walker:
    def walk(value: Any, path: _Path, found: list[SchemaError], holder: _Holder) -> None:
        if type(value) is dict:
            for key, item in value.items():
                walker(item, (path, key), found, holder)
        elif value is not None:
            _mismatch(value, path, found, holder, go_type)

    return walk


_STRINGS: Mapping[str, _Walker] = {
    "byte": _walk_bytes,
    "date-time": _walk_time,
    "int-or-string": _walk_int_or_string,
}


def _go_name(definition: str) -> str:
    """`io.k8s.api.core.v1.Container` → `v1.Container`."""
    return ".".join(definition.split(".")[-2:])


def _go_type(node: Mapping[str, Any]) -> str:
    if target := schema.reference(node):
        return _go_name(target)
    match node.get("type"):
        case "array":
            return f"[]{_go_type(node['items'])}"
        case "object" if "additionalProperties" in node:
            return f"map[string]{_go_type(node['additionalProperties'])}"
        case "integer":
            return "int64" if node.get("format") == "int64" else "int32"
        case "boolean":
            return "bool"
        case "string":
            return "[]uint8" if node.get("format") == "byte" else "string"
        case _:
            return "interface {}"
