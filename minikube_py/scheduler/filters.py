"""May the pod run on this node? One function per filter plugin of kube-scheduler, in its order and its words.

A filter returns the reason why not, or None. Reasons that only a change of the node's or pod's own spec could cure
are "unresolvable": no eviction of other pods would help (Kubernetes: UnschedulableAndUnresolvable).
A filter is left out for pods about which it has nothing to say on any node (Kubernetes: PreFilter returns Skip).
Source: k8s.io/kubernetes/pkg/scheduler/framework/plugins.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from minikube_py.kinds import placement
from minikube_py.scheduler.nodes import NodeInfo
from minikube_py.scheduler.pods import AffinityTerm, PodInfo, SpreadConstraint

__all__ = ["ALONE", "FILTERS", "Filter", "Reason", "Rule", "World", "first_reason", "rules_for", "world"]


class Reason(NamedTuple):
    text: str
    resolvable: bool = True
    """Whether evicting pods could help."""


Domain = tuple[str, str]
"""A topology key and a value of it."""


class World(Struct, frozen=True):
    """What the filters need to know beyond one node; computed once per pod."""

    affine: Mapping[AffinityTerm, frozenset[str]]
    """Term → topology values where a matching pod runs."""
    first_of_its_kind: bool
    """No pod anywhere matches the affinity terms, and the pod matches them itself."""
    repelled: frozenset[Domain]
    """Where the pod's own anti-affinity forbids it."""
    repelling: frozenset[Domain]
    """Where anti-affinity of pods that run there forbids it."""
    spread: Mapping[SpreadConstraint, Mapping[str, int]]
    """Constraint → topology value → matching pods, over the nodes that count."""


ALONE = World({}, False, frozenset(), frozenset(), {})
"""No other pod has a say."""


def world(pod: PodInfo, nodes: Sequence[NodeInfo], namespaces: Mapping[str, Mapping[str, str]]) -> World:
    """Look at the other pods as far as this pod's rules (and theirs about it) ask."""
    repelling = {
        (term.topology_key, node.labels[term.topology_key])
        for node in nodes
        if node.anti_affine
        for other in node.anti_affine.values()
        for term in other.anti_affinity
        if term.topology_key in node.labels and term.matches(pod, namespaces)
    }
    if not pod.affinity and not pod.anti_affinity and not pod.spread:
        return World({}, False, frozenset(), frozenset(repelling), {}) if repelling else ALONE
    affine: dict[AffinityTerm, set[str]] = {term: set() for term in pod.affinity}
    repelled: set[Domain] = set()
    for node in nodes:
        for other in node.pods.values():
            for term in pod.affinity:
                if term.topology_key in node.labels and term.matches(other, namespaces):
                    affine[term].add(node.labels[term.topology_key])
            for term in pod.anti_affinity:
                if term.topology_key in node.labels and term.matches(other, namespaces):
                    repelled.add((term.topology_key, node.labels[term.topology_key]))
    return World(
        affine={term: frozenset(values) for term, values in affine.items()},
        first_of_its_kind=not any(affine.values()) and all(term.matches(pod, namespaces) for term in pod.affinity),
        repelled=frozenset(repelled),
        repelling=frozenset(repelling),
        spread={constraint: _tally(pod, constraint, nodes) for constraint in pod.spread},
    )


def _tally(pod: PodInfo, constraint: SpreadConstraint, nodes: Sequence[NodeInfo]) -> Mapping[str, int]:
    keys = [other.topology_key for other in pod.spread if other.required == constraint.required]
    counts: dict[str, int] = {}
    for node in nodes:
        if any(key not in node.labels for key in keys):
            continue
        if constraint.honor_affinity and not placement.matches_node(pod.spec, node.object):
            continue
        if constraint.honor_taints and placement.untolerated(node.taints, pod.tolerations):
            continue
        value = node.labels[constraint.topology_key]
        counts[value] = counts.get(value, 0) + sum(
            other.key.namespace == pod.key.namespace
            and not other.terminating
            and constraint.selector.matches(other.labels)
            for other in node.pods.values()
        )
    return counts


