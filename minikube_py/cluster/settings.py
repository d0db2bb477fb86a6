"""From documents and flags to one ClusterConfig and the manifests that remain."""

from collections.abc import Sequence
from dataclasses import replace

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.check import for_kubectl
from minikube_py.kinds.clusterconfig import API_VERSION, INGRESS_CONTROLLERS, ClusterConfig, ConfigError
from minikube_py.kinds.controllerkinds import GROUPS
from minikube_py.kinds.ingress import class_of

__all__ = ["InvalidConfig", "settings"]


class InvalidConfig(Exception):
    """The `kind: Cluster` document is wrong; the message says where."""


def settings(
    objects: Sequence[Object], *, name: str | None = None, nodes: int | None = None, strict: bool = False
) -> tuple[ClusterConfig, list[Object]]:
    """Split our own `kind: Cluster` document (and what is for kubectl alone) from the manifests; flags win over it.

    Unless that document lists `ingress.controllers`, or `strict`, the controllers whose classes the manifests ask for
    run too: people's manifests take theirs for installed.

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
    remaining = [obj for obj in objects if obj.get("apiVersion") != API_VERSION and not for_kubectl(obj)]
    listed = bool(own) and "controllers" in (own[0].get("ingress") or {})
    if config.ingress.enabled and not listed and not strict:
        running = config.ingress.controllers
        asked = tuple(each for each in _asked(remaining) if each not in running)
        config = replace(config, ingress=replace(config.ingress, controllers=(*running, *asked), asked=asked))
    return config, remaining


def _asked(objects: Sequence[Object]) -> list[str]:
    """Return the controllers that Ingresses name by their class, or whose own kinds there are.

    Not those whose class or kinds a manifest brings along: somebody installs the real thing, or a stand-in.
    """
    made = {meta.name(obj) for obj in objects if obj.get("kind") == "IngressClass"}
    wanted = {class_of(obj) for obj in objects if obj.get("kind") == "Ingress"}
    brought = {meta.spec(obj).get("group") for obj in objects if obj.get("kind") == "CustomResourceDefinition"}
    groups = {meta.group_of(str(obj.get("apiVersion") or "")) for obj in objects} - brought
    wanted |= {controller for group, controller in GROUPS.items() if group in groups}
    return [each for each in INGRESS_CONTROLLERS if each in wanted - made]
