"""The sub-resource `scale`: one view of everything that has replicas.

Source: https://kubernetes.io/docs/reference/kubernetes-api/autoscaling-resources/scale-v1/
"""

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.kind import Kind

__all__ = ["SCALE_KIND", "scale_of", "scaled"]

SCALE_KIND = Kind(group="autoscaling", version="v1", kind="Scale", plural="scales", verbs=("get", "patch", "update"))


def scale_of(obj: Object) -> Object:
    """Return the Scale of an object."""
    selector = meta.spec(obj).get("selector")
    text = ""
    if isinstance(selector, dict):
        is_object = "matchLabels" in selector or "matchExpressions" in selector
        compiled = Selector.from_object(selector) if is_object else Selector.from_map(selector)
        text = ",".join(map(str, compiled.requirements))
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {k: v for k, v in obj["metadata"].items() if k in kept},
        "spec": {"replicas": meta.spec(obj).get("replicas", 0)},
        "status": {
            "replicas": meta.status(obj).get("replicas", 0),
            **({"selector": text} if text else {}),
        },
    }


def scaled(obj: Object, scale: Object) -> Object:
    """Return `obj` with the replicas (and, if given, the expected resourceVersion) of a Scale.

    Error handling: 422 for replicas that are no count.
    """
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if type(replicas) is not int or replicas < 0:
        error = errors.invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.invalid("Scale", meta.name(obj), [error], "autoscaling")
    result = {**obj, "metadata": {**obj["metadata"]}, "spec": {**meta.spec(obj), "replicas": replicas}}
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        result["metadata"]["resourceVersion"] = version
    return result
