"""`PolicySet`: an immutable snapshot of all that decides about flows, compiled as far as it was asked for.

    objects ──with_pod, with_policy, …──► PolicySet ──rules(identity)──► Compiled ──meaning(peer)──► rules to try

Stands for the state of a CNI's policy agent on all nodes. Every change gives a new snapshot that shares with the
old one what still holds:

1. A pod comes or goes: its node's part of a map is copied; nothing is compiled. What was compiled belongs to
   identities, not pods, and a verdict remembers which two endpoints it was made for.
2. A policy changes: compiled rules of other namespaces are kept, verdicts are not.
3. An admin policy, a namespace's labels or a node change: nothing is kept but the endpoints.

The memos inside are lazily filled: they make answers fast and never different.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from msgspec import Struct

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.cni.addresses import Addresses
from minikube_py.networkpolicy.blocks import Forms, IPBlock, StandIns
from minikube_py.networkpolicy.identity import Endpoint, Identities, Identity, namespace_labels, pod_ip
from minikube_py.networkpolicy.pods import Pods
from minikube_py.networkpolicy.policy import AdminPolicy, Direction, Policy, Rule, read_admin_policy, read_policy
from minikube_py.networkpolicy.verdict import Decision

__all__ = ["AdminRule", "Compiled", "Node", "Numbered", "PolicySet", "Side"]

_MEMO_LIMIT = 1 << 17
"""Verdicts kept: 131,072 of about 300 bytes; a scan of the whole address range can't fill the memory."""


class Node(Struct, frozen=True):
    name: str
    labels: Mapping[str, str]


class AdminRule(Struct, frozen=True):
    """One rule of an admin policy that has the pod as its subject."""

    policy: AdminPolicy
    index: int
    rule: Rule


class Numbered(Struct, frozen=True):
    """One rule of a NetworkPolicy that selects the pod."""

    order: int
    """Its place among all rules for the pod and direction."""
    policy: Policy
    index: int
    rule: Rule


@dataclass(frozen=True, slots=True)
class Side:
    """What is compiled for one identity and one direction."""

    policies: tuple[Policy, ...]
    """NetworkPolicies that select it; none: not isolated in this direction."""
    names: tuple[str, ...]
    """Of these policies, as `namespace/name`."""
    selected_by: tuple[str, ...]
    """The admin policies that have it as their subject, and `names`."""
    rules: tuple[Numbered, ...]
    admin: tuple[AdminRule, ...]
    """In order of priority."""
    baseline: tuple[AdminRule, ...]
    _blocks: Mapping[int, Mapping[int, Sequence[tuple[Numbered, IPBlock]]]]
    """Mask → network → the ipBlocks of that CIDR: an address asks once per mask, not once per rule."""
    _by_identity: dict[Identity | None, tuple[Numbered, ...]] = field(default_factory=dict, compare=False, repr=False)

    def meaning(self, peer: Identity | None, forms: Forms) -> Sequence[Numbered]:
        """Return the rules whose peers mean this pod (None: no pod) at this address, in order; ports are not asked."""
        if (found := self._by_identity.get(peer)) is None:
            found = self._by_identity[peer] = tuple(
                numbered
                for numbered in self.rules
                if numbered.rule.peers is None
                or (peer is not None and any(e.admits_pod(peer) for e in numbered.rule.peers if not e.by_address))
            )
        if not self._blocks:
            return found
        covering = {
            numbered.order: numbered
            for mask, networks in self._blocks.items()
            for form in forms
            for numbered, block in networks.get(form & mask, ())
            if block.covers(forms)
        }
        if not covering:
            return found
        covering |= {numbered.order: numbered for numbered in found}
        return [numbered for _, numbered in sorted(covering.items())]


class Compiled(Struct, frozen=True):
    """Both directions of one identity."""

    ingress: Side
    egress: Side

    def side(self, direction: Direction) -> Side:
        return self.ingress if direction is Direction.INGRESS else self.egress


