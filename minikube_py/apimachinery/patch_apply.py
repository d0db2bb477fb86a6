"""Server-side apply: who owns which field, merging what one manager wants, and conflicts.

    leaves(obj)  {("f:spec", "f:replicas"): 3, ("f:spec", ..., 'k:{"name":"web"}', "f:image"): "nginx", ...}

A *set* is a set of such paths; in `managedFields` it is written as FieldsV1 (nested maps). Lists with
`x-kubernetes-list-type: map` are keyed (`k:`), those of type `set` hold values (`v:`), all others are one leaf.
Left out: field sets of several API versions of one kind (each kind is stored in one).
Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/ and sigs.k8s.io/structured-merge-diff.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from minikube_py.apimachinery import meta, schema
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import GVK, Object

__all__ = ["Applied", "Path", "apply", "field_resolver", "leaves", "track_update"]

Path: TypeAlias = tuple[str, ...]
Fields: TypeAlias = frozenset[Path]
FieldOf: TypeAlias = Callable[[Any, str], schema.Field | None]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_EXISTS = object()
"""The value at a path that stands for an item as such."""

_UNOWNED = frozenset(
    (
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
    )
)
"""Metadata that nobody owns."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of an apply."""

    object: Object
    managed_fields: list[Object]


def field_resolver(custom: Mapping[str, Any] | None) -> FieldOf:
    """Return how fields are looked up: in the official definitions, or in a custom resource's structural schema.

    A definition is a name there, a schema node (dict) here; below a node without properties all maps are granular.
    """
    if custom is None:
        return schema.field

    def field(definition: Any, name: str) -> schema.Field | None:
        if isinstance(definition, str):
            return schema.field(definition, name)
        node = (definition.get("properties") or {}).get(name)
        if node is None and definition is custom and name == "metadata":
            return schema.Field("metadata", schema.OBJECT_META, "object")
        if node is None:
            return None
        kind, below = node.get("type", ""), node
        if kind == "array":
            below = node.get("items")
        elif kind == "object" and isinstance(node.get("additionalProperties"), dict):
            kind, below = "map", node["additionalProperties"]
        return schema.Field(
            name,
            below,
            kind,
            list_type=node.get("x-kubernetes-list-type", "atomic"),
            list_map_keys=tuple(node.get("x-kubernetes-list-map-keys", ())),
            map_type=node.get("x-kubernetes-map-type", "granular"),
        )

    return field


def _root(obj: Object, custom: Mapping[str, Any] | None) -> Any:
    return custom if custom is not None else schema.definition_of(GVK.of(obj))


def leaves(obj: Object, custom: Mapping[str, Any] | None = None) -> dict[Path, Any]:
    """Return every ownable field of an object with its value."""
    found: dict[Path, Any] = {}
    field_of = field_resolver(custom)
    root = _root(obj, custom)
    for key, value in obj.items():
        if key in ("apiVersion", "kind"):
            continue
        if key == "metadata":
            value = {k: v for k, v in value.items() if k not in _UNOWNED}
            if not value:
                continue
        known = field_of(root, key) if root is not None else None
        if key == "metadata" and known is None:
            known = schema.Field("metadata", schema.OBJECT_META, "object")
        _walk(value, known, (f"f:{key}",), found, field_of)
    return found


def _walk(value: Any, known: schema.Field | None, path: Path, found: dict[Path, Any], field_of: FieldOf) -> None:
    if isinstance(value, dict) and _granular(known):
        if not value:
            found[path] = value
            return
        for key, item in value.items():
            _walk(item, _below(known, key, field_of), (*path, f"f:{key}"), found, field_of)
    elif isinstance(value, list) and known is not None and known.list_type in ("map", "set"):
        if not value:
            found[path] = value
            return
        for item in value:
            key = _item_key(item, known)
            found[*path, key] = _EXISTS
            if known.list_type == "map" and isinstance(item, dict):
                _walk(item, _item_field(known.definition), (*path, key), found, field_of)
    else:
        found[path] = value


def _below(known: schema.Field | None, key: str, field_of: FieldOf) -> schema.Field | None:
    """Return what is known of the value at `key` of a map or struct."""
    if known is None or known.definition is None:
        return None if known is None or known.type != "map" else _item_field(None)
    return _item_field(known.definition) if known.type == "map" else field_of(known.definition, key)


