"""Decoding Kubernetes' protobuf request bodies, which kubectl's generators (`create deployment`, …) send since 1.32.

    6b 38 73 00 | Unknown{1: TypeMeta{1 apiVersion, 2 kind}, 2: the object}

Only reading: every client takes JSON answers. Field numbers are data (`data/protobuf_fields.txt`), types come from the
swagger definitions. A field that the table lacks is refused by name, never dropped silently.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from minikube_py.apimachinery import schema
from minikube_py.apimachinery.errors import bad_request
from minikube_py.apimachinery.meta import GVK, Object

__all__ = ["decode"]

MAGIC = b"k8s\x00"

_API, _META = "io.k8s.api.", "io.k8s.apimachinery.pkg.apis."
_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    omit_zero: bool
    node: Any
    """The swagger node of the JSON field; None for an embedded message."""
    embedded: "dict[int, _Field] | None" = None


@cache
def _table() -> dict[str, dict[str, str]]:
    text = (resources.files("minikube_py.apiserver") / "data" / "protobuf_fields.txt").read_text()
    table: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, fields = line.partition(":")
            table[name] = dict(field.split("=", 1) for field in fields.split())
    return table


@cache
def _message(definition: str) -> dict[int, _Field]:
    short = definition.removeprefix(_META).removeprefix(_API)
    properties = schema.definitions()[definition].get("properties", {})
    numbers = _table().get(short, {})
    if "metadata" in properties:
        numbers = {"metadata": "1", **numbers}  # of every kind
    fields: dict[int, _Field] = {}
    for name, text in numbers.items():
        zero = text.endswith("z")
        outer, _, inner = text.rstrip("z").partition(".")
        field = _Field(name, zero, properties.get(name, {}))
        if inner:
            holder = fields.setdefault(int(outer), _Field("", False, None, {}))
            assert holder.embedded is not None
            holder.embedded[int(inner)] = field
        else:
            fields[int(outer)] = field
    return fields


def decode(body: bytes) -> Object:
    """Return the JSON object that a protobuf body stands for.

    Error handling: 400 for broken bytes and for fields that the table lacks.
    """
    if not body.startswith(MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message: the prefix k8s\\0 is missing")
    try:
        type_meta, raw = b"", b""
        for number, value in _wire(body[4:]):
            if number == 1 and isinstance(value, bytes):
                type_meta = value
            elif number == 2 and isinstance(value, bytes):
                raw = value
        names = {n: v.decode() for n, v in _wire(type_meta) if isinstance(v, bytes)}
        api_version, kind = names.get(1, ""), names.get(2, "")
        definition = schema.definition_of(GVK.of({"apiVersion": api_version, "kind": kind}))
        if kind == "DeleteOptions":
            definition = _DELETE_OPTIONS
        if definition is None:
            raise bad_request(f'no kind "{kind}" is registered for version "{api_version}"')
        return {"apiVersion": api_version, "kind": kind, **_decode(raw, definition)}
    except (IndexError, UnicodeDecodeError, ValueError, msgspec.DecodeError) as error:
        raise bad_request(f"unable to decode the protobuf body: {error or 'it ends too early'}") from None


def _wire(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, varint or bytes) of one message."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        match wire_type:
            case 0:
                value, position = _varint(data, position)
                yield number, value - (1 << 64) if value >= 1 << 63 else value
            case 2:
                length, position = _varint(data, position)
                if position + length > end:
                    raise ValueError("it ends too early")
                yield number, data[position : position + length]
                position += length
            case 1 | 5:
                width = 8 if wire_type == 1 else 4
                if position + width > end:
                    raise ValueError("it ends too early")
                yield number, data[position : position + width]
                position += width
            case _:
                raise ValueError(f"unknown wire type {wire_type}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
        if shift > 63:
            raise ValueError("a varint is too long")


def _decode(data: bytes, definition: str) -> Object:
    result: Object = {}
    _fill(result, data, _message(definition), definition)
    return result


def _fill(result: Object, data: bytes, fields: dict[int, _Field], definition: str) -> None:
    for number, value in _wire(data):
        field = fields.get(number)
        if field is None:
            if number == 3:
                continue  # status: clients may not set it, and its zero value is always sent
            if not _says_anything(value):
                continue  # a zero value that Go always sends
            short = definition.removeprefix(_META).removeprefix(_API)
            raise bad_request(
                f"field number {number} of {short} is not known here; send JSON (kubectl create -o yaml "
                "--dry-run=client prints the object, kubectl apply -f - sends it)"
            )
        if field.embedded is not None:
            if not isinstance(value, bytes):
                raise ValueError(f"field {number} is no message")
            _fill(result, value, field.embedded, definition)
            continue
        _put(result, field, value)


def _says_anything(value: int | bytes) -> bool:
    """Tell whether an unknown field holds more than zero values, however deeply nested."""
    if not value:
        return False
    if not isinstance(value, bytes):
        return True
    try:
        return any(_says_anything(inner) for _, inner in _wire(value))
    except (IndexError, ValueError):
        return True


def _put(result: Object, field: _Field, value: int | bytes) -> None:
    node = field.node
    target = _ref(node)
    if target is None and node.get("type") == "array":
        result.setdefault(field.name, []).append(_value(node["items"], value))
        return
    if target is None and node.get("type") == "object" and "additionalProperties" in node:
        if not isinstance(value, bytes):
            raise ValueError(f"{field.name} is no map")
        entry = dict(_wire(value))
        key = entry.get(1, b"")
        inner = entry.get(2, b"")
        held = _value(node["additionalProperties"], inner)
        result.setdefault(field.name, {})[key.decode() if isinstance(key, bytes) else str(key)] = held
        return
    decoded = _value(node, value)
    if decoded is None or decoded == "":
        return
    if field.omit_zero and decoded in (0, False):
        return
    if decoded == {} and field.name in ("metadata", "status", "resources", "strategy"):
        return
    result[field.name] = decoded


def _ref(node: Any) -> str | None:
    ref = node.get("$ref")
    return ref.rpartition("/")[2] if ref else None


def _value(node: Any, value: int | bytes) -> Any:
    if target := _ref(node):
        body = schema.definitions()[target]
        short = target.rpartition(".")[2]
        if short == "Quantity":
            return _only(value, 1).decode()
        if short == "FieldsV1":
            return msgspec.json.decode(_only(value, 1) or b"{}")
        if short == "RawExtension":
            return msgspec.json.decode(_only(value, 1) or b"null")
        if "properties" in body:
            if not isinstance(value, bytes):
                raise ValueError(f"a {short} is no message")
            return _decode(value, target)
        node = body
    kind, form = node.get("type"), node.get("format")
    if form == "int-or-string":
        parts = dict(_wire(_bytes(value)))
        text = parts.get(3, b"")
        return text.decode() if parts.get(1) == 1 and isinstance(text, bytes) else parts.get(2, 0)
    if form == "date-time":
        return _time(_bytes(value))
    if form == "byte":
        return base64.b64encode(_bytes(value)).decode()
    match kind:
        case "string":
            return _bytes(value).decode()
        case "boolean":
            return bool(value)
        case "integer":
            return value
        case _:
            return _bytes(value).decode() if isinstance(value, bytes) else value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number stands where text should")
    return value


def _only(value: int | bytes, number: int) -> bytes:
    found = dict(_wire(_bytes(value))).get(number, b"")
    return _bytes(found)


def _time(data: bytes) -> str | None:
    parts = dict(_wire(data))
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int) or (seconds <= 0 and nanos == 0):
        return None
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos // 1000:06d}Z" if nanos else f"{text}Z"
