"""JSON patch (RFC 6902), as `kubectl patch --type=json`, `rollout undo` and operators send it."""

from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError, bad_request
from minikube_py.apimachinery.meta import Object

__all__ = ["apply"]

_LIMIT = 10_000
"""Operations in one patch (kube-apiserver's own limit)."""


def apply(obj: Object, patch: Any) -> Object:
    """Return the patched copy of `obj`.

    Error handling: 400 for what is not a JSON patch, 413 for too long ones, 422 where it doesn't fit the object, a
    failed `test` included.
    """
    import jsonpatch  # type: ignore[import-untyped,unused-ignore]
    import jsonpointer  # type: ignore[import-untyped,unused-ignore]

    if not isinstance(patch, list) or not all(isinstance(operation, dict) for operation in patch):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(patch) > _LIMIT:
        raise StatusError(
            413,
            "RequestEntityTooLarge",
            "Request entity is too large: "
            f"The allowed maximum operations in a JSON patch is {_LIMIT}, got {len(patch)}",
        )
    try:
        compiled = jsonpatch.JsonPatch(patch)
    except (jsonpatch.InvalidJsonPatch, jsonpointer.JsonPointerException, TypeError) as error:
        raise bad_request(f"error decoding patch: {error}") from None
    try:
        patched = compiled.apply(meta.copy(obj), in_place=True)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError, IndexError) as error:
        # "member 'x' not found in {the whole object}": the first part is what helps
        why, found, _ = str(error).partition(" not found in ")
        raise _unprocessable(f"{why} not found" if found else why) from None
    if not isinstance(patched, dict):
        raise _unprocessable("the patch leaves no object")
    return patched


def _unprocessable(why: str) -> StatusError:
    return StatusError(
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
        {"causes": [{"reason": "UnexpectedServerResponse", "message": why}]},
    )
