"""`decide(policy_set, flow)`: may this connection be opened, and why.

The order of decision, per direction (https://network-policy-api.sigs.k8s.io/api-overview/):

1. Nothing forbids a pod itself, nor its own node: probes must work
   (https://kubernetes.io/docs/concepts/services-networking/network-policies/#the-two-sorts-of-pod-isolation).
2. AdminNetworkPolicies, priority 0 first: the first rule that matches decides; Pass skips to 3.
3. NetworkPolicies that select the pod: admitted by any rule of any of them, or denied. If none selects it:
4. BaselineAdminNetworkPolicy: the first rule that matches decides.
5. Otherwise allowed.

Both directions must allow: egress of the source if it is a pod, ingress of the destination if it is one. Only the
opening of a connection is judged; replies belong to it and always pass.
"""

from collections.abc import Iterable, Mapping

from minikube_py.cni.types import Flow
from minikube_py.networkpolicy.blocks import Forms
from minikube_py.networkpolicy.compile import AdminRule, Numbered, PolicySet, Side
from minikube_py.networkpolicy.identity import Endpoint, Identity
from minikube_py.networkpolicy.policy import Action, Direction, Peer, Rule
from minikube_py.networkpolicy.verdict import Decision, Opinion

__all__ = ["Subject", "decide", "describe_peer", "is_own_node", "opinion", "peer_matches", "ruled"]

_OPEN = Decision(True, "no policy selects either end: everything is allowed")


def decide(policy_set: PolicySet, flow: Flow) -> Decision:
    """Judge a flow."""
    if not policy_set.policies and not policy_set.admin:
        return _OPEN
    key = (flow.source, flow.destination, flow.port, flow.protocol)
    source, destination = policy_set.pods.get(flow.source), policy_set.pods.get(flow.destination)
    if flow.seen_as:
        return _decide(policy_set, flow, source, destination)
    known = policy_set.memo.get(key)
    if known is not None and known[0] is source and known[1] is destination:
        return known[2]
    decision = _decide(policy_set, flow, source, destination)
    policy_set.remember(key, source, destination, decision)
    return decision


def _decide(policy_set: PolicySet, flow: Flow, source: Endpoint | None, destination: Endpoint | None) -> Decision:
    if source is None and destination is None:
        return Decision(True, "neither end is a pod: policies have no say")
    if flow.source == flow.destination:
        return Decision(True, f"{_name(source)} calls itself: a pod always reaches itself")
    egress = _side(policy_set, flow, Direction.EGRESS, source, destination)
    if flow.seen_as:
        source = policy_set.pods.get(flow.seen_as)
        flow = Flow(flow.seen_as, flow.destination, flow.port, flow.protocol)
    ingress = _side(policy_set, flow, Direction.INGRESS, destination, source)
    if egress is not None and not egress.allowed:
        because = egress.because
        if ingress is not None and not ingress.allowed:
            because += f"; and on ingress {ingress.because}"
        elif ingress is not None and ingress.admitted_by:
            because += f"; {ingress.admitted_by[0].partition('/')[2]} would let it in, but both sides must allow"
        return Decision(False, because, egress.selected_by, Direction.EGRESS, egress, ingress)
    if ingress is not None and not ingress.allowed:
        because = ingress.because
        if egress is not None and egress.admitted_by:
            because += f"; {egress.admitted_by[0].partition('/')[2]} would let it out, but both sides must allow"
        return Decision(False, because, ingress.selected_by, Direction.INGRESS, egress, ingress)
    sides = [side for side in (egress, ingress) if side is not None]
    told = [side.because for side in sides if side.selected_by or side.admitted_by] or [sides[0].because]
    selected = tuple(dict.fromkeys(name for side in sides for name in side.selected_by))
    admitted = tuple(dict.fromkeys(name for side in sides for name in side.admitted_by))
    return Decision(True, "; ".join(told), selected, None, egress, ingress, admitted)


class Subject:
    """The pod whose policies are asked, and the peer at the other end, for one direction of one flow."""

    __slots__ = ("destination", "direction", "endpoint", "flow", "forms", "node_labels", "peer", "peer_ip")

    def __init__(
        self,
        policy_set: PolicySet,
        flow: Flow,
        direction: Direction,
        endpoint: Endpoint,
        peer: Endpoint | None,
    ) -> None:
        self.flow = flow
        self.direction = direction
        self.endpoint = endpoint
        self.peer = peer
        self.peer_ip = flow.destination if direction is Direction.EGRESS else flow.source
        self.forms: Forms = policy_set.stand_ins.forms(self.peer_ip)
        node = policy_set.nodes.get(self.peer_ip)
        self.node_labels: Mapping[str, str] | None = None if node is None else node.labels
        target = peer if direction is Direction.EGRESS else endpoint
        self.destination: Identity | None = None if target is None else target.identity

    def ports_match(self, rule: Rule) -> bool:
        return rule.admits_port(self.flow.port, self.flow.protocol, self.destination)

    def peers_match(self, rule: Rule) -> bool:
        return rule.peers is None or any(peer_matches(self, peer) for peer in rule.peers)


