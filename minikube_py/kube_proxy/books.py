"""What went where: the counters of a Service port's endpoints, and the balancer that goes by them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from minikube_py.cni.accept import Address
from minikube_py.kube_proxy.balancer import Balancer, Mode
from minikube_py.kube_proxy.table import Endpoint

__all__ = ["EndpointStats", "PortBooks"]

_REMEMBERED = 4096
"""Endpoints of one port whose books are kept: four times as many as one Service is advised to have."""


@dataclass(slots=True)
class EndpointStats:
    """What went to one endpoint of one Service port."""

    connections: int = 0
    """Handed over so far (for UDP: flows)."""
    open: int = 0
    denied: int = 0
    """Denied by policy; those held are open as well."""
    received: int = 0
    """Bytes from callers, of ended connections."""
    sent: int = 0

    def ended(self, received: int, sent: int) -> None:
        self.open -= 1
        self.received += received
        self.sent += sent


class PortBooks:
    """The balancer and the books of one port of a Service, which outlive changes of the table."""

    def __init__(self, mode: Mode, chance: random.Random) -> None:
        self.stats: dict[Address, EndpointStats] = {}
        self._balancer = Balancer(mode, open_connections=self._open, chance=chance)

    def _open(self, target: Address) -> int:
        stats = self.stats.get(target)
        return stats.open if stats else 0

    def pick(self, candidates: Sequence[Endpoint], client: str, now: float, affinity: float) -> Endpoint | None:
        """Choose an endpoint for a client's address, and count the connection as open; `affinity` in seconds."""
        endpoint = self._balancer.pick(candidates, client, now, affinity)
        if endpoint is not None:
            self.of(endpoint).open += 1
        return endpoint

    def of(self, endpoint: Endpoint) -> EndpointStats:
        """Return the counters of an endpoint."""
        stats = self.stats.get(endpoint.address)
        if stats is None:
            if len(self.stats) >= _REMEMBERED:
                self._forget_idle()
            stats = self.stats[endpoint.address] = EndpointStats()
        return stats

    def _forget_idle(self) -> None:
        """Make room: drop the older half of the endpoints that have no connection; pods come and go for ever."""
        idle = [address for address, stats in self.stats.items() if not stats.open]
        for address in idle[: len(idle) // 2 + 1]:
            del self.stats[address]
