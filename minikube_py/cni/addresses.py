"""Which address stands for what, and the lock by which two clusters on one machine keep apart.

    node i        127.18.0.(2+i)     stands for 172.18.0.x (kind's network)
    pods of it    127.244.i.0/24                10.244.i.0/24
    Services      127.96.0.0/16                 10.96.0.0/16; kubernetes .0.1, kube-dns .0.10
    balancers     127.200.0.1 …                 a cloud's or MetalLB's pool

That is slice 0, for the first cluster of a machine. Slice k ≥ 1 packs all four into one /16 (`Addresses.slice`).
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from itertools import chain
from typing import Self

__all__ = ["AddressRangeTaken", "Addresses", "RangeLock", "is_ipv4", "lease_slice", "within"]

_SLICES = tuple(chain(range(128, 200), range(20, 90)))
"""Second octets of slices 1, 2, …: clear of slice 0 and of 127.0.0.0/16, where other programs live."""

_LOCK_PORT = 21100
"""A range is locked by a bound socket on its first address, at this port plus its prefix length, so that everybody can
see whose it is. Any port does that no pod listens on; the lock of a dead owner is gone."""
_SOCKETS = "/proc/net/udp"


def is_ipv4(text: str) -> bool:
    """Tell whether a text is an IPv4 address, not a name."""
    try:
        socket.inet_pton(socket.AF_INET, text)  # a tenth of what `ipaddress` takes
    except (OSError, ValueError):
        return False
    return True


def within(address: str, *ranges: IPv4Network) -> bool:
    """Tell whether a text is an address in one of the ranges; a name is in none."""
    try:
        ip = IPv4Address(address)
    except ValueError:
        return False
    return any(ip in network for network in ranges)


class AddressRangeTaken(Exception):
    """Another cluster holds the range; the message says which and what to do."""

    def __init__(self, message: str, network: IPv4Network | None = None) -> None:
        super().__init__(message)
        self.network = network


@dataclass(frozen=True, slots=True)
class Addresses:
    """The ranges of one cluster."""

    nodes: IPv4Network = IPv4Network("127.18.0.0/24")
    pods: IPv4Network = IPv4Network("127.244.0.0/16")
    services: IPv4Network = IPv4Network("127.96.0.0/16")
    load_balancers: IPv4Network = IPv4Network("127.200.0.0/24")

    @classmethod
    def slice(cls, number: int) -> Self:
        """Return the ranges of the `number`th cluster of a machine."""
        if number == 0:
            return cls()
        octet = _SLICES[number - 1]
        return cls(
            nodes=IPv4Network(f"127.{octet}.192.0/24"),
            pods=IPv4Network(f"127.{octet}.0.0/17"),
            services=IPv4Network(f"127.{octet}.128.0/18"),
            load_balancers=IPv4Network(f"127.{octet}.193.0/24"),
        )

    def node_ip(self, index: int) -> str:
        return str(self.nodes[2 + index])

    def pod_cidr(self, index: int) -> IPv4Network:
        """Return node `index`'s pod range, a /24."""
        return IPv4Network((int(self.pods.network_address) + (index << 8), 24))

    @property
    def node_limit(self) -> int:
        """How many nodes have an address and a /24 for their pods."""
        return min(self.pods.num_addresses >> 8, self.nodes.num_addresses - 3)

    @property
    def kubernetes_ip(self) -> str:
        return str(self.services[1])

    @property
    def dns_ip(self) -> str:
        return str(self.services[10])

    def is_pod(self, address: str) -> bool:
        """Tell whether an address lies in the pods' range."""
        return within(address, self.pods)

    def contains(self, address: str) -> bool:
        """Tell whether an address is one of this cluster's own."""
        return within(address, self.pods, self.services, self.nodes, self.load_balancers)

    def is_service(self, address: str) -> bool:
        """Tell whether an address is a Service's: a cluster IP or a load balancer's."""
        return within(address, self.services, self.load_balancers)


class RangeLock:
    """Holds a cluster's ranges for as long as it is open: against the same ones, and (on Linux) against any overlap.

    Resource handling: one bound datagram socket each; the kernel frees them when the process ends, however it ends.
    """

    def __init__(self, addresses: Addresses) -> None:
        self._sockets: list[socket.socket] = []
        ranges = {
            network: setting
            for network, setting in (
                (addresses.load_balancers, "loadBalancerPool"),
                (addresses.services, "serviceSubnet"),
                (addresses.pods, "podSubnet"),
                (addresses.nodes, "nodeSubnet"),
            )
            if network.num_addresses > 1
        }
        try:
            for network, setting in ranges.items():
                self._take(network, setting)
            others = set(_held()) - ranges.keys()
            for network, setting in ranges.items():
                for other in others:
                    if network.overlaps(other):
                        raise _taken(network, setting, f"overlaps {other}, which")
        except BaseException:
            self.close()
            raise

    def _take(self, network: IPv4Network, setting: str) -> None:
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(held)
        try:
            held.bind((str(network[1]), _LOCK_PORT + network.prefixlen))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise _taken(network, setting) from None

    def close(self) -> None:
        for held in self._sockets:
            held.close()


def _taken(network: IPv4Network, setting: str, how: str = "") -> AddressRangeTaken:
    return AddressRangeTaken(
        f"the address range {network} {how}{' ' if how else ''}belongs to another running cluster (see: mkpy ls); "
        f"stop it, or leave networking.{setting} out so that a free range is taken",
        network,
    )


def _held() -> Iterator[IPv4Network]:
    """Yield the ranges that this machine's clusters hold, ours too; nothing where the kernel doesn't tell."""
    try:
        with open(_SOCKETS) as file:
            lines = file.readlines()[1:]
    except OSError:
        return
    for line in lines:
        address, _, port = line.split(maxsplit=2)[1].partition(":")
        prefix = int(port, 16) - _LOCK_PORT
        if 8 <= prefix <= 31:
            with suppress(ValueError):  # some other program's socket
                yield IPv4Network((socket.ntohl(int(address, 16)) - 1, prefix))


def lease_slice(**chosen: IPv4Network) -> tuple[Addresses, RangeLock]:
    """Take the first free slice of this machine, with the ranges that are `chosen` in place of its own.

    Error handling: AddressRangeTaken when all are in use, or a chosen one is.
    """
    for number in range(len(_SLICES) + 1):
        addresses = replace(Addresses.slice(number), **chosen)
        try:
            return addresses, RangeLock(addresses)
        except AddressRangeTaken as error:
            if error.network in chosen.values():
                raise
    raise AddressRangeTaken(
        f"all {len(_SLICES) + 1} address ranges are in use by running clusters; stop some (mkpy down)"
    )
