"""Strategic merge patch: a merge patch that knows which lists are maps in disguise.

    containers: [{name: web, image: b}]      merges into the container called web, leaves the others
    $patch: delete | replace | merge         in a list's item or a map
    $setElementOrder/containers: [...]       the order of the result
    $deleteFromPrimitiveList/finalizers: []  takes values out
    $retainKeys: [...]                       drops all other keys of a union (strategy, volumes)

**Law:** no directive ever reaches the result. Merge keys come from `schema.field` (x-kubernetes-patch-merge-key).
Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from collections.abc import Callable, Sequence
from typing import Any

from minikube_py.apimachinery import schema
from minikube_py.apimachinery.errors import bad_request
from minikube_py.apimachinery.meta import GVK, Object

__all__ = ["FieldOf", "apply", "merge"]

FieldOf = Callable[[str, str], schema.Field | None]
"""(definition, field name) → what is known of the field; replaced in tests."""

_PATCH, _RETAIN = "$patch", "$retainKeys"
_ORDER, _DELETE = "$setElementOrder/", "$deleteFromPrimitiveList/"


def apply(obj: Object, patch: Any) -> Object:
    """Return `obj` with a strategic merge patch applied; `obj` itself is not touched.

    Error handling: 400 for a patch that is no map or misuses a directive; a kind without definition has no merge
    keys, so its caller answers 415 instead of calling this.
    """
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a strategic merge patch is a JSON object")
    return merge(obj, patch, schema.definition_of(GVK.of(obj)), schema.field)


def merge(original: Object, patch: Object, definition: str | None, field_of: FieldOf) -> Object:
    """Merge two maps, of which the schema `definition` is known or None."""
    match patch.get(_PATCH):
        case None | "merge":
            result = dict(original)
        case "replace":
            result = {}
        case "delete":
            return {}
        case other:
            raise bad_request(f"unknown patch type [{other}] found in a map: must be delete, replace or merge")
    if _RETAIN in patch:
        result = _retain(result, patch)
    for key, value in patch.items():
        if key in (_PATCH, _RETAIN):
            continue
        if key.startswith(_ORDER):
            name = key[len(_ORDER) :]
            if name not in patch and isinstance(result.get(name), list):
                known = _field(definition, name, field_of)
                result[name] = _order(result[name], result[name], value, known.merge_key if known else None)
            continue
        if key.startswith(_DELETE):
            name = key[len(_DELETE) :]
            if not isinstance(value, list):
                raise bad_request(f"invalid patch format of primitive list: {key} must be a list")
            if isinstance(result.get(name), list):
                result[name] = [item for item in result[name] if item not in value]
            continue
        if value is None:
            result.pop(key, None)
            continue
        known = _field(definition, key, field_of)
        result[key] = _merge_value(result.get(key), value, known, field_of, patch.get(_ORDER + key))
    return result


def _merge_value(old: Any, new: Any, known: schema.Field | None, field_of: FieldOf, order: Any) -> Any:
    if isinstance(new, dict):
        if known and "replace" in known.strategy:
            old = None
        below: FieldOf = field_of
        if known and known.type == "map":
            # Keys of a map are data, its values have the definition.
            values = known.definition
            return _merge_map(old if isinstance(old, dict) else {}, new, values, field_of)
        return merge(old if isinstance(old, dict) else {}, new, known.definition if known else None, below)
    if isinstance(new, list):
        if known and "merge" in known.strategy:
            live = old if isinstance(old, list) else []
            if known.merge_key:
                merged = _merge_items(live, new, known.merge_key, known.definition, field_of)
            else:
                merged = [*live, *(item for item in new if item not in live)]
            return _order(merged, live, order, known.merge_key) if order is not None else merged
        return [_strip(item) for item in new if not (isinstance(item, dict) and item.get(_PATCH) == "delete")]
    return new


def _merge_map(original: Object, patch: Object, values: str | None, field_of: FieldOf) -> Object:
    if patch.get(_PATCH) == "delete":
        return {}
    result = {} if patch.get(_PATCH) == "replace" else dict(original)
    for key, value in patch.items():
        if key == _PATCH:
            continue
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = merge(old if isinstance(old, dict) else {}, value, values, field_of)
        else:
            result[key] = _strip(value)
    return result


def _merge_items(
    live: Sequence[Any], patch: Sequence[Any], merge_key: str, definition: str | None, field_of: FieldOf
) -> list[Any]:
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in patch):
        return [
            _strip(item)
            for item in patch
            if not (isinstance(item, dict) and item.get(_PATCH) and set(item) <= {_PATCH})
        ]
    result = list(live)
    for item in patch:
        if not isinstance(item, dict) or merge_key not in item:
            raise bad_request(f"map: {item!r} does not contain declared merge key: {merge_key}")
        at = [i for i, old in enumerate(result) if isinstance(old, dict) and old.get(merge_key) == item[merge_key]]
        if item.get(_PATCH) == "delete":
            result = [old for i, old in enumerate(result) if i not in at]
        elif at:
            result[at[0]] = merge(result[at[0]], item, definition, field_of)
        else:
            result.append(merge({}, item, definition, field_of))
    return result


def _order(merged: Sequence[Any], live: Sequence[Any], order: Any, merge_key: str | None) -> list[Any]:
    """Put what the patch's author knows in the order given; what only the server knows keeps its place among it."""
    if not isinstance(order, list):
        raise bad_request("invalid patch format of setElementOrder list: it must be a list")

    def identity(item: Any) -> Any:
        return item.get(merge_key) if merge_key and isinstance(item, dict) else item

    ranks = {_hashable(identity(item)): rank for rank, item in enumerate(order)}
    places = {_hashable(identity(item)): place for place, item in enumerate(live)}
    known = sorted(
        (item for item in merged if _hashable(identity(item)) in ranks),
        key=lambda item: ranks[_hashable(identity(item))],
    )
    others = [item for item in merged if _hashable(identity(item)) not in ranks]
    result: list[Any] = []
    while known and others:
        place = places.get(_hashable(identity(known[0])))
        other = places.get(_hashable(identity(others[0])))
        take_known = place is None or other is None or place < other
        result.append((known if take_known else others).pop(0))
    return [*result, *known, *others]


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _retain(original: Object, patch: Object) -> Object:
    keys = patch[_RETAIN]
    if not isinstance(keys, list):
        raise bad_request("invalid patch format of retainKeys: it must be a list of keys")
    for key, value in patch.items():
        if not key.startswith("$") and value is not None and key not in keys:
            raise bad_request(f"retainKeys list doesn't contain key {key!r}, which the patch sets")
    return {key: value for key, value in original.items() if key in keys}


def _strip(value: Any) -> Any:
    """Return a new value without directives and nulls: there is nothing to merge it with."""
    if isinstance(value, dict):
        return {k: _strip(v) for k, v in value.items() if v is not None and not _is_directive(k)}
    if isinstance(value, list):
        return [_strip(item) for item in value]
    return value


def _is_directive(key: str) -> bool:
    return key in (_PATCH, _RETAIN) or key.startswith((_ORDER, _DELETE))


def _field(definition: str | None, name: str, field_of: FieldOf) -> schema.Field | None:
    return field_of(definition, name) if definition else None
