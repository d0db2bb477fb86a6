"""`lint`: what is probably not meant, found without sending a packet. One finding says what, the evidence, the fix.

| code | finding |
|---|---|
| MK202 | egress policies cut DNS: names break before addresses do |
| MK302 | half open: one side allows, the other does not |
| MK303 | AND meant, OR written: two peers where one with both selectors was meant |
| MK304 | the policy selects no pods |
| MK305 | a Service's port where the pod's port is needed |
| MK306 | a namespaceSelector that matches no namespace |
| MK307 | an ipBlock with a Service's or a pod's address |
| MK308 | a port name that no destination pod has |

MK301 (denied by default) is not a fault of a policy but of a flow: `explain` tells it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Operator, Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.cni.addresses import Addresses
from minikube_py.cni.types import Flow
from minikube_py.networkpolicy.blocks import IPBlock
from minikube_py.networkpolicy.compile import PolicySet
from minikube_py.networkpolicy.decide import Subject, opinion
from minikube_py.networkpolicy.identity import Endpoint, Identity, namespace_labels, pod_ip
from minikube_py.networkpolicy.policy import Direction, Peer, Policy, PortRule, Rule, read_policy

__all__ = ["Finding", "lint", "lint_set"]

_NAME_LABEL = "kubernetes.io/metadata.name"

_ALWAYS = ("default", "kube-system", "kube-public", "kube-node-lease")
"""Namespaces that every cluster has, whether or not the manifests say so."""

_PAIRS_LIMIT = 20_000
"""Pairs of identities that MK302 looks at: about 0.2 s; beyond that the matrix is the better tool."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of advice."""

    code: str
    level: str
    """`error`: it can't do what it says; `warning`: it does something else than it seems to."""
    policy: str
    """`namespace/name`."""
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.code} {self.message}" + (f". Fix: {self.fix}" if self.fix else "")


def lint(
    policies: Iterable[Object],
    namespaces: Iterable[Object],
    pods: Iterable[Object],
    services: Sequence[Object],
    addresses: Addresses | None = None,
) -> list[Finding]:
    """Return the findings about policies, in the order of the policies.

    Pods need no addresses: it works on manifests (with the pods that their templates will make) as on a live cluster.
    """
    result = PolicySet.empty(addresses or Addresses())
    for namespace in namespaces:
        result = result.with_namespace(namespace)
    for pod in pods:
        if meta.status(pod).get("phase") not in ("Succeeded", "Failed"):
            result = result.with_pod(pod, pod_ip(pod) or f"pod:{meta.key(pod)}")
    for policy in policies:
        result = result.with_policy(read_policy(policy))
    return lint_set(result, services)


def lint_set(
    policy_set: PolicySet, services: Sequence[Object] = (), *, only: Collection[str] | None = None
) -> list[Finding]:
    """Return the findings about a snapshot; `only` names the policies (`namespace/name`) to look at."""
    world = _World(policy_set, services)
    findings: list[Finding] = []
    for there in policy_set.policies.values():
        for policy in there.values():
            if only is None or str(policy) in only:
                for check in _CHECKS:
                    findings += check(world, policy)
    findings += _dns(world, only)
    findings += _half_open(world, only)
    return list(dict.fromkeys(findings))


class _World:
    """The snapshot, by identity: one endpoint stands for all replicas."""

    def __init__(self, policy_set: PolicySet, services: Sequence[Object]) -> None:
        self.policy_set = policy_set
        self.services = services
        self.endpoints: dict[Identity, Endpoint] = {}
        for endpoint in policy_set.pods.values():
            self.endpoints.setdefault(endpoint.identity, endpoint)
        self.namespaces: dict[str, Mapping[str, str]] = dict(policy_set.namespaces)
        for identity in self.endpoints:
            self.namespaces.setdefault(identity.namespace, identity.namespace_labels)
        for name in (*_ALWAYS, *policy_set.policies):
            self.namespaces.setdefault(name, namespace_labels(name, None))

    def selected(self, policy: Policy) -> list[Identity]:
        return [identity for identity in self.endpoints if policy.selects(identity)]

    def destinations(self, policy: Policy, direction: Direction, rule: Rule) -> list[Identity]:
        """Return whose ports a rule's `ports` are: the selected pods' for ingress, the peers' for egress."""
        if direction is Direction.INGRESS:
            return self.selected(policy)
        if rule.peers is None:
            return []
        return [i for i in self.endpoints if any(not p.by_address and p.admits_pod(i) for p in rule.peers)]

    def services_of(self, identity: Identity) -> Iterator[Object]:
        for service in self.services:
            selector = meta.spec(service).get("selector")
            if (
                selector
                and (meta.namespace(service) or "default") == identity.namespace
                and Selector.from_map(selector).matches(identity.labels)
            ):
                yield service


