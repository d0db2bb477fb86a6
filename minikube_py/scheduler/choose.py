"""The scheduler's decision, as a pure function: a pod and the nodes in; a binding, victims, or the reasons out.

Stands for kube-scheduler's scheduling cycle with its default plugins. Leaves out sampling of nodes and image locality.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.scheduler import preemption
from minikube_py.scheduler.filters import Reason, first_reason, rules_for, world
from minikube_py.scheduler.nodes import NodeInfo
from minikube_py.scheduler.pods import PodInfo
from minikube_py.scheduler.scores import best

__all__ = ["Binding", "Preemption", "Unschedulable", "choose"]


class Binding(Struct, frozen=True):
    node: str


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """No node will do."""

    reasons: Mapping[str, Reason]
    """Node → the first thing that speaks against it."""
    because: str = ""
    """What speaks against all nodes alike, before any was looked at."""
    preemption: str = ""
    """Why preemption would not help."""

    @property
    def message(self) -> str:
        """Kubernetes' message: how many nodes, what speaks against how many of them, would preemption help."""
        total = len(self.reasons)
        if not total and not self.because:
            return "no nodes available to schedule pods"
        texts = Counter(reason.text for reason in self.reasons.values())
        message = f"0/{total} nodes are available: {self.because or preemption.counted(texts)}."
        verdict = self.preemption
        if self.because and total:
            verdict = f"0/{total} nodes are available: {total} Preemption is not helpful for scheduling."
        return f"{message} preemption: {verdict}" if verdict else message


@dataclass(frozen=True, slots=True)
class Preemption(Unschedulable):
    """No node will do yet: `victims` have to leave `node` first."""

    node: str = ""
    victims: tuple[PodInfo, ...] = ()


def choose(
    pod: PodInfo,
    nodes: Iterable[NodeInfo],
    namespaces: Mapping[str, Mapping[str, str]] | None = None,
    budgets: Callable[[], Sequence[Object]] = tuple,
) -> Binding | Unschedulable:
    """Return the node for the pod.

    `nodes` come in the order that breaks ties; `namespaces` maps names to labels, for namespaceSelectors; `budgets`
    are the PodDisruptionBudgets, asked for when pods have to make room.
    """
    candidates = [*nodes]
    namespaces = namespaces or {}
    seen = world(pod, candidates, namespaces)
    rules = rules_for(pod, seen)
    feasible: list[NodeInfo] = []
    reasons: dict[str, Reason] = {}
    for node in candidates:
        reason = first_reason(pod, node, seen, rules)
        if reason is None:
            feasible.append(node)
        else:
            reasons[node.name] = reason
    if feasible:
        nominated = meta.status(pod.object).get("nominatedNodeName")
        if nominated and any(node.name == nominated for node in feasible):
            return Binding(nominated)
        return Binding(best(pod, feasible, seen, namespaces).name)
    if not candidates:
        return Unschedulable(reasons)
    result = preemption.victims(pod, candidates, reasons, namespaces, budgets)
    if isinstance(result, str):
        return Unschedulable(reasons, preemption=result)
    return Preemption(reasons, node=result.node, victims=result.victims)
