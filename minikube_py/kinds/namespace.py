"""Namespace."""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind, Subresource
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["KIND"]


def prepare(namespace: Object, old: Object | None) -> None:
    if old is None:
        namespace["status"] = {"phase": "Active"}


def default(namespace: Object) -> None:
    """Label it with its own name, so that namespaceSelectors can tell it (NamespaceDefaultLabelName)."""
    if name := namespace["metadata"].get("name"):
        namespace["metadata"]["labels"] = {
            **(namespace["metadata"].get("labels") or {}),
            "kubernetes.io/metadata.name": name,
        }


@rules.collected
def validate(namespace: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(namespace, old, names.dns_label_errors)


def row(namespace: Object, now: float) -> list[Any]:
    return [meta.name(namespace), phase(namespace), age(namespace, now)]


def phase(namespace: Mapping[str, Any]) -> str:
    return str(meta.status(namespace).get("phase") or "Active")


KIND = Kind(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    namespaced=False,
    short_names=("ns",),
    subresources=(
        Subresource("status", "Namespace", "", "v1"),
        Subresource("finalize", "Namespace", "", "v1", ("update",)),
    ),
    columns=(NAME, Column("Status"), AGE),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    selectable={"status.phase": phase},
)