def _node_unschedulable(pod: PodInfo, node: NodeInfo, world: World) -> Reason | None:
    if node.unschedulable and not placement.toleration_for(
        pod.tolerations, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return Reason("node(s) were unschedulable", False)
    return None


def _node_name(pod: PodInfo, node: NodeInfo, world: World) -> Reason | None:
    wanted = pod.spec.get("nodeName")
    if wanted and wanted != node.name:
        return Reason("node(s) didn't match the requested node name", False)
    return None


def _taint_toleration(pod: PodInfo, node: NodeInfo, world: World) -> Reason | None:
    if node.taints and (taint := placement.untolerated(node.taints, pod.tolerations)):
        return Reason(f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}", False)
    return None


def _node_affinity(pod: PodInfo, node: NodeInfo, world: World) -> Reason | None:
    if not placement.matches_node(pod.spec, node.object):
        return Reason("node(s) didn't match Pod's node affinity/selector", False)
    return None


def _node_ports(pod: PodInfo, node: NodeInfo, world: World) -> Reason | None:
    if pod.ports and any(port.conflicts(taken) for port in pod.ports for taken in node.ports):
        return Reason("node(s) didn't have free ports for the requested pod ports")
    return None


def _fit(pod: PodInfo, node: NodeInfo, world: World) -> Reason | None:
    allocatable = node.allocatable
    if allocatable is None:
        return None
    for name, amount in pod.requests.items():
        if not amount:
            continue
        room = allocatable.get(name, 0) if name != "pods" else allocatable.get(name, 110)
        if node.used.get(name, 0) + amount > room:
            return Reason("Too many pods" if name == "pods" else f"Insufficient {name}", amount <= room)
    return None


def _topology_spread(pod: PodInfo, node: NodeInfo, world: World) -> Reason | None:
    for constraint, counts in world.spread.items():
        if not constraint.required:
            continue
        value = node.labels.get(constraint.topology_key)
        if value is None:
            return Reason("node(s) didn't match pod topology spread constraints (missing required label)", False)
        least = min(counts.values(), default=0) if len(counts) >= constraint.min_domains else 0
        mine = 1 if constraint.selector.matches(pod.labels) else 0
        if counts.get(value, 0) + mine - least > constraint.max_skew:
            return Reason("node(s) didn't match pod topology spread constraints")
    return None


def _pod_affinity(pod: PodInfo, node: NodeInfo, world: World) -> Reason | None:
    if pod.affinity:
        if any(term.topology_key not in node.labels for term in pod.affinity):
            return Reason("node(s) didn't match pod affinity rules", False)
        near = all(node.labels[term.topology_key] in world.affine[term] for term in pod.affinity)
        if not near and not world.first_of_its_kind:
            return Reason("node(s) didn't match pod affinity rules", False)
    if any(node.labels.get(key) == value for key, value in world.repelled):
        return Reason("node(s) didn't match pod anti-affinity rules")
    if any(node.labels.get(key) == value for key, value in world.repelling):
        return Reason("node(s) didn't satisfy existing pods anti-affinity rules")
    return None


Rule: TypeAlias = Callable[[PodInfo, NodeInfo, World], Reason | None]


class Filter(NamedTuple):
    rule: Rule
    concerns: Callable[[PodInfo, World], bool]
    """Whether the rule can speak against any node for this pod."""


FILTERS = (
    Filter(_node_unschedulable, lambda pod, world: True),
    Filter(_node_name, lambda pod, world: bool(pod.spec.get("nodeName"))),
    Filter(_taint_toleration, lambda pod, world: True),
    Filter(_node_affinity, lambda pod, world: bool(pod.spec.get("nodeSelector") or pod.spec.get("affinity"))),
    Filter(_node_ports, lambda pod, world: bool(pod.ports)),
    Filter(_fit, lambda pod, world: True),
    Filter(_topology_spread, lambda pod, world: bool(world.spread)),
    Filter(_pod_affinity, lambda pod, world: bool(pod.affinity or world.repelled or world.repelling)),
)


def rules_for(pod: PodInfo, seen: World) -> tuple[Rule, ...]:
    """Return the rules that matter for the pod, in their order."""
    return tuple(rule for rule, concerns in FILTERS if concerns(pod, seen))


def first_reason(pod: PodInfo, node: NodeInfo, seen: World, rules: Sequence[Rule]) -> Reason | None:
    """Return the first thing that speaks against the node, or None; `rules` are those for the pod."""
    for rule in rules:
        if (reason := rule(pod, node, seen)) is not None:
            return reason
    return None
