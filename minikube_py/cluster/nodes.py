"""What people do to nodes: add, remove, cordon, drain, switch off and on.

Each verb writes what kubectl would write, so that `kubectl cordon`, `drain`, `delete node` and `annotate node` do the
same.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.errors import StatusError, not_found
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apiserver.eviction import evict
from minikube_py.client.api import View
from minikube_py.cluster.composition import Composition, StartError, node_name
from minikube_py.cluster.machines import DOWN, MACHINE
from minikube_py.cluster.waiting import until

__all__ = ["OUT_OF_SERVICE", "NodeVerbs", "free_name", "leaves", "node_manifest", "switched"]

OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
"""Kubernetes' word for a node that is known not to come back soon: its pods are deleted at once.

Source: https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown
"""

_AGAIN = 0.1
"""Seconds until an eviction that a budget forbids is tried again (kubectl: 5 s)."""


def free_name(names: Sequence[str]) -> str:
    """Return kind's next name: worker, worker2, …"""
    index = 1
    while node_name(index) in names:
        index += 1
    return node_name(index)


def node_manifest(
    name: str, labels: Mapping[str, str] | None = None, taints: Sequence[Mapping[str, Any]] = ()
) -> Object:
    """Return the Node by whose creation a machine joins."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {"taints": [dict(taint) for taint in taints]} if taints else {},
    }


def switched(node: Object, *, on: bool, out_of_service: bool = False) -> None:
    """Write into a copy of a Node that its machine is to be on or off."""
    annotations = node["metadata"].setdefault("annotations", {})
    taints = [t for t in meta.spec(node).get("taints") or () if t["key"] != OUT_OF_SERVICE["key"]]
    if on:
        annotations.pop(MACHINE, None)
    else:
        annotations[MACHINE] = DOWN
        if out_of_service:
            taints.append(dict(OUT_OF_SERVICE))
    node.setdefault("spec", {})["taints"] = taints


def leaves(pod: Object) -> bool:
    """Tell whether a drain evicts a pod: not those of DaemonSets, nor the control plane's static ones."""
    owner = meta.controller_of(pod)
    static = meta.annotations(pod).get("kubernetes.io/config.source") == "file"
    return not static and not (owner and owner["kind"] == "DaemonSet")


class NodeVerbs(Composition):
    """A cluster whose nodes can be changed."""

    async def add_node(
        self,
        name: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """Add a worker and wait until it is Ready; return its name.

        Error handling: StatusError AlreadyExists; StartError when the address ranges have no room for one more.
        """
        chosen = name or free_name([meta.name(node) for node in self.operations.list("nodes")])
        self.operations.create(node_manifest(chosen, labels, taints))
        await self.machines.settle()
        if chosen not in self.kubelets:
            self.operations.delete("nodes", chosen)
            raise StartError(
                f"node {chosen} can't start: the cluster's address ranges have room for {self.addresses.node_limit} "
                "nodes; give it wider networking.podSubnet and networking.nodeSubnet"
            )
        return chosen

    async def remove_node(self, name: str) -> None:
        """Take a worker away as if its machine were gone for good; its pods are deleted at once."""
        self._worker(name)
        self.operations.delete("nodes", name)
        await self.machines.settle()

    def cordon(self, name: str, *, on: bool = True) -> None:
        """Forbid (or, with `on=False`, allow) new pods on a node."""

        def change(node: Object) -> None:
            node["spec"]["unschedulable"] = on
            if not on:
                del node["spec"]["unschedulable"]

        self._node(name)
        self.operations.modify("nodes", name, "", change)

    async def drain(self, name: str, *, grace_period: int | None = None, timeout: float = 30.0) -> list[str]:
        """Cordon a node and evict its pods, as `kubectl drain --ignore-daemonsets --force` does; return their names.

        Error handling: TimeoutError naming the pods that a PodDisruptionBudget kept, or that didn't end.
        """
        self.cordon(name)
        options = {} if grace_period is None else {"gracePeriodSeconds": grace_period}
        waiting = {meta.key(pod): meta.uid(pod) for pod in self._pods_on(name) if leaves(pod)}
        evicted, refused = [str(key.name) for key in waiting], ""
        try:
            async with asyncio.timeout(timeout):
                left = dict(waiting)
                while left:
                    for key, uid in list(left.items()):
                        if why := self._refusal(key, {**options, "preconditions": {"uid": uid}}):
                            refused = f"{key}: {why}"
                        else:
                            del left[key]
                    if left:
                        await asyncio.sleep(_AGAIN)  # as kubectl: a budget is asked again until it has room
        except TimeoutError:
            raise TimeoutError(f"node {name} is not drained after {timeout:g} s: {refused}") from None

        def unmet(view: View) -> str | None:
            rest = [
                str(k)
                for k, uid in waiting.items()
                if (p := view.get("pods", k.name, k.namespace)) and meta.uid(p) == uid
            ]
            return f"node {name} still has {', '.join(rest)}" if rest else None

        await until(self.operations, ("pods",), unmet, timeout)
        return evicted

    async def node_down(self, name: str, *, out_of_service: bool = False) -> None:
        """Cut a worker's power: its pods' sockets are gone, it becomes NotReady, its endpoints leave the Services.

        Its pods are replaced elsewhere after their tolerationSeconds (default 300, or the cluster's
        `apiServer.defaultTolerationSeconds`); with `out_of_service`, at once.
        """
        self._worker(name)
        self.operations.modify("nodes", name, "", lambda node: switched(node, on=False, out_of_service=out_of_service))
        await self.machines.settle()

    async def node_up(self, name: str) -> None:
        """Switch a worker on again: what is still bound to it starts anew, with new addresses."""
        self._worker(name)
        self.operations.modify("nodes", name, "", lambda node: switched(node, on=True))
        await self.machines.settle()

    def _refusal(self, key: Key, options: Object) -> str:
        """Evict a pod; return why its budget refuses that now, or "" if it goes or is gone."""
        try:
            evict(self.operations, key.namespace, key.name, {"deleteOptions": options})
        except StatusError as error:
            if error.code == 429:
                return error.message
            if error.reason not in ("NotFound", "Conflict"):
                raise
        return ""

    def _pods_on(self, name: str) -> list[Object]:
        return [pod for pod in self.operations.list("pods") if meta.spec(pod).get("nodeName") == name]

    def _node(self, name: str) -> Object:
        node = self.operations.get("nodes", name)
        if node is None:
            raise not_found("nodes", name)
        return node

    def _worker(self, name: str) -> None:
        if "node-role.kubernetes.io/control-plane" in meta.labels(self._node(name)):
            raise StartError(f"node {name} is the control plane: the cluster's API server is on it, so it stays")
