"""`limit-rps`, `limit-rpm`, `limit-burst-multiplier`, `limit-allowlist`: requests per client address, else 503.

nginx's leaky bucket (`limit_req … burst=N nodelay`): each request adds one, the bucket leaks at the rate, more than
burst = rate x multiplier (5) above it is refused.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import ClassVar

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase

NAMES = ("limit-rps", "limit-rpm", "limit-burst-multiplier", "limit-whitelist", "limit-allowlist")
PHASE = Phase.PREACCESS
_CLIENTS = 10_000
"""Addresses remembered per limit; the longest silent go first (nginx: a 5 MB zone, about 80,000)."""


@dataclass(frozen=True, slots=True)
class LimitRequests:
    """One bucket per client."""

    phase: ClassVar[Phase] = Phase.PREACCESS
    ingress: Key
    annotation: str
    rate: float
    """Requests per second."""
    burst: int
    exempt: tuple[IPv4Network | IPv6Network, ...] = ()

    def request(self, call: Call) -> Answer | None:
        if self.exempt and any(ip_address(call.remote) in each for each in self.exempt):
            return None
        buckets: dict[str, tuple[float, float]] = call.state.setdefault((self.annotation, self.ingress), {})
        excess, last = buckets.pop(call.remote, (-1.0, call.now))
        level = max(excess - (call.now - last) * self.rate, -1.0) + 1.0
        if level > self.burst:
            buckets[call.remote] = (excess, last)
            return Answer(503, f"annotation {self.annotation}: more than its rate and burst of {self.burst}")
        buckets[call.remote] = (level, call.now)
        if len(buckets) > _CLIENTS:
            del buckets[next(iter(buckets))]
        return None


def apply(draft: Draft) -> None:
    multiplier = draft.number("limit-burst-multiplier", 1) or 5
    exempt = draft.networks("limit-allowlist") or draft.networks("limit-whitelist") or ()
    for name, unit in (("limit-rpm", 60), ("limit-rps", 1)):
        if rate := draft.number(name):
            draft.filters.append(LimitRequests(draft.key, name, rate / unit, rate * multiplier, exempt))
