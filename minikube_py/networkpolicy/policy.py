"""The policies as values: NetworkPolicy, AdminNetworkPolicy and BaselineAdminNetworkPolicy, read once, matched often.

**The law of empty and missing** (networking.k8s.io/v1), where every policy bug starts:

1. `podSelector: {}` selects every pod of the policy's namespace; a missing one is the same.
2. `ingress: []`, or none, with policyType Ingress: isolated, nothing admitted (default deny).
3. `ingress: [{}]`: one rule without `from` and `ports`: everything admitted.
4. `from: []` is a missing `from`: any source. `ports: []` is missing `ports`: any port of any protocol.
5. A port entry without `protocol` is TCP; without `port`, every port of that protocol.
6. In one peer, `podSelector` and `namespaceSelector` are ANDed; two peers are ORed. A `podSelector` alone means the
   policy's own namespace; a `namespaceSelector` alone means all pods there.
7. Missing `policyTypes`: Ingress, and Egress too if there is at least one egress rule.

Sources: https://kubernetes.io/docs/concepts/services-networking/network-policies/ and
https://network-policy-api.sigs.k8s.io/api-overview/ (v1alpha1). Left out: `domainNames` peers (they match nothing).
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from msgspec import Struct

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import EVERYTHING, Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.networkpolicy.blocks import Forms, IPBlock
from minikube_py.networkpolicy.identity import Identity

__all__ = [
    "Action",
    "AdminPolicy",
    "Direction",
    "Peer",
    "Policy",
    "PortRule",
    "Rule",
    "read_admin_policy",
    "read_policy",
]


class Direction(Enum):
    """Seen from the pod that a policy selects."""

    EGRESS = "egress"
    INGRESS = "ingress"

    @property
    def preposition(self) -> str:
        return "to" if self is Direction.EGRESS else "from"


class Action(Enum):
    """What a rule of an admin policy does; a NetworkPolicy's rules only allow."""

    ALLOW = "Allow"
    DENY = "Deny"
    PASS = "Pass"


class PortRule(Struct, frozen=True):
    """One entry of `ports`: a number, a range, a name of the destination pod's, or (all unset) every port."""

    protocol: str = "TCP"
    first: int | None = None
    last: int | None = None
    name: str | None = None

    def admits(self, port: int, protocol: str, destination: Identity | None) -> bool:
        """Tell whether a port is meant; a name is looked up in the destination pod's containerPorts."""
        if self.name is not None:
            return destination is not None and any(
                known.name == self.name and known.port == port and known.protocol == protocol
                for known in destination.ports
                if self.protocol in ("", protocol)  # "": an admin policy's namedPort has no protocol of its own
            )
        if protocol != self.protocol:
            return False
        return self.first is None or self.first <= port <= (self.last if self.last is not None else self.first)

    def __str__(self) -> str:
        if self.name is not None:
            return f"{self.protocol} {self.name!r}".strip()
        if self.first is None:
            return f"{self.protocol} (all ports)"
        return f"{self.protocol} {self.first}" + (f"-{self.last}" if self.last not in (None, self.first) else "")


class Peer(Struct, frozen=True):
    """One entry of `from` or `to`: pods by namespace and label, or addresses, or (admin policies) nodes."""

    namespace: str | None = None
    """The one namespace meant when there is no namespaceSelector."""
    namespaces: Selector | None = None
    pods: Selector | None = None
    """None: all pods of the namespaces."""
    block: IPBlock | None = None
    nodes: Selector | None = None

    def admits_pod(self, identity: Identity) -> bool:
        """Tell whether the selectors mean a pod; ipBlock and nodes are asked by address instead."""
        if self.namespace is not None:
            if identity.namespace != self.namespace:
                return False
        elif self.namespaces is None or not self.namespaces.matches(identity.namespace_labels):
            return False
        return self.pods is None or self.pods.matches(identity.labels)

    def admits_address(self, forms: Forms, node_labels: Mapping[str, str] | None) -> bool:
        if self.block is not None:
            return self.block.covers(forms)
        return self.nodes is not None and node_labels is not None and self.nodes.matches(node_labels)

    @property
    def by_address(self) -> bool:
        return self.block is not None or self.nodes is not None

    def __str__(self) -> str:
        if self.block is not None:
            return f"ipBlock {self.block}"
        if self.nodes is not None:
            return f"nodes {_words(self.nodes, 'any')}"
        pods = "any pod" if self.pods is None or not self.pods.requirements else str(self.pods)
        if self.namespace is not None:
            return f"{pods} in namespace {self.namespace}"
        if self.namespaces is None:
            return "nothing"
        where = "any namespace" if not self.namespaces.requirements else f"namespaces with {self.namespaces}"
        return f"{pods} in {where}"


def _words(selector: Selector, everything: str) -> str:
    return str(selector) if selector.requirements else everything


class Rule(Struct, frozen=True):
    """One rule: some peer and some port must both match."""

    peers: tuple[Peer, ...] | None = None
    """None: anybody, inside or outside the cluster."""
    ports: tuple[PortRule, ...] | None = None
    """None: any port of any protocol."""
    action: Action = Action.ALLOW
    name: str = ""

    def admits_port(self, port: int, protocol: str, destination: Identity | None) -> bool:
        return self.ports is None or any(entry.admits(port, protocol, destination) for entry in self.ports)

    @property
    def ports_text(self) -> str:
        return "any port" if self.ports is None else ", ".join(map(str, self.ports))

    def text(self, direction: Direction) -> str:
        peers = "anybody" if self.peers is None else ", or ".join(map(str, self.peers))
        return f"{direction.preposition} {peers} on {self.ports_text}"


