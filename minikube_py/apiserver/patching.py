"""Choosing the kind of patch by its content type, and holding the result against the rules for patches."""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import errors, patch_json, patch_merge, patch_strategic, schema
from minikube_py.apimachinery.meta import GVK, Object
from minikube_py.apiserver import bodies
from minikube_py.kinds.kind import Kind

__all__ = ["APPLY", "patched", "read"]

JSON, MERGE, STRATEGIC, APPLY = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


def media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def read(body: bytes, content_type: str, *, custom: bool) -> Any:
    """Return the decoded patch.

    Error handling: 415 for content types that no patch has, and for strategic merge on custom resources.
    """
    kind = media(content_type)
    allowed = [JSON, MERGE, APPLY] if custom else [JSON, MERGE, STRATEGIC, APPLY]
    if kind not in allowed:
        raise errors.unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: " + ", ".join(allowed)
        )
    return bodies.decode(body, "application/yaml" if kind == APPLY else "application/json")


def patched(live: Object, patch: Any, content_type: str, kind: Kind) -> Object:
    """Return `live` with a JSON, merge or strategic merge patch applied.

    Error handling: 400 for broken patches, 422 where they don't fit or would rename the object.
    """
    match media(content_type):
        case "application/json-patch+json":
            result = patch_json.apply(live, patch)
        case "application/merge-patch+json":
            _must_be_object(patch)
            result = patch_merge.apply(live, patch)
        case _:
            _must_be_object(patch)
            result = patch_strategic.apply(live, patch)
    return checked(live, result, kind)


def checked(live: Object, result: Object, kind: Kind) -> Object:
    """Refuse a patch that would turn the object into another one."""
    metadata = result.get("metadata")
    if not isinstance(metadata, dict):
        raise errors.invalid(
            kind.kind, live["metadata"]["name"], [errors.required("metadata", "a patch may not remove it")], kind.group
        )
    for field in ("name", "namespace"):
        have, new = live["metadata"].get(field), metadata.get(field)
        if have and new and new != have:
            raise errors.bad_request(
                f"the {field} of the object ({new}) does not match the {field} on the URL ({have})"
                if field == "name"
                else "the namespace of the provided object does not match the namespace sent on the request"
            )
        if have:
            metadata[field] = have
    for field in ("apiVersion", "kind"):
        if result.get(field) not in (None, live[field]):
            raise errors.bad_request(
                f"the {field} of the patched object ({result[field]}) does not match that of the URL ({live[field]})"
            )
        result[field] = live[field]
    uid = metadata.get("uid")
    if uid and uid != live["metadata"]["uid"]:
        raise errors.conflict(
            kind.plural,
            live["metadata"]["name"],
            kind.group,
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {live['metadata']['uid']}",
        )
    return result


def _must_be_object(patch: Any) -> None:
    if not isinstance(patch, Mapping):
        raise errors.bad_request("error decoding patch: json: cannot unmarshal the body into a map: it is no object")


def is_official(kind: Kind) -> bool:
    """Tell whether a kind has a definition: only those take strategic merge patches."""
    return schema.definition_of(GVK(kind.group, kind.version, kind.kind)) is not None
