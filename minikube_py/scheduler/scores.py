"""Which of the feasible nodes is best?

Kubernetes adds up weighted scores of all plugins. Here what the pod itself prefers is weighed as in Kubernetes
(taints 3, node affinity 2, pods' affinity 2, spread 2); then come spreading of the owner's pods, the number of pods
and the order of the nodes, so that the same cluster always places the same pods alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.kinds import placement
from minikube_py.scheduler.filters import World
from minikube_py.scheduler.nodes import NodeInfo
from minikube_py.scheduler.pods import PodInfo

__all__ = ["best", "prefers_nothing", "rank"]


def best(
    pod: PodInfo, nodes: Sequence[NodeInfo], world: World, namespaces: Mapping[str, Mapping[str, str]]
) -> NodeInfo:
    """Return the best of `nodes`, which are all feasible; the first of equals."""
    wishes = _wishes(pod, nodes, world, namespaces)
    if not wishes:
        return min(nodes, key=lambda node: rank(pod, node))

    def wished(index: int) -> tuple[float, int, int]:
        return (-wishes[index], *rank(pod, nodes[index]))

    return nodes[min(range(len(nodes)), key=wished)]


def rank(pod: PodInfo, node: NodeInfo) -> tuple[int, int]:
    """Return what decides, the less the better, when the pod prefers nothing."""
    return node.by_owner.get(pod.owner, 0) if pod.owner else 0, len(node.pods)


def _wishes(
    pod: PodInfo, nodes: Sequence[NodeInfo], world: World, namespaces: Mapping[str, Mapping[str, str]]
) -> list[float]:
    """Return the weighted sum of what the pod prefers, for each node; [] if it prefers nothing."""
    parts: list[tuple[int, list[float]]] = []
    if any(map(_unpopular, nodes)):
        parts.append((3, [-_disliked(pod, node) for node in nodes]))
    if preferred := _preferred_nodes(pod):
        weights = [sum(term["weight"] for term in preferred if _prefers(term["preference"], node)) for node in nodes]
        parts.append((2, weights))
    if pod.preferred:
        parts.append((2, _attraction(pod, nodes, namespaces)))
    for constraint, counts in world.spread.items():
        if not constraint.required:
            most = max(counts.values(), default=0) + 1
            key = constraint.topology_key
            parts.append((2, [-float(counts.get(node.labels.get(key, ""), most)) for node in nodes]))
    return [sum(weight * score[i] for weight, score in normalized(parts)) for i in range(len(nodes))] if parts else []


def prefers_nothing(pod: PodInfo, nodes: Iterable[NodeInfo]) -> bool:
    """Tell whether `rank` alone decides among these nodes; spread constraints apart."""
    return not (pod.preferred or _preferred_nodes(pod) or any(map(_unpopular, nodes)))


def normalized(parts: Sequence[tuple[int, list[float]]]) -> list[tuple[int, list[float]]]:
    """Bring each part to 0…100, as NormalizeScore of the plugins does."""
    result = []
    for weight, scores in parts:
        low, high = min(scores), max(scores)
        span = high - low
        result.append((weight, [100.0 * (score - low) / span if span else 100.0 for score in scores]))
    return result


def _preferred_nodes(pod: PodInfo) -> Sequence[Mapping[str, Any]]:
    affinity: Mapping[str, Any] = (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
    return affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()


def _unpopular(node: NodeInfo) -> bool:
    return any(taint.get("effect") == "PreferNoSchedule" for taint in node.taints)


def _disliked(pod: PodInfo, node: NodeInfo) -> float:
    return float(
        sum(
            taint.get("effect") == "PreferNoSchedule" and not placement.toleration_for(pod.tolerations, taint)
            for taint in node.taints
        )
    )


def _prefers(term: Mapping[str, Any], node: NodeInfo) -> bool:
    # unlike in a required term, an empty preference matches every node
    return not term or placement.matches_term(term, node.object)


def _attraction(pod: PodInfo, nodes: Sequence[NodeInfo], namespaces: Mapping[str, Mapping[str, str]]) -> list[float]:
    pull: dict[tuple[str, str], int] = {}
    for node in nodes:
        for term in pod.preferred:
            value = node.labels.get(term.topology_key)
            if value is not None:
                found = sum(term.matches(other, namespaces) for other in node.pods.values())
                domain = (term.topology_key, value)
                pull[domain] = pull.get(domain, 0) + term.weight * found
    keys = {term.topology_key for term in pod.preferred}
    return [float(sum(pull.get((key, node.labels.get(key, "")), 0) for key in keys)) for node in nodes]
