"""Pods of one template, one after the other: what was found out for one holds for the next.

Stands for kube-scheduler's opportunistic batching (KEP-5598). For most pods each node's own state decides, and how many
pods are there. A placement changes one node: the next pod of the same template asks for a look at that one alone.

    pod → look at all nodes → best ── placed ──► Cache.changed ──► next pod: look at those → best
"""

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

from minikube_py.apimachinery import meta
from minikube_py.scheduler.filters import ALONE, first_reason, rules_for
from minikube_py.scheduler.nodes import NodeInfo
from minikube_py.scheduler.pods import PodInfo
from minikube_py.scheduler.scores import prefers_nothing, rank

__all__ = ["Ranking"]

_Entry = tuple[tuple[int, int], int, str]
"""Rank (less is better), the node's place among all, its name."""


class Ranking:
    """The nodes on which pods like `pod` may run, the best first: `choose` gives the same answer, at more cost."""

    def __init__(self, pod: PodInfo, nodes: Iterable[NodeInfo]) -> None:
        self._pod = pod
        self._rules = rules_for(pod, ALONE)
        self._nodes: dict[str, tuple[NodeInfo, int]] = {}
        """With their places among all."""
        self._entries: dict[str, _Entry] = {}
        self._heap: list[_Entry] = []
        """The entries, and some that are true no more."""
        self._true = _concerns_no_other(pod)
        for place, node in enumerate(nodes if self._true else ()):
            self._nodes[node.name] = node, place
            self._look(node, place)

    def serves(self, pod: PodInfo) -> bool:
        """Tell whether the pod is like the one that this was made for."""
        return (
            self._true
            and pod.owner == self._pod.owner
            and pod.spec == self._pod.spec
            and not meta.status(pod.object).get("nominatedNodeName")
        )

    def catch_up(self, nodes: Mapping[str, NodeInfo], changed: Iterable[str]) -> None:
        """Look again at the nodes that changed; after one has come or gone this serves no pod any more."""
        for name in changed:
            node, place = self._nodes.get(name, (None, 0))
            if node is not None and node is nodes.get(name):
                self._look(node, place)
            else:
                self._true = False
        if len(self._heap) > 4 * len(self._nodes):
            self._heap = [*self._entries.values()]
            heapify(self._heap)

    def best(self) -> str | None:
        """Return the best node's name; None if there is none, or if more has to be looked at than nodes alone."""
        if not self._true:
            return None
        while self._heap and self._entries.get(self._heap[0][2]) != self._heap[0]:
            heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def _look(self, node: NodeInfo, place: int) -> None:
        self._true = self._true and not node.anti_affine and prefers_nothing(self._pod, (node,))
        if first_reason(self._pod, node, ALONE, self._rules) is None:
            entry = self._entries[node.name] = rank(self._pod, node), place, node.name
            heappush(self._heap, entry)
        else:
            self._entries.pop(node.name, None)


def _concerns_no_other(pod: PodInfo) -> bool:
    nominated = meta.status(pod.object).get("nominatedNodeName")
    return not (pod.affinity or pod.anti_affinity or pod.spread or nominated)
