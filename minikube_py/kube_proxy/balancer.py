"""Which endpoint gets the next connection.

`roundrobin` is the default because its results can be counted on: 1,000 connections over three endpoints are
333/333/334. A real kube-proxy in iptables mode picks at random; in IPVS mode it offers all of these
(https://kubernetes.io/docs/reference/networking/virtual-ips/#proxy-mode-ipvs: rr, lc, sh).
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TypeAlias
from zlib import crc32

from msgspec import Struct

from minikube_py.kube_proxy.table import Endpoint

__all__ = ["Balancer", "Mode"]

Target: TypeAlias = tuple[str, int]

_SWEEP = 1024
"""Affinity entries at which the outdated ones are looked for; doubled when few were."""


class Mode(Enum):
    ROUND_ROBIN = "roundrobin"
    RANDOM = "random"
    LEAST_CONN = "leastconn"
    SOURCE_HASH = "sourcehash"


class _Sticky(Struct, frozen=True):
    target: Target
    seen: float


class Balancer:
    """Picks endpoints for one port of one Service; all its addresses share the memory, as in kube-proxy.

    `open_connections` tells how many a target has (leastconn), `chance` decides in random mode.
    """

    def __init__(
        self,
        mode: Mode,
        *,
        open_connections: Callable[[Target], int] = lambda target: 0,
        chance: random.Random | None = None,
    ) -> None:
        self.mode = mode
        self._open = open_connections
        self._chance = chance or random.Random(0)
        self._last: Target = ("", 0)
        self._index = -1
        self._among: Sequence[Endpoint] = ()
        self._sticky: dict[str, _Sticky] = {}
        self._sweep_at = _SWEEP

    @property
    def affinity(self) -> Mapping[str, Target]:
        """Client → the endpoint that it is to stay with."""
        return {client: sticky.target for client, sticky in self._sticky.items()}

    def pick(self, candidates: Sequence[Endpoint], client: str, now: float, affinity: float = 0.0) -> Endpoint | None:
        """Return the endpoint for a new connection of `client` (an IP), None if there is no candidate.

        `candidates` are in order of address. With `affinity` (seconds), a client stays with its endpoint while that is
        a candidate and the client has called within that time; each call renews it (iptables' `recent --rcheck`).
        """
        if not candidates:
            return None
        if affinity <= 0:
            return self._choose(candidates, client)
        sticky = self._sticky.get(client)
        chosen = None
        if sticky is not None and now - sticky.seen < affinity:
            chosen = next((one for one in candidates if (one.ip, one.port) == sticky.target), None)
        if chosen is None:
            chosen = self._choose(candidates, client)
        self._sticky[client] = _Sticky((chosen.ip, chosen.port), now)
        if len(self._sticky) >= self._sweep_at:
            self._sticky = {who: one for who, one in self._sticky.items() if now - one.seen < affinity}
            self._sweep_at = max(_SWEEP, 2 * len(self._sticky))
        return chosen

    def _choose(self, candidates: Sequence[Endpoint], client: str) -> Endpoint:
        match self.mode:
            case Mode.ROUND_ROBIN:
                return self._next(candidates)
            case Mode.RANDOM:
                return self._chance.choice(candidates)
            case Mode.LEAST_CONN:
                load = [self._open((one.ip, one.port)) for one in candidates]
                least = min(load)
                return self._next([one for one, count in zip(candidates, load, strict=True) if count == least])
            case Mode.SOURCE_HASH:
                # Rendezvous hashing: a lost endpoint moves its own clients only.
                return max(candidates, key=lambda one: crc32(f"{client} {one.ip}:{one.port}".encode()))

    def _next(self, candidates: Sequence[Endpoint]) -> Endpoint:
        """Walk on from the endpoint picked last, in order of address: fair also while endpoints come and go."""
        if candidates is self._among:  # the usual case: nothing has changed since the last pick
            index = (self._index + 1) % len(candidates)
        else:
            index = bisect_right(candidates, self._last, key=lambda one: (one.ip, one.port)) % len(candidates)
            self._among = candidates
        chosen = candidates[index]
        self._index = index
        self._last = chosen.ip, chosen.port
        return chosen
