"""Which pods have to make room? On each node the fewest and least important; of the nodes the one where it hurts least.

Stands for kube-scheduler's DefaultPreemption plugin. Leaves out extenders and the sampling of candidates' order.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from minikube_py.aiokit.clock import timestamp
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.scheduler.filters import Reason, first_reason, rules_for, world
from minikube_py.scheduler.nodes import NodeInfo
from minikube_py.scheduler.pods import PodInfo

__all__ = ["AWAITS_AN_END", "Candidate", "counted", "preempted", "victims"]

Namespaces = Mapping[str, Mapping[str, str]]
_ENOUGH = 100
"""Candidates among which the best is picked (minCandidateNodesAbsolute)."""
AWAITS_AN_END = "not eligible due to a terminating pod on the nominated node."
_NOT_HELPFUL = "Preemption is not helpful for scheduling"
_NO_VICTIMS = "No preemption victims found for incoming pod"


class Candidate(Struct, frozen=True):
    """A node and the pods that would have to go from there, the most important first."""

    node: str
    victims: tuple[PodInfo, ...]
    violations: int
    """Victims that a PodDisruptionBudget would keep: it is respected as long as there is another way."""

    @property
    def harm(self) -> tuple[int, int, int, int, float]:
        first = self.victims[0]
        return (
            self.violations,
            first.priority,
            sum(victim.priority for victim in self.victims),
            len(self.victims),
            -min(_started(victim) for victim in self.victims if victim.priority == first.priority),
        )


def victims(
    pod: PodInfo,
    nodes: Sequence[NodeInfo],
    reasons: Mapping[str, Reason],
    namespaces: Namespaces,
    budgets: Callable[[], Sequence[Object]],
) -> Candidate | str:
    """Return whom to preempt for a pod that fits nowhere (`reasons`), or Kubernetes' words for why that won't help."""
    if pod.spec.get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    if _awaits_an_end(pod, nodes, reasons):
        return AWAITS_AN_END
    texts: Counter[str] = Counter()
    found: list[Candidate] = []
    for node in nodes:
        if not reasons[node.name].resolvable:
            texts[_NOT_HELPFUL] += 1
        elif min(node.priorities, default=pod.priority) >= pod.priority:
            texts[_NO_VICTIMS] += 1
        else:
            result = _on_node(pod, node, nodes, namespaces, budgets())
            if isinstance(result, str):
                texts[result] += 1
            else:
                found.append(result)
                if len(found) == _ENOUGH:
                    break
    if found:
        return min(found, key=lambda candidate: candidate.harm)
    return f"0/{len(nodes)} nodes are available: {counted(texts)}."


def counted(texts: Counter[str]) -> str:
    return ", ".join(sorted(f"{count} {text}" for text, count in texts.items() if count))


def preempted(pod: Object) -> bool:
    """Tell whether the pod is going because the scheduler wanted its place."""
    return meta.terminating(pod) and any(
        condition["type"] == "DisruptionTarget" and condition.get("reason") == "PreemptionByScheduler"
        for condition in meta.status(pod).get("conditions") or ()
    )


def _awaits_an_end(pod: PodInfo, nodes: Sequence[NodeInfo], reasons: Mapping[str, Reason]) -> bool:
    name = meta.status(pod.object).get("nominatedNodeName")
    node = next((node for node in nodes if node.name == name), None) if name else None
    return (
        node is not None
        and reasons[node.name].resolvable
        and any(other.priority < pod.priority and preempted(other.object) for other in node.pods.values())
    )


def _on_node(
    pod: PodInfo, node: NodeInfo, nodes: Sequence[NodeInfo], namespaces: Namespaces, budgets: Sequence[Object]
) -> Candidate | str:
    """Take all less important pods off the node; bring back as many as still leave room, the important ones first."""
    lower = sorted(
        (other for other in node.pods.values() if other.priority < pod.priority),
        key=lambda other: (-other.priority, _started(other)),
    )
    trial = node.but(without=lower)
    stage = [trial if other is node else other for other in nodes]

    def why_not() -> Reason | None:
        seen = world(pod, stage, namespaces)
        return first_reason(pod, trial, seen, rules_for(pod, seen))

    if reason := why_not():
        return reason.text
    protected = _protected(lower, budgets)
    gone: list[PodInfo] = []
    for other in sorted(lower, key=lambda other: other.key not in protected):
        trial.add(other)
        if why_not():
            trial.remove(other.key)
            gone.append(other)
    gone.sort(key=lambda other: (-other.priority, _started(other)))
    return Candidate(node.name, tuple(gone), sum(other.key in protected for other in gone))


def _protected(pods: Sequence[PodInfo], budgets: Sequence[Object]) -> frozenset[meta.Key]:
    """Return the pods that can't all go without violating a budget."""
    left = {meta.key(budget): int(meta.status(budget).get("disruptionsAllowed", 0)) for budget in budgets}
    found = set()
    for pod in pods:
        for budget in budgets:
            key = meta.key(budget)
            selector = meta.spec(budget).get("selector")
            if key.namespace != pod.key.namespace or not pod.labels or not selector:
                continue
            if pod.key.name in (meta.status(budget).get("disruptedPods") or ()):
                continue
            if Selector.from_object(selector).matches(pod.labels):
                left[key] -= 1
                if left[key] < 0:
                    found.add(pod.key)
    return frozenset(found)


def _started(pod: PodInfo) -> float:
    return timestamp(meta.status(pod.object).get("startTime") or pod.object["metadata"].get("creationTimestamp"))