def _rules(policy: Policy) -> Iterator[tuple[Direction, int, Rule]]:
    for direction in (Direction.INGRESS, Direction.EGRESS):
        for index, rule in enumerate(policy.rules(direction) or ()):
            yield direction, index, rule


def _about(policy: Policy) -> str:
    return f"netpol/{policy.name}"


def _words(selector: Selector) -> str:
    return str(selector) if selector.requirements else "every pod"


def _selects_nothing(world: _World, policy: Policy) -> Iterator[Finding]:
    if world.selected(policy):
        return
    elsewhere = sorted({i.namespace for i in world.endpoints if policy.selector.matches(i.labels)})
    message = f"{_about(policy)} selects {_words(policy.selector)}; no pod in ns {policy.namespace} has that"
    fix = ""
    if elsewhere and policy.selector.requirements:
        message += f". Such pods are in ns {', '.join(elsewhere)}: a policy never crosses namespaces"
        fix = f"metadata.namespace: {elsewhere[0]}"
    else:
        here = {
            f"{key}={value}": endpoint.name
            for identity, endpoint in world.endpoints.items()
            if identity.namespace == policy.namespace
            for key, value in identity.labels.items()
        }
        wanted = [str(term) for term in policy.selector.requirements if term.operator is Operator.IN]
        for term in wanted:
            if near := get_close_matches(term, here, 1, 0.6):
                message += f". Closest: pod {here[near[0]]} ({near[0]})"
                fix = f"spec.podSelector {near[0].replace('=', ': ')}"
                break
    yield Finding("MK304", "warning", str(policy), message, fix)


def _or_for_and(world: _World, policy: Policy) -> Iterator[Finding]:
    for direction, _, rule in _rules(policy):
        peers = [peer for peer in rule.peers or () if not peer.by_address]
        alone = [p for p in peers if p.namespaces is not None and p.pods is None and p.namespaces.requirements]
        pods = [p for p in peers if p.namespace is not None and p.pods is not None and p.pods.requirements]
        if len(peers) == 2 and alone and pods:
            where = [name for name, labels in world.namespaces.items() if _matches(alone[0], labels)]
            whom = f"every pod of ns {', '.join(sorted(where))}" if where else "every pod of the namespaces it names"
            yield Finding(
                "MK303",
                "warning",
                str(policy),
                f'{policy.name} "{direction.preposition}" has 2 items (namespaceSelector OR podSelector): '
                f"it admits {whom}, and {pods[0].pods} of its own ns",
                "if AND is meant, write one item with both keys (no dash before the second)",
            )


def _matches(peer: Peer, labels: Mapping[str, str]) -> bool:
    return peer.namespaces is not None and peer.namespaces.matches(labels)


def _no_namespace(world: _World, policy: Policy) -> Iterator[Finding]:
    for _, _, rule in _rules(policy):
        for peer in rule.peers or ():
            selector = peer.namespaces
            if selector is None or any(map(selector.matches, world.namespaces.values())):
                continue
            message = f"{policy.name}: namespaceSelector {selector} matches no namespace"
            fix = ""
            for term in selector.requirements:
                named = sorted(term.values & world.namespaces.keys())
                if term.operator is Operator.IN and named and term.key != _NAME_LABEL:
                    fix = f"{_NAME_LABEL}: {named[0]}"
                    break
                known = {value for labels in world.namespaces.values() for k, value in labels.items() if k == term.key}
                if term.operator is Operator.IN and (
                    near := [m for value in sorted(term.values) for m in get_close_matches(value, known, 1)]
                ):
                    fix = f"{term.key}: {near[0]}"
                    break
            if not fix and any(term.key == _NAME_LABEL for term in selector.requirements):
                fix = "create the namespace, or correct its name"
            if not fix:
                label = ", ".join(f"{term}" for term in selector.requirements)
                fix = f"label the namespace ({label}), or select it by {_NAME_LABEL}"
            yield Finding("MK306", "warning", str(policy), message, fix)