class Policy(Struct, frozen=True):
    """A NetworkPolicy. `ingress` or `egress` None: it says nothing about that direction."""

    namespace: str
    name: str
    selector: Selector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None

    def rules(self, direction: Direction) -> tuple[Rule, ...] | None:
        return self.ingress if direction is Direction.INGRESS else self.egress

    def selects(self, identity: Identity) -> bool:
        return identity.namespace == self.namespace and self.selector.matches(identity.labels)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class AdminPolicy(Struct, frozen=True):
    """An AdminNetworkPolicy, or with `baseline` the cluster's BaselineAdminNetworkPolicy."""

    name: str
    baseline: bool
    priority: int
    """0 is asked first."""
    subject: Peer
    ingress: tuple[Rule, ...]
    egress: tuple[Rule, ...]

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        return self.ingress if direction is Direction.INGRESS else self.egress

    def selects(self, identity: Identity) -> bool:
        return self.subject.admits_pod(identity)

    def __str__(self) -> str:
        return f"{'BaselineAdminNetworkPolicy' if self.baseline else 'AdminNetworkPolicy'}/{self.name}"


def read_policy(obj: Object) -> Policy:
    """Read a NetworkPolicy; the API server has validated it.

    Error handling: ValueError, KeyError or TypeError for what no API server accepts.
    """
    spec = meta.spec(obj)
    namespace = meta.namespace(obj) or "default"
    egress = spec.get("egress") or ()
    types = spec.get("policyTypes") or (("Ingress", "Egress") if egress else ("Ingress",))
    return Policy(
        namespace=namespace,
        name=meta.name(obj),
        selector=Selector.from_object(spec.get("podSelector") or {}),
        ingress=_rules(spec.get("ingress"), "from", namespace) if "Ingress" in types else None,
        egress=_rules(egress, "to", namespace) if "Egress" in types else None,
    )


def _rules(rules: Sequence[Mapping[str, Any]] | None, peers: str, namespace: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            peers=tuple(_peer(peer or {}, namespace) for peer in rule[peers]) if rule.get(peers) else None,
            ports=tuple(_port(port or {}) for port in rule["ports"]) if rule.get("ports") else None,
        )
        for rule in (rule or {} for rule in rules or ())
    )


def _peer(peer: Mapping[str, Any], namespace: str) -> Peer:
    if block := peer.get("ipBlock"):
        return Peer(block=IPBlock.of(block["cidr"], block.get("except")))
    pods, namespaces = peer.get("podSelector"), peer.get("namespaceSelector")
    if pods is None and namespaces is None:
        return Peer()  # an empty peer is invalid in Kubernetes; it means nobody, never everybody
    return Peer(
        namespace=namespace if namespaces is None else None,
        namespaces=None if namespaces is None else Selector.from_object(namespaces),
        pods=None if pods is None else Selector.from_object(pods),
    )


def _port(entry: Mapping[str, Any]) -> PortRule:
    protocol, port = entry.get("protocol") or "TCP", entry.get("port")
    if port is None:
        return PortRule(protocol)
    if isinstance(port, str) and not port.isdigit():
        return PortRule(protocol, name=port)
    return PortRule(protocol, int(port), int(entry.get("endPort") or port))


def read_admin_policy(obj: Object) -> AdminPolicy:
    """Read an AdminNetworkPolicy or BaselineAdminNetworkPolicy of policy.networking.k8s.io/v1alpha1.

    Error handling: as `read_policy`.
    """
    spec = meta.spec(obj)
    return AdminPolicy(
        name=meta.name(obj),
        baseline=obj.get("kind") == "BaselineAdminNetworkPolicy",
        priority=int(spec.get("priority") or 0),
        subject=_admin_peer(spec.get("subject") or {})[0],
        ingress=_admin_rules(spec.get("ingress"), "from"),
        egress=_admin_rules(spec.get("egress"), "to"),
    )


def _admin_rules(rules: Sequence[Mapping[str, Any]] | None, peers: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            peers=tuple(peer for entry in rule.get(peers) or () for peer in _admin_peer(entry)),
            ports=tuple(map(_admin_port, rule["ports"])) if rule.get("ports") else None,
            action=Action(rule["action"]),
            name=str(rule.get("name") or ""),
        )
        for rule in rules or ()
    )


def _admin_peer(entry: Mapping[str, Any]) -> tuple[Peer, ...]:
    if (namespaces := entry.get("namespaces")) is not None:
        return (Peer(namespaces=Selector.from_object(namespaces)),)
    if (pods := entry.get("pods")) is not None:
        return (
            Peer(
                namespaces=Selector.from_object(pods.get("namespaceSelector") or {}),
                pods=Selector.from_object(pods.get("podSelector") or {}),
            ),
        )
    if (nodes := entry.get("nodes")) is not None:
        return (Peer(nodes=Selector.from_object(nodes) if nodes else EVERYTHING),)
    if networks := entry.get("networks"):
        return tuple(Peer(block=IPBlock.of(cidr)) for cidr in networks)
    return (Peer(),)


def _admin_port(entry: Mapping[str, Any]) -> PortRule:
    if number := entry.get("portNumber"):
        return PortRule(number.get("protocol") or "TCP", int(number["port"]), int(number["port"]))
    if ports := entry.get("portRange"):
        return PortRule(ports.get("protocol") or "TCP", int(ports["start"]), int(ports["end"]))
    return PortRule("", name=str(entry["namedPort"]))