def _granular(known: schema.Field | None) -> bool:
    if known is None:
        return True
    if known.map_type == "atomic":
        return False
    return known.type in ("object", "map", "") and (known.definition is not None or known.type != "object")


def _item_field(definition: Any) -> schema.Field | None:
    """Return the field that an item of a list or map is, of which only the definition is known."""
    if definition is None:
        return schema.Field("", None, "string")
    if isinstance(definition, str):
        body = schema.definitions()[definition]
        known = "properties" in body
        map_type = body.get("x-kubernetes-map-type", "granular")
        return schema.Field("", definition if known else None, body.get("type", ""), map_type=map_type)
    kind, below = definition.get("type", ""), definition
    if kind == "object" and isinstance(definition.get("additionalProperties"), dict):
        kind, below = "map", definition["additionalProperties"]
    return schema.Field("", below, kind, map_type=definition.get("x-kubernetes-map-type", "granular"))


_KEY_DEFAULTS = {"protocol": "TCP"}
"""The only defaults of list keys in the official kinds; the definitions don't say them."""


def _item_key(item: Any, known: schema.Field) -> str:
    if known.list_type == "set":
        return "v:" + _json(item)
    keys = {}
    for name in known.list_map_keys:
        value = item.get(name) if isinstance(item, dict) else None
        if value is None:
            value = _key_default(name, known)
        if value is not None:
            keys[name] = value
    return "k:" + _json(keys)


def _key_default(name: str, known: schema.Field) -> Any:
    if isinstance(known.definition, dict):
        return (known.definition.get("properties") or {}).get(name, {}).get("default")
    return _KEY_DEFAULTS.get(name)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


# FieldsV1


def encode(paths: Iterable[Path]) -> Object:
    """Write a set of paths as FieldsV1."""
    members = set(paths)
    tree: Object = {}
    for path in sorted(members):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
    return _dotted(tree, (), members)


def _dotted(node: Object, path: Path, members: set[Path]) -> Object:
    result: Object = {}
    if node and path in members:
        result["."] = {}
    for element, below in node.items():
        result[element] = _dotted(below, (*path, element), members)
    return result


def decode(tree: Any, path: Path = ()) -> set[Path]:
    """Read FieldsV1."""
    found: set[Path] = set()
    if not isinstance(tree, dict):
        return found
    for element, below in tree.items():
        if element == ".":
            found.add(path)
        elif below:
            found |= decode(below, (*path, element))
        else:
            found.add((*path, element))
    return found


def dotted(path: Path) -> str:
    """Write a path as conflict messages do: `.spec.containers[name="web"].image`."""
    text = ""
    for element in path:
        kind, rest = element[:2], element[2:]
        if kind == "f:":
            text += f".{rest}"
        elif kind == "k:":
            keys = json.loads(rest)
            text += "[" + ",".join(f"{name}={_json(value)}" for name, value in keys.items()) + "]"
        else:
            text += f"[={rest}]"
    return text


# Managers

_Manager: TypeAlias = tuple[str, str, str, str]
"""manager, operation, apiVersion, subresource."""


def _read(entries: Any) -> tuple[dict[_Manager, set[Path]], dict[_Manager, Object]]:
    sets: dict[_Manager, set[Path]] = {}
    originals: dict[_Manager, Object] = {}
    for entry in entries or ():
        if not isinstance(entry, dict) or "manager" not in entry:
            continue
        who = (entry["manager"], entry.get("operation", ""), entry.get("apiVersion", ""), entry.get("subresource", ""))
        sets[who] = decode(entry.get("fieldsV1"))
        originals[who] = entry
    return sets, originals


def _write(sets: Mapping[_Manager, set[Path]], originals: Mapping[_Manager, Object], now: str) -> list[Object]:
    entries: list[Object] = []
    for who, paths in sets.items():
        if not paths:
            continue
        before = originals.get(who)
        if before is not None and decode(before.get("fieldsV1")) == paths:
            entries.append(before)
            continue
        manager, operation, api_version, subresource = who
        entries.append(
            {
                "manager": manager,
                "operation": operation,
                "apiVersion": api_version,
                "time": now,
                "fieldsType": "FieldsV1",
                "fieldsV1": encode(paths),
                **({"subresource": subresource} if subresource else {}),
            }
        )
    return entries


