"""In which form a client wants its answer: the objects, a table of them, or only their metadata.

Tables are what `kubectl get` prints; their columns and cells come from `kinds`. Never protobuf: every client that
asks for it also takes JSON.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from minikube_py.aiokit.clock import timestamp
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.kind import Kind

__all__ = [
    "OBJECTS",
    "Form",
    "Representation",
    "encode",
    "human_duration",
    "negotiate",
    "render",
    "render_list",
    "table",
]

encode = msgspec.json.Encoder().encode


class Form(Enum):
    OBJECT = "object"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Representation:
    """What was negotiated; hashable, because watches cache an event's bytes by it."""

    form: Form = Form.OBJECT
    version: str = "v1"
    include_object: str = "Metadata"
    """In a table's rows: None, Metadata or Object."""
    yaml: bool = False


OBJECTS = Representation()


def negotiate(accept: str, query: Mapping[str, str]) -> Representation:
    """Choose the first form in an Accept header that is served here.

    Error handling: 406 NotAcceptable when there is none.
    """
    if not accept:
        return OBJECTS
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        options = dict(p.partition("=")[::2] for p in parameters)
        if media not in ("application/json", "application/*", "*/*", "application/yaml"):
            continue
        wanted = options.get("as")
        if wanted is None:
            return Representation(yaml=media == "application/yaml")
        if options.get("g", "meta.k8s.io") != "meta.k8s.io" or options.get("v", "v1") not in ("v1", "v1beta1"):
            continue
        if wanted == "Table":
            return Representation(Form.TABLE, options.get("v", "v1"), query.get("includeObject") or "Metadata")
        if wanted in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return Representation(Form.METADATA, options.get("v", "v1"))
    raise StatusError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, application/yaml, "
        "application/json;as=Table;v=v1;g=meta.k8s.io",
    )


def render(kind: Kind, obj: Object, how: Representation, now: float) -> Object:
    """Return one object in the wanted form."""
    match how.form:
        case Form.OBJECT:
            return obj
        case Form.METADATA:
            return partial(obj, how.version)
        case Form.TABLE:
            return table(kind, [obj], how, now, {"resourceVersion": obj["metadata"].get("resourceVersion", "")})


def render_list(kind: Kind, objects: Sequence[Object], how: Representation, now: float, metadata: Object) -> Object:
    """Return a list in the wanted form."""
    match how.form:
        case Form.OBJECT:
            return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": objects}
        case Form.METADATA:
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": f"meta.k8s.io/{how.version}",
                "metadata": metadata,
                "items": [partial(obj, how.version) for obj in objects],
            }
        case Form.TABLE:
            return table(kind, objects, how, now, metadata)


def partial(obj: Object, version: str) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": obj["metadata"]}


def table(
    kind: Kind, objects: Sequence[Object], how: Representation, now: float, metadata: Object, *, columns: bool = True
) -> Object:
    """Return a Table with one row per object; later events of a watch leave the column definitions out."""
    row = kind.row
    rows = []
    for obj in objects:
        cells = row(obj, now) if row else _name_and_age(obj, now)
        entry: Object = {"cells": cells}
        if how.include_object == "Metadata":
            entry["object"] = partial(obj, how.version)
        elif how.include_object == "Object":
            entry["object"] = obj
        rows.append(entry)
    definitions: list[Any] | None = None
    if columns:
        definitions = [
            {
                "name": column.name,
                "type": column.type,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            }
            for column in kind.columns
        ]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{how.version}",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def _name_and_age(obj: Object, now: float) -> list[Any]:
    created = obj["metadata"].get("creationTimestamp")
    age = human_duration(now - timestamp(created)) if created else "<unknown>"
    return [obj["metadata"].get("name", ""), age]


def human_duration(seconds: float) -> str:
    """Write a duration as kubectl does: 5s, 2m5s, 3h20m, 2d4h, 400d, 3y25d (k8s.io/apimachinery/pkg/util/duration)."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    total = max(total, 0)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return f"{days // 365}y{days % 365}d" if days % 365 else f"{days // 365}y"
    return f"{days // 365}y"