class PolicySet:
    """The snapshot. Build it with `of` or from `PolicySet.empty(addresses)` by its `with_…` methods."""

    __slots__ = (
        "_compiled",
        "_identities",
        "admin",
        "memo",
        "namespaces",
        "nodes",
        "pods",
        "policies",
        "stand_ins",
    )

    def __init__(
        self,
        *,
        stand_ins: StandIns,
        pods: Pods,
        nodes: Mapping[str, Node],
        namespaces: Mapping[str, Mapping[str, str]],
        policies: Mapping[str, Mapping[str, Policy]],
        admin: tuple[AdminPolicy, ...],
        identities: Identities,
        compiled: dict[Identity, Compiled],
        memo: dict[tuple[str, str, int, str], tuple[Endpoint | None, Endpoint | None, Decision]],
    ) -> None:
        self.stand_ins = stand_ins
        self.pods = pods
        """Address → endpoint."""
        self.nodes = nodes
        """Address → node."""
        self.namespaces = namespaces
        self.policies = policies
        """Namespace → name → policy."""
        self.admin = admin
        """AdminNetworkPolicies by priority (0 first), then the baseline."""
        self._identities = identities
        self._compiled = compiled
        self.memo = memo
        """Decisions by (source, destination, port, protocol), each with the endpoints that it was made for."""

    @classmethod
    def empty(cls, addresses: Addresses) -> Self:
        return cls(
            stand_ins=StandIns.of(addresses),
            pods=Pods(),
            nodes={},
            namespaces={},
            policies={},
            admin=(),
            identities=Identities(),
            compiled={},
            memo={},
        )

    @classmethod
    def of(
        cls,
        addresses: Addresses,
        *,
        policies: Iterable[Object] = (),
        namespaces: Iterable[Object] = (),
        pods: Iterable[Object] = (),
        nodes: Iterable[Object] = (),
        admin_policies: Iterable[Object] = (),
    ) -> "PolicySet":
        """Compile objects; pods count from the moment they have a `status.podIP`."""
        result: PolicySet = cls.empty(addresses)
        for obj in namespaces:
            result = result.with_namespace(obj)
        for obj in nodes:
            result = result.with_node(obj)
        for obj in pods:
            result = result.with_pod(obj)
        for obj in policies:
            result = result.with_policy(read_policy(obj))
        for obj in admin_policies:
            result = result.with_admin_policy(read_admin_policy(obj))
        return result

    # Reading

    @property
    def open(self) -> bool:
        """There is no policy at all: everything is allowed."""
        return not self.policies and not self.admin

    def rules(self, identity: Identity) -> Compiled:
        """Return what is in force for an identity, compiling it at the first call."""
        if (compiled := self._compiled.get(identity)) is None:
            if len(self._compiled) > 4 * len(self.pods) + 1024:
                self._compiled.clear()  # identities that no pod has any more
            compiled = self._compiled[identity] = Compiled(
                self._compile(identity, Direction.INGRESS), self._compile(identity, Direction.EGRESS)
            )
        return compiled

    def _compile(self, identity: Identity, direction: Direction) -> Side:
        policies = tuple(
            policy
            for policy in self.policies.get(identity.namespace, {}).values()
            if policy.rules(direction) is not None and policy.selects(identity)
        )
        subject_of = [policy for policy in self.admin if policy.selects(identity)]
        every = [(p, index, rule) for p in policies for index, rule in enumerate(p.rules(direction) or ())]
        rules = tuple(Numbered(order, *entry) for order, entry in enumerate(every))
        names = tuple(map(str, policies))
        admin = _numbered(subject_of, direction, baseline=False)
        return Side(
            policies=policies,
            names=names,
            selected_by=(*dict.fromkeys(str(entry.policy) for entry in admin), *names),
            rules=rules,
            admin=admin,
            baseline=_numbered(subject_of, direction, baseline=True),
            _blocks=_index(rules),
        )

    def isolation(self, ip: str) -> tuple[bool, bool]:
        """Tell whether the pod at an address is restricted by any policy, for (ingress, egress)."""
        if self.open or (endpoint := self.pods.get(ip)) is None:
            return False, False
        compiled = self.rules(endpoint.identity)
        ingress, egress = (
            bool(side.policies or side.admin or side.baseline) for side in (compiled.ingress, compiled.egress)
        )
        return ingress, egress

    def remember(
        self,
        key: tuple[str, str, int, str],
        source: Endpoint | None,
        destination: Endpoint | None,
        decision: Decision,
    ) -> None:
        if len(self.memo) >= _MEMO_LIMIT:
            self.memo.clear()
        self.memo[key] = (source, destination, decision)

    # Changing: each returns a new snapshot, or the same one if nothing changes

    def endpoint(self, pod: Object, ip: str = "") -> Endpoint | None:
        """Return the endpoint that a pod is at `ip` (default: its status.podIP); None if it has none."""
        if meta.spec(pod).get("hostNetwork"):
            return None
        if not (ip := ip or pod_ip(pod)):
            return None
        namespace = meta.namespace(pod) or "default"
        return Endpoint(
            ip=ip,
            name=meta.name(pod),
            uid=meta.uid(pod),
            node=str(meta.spec(pod).get("nodeName") or ""),
            host_ip=str(meta.status(pod).get("hostIP") or ""),
            identity=self._identities.of_pod(pod, self.namespaces.get(namespace) or namespace_labels(namespace, None)),
        )

    def with_pod(self, pod: Object, ip: str = "") -> "PolicySet":
        """Add or replace the pod at `ip` (default: its status.podIP)."""
        return self if (endpoint := self.endpoint(pod, ip)) is None else self.with_endpoint(endpoint)

    def with_endpoint(self, endpoint: Endpoint) -> "PolicySet":
        if self.pods.get(endpoint.ip) == endpoint:
            return self
        return self._copy(pods=self.pods.plus(endpoint))

    def without_pod(self, ip: str) -> "PolicySet":
        if ip not in self.pods:
            return self
        return self._copy(pods=self.pods.minus(ip))

    def with_policy(self, policy: Policy) -> "PolicySet":
        there = self.policies.get(policy.namespace, {})
        if there.get(policy.name) == policy:
            return self
        return self._with_policies(policy.namespace, {**there, policy.name: policy})

    def without_policy(self, namespace: str, name: str) -> "PolicySet":
        there = {**self.policies.get(namespace, {})}
        return self if there.pop(name, None) is None else self._with_policies(namespace, there)

    def _with_policies(self, namespace: str, there: Mapping[str, Policy]) -> "PolicySet":
        policies = {**self.policies, namespace: there}
        if not there:
            del policies[namespace]
        kept = {identity: rules for identity, rules in self._compiled.items() if identity.namespace != namespace}
        return self._copy(policies=policies, compiled=kept, memo={})

    def with_admin_policy(self, policy: AdminPolicy) -> "PolicySet":
        if policy in self.admin:
            return self
        others = [p for p in self.admin if (p.name, p.baseline) != (policy.name, policy.baseline)]
        ordered = sorted([*others, policy], key=lambda p: (p.baseline, p.priority, p.name))
        return self._copy(admin=tuple(ordered), compiled={}, memo={})

    def without_admin_policy(self, name: str, *, baseline: bool) -> "PolicySet":
        others = tuple(p for p in self.admin if (p.name, p.baseline) != (name, baseline))
        return self if others == self.admin else self._copy(admin=others, compiled={}, memo={})

    def with_namespace(self, namespace: Object) -> "PolicySet":
        name = meta.name(namespace)
        return self._with_namespace(name, namespace_labels(name, meta.labels(namespace)))

    def without_namespace(self, name: str) -> "PolicySet":
        """Forget a namespace's labels; pods that are still there keep the one that every namespace has."""
        changed = self._with_namespace(name, namespace_labels(name, None))
        return changed._copy(namespaces={key: labels for key, labels in changed.namespaces.items() if key != name})

    def _with_namespace(self, name: str, labels: Mapping[str, str]) -> "PolicySet":
        if self.namespaces.get(name) == labels:
            return self
        pods = {
            ip: endpoint if endpoint.namespace != name else self._relabelled(endpoint, labels)
            for ip, endpoint in self.pods.items()
        }
        return self._copy(namespaces={**self.namespaces, name: labels}, pods=Pods.of(pods))

    def _relabelled(self, endpoint: Endpoint, labels: Mapping[str, str]) -> Endpoint:
        have = endpoint.identity
        identity = self._identities.intern(have.namespace, have.labels, labels, have.ports)
        return Endpoint(endpoint.ip, endpoint.name, endpoint.uid, endpoint.node, endpoint.host_ip, identity)

    def with_node(self, node: Object) -> "PolicySet":
        name = meta.name(node)
        value = Node(name, dict(meta.labels(node)))
        addresses = {
            str(entry["address"])
            for entry in meta.status(node).get("addresses") or ()
            if entry.get("type") in ("InternalIP", "ExternalIP")
        }
        nodes = {ip: known for ip, known in self.nodes.items() if known.name != name}
        nodes |= dict.fromkeys(sorted(addresses), value)
        return self if nodes == self.nodes else self._copy(nodes=nodes, memo={})

    def without_node(self, name: str) -> "PolicySet":
        nodes = {ip: known for ip, known in self.nodes.items() if known.name != name}
        return self if nodes == self.nodes else self._copy(nodes=nodes, memo={})

    def _copy(
        self,
        *,
        pods: Pods | None = None,
        nodes: Mapping[str, Node] | None = None,
        namespaces: Mapping[str, Mapping[str, str]] | None = None,
        policies: Mapping[str, Mapping[str, Policy]] | None = None,
        admin: tuple[AdminPolicy, ...] | None = None,
        compiled: dict[Identity, Compiled] | None = None,
        memo: dict[tuple[str, str, int, str], tuple[Endpoint | None, Endpoint | None, Decision]] | None = None,
    ) -> "PolicySet":
        return PolicySet(
            stand_ins=self.stand_ins,
            pods=self.pods if pods is None else pods,
            nodes=self.nodes if nodes is None else nodes,
            namespaces=self.namespaces if namespaces is None else namespaces,
            policies=self.policies if policies is None else policies,
            admin=self.admin if admin is None else admin,
            identities=self._identities,
            compiled=self._compiled if compiled is None else compiled,
            memo=self.memo if memo is None else memo,
        )


def _numbered(policies: Iterable[AdminPolicy], direction: Direction, *, baseline: bool) -> tuple[AdminRule, ...]:
    return tuple(
        AdminRule(policy, index, rule)
        for policy in policies
        if policy.baseline is baseline
        for index, rule in enumerate(policy.rules(direction))
    )


def _index(rules: Iterable[Numbered]) -> Mapping[int, Mapping[int, Sequence[tuple[Numbered, IPBlock]]]]:
    index: dict[int, dict[int, list[tuple[Numbered, IPBlock]]]] = {}
    for numbered in rules:
        for peer in numbered.rule.peers or ():
            if peer.block is not None and (at := peer.block.network) is not None:
                index.setdefault(at[1], {}).setdefault(at[0], []).append((numbered, peer.block))
    return index
