"""The sub-resource `scale`: one view of everything that has replicas.

Source: https://kubernetes.io/docs/reference/kubernetes-api/autoscaling-resources/scale-v1/
"""

from dataclasses import dataclass
from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["SCALE_KIND", "Paths", "paths_of", "scale_of", "scaled"]


def _row(scale: Object, now: float) -> list[Any]:
    return [meta.name(scale), scale["spec"]["replicas"], scale["status"]["replicas"], age(scale, now)]


SCALE_KIND = Kind(
    group="autoscaling",
    version="v1",
    kind="Scale",
    plural="scales",
    verbs=("get", "patch", "update"),
    columns=(NAME, Column("Desired", "integer"), Column("Available", "integer"), AGE),
    row=_row,
)


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a kind keeps what a Scale shows; only custom kinds differ."""

    replicas: tuple[str, ...] = ("spec", "replicas")
    current: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ("spec", "selector")


def paths_of(crd: Object | None, version: str) -> Paths:
    """Return the paths that a CustomResourceDefinition gives for one of its versions."""
    for entry in meta.spec(crd).get("versions") or () if crd else ():
        given = (entry.get("subresources") or {}).get("scale")
        if entry.get("name") == version and given:
            return Paths(
                _split(given.get("specReplicasPath") or ".spec.replicas"),
                _split(given.get("statusReplicasPath") or ".status.replicas"),
                _split(given.get("labelSelectorPath") or ""),
            )
    return Paths()


def _split(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split(".") if part)


def _at(obj: Object, path: tuple[str, ...]) -> Any:
    value: Any = obj if path else None
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


PATHS = Paths()


def scale_of(obj: Object, paths: Paths = PATHS) -> Object:
    """Return the Scale of an object."""
    selector = _at(obj, paths.selector)
    text = ""
    if isinstance(selector, dict):
        is_object = "matchLabels" in selector or "matchExpressions" in selector
        compiled = Selector.from_object(selector) if is_object else Selector.from_map(selector)
        text = ",".join(map(str, compiled.requirements))
    elif isinstance(selector, str):
        text = selector
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {k: v for k, v in obj["metadata"].items() if k in kept},
        "spec": {"replicas": _at(obj, paths.replicas) or 0},
        "status": {
            "replicas": _at(obj, paths.current) or 0,
            **({"selector": text} if text else {}),
        },
    }


def scaled(obj: Object, scale: Object, paths: Paths = PATHS) -> Object:
    """Return `obj` with the replicas (and, if given, the expected resourceVersion) of a Scale.

    Error handling: 422 for replicas that are no count.
    """
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if type(replicas) is not int or replicas < 0:
        error = errors.invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.invalid("Scale", meta.name(obj), [error], "autoscaling")
    result: Object = {**obj, "metadata": {**obj["metadata"]}}
    holder = result
    for part in paths.replicas[:-1]:
        below = holder.get(part)
        holder[part] = holder = {**below} if isinstance(below, dict) else {}
    holder[paths.replicas[-1]] = replicas
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        result["metadata"]["resourceVersion"] = version
    return result