def track_update(
    old: Object | None,
    new: Object,
    *,
    manager: str,
    now: str,
    subresource: str = "",
    custom: Mapping[str, Any] | None = None,
) -> list[Object]:
    """Return the managedFields of `new`, written over `old` by a create, update or any other patch than apply."""
    sets, originals = _read(new["metadata"].get("managedFields"))
    before = leaves(old, custom) if old is not None else {}
    after = leaves(new, custom)
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    if subresource != "status" and old is not None:
        changed = {path for path in changed if path[0] != "f:status"}
    gone = before.keys() - after.keys()
    if not changed and not gone:
        return list(new["metadata"].get("managedFields") or ())
    who = (manager, "Update", new["apiVersion"], subresource)
    for other in sets:
        if other != who:
            sets[other] = sets[other] - changed - gone
    sets[who] = (sets.get(who, set()) | changed) - gone
    return _write(sets, originals, now)


def apply(
    live: Object | None,
    applied: Object,
    *,
    manager: str,
    force: bool,
    now: str,
    subresource: str = "",
    custom: Mapping[str, Any] | None = None,
) -> Applied:
    """Merge what `manager` wants into the live object.

    `applied` becomes all that the manager owns: what it owned before, leaves out now and nobody else owns, goes.
    Error handling: 409 Conflict with one cause per field that another manager owns with another value, unless
    `force`. Fields equal to what `kubectl apply` set last don't conflict for manager `kubectl` (migration).
    """
    wanted = leaves(applied, custom)
    who = (manager, "Apply", applied["apiVersion"], subresource)
    if live is None:
        merged = meta.copy(applied)
        merged["metadata"].pop("managedFields", None)
        return Applied(merged, _write({who: set(wanted)}, {}, now))
    sets, originals = _read(live["metadata"].get("managedFields"))
    if not sets:
        first = ("before-first-apply", "Update", live["apiVersion"], "")
        sets[first] = {path for path in leaves(live, custom) if path[0] != "f:status"}
    previous = sets.pop(who, set())
    merged = _merge_object(live, applied, custom)
    have, result = leaves(live, custom), leaves(merged, custom)
    conflicts = [
        (other, path)
        for other, paths in sets.items()
        for path in sorted(paths & wanted.keys())
        if path in have and not _same(have[path], result.get(path))
    ]
    if conflicts and not force and not (manager == "kubectl" and _came_from_client_side(live, conflicts, have, custom)):
        raise _conflict(conflicts)
    for other, path in conflicts:
        sets[other] = sets[other] - {path}
    owned_by_others = set().union(*sets.values()) if sets else set()
    # An item before its fields: without its key it couldn't be found.
    for path in sorted(previous - wanted.keys() - owned_by_others, key=len):
        if path not in have:
            continue  # gone already; or it was owned while it was empty, and what is in it now is another's
        if any(other[: len(path)] == path for other in owned_by_others):
            continue  # somebody owns a part of this item
        _remove(merged, path, custom, keep=wanted.keys() | owned_by_others)
    sets[who] = set(wanted)
    merged["metadata"].pop("managedFields", None)
    return Applied(merged, _write(sets, originals, now))


def _same(a: Any, b: Any) -> bool:
    return a is b or bool(a == b)


def _came_from_client_side(
    live: Object,
    conflicts: Iterable[tuple[_Manager, Path]],
    have: Mapping[Path, Any],
    custom: Mapping[str, Any] | None,
) -> bool:
    """Tell whether all conflicts are about fields that still are as `kubectl apply` left them."""
    text = meta.annotations(live).get(LAST_APPLIED)
    if not text:
        return False
    try:
        last = leaves(json.loads(text), custom)
    except (ValueError, AttributeError, KeyError, TypeError):
        return False
    return all(path in last and _same(last[path], have.get(path)) for _, path in conflicts)


