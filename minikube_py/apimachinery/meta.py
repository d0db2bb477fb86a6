"""Reading and copying Kubernetes objects, and naming them.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and metav1.ObjectMeta.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "GVK",
    "Key",
    "Object",
    "annotations",
    "controller_of",
    "copy",
    "describe",
    "group_of",
    "key",
    "labels",
    "name",
    "namespace",
    "owner_reference",
    "spec",
    "status",
    "terminating",
    "uid",
    "with_owners",
]

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON: keys as in YAML, never mutated once stored."""


class GVK(NamedTuple):
    """Group, version and kind, as `apiVersion` and `kind` of an object say them."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> "GVK":
        group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
        return cls(group, version, str(obj.get("kind", "")))


class Key(NamedTuple):
    """The identity of an object within one resource; `namespace` is "" for cluster-scoped ones."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


_EMPTY: Mapping[str, Any] = {}


def copy(value: Any) -> Any:
    """Return a deep copy of JSON data; three times as fast as `copy.deepcopy`, which also tracks identities."""
    if type(value) is dict:
        return {k: copy(v) if type(v) is dict or type(v) is list else v for k, v in value.items()}
    if type(value) is list:
        return [copy(v) if type(v) is dict or type(v) is list else v for v in value]
    return value


def name(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("name", ""))


def namespace(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("namespace") or "")


def uid(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"].get("uid", ""))


def key(obj: Mapping[str, Any]) -> Key:
    return Key(namespace(obj), name(obj))


def labels(obj: Mapping[str, Any]) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or _EMPTY


def annotations(obj: Mapping[str, Any]) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or _EMPTY


def spec(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    return obj.get("spec") or _EMPTY


def status(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    return obj.get("status") or _EMPTY


def terminating(obj: Mapping[str, Any]) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def group_of(api_version: str) -> str:
    """Return the group of an `apiVersion`: "apps/v1" → "apps", "v1" → ""."""
    return api_version.rpartition("/")[0]


def owner_reference(owner: Mapping[str, Any], *, controller: bool = True) -> Object:
    """Return the `ownerReferences` entry by which a dependent names `owner`."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
        "controller": controller,
        "blockOwnerDeletion": True,
    }


def with_owners(obj: Mapping[str, Any], references: list[Object]) -> Object:
    """Return the object with these ownerReferences; none at all leave no empty list."""
    metadata = {field: value for field, value in obj["metadata"].items() if field != "ownerReferences"}
    return {**obj, "metadata": {**metadata, "ownerReferences": references} if references else metadata}


def controller_of(obj: Mapping[str, Any]) -> Object | None:
    """Return the owner reference with `controller: true`; an object has at most one."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def describe(obj: Mapping[str, Any]) -> str:
    """Return `Kind/namespace/name` for logs and messages."""
    return "/".join(part for part in (str(obj.get("kind", "?")), namespace(obj), name(obj)) if part)
