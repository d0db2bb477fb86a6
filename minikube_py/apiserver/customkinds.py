"""CustomResourceDefinitions at work: their kinds are served as soon as they are stored, and go with them.

Stands for the controllers of apiextensions-apiserver (names, establishing, finalizing), done within the write itself,
so that the object that follows its definition in the same manifest is already known.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from collections.abc import Iterable
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.custom import from_crd
from minikube_py.kinds.kind import Kind
from minikube_py.kinds.registry import Registry

__all__ = ["CLEANUP", "RESOURCE", "complete", "resource_of", "serve", "withdraw"]

RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer by which a definition outlives its objects."""


def resource_of(crd: Object) -> str:
    """Return the resource that a definition defines: `crontabs.example.com`."""
    spec = meta.spec(crd)
    return f"{spec['names']['plural']}.{spec['group']}"


def complete(crd: Object, kinds: Iterable[Kind], now: str) -> None:
    """Fill in the status of a definition that is about to be stored, in place."""
    metadata, spec = crd["metadata"], crd["spec"]
    if not metadata.get("deletionTimestamp"):
        finalizers = list(metadata.get("finalizers") or ())
        if CLEANUP not in finalizers:
            metadata["finalizers"] = [*finalizers, CLEANUP]
    clash = _clash(crd, kinds)
    status = dict(crd.get("status") or {})
    before = {condition["type"]: condition for condition in status.get("conditions") or ()}
    accepted = (
        ("NamesAccepted", "False", "NamesConflict", clash)
        if clash
        else ("NamesAccepted", "True", "NoConflicts", "no conflicts found")
    )
    established = (
        ("Established", "False", "NotAccepted", "not all names are accepted")
        if clash
        else ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
    )
    status["conditions"] = [_condition(before, now, *wanted) for wanted in (accepted, established)]
    if not clash:
        status["acceptedNames"] = meta.copy(spec["names"])
    stored = list(status.get("storedVersions") or ())
    for version in spec.get("versions") or ():
        if version.get("storage") and version["name"] not in stored:
            stored.append(version["name"])
    status["storedVersions"] = stored
    crd["status"] = status


def _condition(before: dict[str, Any], now: str, kind: str, status: str, reason: str, message: str) -> Object:
    old = before.get(kind)
    since = old["lastTransitionTime"] if old and old.get("status") == status else now
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


def _clash(crd: Object, kinds: Iterable[Kind]) -> str:
    """Say which of a definition's names another resource of its group has; "" if none."""
    spec = meta.spec(crd)
    wanted = spec["names"]
    for kind in kinds:
        if kind.group != spec["group"] or kind.plural == wanted["plural"]:
            continue
        if kind.kind == wanted["kind"]:
            return f'"{kind.kind}" is already in use'
        if kind.singular and kind.singular == wanted.get("singular"):
            return f'"{kind.singular}" is already in use'
    return ""


def serve(crd: Object, registry: Registry) -> None:
    """Register the kinds of a stored definition, in place of what an older state of it defined."""
    withdraw(crd, registry)
    conditions = meta.status(crd).get("conditions") or ()
    if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
        for kind in from_crd(crd):
            registry.add(kind)


def withdraw(crd: Object, registry: Registry) -> None:
    """Serve the kinds of a definition no more."""
    resource = resource_of(crd)
    for kind in [kind for kind in registry.kinds() if kind.resource == resource]:
        registry.remove(kind)
