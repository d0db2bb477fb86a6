"""What a pod asks of a node, compiled once from its spec.

Stands for framework.PodInfo of kube-scheduler. Leaves out volume limits, GPU claims and pod overhead's subtleties.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import EVERYTHING, Operator, Requirement, Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apimachinery.quantities import milli, whole
from minikube_py.kinds import podresources

__all__ = ["AffinityTerm", "HostPort", "PodInfo", "SpreadConstraint", "requests_of"]

Amounts = Mapping[str, int]
"""Resource → milli-cores for cpu, whole units for all else."""


class HostPort(Struct, frozen=True):
    ip: str
    protocol: str
    port: int

    def conflicts(self, other: "HostPort") -> bool:
        return (
            self.port == other.port
            and self.protocol == other.protocol
            and (self.ip == other.ip or "0.0.0.0" in (self.ip, other.ip))
        )


class AffinityTerm(Struct, frozen=True):
    """One podAffinity or podAntiAffinity term."""

    topology_key: str
    selector: Selector
    namespaces: frozenset[str]
    namespace_selector: Selector | None
    weight: int = 0

    def matches(self, pod: "PodInfo", namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        if pod.key.namespace not in self.namespaces and (
            self.namespace_selector is None
            or not self.namespace_selector.matches(namespaces.get(pod.key.namespace) or {})
        ):
            return False
        return self.selector.matches(pod.labels)


class SpreadConstraint(Struct, frozen=True):
    """One topologySpreadConstraint."""

    topology_key: str
    max_skew: int
    required: bool
    selector: Selector
    min_domains: int
    honor_affinity: bool
    honor_taints: bool


@dataclass(frozen=True, slots=True, eq=False)
class PodInfo:
    key: Key
    object: Object
    labels: Mapping[str, str]
    requests: Amounts
    ports: tuple[HostPort, ...]
    tolerations: Sequence[Mapping[str, Any]]
    owner: str
    """UID of its controller; "" for a bare pod."""
    affinity: tuple[AffinityTerm, ...]
    anti_affinity: tuple[AffinityTerm, ...]
    preferred: tuple[AffinityTerm, ...]
    """Preferred affinity terms; those of anti-affinity with negative weight."""
    spread: tuple[SpreadConstraint, ...]
    terminating: bool
    priority: int

    @property
    def spec(self) -> Mapping[str, Any]:
        return meta.spec(self.object)

    @property
    def picky(self) -> bool:
        """Whether other pods' places matter to it."""
        return bool(self.affinity or self.anti_affinity or self.preferred or self.spread)

    @classmethod
    def of(cls, pod: Object) -> "PodInfo":
        spec = meta.spec(pod)
        affinity: Mapping[str, Any] = spec.get("affinity") or {}
        required, preferred = _terms(pod, affinity.get("podAffinity") or {}, 1)
        anti_required, anti_preferred = _terms(pod, affinity.get("podAntiAffinity") or {}, -1)
        controller = next((r for r in pod["metadata"].get("ownerReferences") or () if r.get("controller")), None)
        return cls(
            key=meta.key(pod),
            object=pod,
            labels=meta.labels(pod),
            requests=requests_of(spec),
            ports=_ports(spec),
            tolerations=spec.get("tolerations") or (),
            owner=controller["uid"] if controller else "",
            affinity=required,
            anti_affinity=anti_required,
            preferred=preferred + anti_preferred,
            spread=tuple(_constraint(pod, term) for term in spec.get("topologySpreadConstraints") or ()),
            terminating=meta.terminating(pod),
            priority=spec.get("priority") or 0,
        )


def requests_of(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return what the pod's containers request together, and its place among the node's pods."""
    return {"pods": 1, **podresources.together(spec, _amounts, _quantities)}


def _amounts(container: Mapping[str, Any]) -> dict[str, int]:
    resources = container.get("resources")
    if not resources:
        return {}
    return _quantities({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _quantities(amounts: Mapping[str, Any]) -> dict[str, int]:
    return {name: milli(value) if name == "cpu" else whole(value) for name, value in amounts.items()}


def _ports(spec: Mapping[str, Any]) -> tuple[HostPort, ...]:
    return tuple(
        HostPort(port.get("hostIP") or "0.0.0.0", port.get("protocol", "TCP"), port["hostPort"])
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def _with_label_keys(pod: Object, term: Mapping[str, Any], selector: Selector) -> Selector:
    labels = meta.labels(pod)
    more = [
        Requirement(key, operator, frozenset((labels[key],)))
        for field, operator in (("matchLabelKeys", Operator.IN), ("mismatchLabelKeys", Operator.NOT_IN))
        for key in term.get(field) or ()
        if key in labels
    ]
    return Selector((*selector.requirements, *more), selector.nothing) if more else selector


def _terms(
    pod: Object, affinity: Mapping[str, Any], sign: int
) -> tuple[tuple[AffinityTerm, ...], tuple[AffinityTerm, ...]]:
    if not affinity:
        return (), ()

    def compiled(term: Mapping[str, Any], weight: int) -> AffinityTerm:
        given = term.get("namespaces") or ()
        selector = term.get("namespaceSelector")
        return AffinityTerm(
            topology_key=term["topologyKey"],
            selector=_with_label_keys(pod, term, Selector.from_object(term.get("labelSelector"))),
            namespaces=frozenset(given or (() if selector is not None else (meta.namespace(pod),))),
            namespace_selector=None
            if selector is None
            else (Selector.from_object(selector) if selector else EVERYTHING),
            weight=weight,
        )

    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return (
        tuple(compiled(term, 0) for term in required),
        tuple(compiled(term["podAffinityTerm"], sign * term["weight"]) for term in preferred),
    )


def _constraint(pod: Object, term: Mapping[str, Any]) -> SpreadConstraint:
    return SpreadConstraint(
        topology_key=term["topologyKey"],
        max_skew=term["maxSkew"],
        required=term.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
        selector=_with_label_keys(pod, term, Selector.from_object(term.get("labelSelector"))),
        min_domains=term.get("minDomains") or 1,
        honor_affinity=term.get("nodeAffinityPolicy", "Honor") == "Honor",
        honor_taints=term.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )
