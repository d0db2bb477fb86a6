"""`explain(policy_set, flow)`: the walk through everything that decides, for whoever asks why.

    web-7f9c (shop) 127.244.1.5 -> db-0 (shop) 127.244.2.3 on TCP 5432: DENIED on ingress
     egress   no policy selects web-7f9c for egress: allowed by default                            ok
     ingress  netpol/db-allow-api selects db-0 (app=db)                                            DENIED
                rule 1: from app=api in namespace shop on TCP 5432: no match
                  app=api in namespace shop: web-7f9c has app=web

It asks the same compiled rules as `decide` and never decides by itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from minikube_py.apimachinery.meta import Object
from minikube_py.cni.types import Flow
from minikube_py.networkpolicy.compile import AdminRule, PolicySet
from minikube_py.networkpolicy.decide import Subject, decide, is_own_node, peer_matches
from minikube_py.networkpolicy.identity import Endpoint
from minikube_py.networkpolicy.policy import Action, Direction, Peer, PortRule, Rule
from minikube_py.networkpolicy.verdict import Decision, Opinion
from minikube_py.networkpolicy.why import Finding, lint_set

__all__ = ["Step", "Walk", "explain"]


@dataclass(frozen=True, slots=True)
class Step:
    """One direction of the walk."""

    direction: Direction
    allowed: bool
    headline: str
    details: tuple[str, ...] = ()
    """Policies and rules that were tried, indented by depth."""

    def lines(self) -> Iterable[str]:
        yield f" {self.direction.value:8} {self.headline:<85} {'ok' if self.allowed else 'DENIED'}"
        for detail in self.details:
            yield f"            {detail}"


@dataclass(frozen=True, slots=True)
class Walk:
    """A verdict with everything that led to it; `str()` gives the lines."""

    flow: Flow
    decision: Decision
    source: str
    destination: str
    steps: tuple[Step, ...]
    hints: tuple[Finding, ...] = ()

    def lines(self) -> list[str]:
        where = "" if self.decision.direction is None else f" on {self.decision.direction.value}"
        verdict = "allowed" if self.decision.allowed else f"DENIED{where}"
        head = f"{self.source} -> {self.destination} on {self.flow.protocol} {self.flow.port}: {verdict}"
        return [
            head,
            *(line for step in self.steps for line in step.lines()),
            f" because  {self.decision.because}",
            *(f" hint     {hint}" for hint in self.hints),
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def explain(policy_set: PolicySet, flow: Flow, services: Sequence[Object] = ()) -> Walk:
    """Walk through the decision about a flow; `services` are for hints about Service ports."""
    decision = decide(policy_set, flow)
    seen = replace(flow, source=flow.seen_as, seen_as="") if flow.seen_as else flow
    source, destination = policy_set.pods.get(flow.source), policy_set.pods.get(flow.destination)
    selecting = {
        str(policy)
        for endpoint, direction in ((source, Direction.EGRESS), (destination, Direction.INGRESS))
        if endpoint is not None
        for policy in policy_set.rules(endpoint.identity).side(direction).policies
    }
    hints: list[Finding] = []
    if not decision.allowed or selecting:
        hints = _hints(lint_set(policy_set, services, only=selecting), decision, source, destination)
    return Walk(
        flow=flow,
        decision=decision,
        source=_who(policy_set, flow.source, source),
        destination=_who(policy_set, flow.destination, destination),
        steps=(
            _step(policy_set, flow, Direction.EGRESS, source, destination, decision.egress),
            _step(policy_set, seen, Direction.INGRESS, destination, policy_set.pods.get(seen.source), decision.ingress),
        ),
        hints=tuple(hints),
    )


def _hints(
    findings: Iterable[Finding], decision: Decision, source: Endpoint | None, destination: Endpoint | None
) -> list[Finding]:
    """Return what bears on this flow: an allowed one may be so by the AND/OR trap, a denied one by the others."""
    if decision.allowed:
        return [finding for finding in findings if finding.code == "MK303" and finding.policy in decision.admitted_by]
    hints = [finding for finding in findings if finding.code not in ("MK302", "MK303", "MK304")]
    for side, mine, other in (
        (decision.egress, source, destination),
        (decision.ingress, destination, source),
    ):
        reverse = decision.ingress if side is decision.egress else decision.egress
        if side is None or side.allowed or reverse is None or not reverse.admitted_by or mine is None or other is None:
            continue
        verb = "in from" if side.direction is Direction.INGRESS else "out to"
        hints.append(
            Finding(
                "MK302",
                "error",
                reverse.admitted_by[0],
                f"half open: {reverse.admitted_by[0]} allows the {reverse.direction.value} side, but "
                f"{', '.join(side.denied_by)} does not let {mine.name} {verb} {other.name}: both sides must allow",
                f"add {'an ingress' if side.direction is Direction.INGRESS else 'an egress'} rule for "
                f"{other.identity.words or other.name} to {side.denied_by[0]}",
            )
        )
    return hints


def _who(policy_set: PolicySet, address: str, endpoint: Endpoint | None) -> str:
    if endpoint is not None:
        return f"{endpoint.name} ({endpoint.namespace}) {address}"
    if (node := policy_set.nodes.get(address)) is not None:
        return f"node {node.name} {address}"
    return f"{address} (outside the cluster)"


def _step(
    policy_set: PolicySet,
    flow: Flow,
    direction: Direction,
    endpoint: Endpoint | None,
    peer: Endpoint | None,
    opinion: Opinion | None,
) -> Step:
    end = "source" if direction is Direction.EGRESS else "destination"
    if endpoint is None:
        return Step(direction, True, f"the {end} is no pod: no policy can select it")
    if flow.source == flow.destination:
        return Step(direction, True, f"{endpoint.name} calls itself: always allowed")
    subject = Subject(policy_set, flow, direction, endpoint, peer)
    if is_own_node(policy_set, endpoint, subject.peer_ip):
        return Step(direction, True, f"{subject.peer_ip} is the node of {endpoint.name}: always allowed")
    side = policy_set.rules(endpoint.identity).side(direction)
    details: list[str] = []
    for entry in side.admin:
        if _tried(subject, entry, f"{entry.policy} (priority {entry.policy.priority})", details):
            if entry.rule.action is Action.PASS:
                break
            return Step(direction, entry.rule.action is Action.ALLOW, f"decided by {entry.policy}", tuple(details))
    for policy in side.policies:
        details.append(f"netpol/{policy.name} selects {endpoint.name} ({_selected_by(policy.selector)})")
        rules = policy.rules(direction) or ()
        if not rules:
            details.append(f"  it has no {direction.value} rule: nothing is admitted")
        for index, rule in enumerate(rules):
            matched, reasons = _try(subject, rule)
            details.append(f"  rule {index + 1}: {rule.text(direction)}: {'matches' if matched else 'no match'}")
            details += (f"    {reason}" for reason in reasons)
    if not side.policies:
        for entry in side.baseline:
            if _tried(subject, entry, str(entry.policy), details):
                break
    others = [p.name for p in policy_set.policies.get(endpoint.namespace, {}).values() if p not in side.policies]
    if others:
        details.append(f"not selecting {endpoint.name} for {direction.value}: {', '.join(others)}")
    allowed = opinion is None or opinion.allowed
    if side.policies:
        names = ", ".join(policy.name for policy in side.policies)
        headline = f"{'isolated' if not allowed else 'admitted'}: selected by {names}"
    elif side.baseline and opinion is not None and (opinion.admitted_by or opinion.denied_by):
        headline = f"no NetworkPolicy selects {endpoint.name}: the baseline decides"
    else:
        headline = f"no policy selects {endpoint.name} for {direction.value}: allowed by default"
    return Step(direction, allowed, headline, tuple(details))


def _tried(subject: Subject, entry: AdminRule, name: str, details: list[str]) -> bool:
    """Tell whether an administrator's rule matches, adding to `details` what it says and why it doesn't."""
    matched, reasons = _try(subject, entry.rule)
    text = f"{entry.rule.action.value} {entry.rule.text(subject.direction)}"
    details.append(f"{name} rule {entry.index + 1}, {text}: {'matches' if matched else 'no match'}")
    details += (f"  {reason}" for reason in reasons)
    return matched


def _selected_by(selector: object) -> str:
    text = str(selector)
    return "all pods of the namespace" if text == "<none>" else text


def _try(subject: Subject, rule: Rule) -> tuple[bool, list[str]]:
    """Return whether a rule matches and, if not, one reason for each thing that does not."""
    reasons: list[str] = []
    if not subject.ports_match(rule):
        reasons += (_why_not_port(subject, entry) for entry in rule.ports or ())
    if not subject.peers_match(rule):
        reasons += (
            f"{peer}: {_why_not_peer(subject, peer)}" for peer in rule.peers or () if not peer_matches(subject, peer)
        )
        if not rule.peers:
            reasons.append("it has no peers that exist here")
    return not reasons, reasons


def _why_not_port(subject: Subject, entry: PortRule) -> str:
    flow = subject.flow
    have = f"the pod's port is {flow.protocol} {flow.port}"
    if entry.name is None:
        return f"port {entry}: {have}"
    if subject.destination is None:
        return f"port {entry}: the destination is no pod, so it has no port names"
    named = [port for port in subject.destination.ports if port.name == entry.name]
    if not named:
        known = ", ".join(sorted({repr(port.name) for port in subject.destination.ports if port.name})) or "none"
        return f"port {entry}: no containerPort of the destination has that name (known: {known})"
    return f"port {entry}: it is {', '.join(f'{port.protocol} {port.port}' for port in named)}; {have}"


def _why_not_peer(subject: Subject, peer: Peer) -> str:
    address = subject.peer_ip
    if peer.block is not None:
        if excepted := peer.block.excepts(subject.forms):
            return f"{address} is excepted by {excepted}"
        return f"{address} is not in it"
    if peer.nodes is not None:
        return f"{address} is no such node"
    if subject.peer is None:
        return f"{address} is no pod, so only an ipBlock can mean it"
    identity, name = subject.peer.identity, subject.peer.name
    missing: list[str] = []
    if peer.namespace is not None:
        if identity.namespace != peer.namespace:
            missing.append(
                f"{name} is in namespace {identity.namespace}, and a podSelector alone means its own ({peer.namespace})"
            )
    elif peer.namespaces is not None and not peer.namespaces.matches(identity.namespace_labels):
        labels = ",".join(f"{key}={value}" for key, value in sorted(identity.namespace_labels.items()))
        missing.append(f"namespace {identity.namespace} has {labels}")
    if peer.pods is not None and not peer.pods.matches(identity.labels):
        missing.append(f"{name} has {identity.words or 'no labels'}")
    return "; ".join(missing) or "it means nobody"
