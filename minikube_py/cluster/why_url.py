"""`why http://coffee.com/menu`: which ingress rule, backend and pod answer a URL."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from minikube_py.cluster.why import Hop, Why
from minikube_py.ingress.explain import explain
from minikube_py.ingress.flavors import flavor
from minikube_py.ingress.sources import RESOURCES, Sources

if TYPE_CHECKING:
    from minikube_py.cluster.local import LocalCluster

__all__ = ["why_url"]


async def why_url(cluster: "LocalCluster", url: str) -> Why:
    """Walk a URL from outside through the ingress, by the rules as they are now."""
    parts = urlsplit(url)
    flavors = [flavor(name) for name in cluster.config.ingress.controllers]
    resources = (*RESOURCES, *(resource for each in flavors for resource in each.resources))
    sources = Sources((resource, obj) for resource in resources for obj in cluster.operations.list(resource))
    secure = parts.scheme == "https"
    walk = explain(sources, flavors, parts.netloc, parts.path or "/", secure=secure)
    hops = [Hop(step.name, step.text, "ok" if step.ok else "FAILED", step.details) for step in walk.steps]
    return Why("outside (127.0.0.1)", url, parts.port or (443 if secure else 80), "TCP", tuple(hops))