def peer_matches(subject: Subject, peer: Peer) -> bool:
    """Tell whether one entry of `from` or `to` means the other end."""
    if peer.by_address:
        return peer.admits_address(subject.forms, subject.node_labels)
    return subject.peer is not None and peer.admits_pod(subject.peer.identity)


def _side(
    policy_set: PolicySet, flow: Flow, direction: Direction, endpoint: Endpoint | None, peer: Endpoint | None
) -> Opinion | None:
    """Return what one direction says; None where it has no say."""
    return None if endpoint is None else opinion(policy_set, Subject(policy_set, flow, direction, endpoint, peer))


def opinion(policy_set: PolicySet, subject: Subject) -> Opinion:
    """Judge one direction of a flow."""
    endpoint, direction = subject.endpoint, subject.direction
    if is_own_node(policy_set, endpoint, subject.peer_ip):
        return Opinion(direction, True, f"{subject.peer_ip} is {endpoint.name}'s own node: always allowed")
    return ruled(policy_set, subject)


def ruled(policy_set: PolicySet, subject: Subject) -> Opinion:
    """Judge one direction of a flow by the policies' rules alone."""
    endpoint, direction = subject.endpoint, subject.direction
    side = policy_set.rules(endpoint.identity).side(direction)
    selected = side.selected_by
    for entry in side.admin:
        if subject.ports_match(entry.rule) and subject.peers_match(entry.rule):
            if entry.rule.action is Action.PASS:
                break
            return _by_admin(entry, subject, selected)
    if side.policies:
        meaning = side.meaning(None if subject.peer is None else subject.peer.identity, subject.forms)
        for numbered in meaning:
            if subject.ports_match(numbered.rule):
                return Opinion(
                    direction,
                    True,
                    f"{numbered.policy.name} selects {endpoint.name}; its {direction.value} rule {numbered.index + 1} "
                    f"admits {describe_peer(policy_set, subject)} on {_port(subject)}",
                    selected,
                    (str(numbered.policy),),
                    numbered.index,
                )
        because = _denial(policy_set, subject, side, meaning)
        return Opinion(direction, False, because, selected, denied_by=side.names)
    for entry in side.baseline:
        if subject.ports_match(entry.rule) and subject.peers_match(entry.rule):
            return _by_admin(entry, subject, (*selected, str(entry.policy)))
    return Opinion(direction, True, f"no policy selects {endpoint.name} for {direction.value}", selected)


def is_own_node(policy_set: PolicySet, endpoint: Endpoint, address: str) -> bool:
    if endpoint.host_ip and endpoint.host_ip == address:
        return True
    node = policy_set.nodes.get(address)
    return node is not None and bool(endpoint.node) and node.name == endpoint.node


def _by_admin(entry: AdminRule, subject: Subject, selected: tuple[str, ...]) -> Opinion:
    allowed = entry.rule.action is Action.ALLOW
    name = str(entry.policy)
    order = "" if entry.policy.baseline else f" (priority {entry.policy.priority})"
    called = f" {entry.rule.name!r}" if entry.rule.name else ""
    return Opinion(
        subject.direction,
        allowed,
        f"{name}{order} has {subject.endpoint.name} as subject; its {subject.direction.value} rule "
        f"{entry.index + 1}{called} {'allows' if allowed else 'denies'} it on {_port(subject)}",
        selected,
        (name,) if allowed else (),
        entry.index,
        () if allowed else (name,),
    )


def _denial(policy_set: PolicySet, subject: Subject, side: Side, meaning: Iterable[Numbered]) -> str:
    """Say who selects, and how near the rules came: the peer on other ports, the port for other peers, or nothing."""
    count = len(side.policies)
    listed = ", ".join(policy.name for policy in side.policies[:3]) + (f" and {count - 3} more" if count > 3 else "")
    selects = f"{listed} {'selects' if count == 1 else 'select'} {subject.endpoint.name}"
    if subject.direction is Direction.EGRESS:
        selects += " for egress"
    peer = describe_peer(policy_set, subject)
    if not side.rules:
        return f"{selects}; no rule admits {peer}: there are none"
    ports = dict.fromkeys(entry.rule.ports_text for entry in meaning)
    if ports:
        return f"{selects}; no rule admits {peer} on {_port(subject)}, only on {', '.join(ports)}"
    return f"{selects}; no rule admits {peer}"


def _port(subject: Subject) -> str:
    return f"{subject.flow.protocol} {subject.flow.port}"


def _name(endpoint: Endpoint | None) -> str:
    return "the pod" if endpoint is None else endpoint.name


def describe_peer(policy_set: PolicySet, subject: Subject) -> str:
    """Name the other end as a policy sees it: `app=batch`, `node worker (127.18.0.3)`, `127.0.0.1 (outside …)`."""
    peer = subject.peer
    if peer is not None:
        words = peer.identity.words or f"{peer.name} (no labels)"
        return words if peer.namespace == subject.endpoint.namespace else f"{words} in namespace {peer.namespace}"
    if (node := policy_set.nodes.get(subject.peer_ip)) is not None:
        return f"node {node.name} ({subject.peer_ip})"
    return f"{subject.peer_ip} (outside the cluster)"
