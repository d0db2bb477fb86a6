"""Server-side apply: merging what one manager wants, and conflicts with what others own (`managed_fields.py`).

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/ and sigs.k8s.io/structured-merge-diff/merge.
"""

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from minikube_py.apimachinery import meta, schema
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.managed_fields import (
    UNOWNED,
    FieldOf,
    Manager,
    Path,
    child_of,
    dotted,
    field_resolver,
    granular,
    is_item,
    item_field,
    item_key,
    leaves,
    read,
    root_of,
    write,
)
from minikube_py.apimachinery.meta import Object

__all__ = ["LAST_APPLIED", "Applied", "apply"]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of an apply."""

    object: Object
    managed_fields: list[Object]


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
        return Applied(merged, write({who: set(wanted)}, {}, now))
    sets, originals = read(live["metadata"].get("managedFields"))
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
        _remove(merged, path, keep=wanted.keys() | owned_by_others)
    sets[who] = set(wanted)
    merged["metadata"].pop("managedFields", None)
    return Applied(merged, write(sets, originals, now))


def _same(a: Any, b: Any) -> bool:
    return a is b or bool(a == b)


def _came_from_client_side(
    live: Object,
    conflicts: Iterable[tuple[Manager, Path]],
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


def _conflict(conflicts: list[tuple[Manager, Path]]) -> StatusError:
    def name(who: Manager) -> str:
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
    root = root_of(live, custom)
    merged = dict(live)
    for key, value in applied.items():
        if key in ("apiVersion", "kind"):
            continue
        known = field_of(root, key) if root is not None else None
        if key == "metadata":
            known = known or schema.Field("metadata", schema.OBJECT_META, "object")
            value = {k: v for k, v in value.items() if k not in UNOWNED}
        merged[key] = _merge(live.get(key), value, known, field_of)
    merged["metadata"] = dict(merged["metadata"])
    return merged


def _merge(old: Any, new: Any, known: schema.Field | None, field_of: FieldOf) -> Any:
    if isinstance(new, dict) and isinstance(old, dict) and granular(known):
        result = dict(old)
        for key, value in new.items():
            result[key] = _merge(old.get(key), value, child_of(known, key, field_of), field_of)
        return result
    if isinstance(new, list) and isinstance(old, list) and known is not None and known.list_type in ("map", "set"):
        wanted = {item_key(item, known): item for item in new}
        have = {item_key(item, known): item for item in old}
        below = item_field(known.definition)
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


def _remove(obj: Object, path: Path, *, keep: Set[Path]) -> None:
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
            found = [i for i, item in enumerate(node) if is_item(item, kind, rest)]
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
