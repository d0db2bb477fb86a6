"""Reading request bodies: JSON, YAML or protobuf, told apart by their first bytes and the content type.

Checks against the schema stand for the strict decoding of the real server (`fieldValidation`).
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from minikube_py.apimachinery import decoding, errors
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.kind import Kind

__all__ = ["Checker", "decode", "decode_object", "problems", "strict_message"]

PROTOBUF_MAGIC = b"k8s\x00"

Checker = Callable[[Object], Iterable[decoding.SchemaError]]

_JSON = ("", "application/json", "application/octet-stream", "text/plain", "text/json")


def decode(body: bytes, content_type: str, expected: str = "") -> Any:
    """Return what a body says; `expected` is the kind that it should be, for messages.

    Error handling: 400 for what can't be read, 415 for content types that nobody here speaks.
    """
    media = content_type.partition(";")[0].strip().lower()
    if body.startswith(PROTOBUF_MAGIC) or media == "application/vnd.kubernetes.protobuf":
        from minikube_py.apiserver import protobuf

        return protobuf.decode(body)
    if media.endswith(("yaml", "+yaml")):
        return _yaml(body)
    if media in _JSON or media.endswith("+json"):
        return _json(body, expected)
    raise errors.unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


def _json(body: bytes, expected: str) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = f" (must be of type {expected})" if expected else ""
        raise errors.bad_request(
            f"the object provided is unrecognized{what}: couldn't get version/kind; json parse error: {error}"
        ) from None


def _yaml(body: bytes) -> Any:
    from minikube_py.apimachinery import manifests

    try:
        return manifests.decode(body.decode("utf-8-sig"))
    except ValueError as error:
        raise errors.bad_request(f"error parsing the YAML body: {' '.join(str(error).split())}") from None


def decode_object(body: bytes, content_type: str, kind: Kind, api_version: str) -> Object:
    """Return an object of a kind known from the URL; apiVersion and kind may be missing (some clients don't send them).

    Error handling: 400 for anything that isn't an object of that kind.
    """
    obj = decode(body, content_type, kind.kind)
    if not isinstance(obj, dict):
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): "
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {_json_type(obj)} into Go value"
        )
    version, name = obj.get("apiVersion") or api_version, obj.get("kind") or kind.kind
    if not isinstance(version, str) or not isinstance(name, str):
        raise errors.bad_request("apiVersion and kind of an object are strings")
    if name != kind.kind:
        raise errors.bad_request(
            f'{name} in version "{version.rpartition("/")[2]}" cannot be handled as a {kind.kind}: '
            f"converting ({version}, Kind={name}) to ({api_version}, Kind={kind.kind}): unknown conversion"
        )
    if version != api_version:
        raise errors.bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({api_version})"
        )
    obj = {**obj, "apiVersion": version, "kind": name}
    metadata = obj.get("metadata")
    if metadata is None:
        obj["metadata"] = {}
    elif not isinstance(metadata, dict):
        raise errors.bad_request(
            f'{name} in version "{version.rpartition("/")[2]}" cannot be handled as a {name}: json: cannot unmarshal '
            f"{_json_type(metadata)} into Go struct field {name}.metadata of type v1.ObjectMeta"
        )
    return obj


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


def problems(obj: Object, check: Checker, body: bytes | None, validation: str) -> list[str]:
    """Return the warnings about unknown and duplicate fields that `fieldValidation` asks for.

    `body` is the JSON text, for duplicates; None if there is none.
    Error handling: 400 for wrong types whatever `validation` says, and for every problem if it is Strict.
    """
    found = list(check(obj))
    if any(error.kind == "type" for error in found):
        raise errors.bad_request(decoding.decoding_message(obj, found))
    if validation == "Ignore":
        return []
    if body is not None:
        found = [*decoding.duplicate_fields(body), *found]
    if not found:
        return []
    if validation == "Strict":
        raise errors.bad_request(decoding.decoding_message(obj, found))
    return [error.message for error in found]


def strict_message(found: Iterable[decoding.SchemaError]) -> str:
    return "strict decoding error: " + ", ".join(error.message for error in found)
