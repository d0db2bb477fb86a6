"""The structure of every official kind: which fields there are, of which type, and how lists merge.

Stands for the Go types that kube-apiserver decodes into (strict decoding of sigs.k8s.io/json). Left out: alpha and beta
API versions, and what the swagger document itself leaves out (defaults, semantic rules: those are in `kinds`).

    obj ──► definition_of(gvk) ──► compiled walker ──► [SchemaError(path="spec.ports[0].taragetPort", ...)]

NOTICE: `data/definitions-1.32.json.gz` is made from the Kubernetes API definitions (v1.32, Copyright The Kubernetes
Authors, Apache License 2.0) as packaged by the PyPI distribution kubernetes-validate; changed: nullable types made
plain, alpha and beta versions left out, single-value enums of `apiVersion` and `kind` dropped.
"""

import base64
import binascii
import gzip
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from minikube_py.apimachinery import names
from minikube_py.apimachinery.meta import GVK, Object
from minikube_py.apimachinery.quantities import QUANTITY, REGEX

__all__ = [
    "OBJECT_META",
    "VERSION",
    "Field",
    "SchemaError",
    "check",
    "check_as",
    "decoding_message",
    "definition_of",
    "definitions",
    "duplicate_fields",
    "field",
    "fields_of",
    "merge_key",
    "prune",
    "prune_as",
]

VERSION = "1.32"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


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


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a definition, as patches need to know it."""

    name: str
    definition: str | None
    """Of the value, or of the items of a list or map; None where that is a plain type."""
    type: str
    """`object` (a struct), `map`, `array`, `string`, `integer`, `number`, `boolean`, or `` for any JSON."""
    merge_key: str | None = None
    """x-kubernetes-patch-merge-key, of strategic merge patches."""
    strategy: tuple[str, ...] = ()
    """x-kubernetes-patch-strategy: merge, replace, retainKeys."""
    list_type: str = "atomic"
    """x-kubernetes-list-type, of server-side apply: atomic, set, map."""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = "granular"
    """x-kubernetes-map-type: granular or atomic."""


@cache
def definitions() -> Mapping[str, Any]:
    """Return the swagger definitions by name (`io.k8s.api.core.v1.Pod`), with descriptions; about 4 ms, once."""
    data = resources.files("minikube_py.apimachinery") / "data" / f"definitions-{VERSION}.json.gz"
    found: dict[str, Any] = msgspec.json.decode(gzip.decompress(data.read_bytes()))
    return found


@cache
def _by_gvk() -> Mapping[tuple[str, str, str], str]:
    return {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, definition in definitions().items()
        for gvk in definition.get("x-kubernetes-group-version-kind", ())
    }


def definition_of(gvk: GVK) -> str | None:
    """Return the name of the definition of a kind; None for custom and unknown ones."""
    return _by_gvk().get((gvk.group, gvk.version, gvk.kind))


@cache
def field(definition: str, name: str) -> Field | None:
    """Return what is known of one field of a definition; None if it has no such field."""
    known = definitions()[definition].get("properties", {}).get(name)
    if known is None:
        return None
    target = _ref(known)
    type_, item = known.get("type", ""), target
    map_type = known.get("x-kubernetes-map-type", "granular")
    if target:
        body = definitions()[target]
        type_ = body.get("type", "")
        map_type = body.get("x-kubernetes-map-type", map_type)
        if "properties" not in body:
            item = None
    elif type_ == "array":
        item = _ref(known["items"])
    elif type_ == "object" and "additionalProperties" in known:
        type_, item = "map", _ref(known["additionalProperties"])
    return Field(
        name,
        item,
        type_,
        known.get("x-kubernetes-patch-merge-key"),
        tuple(filter(None, known.get("x-kubernetes-patch-strategy", "").split(","))),
        known.get("x-kubernetes-list-type", "atomic"),
        tuple(known.get("x-kubernetes-list-map-keys", ())),
        map_type,
    )


def merge_key(definition: str | None, path: Sequence[str]) -> str | None:
    """Return the merge key of the list at a path of field names (without indexes); None for atomic lists."""
    found: Field | None = None
    for index, name in enumerate(path):
        if definition is None or (found and found.type == "map"):
            return None
        found = field(definition, name)
        if found is None:
            return None
        definition = found.definition
        if found.type == "map" and index + 1 < len(path):
            return None
    return found.merge_key if found and "merge" in found.strategy else None


def fields_of(definition: str) -> Iterable[str]:
    """Return the names of a definition's fields."""
    return list(definitions()[definition].get("properties", ()))


def check(obj: Object) -> list[SchemaError]:
    """Compare an object with the definition of its kind; nothing is said about kinds that have none."""
    definition = definition_of(GVK.of(obj))
    return check_as(definition, obj) if definition else []


def check_as(definition: str, value: Any, path: str = "") -> list[SchemaError]:
    """Compare a value with a definition; `path` is where it stands."""
    found: list[SchemaError] = []
    _walker(definition)(value, (None, path) if path else None, found, None)
    return found


