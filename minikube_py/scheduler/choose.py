"""The scheduler's decision, as a pure function: a pod and the nodes in, a binding or the reasons out.

Stands for kube-scheduler's scheduling cycle with its default plugins. Leaves out preemption (its sentence is still
part of the message), sampling of nodes, and image locality.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from minikube_py.scheduler.filters import FILTERS, Reason, World, world
from minikube_py.scheduler.nodes import NodeInfo
from minikube_py.scheduler.pods import PodInfo
from minikube_py.scheduler.scores import best

__all__ = ["Binding", "Unschedulable", "choose"]


@dataclass(frozen=True, slots=True)
class Binding:
    node: str


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """No node will do."""

    reasons: Mapping[str, Reason]
    """Node → the first thing that speaks against it."""
    because: str = ""
    """What speaks against all nodes alike, before any was looked at."""

    @property
    def message(self) -> str:
        """Kubernetes' message: how many nodes, what speaks against how many of them, would preemption help."""
        total = len(self.reasons)
        if not total and not self.because:
            return "no nodes available to schedule pods"
        head = f"0/{total} nodes are available: "
        if self.because:
            return (
                f"{head}{self.because}. preemption: {head}{total} Preemption is not helpful for scheduling."
                if total
                else f"{head}{self.because}."
            )
        helpless = sum(not reason.resolvable for reason in self.reasons.values())
        verdicts = Counter(
            {
                "Preemption is not helpful for scheduling": helpless,
                "No preemption victims found for incoming pod": total - helpless,
            }
        )
        reasons = Counter(reason.text for reason in self.reasons.values())
        return f"{head}{_counted(reasons)}. preemption: {head}{_counted(verdicts)}."


def _counted(texts: Counter[str]) -> str:
    return ", ".join(sorted(f"{count} {text}" for text, count in texts.items() if count))


def choose(
    pod: PodInfo, nodes: Iterable[NodeInfo], namespaces: Mapping[str, Mapping[str, str]] | None = None
) -> Binding | Unschedulable:
    """Return the node for the pod.

    `nodes` come in the order that breaks ties; `namespaces` maps names to labels, for namespaceSelectors.
    """
    candidates = [*nodes]
    namespaces = namespaces or {}
    seen = world(pod, candidates, namespaces)
    feasible: list[NodeInfo] = []
    reasons: dict[str, Reason] = {}
    for node in candidates:
        reason = _first_reason(pod, node, seen)
        if reason is None:
            feasible.append(node)
        else:
            reasons[node.name] = reason
    if not feasible:
        return Unschedulable(reasons)
    return Binding(best(pod, feasible, seen, namespaces).name)


def _first_reason(pod: PodInfo, node: NodeInfo, seen: World) -> Reason | None:
    for rule in FILTERS:
        if (reason := rule(pod, node, seen)) is not None:
            return reason
    return None
