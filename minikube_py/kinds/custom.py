"""Custom kinds: from a CustomResourceDefinition to `Kind`s, one for each served version.

Stands for apiextensions-apiserver. Left out: conversion between versions (an object is served in every version as it
is stored) and CEL rules.
"""

import json
from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.apimachinery.schema import OBJECT_META, prune_as
from minikube_py.kinds import jsonpath, rules, structural
from minikube_py.kinds.kind import Column, Kind, Subresource
from minikube_py.kinds.tables import AGE, NAME, age, since

__all__ = ["from_crd"]


def from_crd(crd: Object) -> list[Kind]:
    """Return the kinds of a CustomResourceDefinition, the storage version first."""
    spec = meta.spec(crd)
    versions = [version for version in spec.get("versions") or () if version.get("served")]
    versions.sort(key=lambda version: not version.get("storage"))
    return [_kind(spec, version) for version in versions]


def _kind(spec: Mapping[str, Any], version: Mapping[str, Any]) -> Kind:
    names_ = spec["names"]
    group, kind = str(spec["group"]), str(names_["kind"])
    schema: Mapping[str, Any] = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    given = version.get("subresources") or {}
    subresources = []
    if "scale" in given:
        subresources.append(Subresource("scale", "Scale", "autoscaling", "v1"))
    has_status = "status" in given
    if has_status:
        subresources.append(Subresource("status", kind, group, str(version["name"])))
    printed = version.get("additionalPrinterColumns") or (
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )

    def default(obj: Object) -> None:
        structural.default(schema, obj)

    def prepare(obj: Object, old: Object | None) -> None:
        metadata = obj.get("metadata") or {}
        kept = prune_as(OBJECT_META, metadata)
        pruned = structural.prune(schema, obj)
        metadata.clear()  # in place: who called counts the generation in it afterwards
        metadata.update(kept)
        obj.clear()
        obj.update(pruned)
        obj["metadata"] = metadata
        if old is None and has_status:
            obj.pop("status", None)
            structural.default(schema, obj)  # a status by default, as reading it back fills it in

    @rules.collected
    def validate(obj: Object, old: Object | None) -> rules.Errors:
        yield from rules.metadata(obj, old, names.dns_subdomain_errors)
        yield from structural.validate(schema, obj)

    def row(obj: Object, now: float) -> list[Any]:
        return [meta.name(obj), *(_cell(obj, column, now) for column in printed)]

    return Kind(
        group=group,
        version=str(version["name"]),
        kind=kind,
        plural=str(names_["plural"]),
        singular=str(names_.get("singular") or kind.lower()),
        namespaced=spec.get("scope") != "Cluster",
        short_names=tuple(names_.get("shortNames") or ()),
        categories=tuple(names_.get("categories") or ()),
        subresources=tuple(subresources),
        columns=(NAME, *(_column(column) for column in printed)),
        row=row,
        default=default,
        prepare=prepare,
        validate=validate,
        selectable={
            path.removeprefix("."): _selectable(path)
            for field in version.get("selectableFields") or ()
            if (path := field.get("jsonPath"))
        },
        schema=schema,
    )


def _column(column: Mapping[str, Any]) -> Column:
    name = str(column.get("name", ""))
    if name == "Age" and column.get("jsonPath") == ".metadata.creationTimestamp":
        return AGE
    return Column(
        name,
        str(column.get("type") or "string"),
        int(column.get("priority") or 0),
        str(column.get("format") or ""),
        str(column.get("description") or ""),
    )


def _cell(obj: Object, column: Mapping[str, Any], now: float) -> Any:
    path = str(column.get("jsonPath") or "")
    if path == ".metadata.creationTimestamp" and column.get("type") == "date":
        return age(obj, now)
    found = jsonpath.find(obj, path)
    if not found or found[0] is None:
        return None
    value = found[0]
    match column.get("type"):
        case "date":
            try:
                return since(str(value), now)
            except ValueError:
                return "<invalid>"
        case "integer" if isinstance(value, int) and not isinstance(value, bool):
            return value
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        case "boolean" if isinstance(value, bool):
            return value
        case "string":
            if isinstance(value, dict | list):
                return json.dumps(value, separators=(",", ":"))
            if isinstance(value, bool):
                return str(value).lower()
            return ",".join(map(str, found)) if len(found) > 1 else str(value)
    return None


def _selectable(path: str) -> Any:
    return lambda obj: "".join(str(value) for value in jsonpath.find(obj, path)[:1])
