"""From documents and flags to one ClusterConfig and the manifests that remain."""

from collections.abc import Sequence
from dataclasses import replace

from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.check import for_kubectl
from minikube_py.kinds.clusterconfig import API_VERSION, ClusterConfig, ConfigError

__all__ = ["InvalidConfig", "settings"]


class InvalidConfig(Exception):
    """The `kind: Cluster` document is wrong; the message says where."""


def settings(
    objects: Sequence[Object], *, name: str | None = None, nodes: int | None = None
) -> tuple[ClusterConfig, list[Object]]:
    """Split our own `kind: Cluster` document (and what is for kubectl alone) from the manifests; flags win over it.

    Error handling: InvalidConfig for two such documents or for what is wrong in one.
    """
    own = [obj for obj in objects if obj.get("apiVersion") == API_VERSION]
    if len(own) > 1:
        raise InvalidConfig(f"{len(own)} documents of kind Cluster; there can be one")
    try:
        config = ClusterConfig.from_object(own[0]) if own else ClusterConfig()
    except ConfigError as error:
        raise InvalidConfig(str(error)) from None
    if name is not None:
        config = replace(config, name=name)
    if nodes is not None:
        config = replace(config, nodes=nodes)
    return config, [obj for obj in objects if obj.get("apiVersion") != API_VERSION and not for_kubectl(obj)]
