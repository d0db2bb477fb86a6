"""`kubectl apply` in the process: create what is missing, patch what changed, leave the rest.

Objects carry kubectl's last-applied annotation, so `kubectl apply` of the same files afterwards says "unchanged".
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from minikube_py.apimachinery import meta, patch_strategic, schema
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import GVK, Object
from minikube_py.apimachinery.patch_three_way import deletions, last_applied, with_last_applied
from minikube_py.apiserver.operations import Operations

__all__ = ["Applied", "ApplyError", "apply", "delete", "in_order", "missing_namespaces"]


class Applied(Struct, frozen=True):
    """What became of one manifest: `deployment.apps/api created`, as kubectl prints it."""

    kind: str
    name: str
    namespace: str
    outcome: str
    """created, configured, unchanged, deleted."""

    def __str__(self) -> str:
        return f"{self.kind}/{self.name} {self.outcome}"


class ApplyError(Exception):
    """The API refused a manifest; the message names it and says why."""


_FIRST = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "IngressClass",
    "NetworkPolicy",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Service",
)
"""Kinds that others need: as Helm's install order, with policies before the pods that they protect."""


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Return the objects in the order in which they can be created; stable within a kind."""
    rank = {kind: index for index, kind in enumerate(_FIRST)}
    return sorted(objects, key=lambda obj: rank.get(obj.get("kind", ""), len(rank)))


def missing_namespaces(objects: Iterable[Object], operations: Operations) -> list[str]:
    """Return the namespaces that the objects are in, but that nobody makes."""
    objects = list(objects)
    made = {meta.name(obj) for obj in objects if obj["kind"] == "Namespace"}
    wanted = {meta.namespace(obj) for obj in objects if meta.namespace(obj)}
    return sorted(name for name in wanted - made if operations.get("namespaces", name) is None)


def apply(operations: Operations, objects: Sequence[Object], *, namespace: str = "default") -> Iterator[Applied]:
    """Apply manifests one after the other, in a workable order.

    Error handling: ApplyError at the first that the API refuses; the ones before it are applied, as with kubectl.
    """
    for obj in in_order(objects):
        try:
            yield _apply_one(operations, obj, namespace)
        except StatusError as error:
            raise ApplyError(f"{meta.describe(obj)}: {error.message}") from error


def _located(operations: Operations, obj: Object, namespace: str) -> tuple[str, str, Object]:
    """Return resource, kubectl's name of the kind, and the object with its namespace filled in."""
    kind = operations.registry.by_gvk(obj["apiVersion"], obj["kind"])
    printed = f"{kind.kind.lower()}.{kind.group}" if kind.group else kind.kind.lower()
    if kind.namespaced and not meta.namespace(obj):
        obj = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
    return kind.resource, printed, obj


def _apply_one(operations: Operations, obj: Object, namespace: str) -> Applied:
    resource, printed, obj = _located(operations, obj, namespace)
    target_namespace = meta.namespace(obj)
    live = operations.get(resource, meta.name(obj), target_namespace) if meta.name(obj) else None
    if live is None:
        stored = operations.create(with_last_applied(obj))
        return Applied(printed, meta.name(stored), target_namespace, "created")
    definition = schema.definition_of(GVK.of(obj))
    patch = deletions(last_applied(live), with_last_applied(obj), lambda path: schema.merge_key(definition, path))
    patch["metadata"].pop("resourceVersion", None)
    new = operations.update(patch_strategic.apply(live, patch))
    outcome = "unchanged" if new["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"] else "configured"
    return Applied(printed, meta.name(obj), target_namespace, outcome)


def delete(operations: Operations, objects: Sequence[Object], *, namespace: str = "default") -> Iterator[Applied]:
    """Delete what the manifests name, in reverse order; what is gone already is passed over."""
    for obj in reversed(in_order(objects)):
        resource, printed, obj = _located(operations, obj, namespace)
        try:
            operations.delete(resource, meta.name(obj), meta.namespace(obj))
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            continue
        yield Applied(printed, meta.name(obj), meta.namespace(obj), "deleted")
