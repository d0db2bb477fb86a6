"""`DeniedSources`: whom a pod's port must not hear, as ranges of addresses: what a packet filter can be made of.

    PolicySet ─► DeniedSources ─► of(ip, port, protocol) ─► ((first, last), …)

It asks `opinion`, the same as `decide`, but once for a group instead of once for an address:

1. Pods of one identity are one group, split only where an ipBlock of the destination's begins or ends.
2. Addresses that are no pod's are alike between two such borders.
3. Destinations of one identity share the answer, but for themselves and their own node, who are never denied.
"""

from bisect import bisect_right
from collections.abc import Iterator
from ipaddress import IPv4Address

from minikube_py.cni.cbpf import Ranges, merge, number, subtract
from minikube_py.cni.types import Flow
from minikube_py.networkpolicy.blocks import IPBlock
from minikube_py.networkpolicy.compile import PolicySet, Side
from minikube_py.networkpolicy.decide import Subject, is_own_node, opinion, ruled
from minikube_py.networkpolicy.identity import Endpoint, Identity
from minikube_py.networkpolicy.policy import Direction, Rule

__all__ = ["DeniedSources"]

_LAST = 0xFFFFFFFF
_ALL: Ranges = ((0, _LAST),)


class DeniedSources:
    """The denied sources under one snapshot; answers are remembered."""

    def __init__(self, policy_set: PolicySet) -> None:
        self._set = policy_set
        self._groups: dict[Identity, list[tuple[int, Endpoint]]] = {}
        for ip, endpoint in policy_set.pods.items():
            self._groups.setdefault(endpoint.identity, []).append((number(ip), endpoint))
        self._leaving = {
            identity: side
            for identity in self._groups
            if (side := policy_set.rules(identity).egress) and (side.policies or side.admin or side.baseline)
        }
        """Who is restricted on its way out."""
        self._by_address = any(_by_address(side) for side in self._leaving.values())
        self._known: dict[tuple[object, int, str, bool], Ranges] = {}

    def of(self, ip: str, port: int, protocol: str = "TCP", seen_as: str = "") -> Ranges:
        """Return the sources that `decide` denies; with `seen_as`, those that it denies in that disguise."""
        destination = self._set.pods.get(ip)
        key: object = ip if destination is None or self._by_address else destination.identity
        shared = self._known.get((key, port, protocol, bool(seen_as)))
        if shared is None:
            shared = self._shared(ip, destination, port, protocol, hidden=bool(seen_as))
            self._known[key, port, protocol, bool(seen_as)] = shared
        if destination is None:
            return shared
        if seen_as:
            peer = self._set.pods.get(seen_as)
            subject = Subject(self._set, Flow(seen_as, ip, port, protocol), Direction.INGRESS, destination, peer)
            if not opinion(self._set, subject).allowed:
                shared = _ALL
            return subtract(shared, [number(ip)])
        own = {address for address in self._set.nodes if is_own_node(self._set, destination, address)}
        if destination.host_ip:
            own.add(destination.host_ip)
        return subtract(shared, [number(address) for address in (ip, *own)])

    def _shared(self, ip: str, destination: Endpoint | None, port: int, protocol: str, *, hidden: bool) -> Ranges:
        """Return the denied sources without the exceptions; `hidden` asks about the way out alone."""
        side = None if destination is None or hidden else self._set.rules(destination.identity).ingress
        borders = [0] if side is None else self._borders(side)
        outside: list[tuple[int, int]] = []
        if side is not None and destination is not None and (side.policies or side.admin or side.baseline):
            for index, first in enumerate(borders):
                last = borders[index + 1] - 1 if index + 1 < len(borders) else _LAST
                if not self._lets_in_stranger(destination, first, port, protocol):
                    outside.append((first, last))
        allowed: list[int] = []
        denied: list[int] = []
        at_node = ip in self._set.nodes
        for members in self._groups.values():
            if at_node or side is not None:
                known: dict[int, bool] = {}
                for at, source in members:
                    place = at if at_node else bisect_right(borders, at)
                    if place not in known:
                        known[place] = self._passes(source, destination, side, Flow(source.ip, ip, port, protocol))
                    (allowed if known[place] else denied).append(at)
            else:
                _, source = members[0]
                passes = self._passes(source, destination, None, Flow(source.ip, ip, port, protocol))
                (allowed if passes else denied).extend(at for at, _ in members)
        rest = subtract(merge(outside), allowed) if outside else ()
        return merge([*rest, *((at, at) for at in denied)])

    def _passes(self, source: Endpoint, destination: Endpoint | None, side: Side | None, flow: Flow) -> bool:
        if source.identity in self._leaving:
            subject = Subject(self._set, flow, Direction.EGRESS, source, destination)
            if not opinion(self._set, subject).allowed:
                return False
        if destination is None or side is None:
            return True
        return opinion(self._set, Subject(self._set, flow, Direction.INGRESS, destination, source)).allowed

    def _lets_in_stranger(self, destination: Endpoint, address: int, port: int, protocol: str) -> bool:
        """Tell whether an address may come in, if it is no pod's and not the own node's."""
        flow = Flow(str(IPv4Address(address)), destination.ip, port, protocol)
        return ruled(self._set, Subject(self._set, flow, Direction.INGRESS, destination, None)).allowed

    def _borders(self, side: Side) -> list[int]:
        """Return where an ipBlock begins or ends, in either form of the cluster's addresses."""
        found = {0}
        for block in _blocks(side):
            for network, mask in (*((block.network,) if block.network else ()), *block.holes):
                first, last = network, network | (~mask & _LAST)
                found |= {first, last + 1}
                for _, base, range_mask, target in self._set.stand_ins.ranges:
                    low, high = max(first, target), min(last, target | (~range_mask & _LAST))
                    if low <= high:
                        found |= {low - target + base, high - target + base + 1}
        return sorted(border for border in found if border <= _LAST)


def _rules(side: Side) -> Iterator[Rule]:
    yield from (numbered.rule for numbered in side.rules)
    yield from (entry.rule for entry in (*side.admin, *side.baseline))


def _blocks(side: Side) -> Iterator[IPBlock]:
    for rule in _rules(side):
        for peer in rule.peers or ():
            if peer.block is not None and peer.block.network is not None:
                yield peer.block


def _by_address(side: Side) -> bool:
    return any(peer.by_address for rule in _rules(side) for peer in rule.peers or ())