def _conflict(conflicts: list[tuple[_Manager, Path]]) -> StatusError:
    def name(who: _Manager) -> str:
        version = who[2].rpartition("/")[2] if not who[2].rpartition("/")[0] else who[2]
        text = f'"{who[0]}"'
        if who[3]:
            text += f' with subresource "{who[3]}"'
        if who[1] == "Update":
            text += f" using {version}"
        return text

    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {name(who)}", "field": dotted(path)}
        for who, path in conflicts
    ]
    if len(conflicts) == 1:
        who, path = conflicts[0]
        message = f"Apply failed with 1 conflict: conflict with {name(who)}: {dotted(path)}"
    else:
        by_manager: dict[str, list[str]] = {}
        for who, path in conflicts:
            by_manager.setdefault(name(who), []).append(dotted(path))
        parts = []
        for title, paths in by_manager.items():
            if len(paths) == 1:
                parts.append(f"conflict with {title}: {paths[0]}")
            else:
                parts.append(f"conflicts with {title}:\n- " + "\n- ".join(paths))
        message = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(parts)
    return StatusError(409, "Conflict", message, {"causes": causes})


# Merging by schema


def _merge_object(live: Object, applied: Object, custom: Mapping[str, Any] | None) -> Object:
    field_of = field_resolver(custom)
    root = _root(live, custom)
    merged = dict(live)
    for key, value in applied.items():
        if key in ("apiVersion", "kind"):
            continue
        known = field_of(root, key) if root is not None else None
        if key == "metadata":
            known = known or schema.Field("metadata", schema.OBJECT_META, "object")
            value = {k: v for k, v in value.items() if k not in _UNOWNED}
        merged[key] = _merge(live.get(key), value, known, field_of)
    merged["metadata"] = dict(merged["metadata"])
    return merged


def _merge(old: Any, new: Any, known: schema.Field | None, field_of: FieldOf) -> Any:
    if isinstance(new, dict) and isinstance(old, dict) and _granular(known):
        result = dict(old)
        for key, value in new.items():
            result[key] = _merge(old.get(key), value, _below(known, key, field_of), field_of)
        return result
    if isinstance(new, list) and isinstance(old, list) and known is not None and known.list_type in ("map", "set"):
        wanted = {_item_key(item, known): item for item in new}
        have = {_item_key(item, known): item for item in old}
        below = _item_field(known.definition)
        if known.list_type == "set":
            return [*new, *(item for key, item in have.items() if key not in wanted)]
        merged = {k: _merge(have[k], v, below, field_of) if k in have else meta.copy(v) for k, v in wanted.items()}
        # Applied items in the applied order; items that only others want keep their place after their neighbour.
        return _interleave(list(merged.items()), list(have.items()))
    return meta.copy(new)


def _interleave(applied: list[tuple[str, Any]], live: list[tuple[str, Any]]) -> list[Any]:
    places = {key: place for place, (key, _) in enumerate(live)}
    wanted = dict(applied)
    others = [(key, item) for key, item in live if key not in wanted]
    result: list[Any] = []
    for key, item in applied:
        while others and key in places and places[others[0][0]] < places[key]:
            result.append(others.pop(0)[1])
        result.append(item)
    return [*result, *(item for _, item in others)]


def _remove(obj: Object, path: Path, custom: Mapping[str, Any] | None, *, keep: Any) -> None:
    """Take one field out of a merged object whose maps and lists on the way are copied, with parents left empty."""
    trail: list[tuple[Any, Any]] = []
    node: Any = obj
    for element in path:
        kind, rest = element[:2], element[2:]
        where: Any
        if kind == "f:":
            where = rest
            if not isinstance(node, dict) or where not in node:
                return
        else:
            if not isinstance(node, list):
                return
            found = [i for i, item in enumerate(node) if _is_item(item, kind, rest)]
            if not found:
                return
            where = found[0]
        below = node[where]
        if isinstance(below, dict):
            below = dict(below)
        elif isinstance(below, list):
            below = list(below)
        node[where] = below
        trail.append((node, where))
        node = below
    for depth in range(len(trail) - 1, -1, -1):
        holder, where = trail[depth]
        if depth < len(trail) - 1:
            inner = holder[where]
            if inner or path[: depth + 1] in keep or depth == 0:
                return
        del holder[where]


def _is_item(item: Any, kind: str, text: str) -> bool:
    value = json.loads(text)
    if kind == "v:":
        return bool(item == value)
    return isinstance(item, dict) and all(item.get(k, _KEY_DEFAULTS.get(k)) == v for k, v in value.items())