def _service_port(world: _World, policy: Policy) -> Iterator[Finding]:
    for direction, _, rule in _rules(policy):
        destinations = world.destinations(policy, direction, rule)
        for entry in rule.ports or ():
            if entry.first is None or entry.last not in (None, entry.first):
                continue
            number, declared = entry.first, {p.port for identity in destinations for p in identity.ports}
            if number in declared:
                continue
            if found := _translated(world, destinations, number, entry.protocol):
                service, target = found
                yield Finding(
                    "MK305",
                    "error",
                    str(policy),
                    f"{policy.name} allows port {number}, but policies see the pod's port: "
                    f"svc/{service} translates {number} to {target}",
                    f"ports: [{{port: {target}}}]",
                )


def _translated(world: _World, destinations: Iterable[Identity], number: int, protocol: str) -> tuple[str, int] | None:
    """Return the Service that has this port and the other port to which it translates it."""
    for identity in destinations:
        for service in world.services_of(identity):
            for port in meta.spec(service).get("ports") or ():
                if port.get("port") != number or (port.get("protocol") or "TCP") != protocol:
                    continue
                target = port.get("targetPort", number)
                if isinstance(target, str) and not target.isdigit():
                    target = next((p.port for p in identity.ports if p.name == target), number)
                if int(target) != number:
                    return meta.name(service), int(target)
    return None


def _port_name(world: _World, policy: Policy) -> Iterator[Finding]:
    for direction, _, rule in _rules(policy):
        destinations = world.destinations(policy, direction, rule)
        for entry in rule.ports or ():
            if entry.name is None or not destinations:
                continue
            known = {port.name for identity in destinations for port in identity.ports if port.name}
            if any(_names(entry, identity) for identity in destinations):
                continue
            near = get_close_matches(entry.name, known, 1)
            yield Finding(
                "MK308",
                "error",
                str(policy),
                f"{policy.name} names port {entry.name!r} ({entry.protocol}); no destination pod has a containerPort "
                f"of that name and protocol (known: {', '.join(sorted(known)) or 'none'})",
                f"port: {near[0]}" if near else "name the containerPort, or write its number",
            )


def _names(entry: PortRule, identity: Identity) -> bool:
    return any(port.name == entry.name and port.protocol == entry.protocol for port in identity.ports)


def _block(world: _World, policy: Policy) -> Iterator[Finding]:
    for direction, _, rule in _rules(policy):
        for peer in rule.peers or ():
            if peer.block is None or (ip := _network(peer.block)) is None:
                continue
            role = _role(world, ip)
            if role == "services":
                owner = next(
                    (
                        f"svc/{meta.name(service)}"
                        for service in world.services
                        if _in(world, str(meta.spec(service).get("clusterIP") or ""), peer.block)
                    ),
                    "a Service",
                )
                yield Finding(
                    "MK307",
                    "error",
                    str(policy),
                    f"{policy.name} has ipBlock {peer.block.cidr}, the address of {owner}: policies see the pod behind "
                    f"it, so it never matches",
                    f'"{direction.preposition}" the pods: podSelector (and namespaceSelector) instead of ipBlock',
                )
            elif role == "pods" and ip.prefixlen == 32:
                at = world.policy_set.pods
                name = next((e.name for address, e in at.items() if _in(world, address, peer.block)), "a pod")
                yield Finding(
                    "MK307",
                    "warning",
                    str(policy),
                    f"{policy.name} has ipBlock {peer.block.cidr}, the address of {name}: its successor gets another",
                    f'"{direction.preposition}" the pods: podSelector (and namespaceSelector) instead of ipBlock',
                )


def _network(block: IPBlock) -> IPv4Network | None:
    try:
        return IPv4Network(block.cidr, strict=False)
    except ValueError:
        return None


def _in(world: _World, address: str, block: IPBlock) -> bool:
    return block.covers(world.policy_set.stand_ins.forms(address))


def _role(world: _World, network: IPv4Network) -> str:
    """Tell which range of the cluster a CIDR is wholly in, in either form."""
    for known in world.policy_set.stand_ins.ranges:
        length = known.mask.bit_count()
        for form in (known.network, known.target):
            if network.prefixlen >= length and network.subnet_of(IPv4Network((form & known.mask, length))):
                return known.role
    return ""


