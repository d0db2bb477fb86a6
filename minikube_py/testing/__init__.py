"""Handles on a cluster that runs in a thread of its own: `Cluster` for sync code, `AsyncCluster` for async code.

with Cluster.from_files("k8s/", images={"ghcr.io/acme/api:*": {"asgi": "acme.api:app"}}) as c:
    c.wait("deployment/api", ready=3)
    with c.client(from_pod="web") as http:
        assert http.get("http://api/menu").status_code == 200
"""

from minikube_py.testing.handles import AsyncCluster, Cluster
from minikube_py.testing.results import CommandResult

__all__ = ["AsyncCluster", "Cluster", "CommandResult"]
