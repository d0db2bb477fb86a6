"""OpenAPI v3: full schemas for `kubectl explain`, and just as much of the paths as kubectl reads before it applies.

kubectl looks at the PATCH operation of a kind for two things: the `fieldValidation` parameter (then it leaves
validation to the server) and whether strategic merge patches are taken (never for custom resources).
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from minikube_py.apimachinery import meta, schema
from minikube_py.apimachinery.meta import GVK, Object
from minikube_py.apiserver.representation import encode
from minikube_py.kinds.kind import Kind

__all__ = ["EMPTY_V2", "V2_CONTENT_TYPE", "Documents"]

EMPTY_V2 = b"\x0a\x03\x32\x2e\x30"
"""An empty OpenAPI v2 document in protobuf (swagger: "2.0"): enough for kubectl's message about unknown kinds."""

V2_CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


class Documents:
    """The documents of one server, made when first asked for and again after a group's kinds have changed."""

    def __init__(self, kinds: Callable[[], Iterable[Kind]]) -> None:
        self._kinds = kinds
        self._bodies: dict[str, tuple[str, bytes]] = {}

    def index(self) -> Object:
        """Return /openapi/v3."""
        paths = {}
        for path in sorted({_path(kind) for kind in self._kinds()}):
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={self.digest(path)}"}
        return {"paths": paths}

    def digest(self, path: str) -> str:
        """Return the hash of a document's content; custom kinds by their schema, official ones never change."""
        content = [(kind.kind, kind.plural, kind.schema) for kind in self._kinds() if _path(kind) == path]
        return hashlib.sha256(encode(content)).hexdigest()[:32].upper()

    def body(self, path: str) -> bytes | None:
        """Return the document of `api/v1`, `apis/apps/v1`, …; None if nothing is served there."""
        kinds = [kind for kind in self._kinds() if _path(kind) == path]
        if not kinds:
            return None
        digest = self.digest(path)
        made = self._bodies.get(path)
        if made is None or made[0] != digest:
            made = self._bodies[path] = (digest, encode(_document(kinds)))
        return made[1]


def _path(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _document(kinds: Iterable[Kind]) -> Object:
    schemas: Object = {}
    paths: Object = {}
    for kind in kinds:
        gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        custom = kind.schema
        name = schema.definition_of(GVK(kind.group, kind.version, kind.kind))
        if custom is not None or name is None:
            key = ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])
            schemas[key] = _custom(kind, custom or {}, gvk)
            _collect("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", schemas)
        else:
            _collect(name, schemas)
        scope = "/namespaces/{namespace}" if kind.namespaced else ""
        media = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
        if custom is None and name is not None:
            media.append("application/strategic-merge-patch+json")
        paths[f"/{_path(kind)}{scope}/{kind.plural}/{{name}}"] = {
            "patch": {
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": gvk,
                "parameters": [
                    {"name": "dryRun", "in": "query", "schema": {"type": "string"}},
                    {"name": "fieldManager", "in": "query", "schema": {"type": "string"}},
                    {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}},
                    {"name": "force", "in": "query", "schema": {"type": "boolean"}},
                ],
                "requestBody": {"content": {kind_of_patch: {} for kind_of_patch in media}},
                "responses": {"200": {"description": "OK"}},
            }
        }
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": f"v{schema.VERSION}.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _custom(kind: Kind, custom: Mapping[str, Any], gvk: Object) -> Object:
    body: Object = meta.copy(dict(custom))
    body.setdefault("type", "object")
    properties = {
        "apiVersion": {"type": "string", "description": _API_VERSION},
        "kind": {"type": "string", "description": _KIND},
        **body.get("properties", {}),
        "metadata": {
            "allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}],
            "description": "Standard object's metadata.",
        },
    }
    body["properties"] = properties
    body["x-kubernetes-group-version-kind"] = [gvk]
    return body


_API_VERSION = "APIVersion defines the versioned schema of this representation of an object."
_KIND = "Kind is a string value representing the REST resource this object represents."


def _collect(name: str, into: Object) -> None:
    if name in into:
        return
    body, references = _converted(name)
    into[name] = body
    for reference in references:
        _collect(reference, into)


@cache
def _converted(name: str) -> tuple[Object, tuple[str, ...]]:
    references: dict[str, None] = {}
    return _convert(schema.definitions()[name], references), tuple(references)


def _convert(node: Any, references: dict[str, None]) -> Any:
    if isinstance(node, list):
        return [_convert(item, references) for item in node]
    if not isinstance(node, dict):
        return node
    result = {}
    for key, value in node.items():
        if key == "$ref" and isinstance(value, str):  # JSONSchemaProps has a field of that name
            target = value.rpartition("/")[2]
            references[target] = None
            link = {"$ref": f"#/components/schemas/{target}"}
            if len(node) == 1:
                return link
            result["allOf"] = [link]
        else:
            result[key] = _convert(value, references)
    return result
