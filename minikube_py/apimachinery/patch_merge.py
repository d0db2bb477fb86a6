"""JSON merge patch (RFC 7386): what `kubectl label`, `scale` and every patch of a custom resource are."""

from typing import Any

from minikube_py.apimachinery import meta

__all__ = ["apply"]


def apply(target: Any, patch: Any) -> Any:
    """Return `target` with `patch` merged in: maps merge, null deletes, all else replaces; `target` is not touched."""
    if not isinstance(patch, dict):
        return meta.copy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply(result.get(key), value)
    return result