def prune(obj: Object) -> Object:
    """Return the object without unknown fields and without nulls, as decoding into Go types leaves it."""
    definition = definition_of(GVK.of(obj))
    pruned: Object = prune_as(definition, obj) if definition else obj
    return pruned


def prune_as(definition: str, value: Any) -> Any:
    """Return a value without the fields that its definition lacks, and without nulls."""
    return _pruner(definition)(value)


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
_Walker = Callable[[Any, _Path, list[SchemaError], "tuple[str, _Path] | None"], None]
"""(value, path, found, (Go struct, path) that holds the value)."""


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


def _ref(node: Mapping[str, Any]) -> str | None:
    ref: str | None = node.get("$ref")
    return ref.rpartition("/")[2] if ref else None


_JSON_NAMES: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    dict: "object",
    list: "array",
}


def _mismatch(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None, want: str) -> None:
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
    body = definitions()[definition]
    if definition.endswith(".Quantity"):
        return _walk_quantity
    if "properties" not in body:
        return _compile(body)
    struct = definition.rpartition(".")[2]
    go_type = _go_name(definition)
    compiled: dict[str, _Walker] = {}
    known: dict[str, Any] = body["properties"]

    def walk(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
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
    if target := _ref(node):
        body = definitions()[target]
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

    def walk(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
        _walker(definition)(value, path, found, holder)

    return walk


def _walk_anything(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
    """RawExtension, FieldsV1, JSON: whatever it is."""


def _walk_string(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
    if type(value) is not str and value is not None:
        _mismatch(value, path, found, holder, "string")


def _walk_int_or_string(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
    if type(value) is not str and type(value) is not int and value is not None:
        if type(value) is float and value.is_integer():
            return
        have = f"number {value}" if type(value) is float else _JSON_NAMES.get(type(value), "value")
        message = f"json: cannot unmarshal {have} into Go value of type int32"
        found.append(SchemaError("type", _written(path), message))


def _walk_bytes(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
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


def _walk_time(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
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


def _walk_quantity(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
    if (type(value) is str and QUANTITY.fullmatch(value)) or type(value) in (int, float) or value is None:
        return
    message = f"quantities must match the regular expression '{REGEX}'"
    found.append(SchemaError("type", _written(path), message))


def _integer(bits: int) -> _Walker:
    low, high, name = -(1 << bits - 1), (1 << bits - 1) - 1, f"int{bits}"

    def walk(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
        if type(value) is int:
            if low <= value <= high:
                return
        elif value is None or (type(value) is float and value.is_integer() and low <= value <= high):
            return  # YAML's 1.0 reaches Go as 1
        _mismatch(value, path, found, holder, name)

    return walk


_walk_int32, _walk_int64 = _integer(32), _integer(64)


def _walk_number(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
    if type(value) not in (int, float) and value is not None:
        _mismatch(value, path, found, holder, "float64")


def _walk_boolean(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
    if type(value) is not bool and value is not None:
        _mismatch(value, path, found, holder, "bool")


def _walk_array(walker: _Walker, go_type: str) -> _Walker:
    def walk(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
        if type(value) is list:
            for index, item in enumerate(value):
                walker(item, (path, index), found, holder)
        elif value is not None:
            _mismatch(value, path, found, holder, go_type)

    return walk


def _walk_map(walker: _Walker, go_type: str) -> _Walker:
    def walk(value: Any, path: _Path, found: list[SchemaError], holder: tuple[str, _Path] | None) -> None:
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
    if target := _ref(node):
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


# Pruning.

_Pruner = Callable[[Any], Any]


@cache
def _pruner(definition: str) -> _Pruner:
    known: dict[str, Any] = definitions()[definition].get("properties", {})
    if not known:
        return _keep
    compiled: dict[str, _Pruner] = {}

    def prune(value: Any) -> Any:
        if type(value) is not dict:
            return value
        kept = {}
        for key, item in value.items():
            if item is None:
                continue
            pruner = compiled.get(key)
            if pruner is None:
                if key not in known:
                    continue
                pruner = compiled[key] = _compile_pruner(known[key])
            kept[key] = pruner(item)
        return kept

    return prune


def _compile_pruner(node: Mapping[str, Any]) -> _Pruner:
    if target := _ref(node):
        if "properties" in definitions()[target]:
            return lambda value: _pruner(target)(value)
        return _keep
    if node.get("type") == "array" and (_ref(node["items"]) or node["items"].get("type") in ("array", "object")):
        item = _compile_pruner(node["items"])
        return lambda value: [item(v) for v in value] if type(value) is list else value
    if node.get("type") == "object" and "additionalProperties" in node:
        each = _compile_pruner(node["additionalProperties"])
        empty = "" if node["additionalProperties"].get("type") == "string" else None
        return lambda value: (
            {k: each(empty if v is None else v) for k, v in value.items()} if type(value) is dict else value
        )
    return _keep


def _keep(value: Any) -> Any:
    return value