def _dns(world: _World, only: Collection[str] | None) -> Iterator[Finding]:
    """Ask each egress-isolated identity for port 53 of CoreDNS, by UDP and TCP."""
    policy_set = world.policy_set
    servers = [e for i, e in world.endpoints.items() if i.labels.get("k8s-app") == "kube-dns"]
    if not servers:  # on manifests alone CoreDNS is not there yet: ask for what it will be
        probe = {
            "metadata": {"name": "coredns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
            "spec": {"containers": [{"ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]},
        }
        if (
            assumed := policy_set.endpoint(probe, str(IPv4Address(policy_set.stand_ins.ranges[0].network + 2)))
        ) is None:
            return
        servers = [assumed]
    told: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for identity, endpoint in world.endpoints.items():
        policies = policy_set.rules(identity).egress.policies
        if not policies or (only is not None and not any(str(policy) in only for policy in policies)):
            continue
        blocked = tuple(
            protocol
            for protocol in ("UDP", "TCP")
            if not any(
                opinion(
                    policy_set,
                    Subject(policy_set, Flow(endpoint.ip, s.ip, 53, protocol), Direction.EGRESS, endpoint, s),
                ).allowed
                for s in servers
            )
        )
        if blocked:
            told.setdefault((tuple(map(str, policies)), blocked), []).append(identity.words or endpoint.name)
    for (names, blocked), pods in told.items():
        short = ", ".join(name.partition("/")[2] for name in names)
        whom = ", ".join(pods[:3]) + (f" and {len(pods) - 3} more" if len(pods) > 3 else "")
        what = "can resolve nothing" if "UDP" in blocked else "can't repeat long DNS answers over TCP"
        yield Finding(
            "MK202",
            "warning",
            names[0],
            f"{whom} {what}: netpol/{short} select{'s' if len(names) == 1 else ''} it for egress and no rule allows "
            f"{'+'.join(blocked)} 53 to kube-system/kube-dns",
            "egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, "
            "podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{protocol: UDP, port: 53}, "
            "{protocol: TCP, port: 53}]}]",
        )


def _half_open(world: _World, only: Collection[str] | None) -> Iterator[Finding]:
    """Find rules that name a peer whose own policies forbid the other half."""
    budget = _PAIRS_LIMIT
    for there in world.policy_set.policies.values():
        for policy in there.values():
            if only is not None and str(policy) not in only:
                continue
            for direction, _, rule in _rules(policy):
                named = [p for p in rule.peers or () if not p.by_address and p.pods is not None and p.pods.requirements]
                for mine in world.selected(policy) if named else ():
                    for other in world.endpoints:
                        budget -= 1
                        if budget < 0:
                            return
                        if other is not mine and any(peer.admits_pod(other) for peer in named):
                            yield from _other_half(world, policy, direction, rule, mine, other)


def _other_half(
    world: _World, policy: Policy, direction: Direction, rule: Rule, mine: Identity, other: Identity
) -> Iterator[Finding]:
    us, them = world.endpoints[mine], world.endpoints[other]
    source, destination = (them, us) if direction is Direction.INGRESS else (us, them)
    opposite = Direction.EGRESS if direction is Direction.INGRESS else Direction.INGRESS
    for port, protocol in _meant(rule, destination.identity):
        flow = Flow(source.ip, destination.ip, port, protocol)
        answer = opinion(world.policy_set, Subject(world.policy_set, flow, opposite, them, us))
        if answer.allowed:
            continue
        into, out = (policy.name, answer.denied_by[0].partition("/")[2])
        if direction is Direction.INGRESS:
            message = f"{into} lets {them.name} INTO {us.name}, but {out} does not let it OUT on {protocol} {port}"
        else:
            message = f"{into} lets {us.name} OUT to {them.name}, but {out} does not let it IN on {protocol} {port}"
        add = f"add a{'n egress' if opposite is Direction.EGRESS else 'n ingress'} rule for {mine.words or us.name}"
        yield Finding("MK302", "warning", str(policy), f"{message}. Both sides must allow", f"{add} to {out}")
        return


def _meant(rule: Rule, destination: Identity) -> list[tuple[int, str]]:
    """Return the ports of a destination that a rule means, one of each range."""
    if rule.ports is None:
        return [(port.port, port.protocol) for port in destination.ports] or [(80, "TCP")]
    found = [(p.port, p.protocol) for p in destination.ports if rule.admits_port(p.port, p.protocol, destination)]
    return found or [(entry.first, entry.protocol) for entry in rule.ports if entry.first is not None]


_CHECKS = (_selects_nothing, _or_for_and, _service_port, _no_namespace, _block, _port_name)
