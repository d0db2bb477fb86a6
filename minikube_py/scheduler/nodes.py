"""A node and what is taken of it: the tallies that make choosing cheap.

Stands for framework.NodeInfo and the scheduler's cache. `NodeInfo` changes with every pod that comes and goes;
`choose` only reads it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apimachinery.quantities import milli, whole
from minikube_py.scheduler.pods import HostPort, PodInfo

__all__ = ["Cache", "NodeInfo"]

_NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
_UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}


class NodeInfo:
    """One node: its object, compiled, and tallies of the pods on it."""

    def __init__(self, node: Object) -> None:
        self.pods: dict[Key, PodInfo] = {}
        self.used: dict[str, int] = {}
        self.ports: list[HostPort] = []
        self.by_owner: dict[str, int] = {}
        self.priorities: dict[int, int] = {}
        """How many pods have each priority."""
        self.anti_affine: dict[Key, PodInfo] = {}
        """The pods here whose required anti-affinity binds newcomers too."""
        self.update(node)

    def update(self, node: Object) -> None:
        self.object = node
        self.name = meta.name(node)
        self.labels = meta.labels(node)
        self.unschedulable = bool(meta.spec(node).get("unschedulable"))
        self.taints: Sequence[Mapping[str, Any]] = _taints(node)
        allocatable = meta.status(node).get("allocatable")
        self.allocatable: Mapping[str, int] | None = (
            None
            if allocatable is None
            else {name: milli(value) if name == "cpu" else whole(value) for name, value in allocatable.items()}
        )
        """None: the node has not said yet, and nothing is refused for it."""

    def but(self, *, without: Iterable[PodInfo] = (), having: Iterable[PodInfo] = ()) -> "NodeInfo":
        """Return another node like this, without some of its pods or with more."""
        gone = {pod.key for pod in without}
        other = NodeInfo(self.object)
        for pod in (*(pod for pod in self.pods.values() if pod.key not in gone), *having):
            other.add(pod)
        return other

    def add(self, pod: PodInfo) -> None:
        self.pods[pod.key] = pod
        for name, amount in pod.requests.items():
            self.used[name] = self.used.get(name, 0) + amount
        self.ports.extend(pod.ports)
        self.by_owner[pod.owner] = self.by_owner.get(pod.owner, 0) + 1
        self.priorities[pod.priority] = self.priorities.get(pod.priority, 0) + 1
        if pod.anti_affinity:
            self.anti_affine[pod.key] = pod

    def remove(self, key: Key) -> None:
        pod = self.pods.pop(key, None)
        if pod is None:
            return
        for name, amount in pod.requests.items():
            self.used[name] -= amount
        for port in pod.ports:
            self.ports.remove(port)
        self.by_owner[pod.owner] -= 1
        if not self.by_owner[pod.owner]:
            del self.by_owner[pod.owner]
        self.priorities[pod.priority] -= 1
        if not self.priorities[pod.priority]:
            del self.priorities[pod.priority]
        self.anti_affine.pop(key, None)


def _taints(node: Object) -> Sequence[Mapping[str, Any]]:
    """Return the node's taints, with those of a node that isn't ready even before its controller set them."""
    taints: Sequence[Mapping[str, Any]] = meta.spec(node).get("taints") or ()
    for condition in meta.status(node).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] != "True":
            implied = _NOT_READY if condition["status"] == "False" else _UNREACHABLE
            if not any(taint["key"] == implied["key"] and taint["effect"] == "NoSchedule" for taint in taints):
                return [*taints, implied]
    return taints


class Cache:
    """All nodes in creation order, and which pod counts where."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.changed: set[str] = set()
        """Nodes that changed, came or went since whoever reads this has cleared it."""
        self._places: dict[Key, str] = {}
        self._homeless: dict[str, dict[Key, PodInfo]] = {}

    def __iter__(self) -> Iterator[NodeInfo]:
        return iter(self.nodes.values())

    def set_node(self, node: Object) -> None:
        name = meta.name(node)
        self.changed.add(name)
        if info := self.nodes.get(name):
            info.update(node)
            return
        info = self.nodes[name] = NodeInfo(node)
        for pod in self._homeless.pop(name, {}).values():
            info.add(pod)

    def remove_node(self, name: str) -> None:
        if info := self.nodes.pop(name, None):
            self.changed.add(name)
            self._homeless[name] = dict(info.pods)

    def place(self, pod: PodInfo, node: str) -> None:
        """Count the pod on the node; again replaces what was counted."""
        self.forget(pod.key)
        self._places[pod.key] = node
        self.changed.add(node)
        if info := self.nodes.get(node):
            info.add(pod)
        else:
            self._homeless.setdefault(node, {})[pod.key] = pod

    def forget(self, key: Key) -> None:
        node = self._places.pop(key, None)
        if node is None:
            return
        self.changed.add(node)
        if info := self.nodes.get(node):
            info.remove(key)
        elif homeless := self._homeless.get(node):
            homeless.pop(key, None)

    def placed(self, key: Key) -> PodInfo | None:
        node = self._places.get(key)
        if node is None:
            return None
        info = self.nodes.get(node)
        return info.pods.get(key) if info else self._homeless.get(node, {}).get(key)
