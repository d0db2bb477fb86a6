"""managedFields: which fields an object has, as paths, and who owns them.

    leaves(obj)  {("f:spec", "f:replicas"): 3, ("f:spec", ..., 'k:{"name":"web"}', "f:image"): "nginx", ...}

A *set* is a set of such paths; in `managedFields` it is written as FieldsV1 (nested maps). Lists with
`x-kubernetes-list-type: map` are keyed (`k:`), those of type `set` hold values (`v:`), all others are one leaf.
Left out: field sets of several API versions of one kind (each kind is stored in one).
Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management and
sigs.k8s.io/structured-merge-diff/fieldpath.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from minikube_py.apimachinery import schema
from minikube_py.apimachinery.meta import GVK, Object

__all__ = [
    "UNOWNED",
    "FieldOf",
    "Manager",
    "Path",
    "child_of",
    "decode",
    "dotted",
    "encode",
    "field_resolver",
    "granular",
    "is_item",
    "item_field",
    "item_key",
    "leaves",
    "read",
    "root_of",
    "track_update",
    "write",
]

Path: TypeAlias = tuple[str, ...]
FieldOf: TypeAlias = Callable[[Any, str], schema.Field | None]

_EXISTS = object()
"""The value at a path that stands for an item as such."""

UNOWNED = frozenset(
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


def root_of(obj: Object, custom: Mapping[str, Any] | None) -> Any:
    """Return what `FieldOf` takes for an object as a whole: its definition or custom schema; None: neither is known."""
    return custom if custom is not None else schema.definition_of(GVK.of(obj))


def leaves(obj: Object, custom: Mapping[str, Any] | None = None) -> dict[Path, Any]:
    """Return every ownable field of an object with its value."""
    found: dict[Path, Any] = {}
    field_of = field_resolver(custom)
    root = root_of(obj, custom)
    for key, value in obj.items():
        if key in ("apiVersion", "kind"):
            continue
        if key == "metadata":
            value = {k: v for k, v in value.items() if k not in UNOWNED}
            if not value:
                continue
        known = field_of(root, key) if root is not None else None
        if key == "metadata" and known is None:
            known = schema.Field("metadata", schema.OBJECT_META, "object")
        _walk(value, known, (f"f:{key}",), found, field_of)
    return found


def _walk(value: Any, known: schema.Field | None, path: Path, found: dict[Path, Any], field_of: FieldOf) -> None:
    if isinstance(value, dict) and granular(known):
        if not value:
            found[path] = value
            return
        for key, item in value.items():
            _walk(item, child_of(known, key, field_of), (*path, f"f:{key}"), found, field_of)
    elif isinstance(value, list) and known is not None and known.list_type in ("map", "set"):
        if not value:
            found[path] = value
            return
        for item in value:
            key = item_key(item, known)
            found[*path, key] = _EXISTS
            if known.list_type == "map" and isinstance(item, dict):
                _walk(item, item_field(known.definition), (*path, key), found, field_of)
    else:
        found[path] = value


def child_of(known: schema.Field | None, key: str, field_of: FieldOf) -> schema.Field | None:
    """Return what is known of the value at `key` of a map or struct."""
    if known is None or known.definition is None:
        return None if known is None or known.type != "map" else item_field(None)
    return item_field(known.definition) if known.type == "map" else field_of(known.definition, key)


def granular(known: schema.Field | None) -> bool:
    """Tell whether a map or struct is owned field by field."""
    if known is None:
        return True
    if known.map_type == "atomic":
        return False
    return known.type in ("object", "map", "") and (known.definition is not None or known.type != "object")


def item_field(definition: Any) -> schema.Field | None:
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


def item_key(item: Any, known: schema.Field) -> str:
    """Return the path element of an item of a list of type set or map."""
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


def is_item(item: Any, kind: str, text: str) -> bool:
    """Tell whether an item of a list is the one that a path's element means: `kind` is `k:` or `v:`."""
    value = json.loads(text)
    if kind == "v:":
        return bool(item == value)
    return isinstance(item, dict) and all(item.get(k, _KEY_DEFAULTS.get(k)) == v for k, v in value.items())


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

Manager: TypeAlias = tuple[str, str, str, str]
"""manager, operation, apiVersion, subresource."""


def read(entries: Any) -> tuple[dict[Manager, set[Path]], dict[Manager, Object]]:
    """Read managedFields: manager → its set, and → its entry as it stands."""
    sets: dict[Manager, set[Path]] = {}
    originals: dict[Manager, Object] = {}
    for entry in entries or ():
        if not isinstance(entry, dict) or "manager" not in entry:
            continue
        who = (entry["manager"], entry.get("operation", ""), entry.get("apiVersion", ""), entry.get("subresource", ""))
        sets[who] = decode(entry.get("fieldsV1"))
        originals[who] = entry
    return sets, originals


def write(sets: Mapping[Manager, set[Path]], originals: Mapping[Manager, Object], now: str) -> list[Object]:
    """Write managedFields; an entry whose set is unchanged keeps its time."""
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
    sets, originals = read(new["metadata"].get("managedFields"))
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
    return write(sets, originals, now)
