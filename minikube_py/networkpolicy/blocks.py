"""ipBlock: CIDRs with exceptions, and the two forms in which users may write a cluster's addresses.

The cluster's loopback addresses stand for those that a real cluster has. **The rule of forms:** an address of the
cluster has two forms, its own (127.244.1.5) and the one that it stands for (10.244.1.5); a CIDR, in `cidr` as in
`except`, covers the address if it covers either form. Every other address (127.0.0.1, 93.184.216.34) has one form.
So 0.0.0.0/0 covers all, `0.0.0.0/0 except 10.0.0.0/8` covers all but pods and Services, and manifests written for a
real cluster mean here what they mean there.

    range of the cluster     stands for (kind's defaults)     offset kept: 127.244.1.5 ↔ 10.244.1.5
    pods                     10.244.0.0
    services                 10.96.0.0
    nodes                    172.18.0.0

That holds for the default ranges and for a machine's further slices (`Addresses.slice`), which nobody chose. A range
that the user chose, 127.a.b.0/n, stands for 10.a.b.0/n (nodes: 172.a.b.0/n). Load balancer addresses have one form:
there is no default pool to stand for.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple, Self

from msgspec import Struct

from minikube_py.cni.addresses import Addresses

__all__ = ["Forms", "IPBlock", "Range", "StandIns"]

Forms = tuple[int, ...]
"""The forms of one address as integers; none for what is not IPv4."""

_DEFAULT = Addresses()


def _parse(cidr: str) -> tuple[int, int] | None:
    """Return (network, mask); None for IPv6 or nonsense, which no IPv4 address is in."""
    try:
        network = IPv4Network(cidr, strict=False)
    except ValueError:
        return None
    return int(network.network_address), int(network.netmask)


@dataclass(frozen=True, slots=True)
class IPBlock:
    """`networking.k8s.io/v1 IPBlock`."""

    cidr: str
    exceptions: tuple[str, ...] = ()
    network: tuple[int, int] | None = field(default=None, repr=False, compare=False)
    """As (network, mask); None for what no IPv4 address is in."""
    _except: tuple[tuple[int, int], ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(cls, cidr: str, exceptions: Any = ()) -> Self:
        exceptions = tuple(map(str, exceptions or ()))
        return cls(str(cidr), exceptions, _parse(str(cidr)), tuple(p for p in map(_parse, exceptions) if p))

    @property
    def holes(self) -> tuple[tuple[int, int], ...]:
        """The exceptions as (network, mask)."""
        return self._except

    def covers(self, forms: Forms) -> bool:
        """Tell whether an address is in the block and in none of its exceptions."""
        if self.network is None:
            return False
        network, mask = self.network
        for form in forms:
            if form & mask == network:
                break
        else:
            return False
        return not any(form & mask == network for network, mask in self._except for form in forms)

    def excepts(self, forms: Forms) -> str | None:
        """Return the exception that an address inside the CIDR falls under."""
        for text in self.exceptions:
            if (parsed := _parse(text)) and any(form & parsed[1] == parsed[0] for form in forms):
                return text
        return None

    def __str__(self) -> str:
        return f"{self.cidr} except {', '.join(self.exceptions)}" if self.exceptions else self.cidr


def _is_slice(addresses: Addresses) -> bool:
    """Tell whether nobody chose these ranges: they are packed as `Addresses.slice` packs them."""
    base = int(addresses.pods.network_address)
    return (
        addresses.pods.prefixlen == 17
        and int(addresses.services.network_address) == base + (128 << 8)
        and int(addresses.nodes.network_address) == base + (192 << 8)
    )


class Range(NamedTuple):
    """One range of the cluster and what it stands for, as integers."""

    role: str
    """`pods`, `services` or `nodes`."""
    network: int
    mask: int
    target: int
    """The first address of what it stands for; the range itself where nothing is known."""


class StandIns(Struct, frozen=True):
    """The rule of forms for one cluster."""

    ranges: tuple[Range, ...]

    @classmethod
    def of(cls, addresses: Addresses) -> Self:
        sliced = _is_slice(addresses)
        ranges = []
        for role, have, default, real, octet in (
            ("pods", addresses.pods, _DEFAULT.pods, "10.244.0.0", 10),
            ("services", addresses.services, _DEFAULT.services, "10.96.0.0", 10),
            ("nodes", addresses.nodes, _DEFAULT.nodes, "172.18.0.0", 172),
        ):
            base = int(have.network_address)
            if sliced or have == default:
                target = int(IPv4Address(real))
            elif base >> 24 == 127:
                target = (base & 0x00FFFFFF) | (octet << 24)
            else:
                target = base
            ranges.append(Range(role, base, int(have.netmask), target))
        return cls(tuple(ranges))

    def forms(self, address: str) -> Forms:
        """Return the forms of an address."""
        try:
            own = int(IPv4Address(address))
        except ValueError:
            return ()
        for _, network, mask, target in self.ranges:
            if own & mask == network:
                return own, target + (own - network)
        return (own,)
