"""ComponentStatus: the deprecated health list of `kubectl get cs`. All components run in this process, healthy.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/component-status-v1/
"""

from typing import Any

from aiohttp import web

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.exchange import Exchange
from minikube_py.apiserver.representation import negotiate, render, render_list
from minikube_py.apiserver.reviews import COMPONENT_STATUS

__all__ = ["answer"]

_NAMES = ("controller-manager", "scheduler", "etcd-0")


def _status(name: str) -> Object:
    conditions = [{"type": "Healthy", "status": "True", "message": "ok"}]
    return {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": conditions}


def answer(exchange: Exchange, name: str, now: float) -> web.StreamResponse:
    """Answer get and list; 405 for all else."""
    if exchange.method not in ("GET", "HEAD"):
        raise errors.method_not_allowed()
    exchange.warnings.append("v1 ComponentStatus is deprecated in v1.19+")
    how = negotiate(exchange.request.headers.get("Accept", ""), exchange.query)
    found: list[Any] = [_status(each) for each in _NAMES]
    if not name:
        return exchange.json(render_list(COMPONENT_STATUS, found, how, now, {}), how=how)
    for each in found:
        if meta.name(each) == name:
            return exchange.json(render(COMPONENT_STATUS, each, how, now), how=how)
    raise errors.not_found("componentstatuses", name)
