"""Which endpoint gets the next request: round robin, by hash, or by cookie.

    cookie (affinity)  >  upstream-hash-by  >  round robin

Chance-free: the same requests in the same order reach the same pods. (ingress-nginx starts each worker's round robin at
a random endpoint; a test wants to be told the truth twice.)
"""

import hashlib
from collections.abc import Collection, Sequence

from minikube_py.ingress.router import BackendKey, Endpoint, Upstream

__all__ = ["Balancer", "cookie_value"]


def cookie_value(endpoint: Endpoint) -> str:
    """Return what the affinity cookie holds: it names the endpoint without showing its address."""
    return hashlib.sha1(str(endpoint).encode()).hexdigest()


def _group(endpoints: Sequence[Endpoint], value: str, size: int) -> Sequence[Endpoint]:
    """Return the `size` endpoints that requests with this hash value share."""
    ordered = sorted(endpoints)
    groups = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return max(groups, key=lambda group: _weight(group[0], value), default=())


def _weight(endpoint: Endpoint, value: str) -> bytes:
    return hashlib.sha1(f"{endpoint}\0{value}".encode()).digest()


class Balancer:
    """Remembers whose turn it is, backend by backend, across routing tables."""

    def __init__(self) -> None:
        self._turns: dict[BackendKey, int] = {}

    def pick(
        self,
        upstream: Upstream,
        tried: Collection[Endpoint] = (),
        *,
        hash_of: str = "",
        subset: int = 0,
        sticky: str = "",
    ) -> Endpoint | None:
        """Return an endpoint that was not `tried`; None if there is none.

        `hash_of` is the expanded upstream-hash-by, `sticky` the affinity cookie's value; "" is none. So many endpoints
        as `subset` says share a hash and take turns (upstream-hash-by-subset); 0: one endpoint has it.
        """
        endpoints: Sequence[Endpoint] = upstream.endpoints
        if hash_of and subset:
            endpoints, hash_of = _group(endpoints, hash_of, subset), ""
        if tried:
            endpoints = tuple(each for each in endpoints if each not in tried)
        if not endpoints:
            return None
        if sticky:
            for each in endpoints:
                if cookie_value(each) == sticky:
                    return each
        if hash_of:  # rendezvous hashing: an endpoint that comes or goes moves only its own share
            return max(endpoints, key=lambda each: _weight(each, hash_of))
        turn = self._turns.get(upstream.key, 0)
        self._turns[upstream.key] = turn + 1
        return endpoints[turn % len(endpoints)]

    def forget(self, keep: Collection[BackendKey]) -> None:
        """Drop the turns of backends that are no more."""
        for key in [each for each in self._turns if each not in keep]:
            del self._turns[key]
