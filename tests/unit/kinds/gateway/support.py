"""Objects of the Gateway API as the API server would take them."""

from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.registry import Registry

_KINDS = Registry()
GROUP = "gateway.networking.k8s.io"


def completed(kind: str, spec: Object, version: str = "v1") -> Object:
    """With defaults, as it would be stored."""
    metadata: Any = {"name": "x", "namespace": "default"}
    obj: Object = {"apiVersion": f"{GROUP}/{version}", "kind": kind, "metadata": metadata, "spec": meta.copy(spec)}
    found = _KINDS.by_gvk(obj["apiVersion"], kind)
    found.default(obj)
    found.prepare(obj, None)
    return obj


def complaints(kind: str, spec: Object, version: str = "v1", old: Object | None = None) -> list[str]:
    """What validation has against it, in the words of the 422."""
    obj = completed(kind, spec, version)
    before = completed(kind, old, version) if old is not None else None
    return [str(error) for error in _KINDS.by_gvk(obj["apiVersion"], kind).validate(obj, before)]
