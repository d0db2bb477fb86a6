"""The structure of every official kind: which fields there are, of which type, and how lists merge.

Stands for the Go types that kube-apiserver decodes into; `decoding.py` holds objects against them. Left out: alpha and
beta API versions, and what the swagger document itself leaves out (defaults, semantic rules: those are in `kinds`).

NOTICE: `data/definitions-1.32.json.gz` is made from the Kubernetes API definitions (v1.32, Copyright The Kubernetes
Authors, Apache License 2.0) as packaged by the PyPI distribution kubernetes-validate; changed: nullable types made
plain, alpha and beta versions left out, single-value enums of `apiVersion` and `kind` dropped.
"""

import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from minikube_py.apimachinery.meta import GVK, Object

__all__ = [
    "OBJECT_META",
    "VERSION",
    "Field",
    "definition_of",
    "definitions",
    "field",
    "fields_of",
    "merge_key",
    "prune",
    "prune_as",
    "reference",
]

VERSION = "1.32"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


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


def reference(node: Mapping[str, Any]) -> str | None:
    """Return the name of the definition that a property refers to."""
    ref: str | None = node.get("$ref")
    return ref.rpartition("/")[2] if ref else None


@cache
def field(definition: str, name: str) -> Field | None:
    """Return what is known of one field of a definition; None if it has no such field."""
    known = definitions()[definition].get("properties", {}).get(name)
    if known is None:
        return None
    target = reference(known)
    type_, item = known.get("type", ""), target
    map_type = known.get("x-kubernetes-map-type", "granular")
    if target:
        body = definitions()[target]
        type_ = body.get("type", "")
        map_type = body.get("x-kubernetes-map-type", map_type)
        if "properties" not in body:
            item = None
    elif type_ == "array":
        item = reference(known["items"])
    elif type_ == "object" and "additionalProperties" in known:
        type_, item = "map", reference(known["additionalProperties"])
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


def prune(obj: Object) -> Object:
    """Return the object without unknown fields and without nulls, as decoding into Go types leaves it."""
    definition = definition_of(GVK.of(obj))
    pruned: Object = prune_as(definition, obj) if definition else obj
    return pruned


def prune_as(definition: str, value: Any) -> Any:
    """Return a value without the fields that its definition lacks, and without nulls."""
    return _pruner(definition)(value)


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
    if target := reference(node):
        if "properties" in definitions()[target]:
            return lambda value: _pruner(target)(value)
        return _keep
    if node.get("type") == "array" and (reference(node["items"]) or node["items"].get("type") in ("array", "object")):
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
