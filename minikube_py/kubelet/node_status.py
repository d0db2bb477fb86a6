"""Telling the API server of the node: its registration, and the lease by whose renewal it shows that it lives.

Stands for kubelet_node_status.go and the lease controller; `node.py` makes the objects.
"""

import logging

from minikube_py.aiokit.clock import Clock
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import API
from minikube_py.kubelet.node import LEASE_SECONDS, lease_object

__all__ = ["register", "renew_lease"]

logger = logging.getLogger(__name__)

_LEASES = "leases.coordination.k8s.io"


def register(api: API, node: Object) -> Object | None:
    """Make the Node, or bring one that somebody else made in line with what its machine is; return it as stored."""
    name = meta.name(node)
    if api.get("nodes", name) is None:
        api.create(node)

    def join(stored: Object) -> None:
        stored["metadata"]["labels"] = {**(stored["metadata"].get("labels") or {}), **node["metadata"]["labels"]}
        stored["spec"] = {**node["spec"], **(stored.get("spec") or {})}

    def tell(stored: Object) -> None:
        stored["status"] = node["status"]

    api.modify("nodes", name, "", join)
    api.modify("nodes", name, "", tell, subresource="status")
    return api.get("nodes", name)


async def renew_lease(api: API, clock: Clock, name: str) -> None:
    """Say every ten seconds that the node lives."""
    while True:
        if (node := api.get("nodes", name)) is not None:
            lease = lease_object(node, clock.now())
            try:
                if api.get(_LEASES, name, "kube-node-lease") is None:
                    api.create(lease)
                else:
                    api.update(lease)
            except StatusError as error:  # the namespace was deleted, or somebody else writes the lease
                logger.debug("lease refused node=%s error=%s", name, error)
        await clock.sleep(LEASE_SECONDS / 4)
