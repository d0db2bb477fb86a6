"""Address management: which addresses of a range are leased, and to whom.

Stands for a CNI plugin's host-local IPAM and for the API server's ClusterIP allocator.
**The law of reuse:** a released address is not given out again before the pool has walked through all others, so
that a client or a DNS cache that still holds it meets nobody rather than a stranger (host-local does the same).
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

__all__ = ["Exhausted", "InUse", "Pool"]


class Exhausted(Exception):
    """No address of the range is free; the message says which range."""


class InUse(Exception):
    """The address that was asked for is leased already; the message says to whom."""


class Pool:
    """The leases of one range.

    The network and broadcast addresses and those in `reserved` (gateways, well-known addresses) are never leased by
    walking, though `reserve` may take a reserved one by name.
    """

    def __init__(self, network: IPv4Network, reserved: Iterable[str] = ()) -> None:
        self.network = network
        self._base = int(network.network_address)
        size = network.num_addresses
        edges = {0, size - 1} if size > 2 else set()
        self._skip = frozenset(edges | {self._offset(address) for address in reserved})
        self._leases: dict[int, str] = {}
        self._next = 0

    @property
    def leases(self) -> Mapping[str, str]:
        """Address → owner."""
        return MappingProxyType({self._address(offset): owner for offset, owner in self._leases.items()})

    @property
    def free(self) -> int:
        """How many addresses `lease` can still give out."""
        return self.network.num_addresses - len(self._skip | self._leases.keys())

    def owner(self, address: str) -> str | None:
        """Return who has `address`, or None."""
        return self._leases.get(self._offset(address))

    def lease(self, owner: str) -> str:
        """Give `owner` the next free address after the one leased last.

        Error handling: raises Exhausted when there is none.
        """
        size = self.network.num_addresses
        for step in range(size):
            offset = (self._next + step) % size
            if offset not in self._leases and offset not in self._skip:
                self._leases[offset] = owner
                self._next = offset + 1
                return self._address(offset)
        raise Exhausted(f"the address range {self.network} has no free address left ({len(self._leases)} in use)")

    def reserve(self, address: str, owner: str) -> str:
        """Give `owner` exactly `address`.

        Error handling: raises InUse when another has it, ValueError when it is outside the range.
        """
        offset = self._offset(address)
        if (holder := self._leases.get(offset)) is not None and holder != owner:
            raise InUse(f"{address} is in use by {holder}")
        self._leases[offset] = owner
        return address

    def release(self, address: str) -> None:
        """Take `address` back; nothing happens if nobody has it."""
        self._leases.pop(self._offset(address), None)

    def _address(self, offset: int) -> str:
        return str(IPv4Address(self._base + offset))

    def _offset(self, address: str) -> int:
        offset = int(IPv4Address(address)) - self._base
        if not 0 <= offset < self.network.num_addresses:
            raise ValueError(f"{address} is not in {self.network}")
        return offset
