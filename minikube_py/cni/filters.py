"""`PacketFilters`: keeps the kernel's programs in step with the policies, and tells who is being dropped.

    policies, pods, endpoints change ─► refresh, touch ─► Gate.denied_sources ─► Hole.aim      (drop.py)
    every 100 ms while anybody is denied ─► who waits in SYN_SENT? ─► Fabric.denied             (log, count)

1. A listener gets a hole when it has somebody to drop, and keeps it; others keep their plain socket.
2. A Service's address drops whom each of its endpoints denies. Who is denied by some of them is held after the
   accept, if the balancer has chosen one of those.
3. Changes are worked off in slices of 4 ms; listeners that drop somebody now come first, because a program that is
   late may keep out somebody who is allowed now. Those who are denied now are held until their listener's turn comes.
4. The kernel does not say whom it drops, so a dropped caller is noticed while it waits; one that gives up within
   100 ms may be missed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from minikube_py.cni import drop
from minikube_py.cni.accept import AcceptLoop, Address
from minikube_py.cni.cbpf import Ranges, contains, intersect, number
from minikube_py.cni.types import Flow

if TYPE_CHECKING:
    from minikube_py.cni.fabric import Fabric

__all__ = ["PacketFilters", "Target"]

logger = logging.getLogger(__name__)

_SLICE = 0.004
_LOOK = 0.1


class Target(NamedTuple):
    """Whom a caller of a listener may come to."""

    ip: str
    port: int
    seen_as: str = ""
    """As in `Flow`."""


@dataclass(slots=True, eq=False)
class _Filtered:
    address: Address
    accept: AcceptLoop
    targets: Callable[[], Iterable[Target]]
    hole: drop.Hole | None = None
    broken: bool = False
    real: Address = field(default=("", 0))

    @property
    def ranges(self) -> Ranges:
        return self.hole.ranges if self.hole else ()


class PacketFilters:
    """The packet filters of one fabric.

    Resource handling: `remove` fills in a listener's hole; `close()` all, and ends the timer.
    Error handling: where the kernel refuses, denied callers are held instead; said once.
    """

    def __init__(self, fabric: Fabric, *, enabled: bool) -> None:
        self._fabric = fabric
        self._enabled = enabled
        self._loop = asyncio.get_running_loop()
        self._filtered: dict[object, _Filtered] = {}
        self._by_address: dict[Address, _Filtered] = {}
        self._due: dict[_Filtered, None] = {}
        self._work: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: set[drop.Dropped] = set()
        self._overflows = -1
        """The kernel's count of dropped SYNs at the last look: asking who waits is worth it only if it has risen."""

    @property
    def dropping(self) -> int:
        """How many listeners drop somebody."""
        return sum(1 for one in self._filtered.values() if one.ranges)

    @property
    def _dropping_somebody(self) -> bool:
        return any(one.ranges for one in self._filtered.values())

    @property
    def busy(self) -> bool:
        """Some listeners' programs are still to be brought up to date."""
        return bool(self._due)

    def ranges(self, ip: str, port: int) -> Ranges:
        """Return the sources that are dropped at an address now."""
        found = self._by_address.get((ip, port))
        return found.ranges if found else ()

    def add(self, owner: object, address: Address, accept: AcceptLoop, targets: Callable[[], Iterable[Target]]) -> None:
        """Filter a listener that has begun to listen."""
        if not self._enabled or owner in self._filtered:
            return
        one = _Filtered(address, accept, targets, real=accept.sock.getsockname())
        self._filtered[owner] = self._by_address[address] = one
        self._update(one)

    def remove(self, owner: object) -> None:
        """Forget a listener that is about to close."""
        if (one := self._filtered.pop(owner, None)) is None:
            return
        self._due.pop(one, None)
        if self._by_address.get(one.address) is one:
            del self._by_address[one.address]
        if one.hole:
            one.hole.close()
            one.hole = None

    def touch(self, owner: object) -> None:
        """A listener's targets have changed."""
        if one := self._filtered.get(owner):
            self._due[one] = None
            self._plan()

    def refresh(self) -> None:
        """Verdicts may have changed: bring as many programs up to date as one slice allows now, the rest soon."""
        if not self._filtered:
            return
        for one in self._filtered.values():
            if one.hole:
                self._due[one] = None
        for one in self._filtered.values():
            self._due[one] = None
        self._run()

    def settle(self, source: str, address: Address) -> None:
        """A pod is about to connect to `address`: see that it is not dropped by a program of yesterday."""
        one = self._by_address.get(address)
        if one is not None and one.ranges and contains(one.ranges, number(source)):
            self._update(one)

    def close(self) -> None:
        for owner in [*self._filtered]:
            self.remove(owner)
        for handle in (self._work, self._timer):
            if handle:
                handle.cancel()
        self._work = self._timer = None
        self._enabled = False

    # Programs

    def _plan(self) -> None:
        if self._work is None and self._enabled:
            self._work = self._loop.call_soon(self._run, context=self._fabric.context())

    def _run(self) -> None:
        if self._work:
            self._work.cancel()
            self._work = None
        end = time.perf_counter() + _SLICE
        while self._due:
            one = next(iter(self._due))
            del self._due[one]
            self._update(one)
            if time.perf_counter() > end:
                break
        if self._due:
            self._plan()

    def _update(self, one: _Filtered) -> None:
        self._due.pop(one, None)
        if one.broken or not one.accept.serving:
            return
        wanted = self._wanted(one)
        if wanted == one.ranges:
            return
        if one.hole is None and not self._possible():
            return
        try:
            self._fabric.context().run(self._aim, one, wanted)
        except OSError as error:
            one.broken = True
            if one.hole:
                one.hole.close()
                one.hole = None
            logger.warning("no packet filter, denied callers are held address=%s:%d reason=%s", *one.address, error)
        if wanted and self._timer is None:
            self._timer = self._loop.call_later(_LOOK, self._look, context=self._fabric.context())

    @staticmethod
    def _aim(one: _Filtered, wanted: Ranges) -> None:
        """In a context that belongs to no pod: the connection that fills a hole is nobody's."""
        if one.hole is None:
            one.hole = drop.Hole(one.accept.sock, one.accept.take)
        one.hole.aim(wanted)

    def _possible(self) -> bool:
        if not self._fabric.context().run(drop.drops_work):
            logger.info("the kernel can't drop for us; denied callers are held")
            self._enabled = False
            self._filtered.clear()
            self._by_address.clear()
            self._due.clear()
        return self._enabled

    def _wanted(self, one: _Filtered) -> Ranges:
        result: Ranges | None = None
        for ip, port, seen_as in one.targets():
            denied = tuple(self._fabric.gate.denied_sources(ip, port, "TCP", seen_as))
            result = denied if result is None else intersect(result, denied)
            if not result:
                return ()
        return result or ()

    # Who is dropped

    def _look(self) -> None:
        self._timer = None
        self.look()
        if self._dropping_somebody:
            self._timer = self._loop.call_later(_LOOK, self._look, context=self._fabric.context())

    def look(self) -> None:
        """Note who is being dropped now: each waiting connect is one denial, however often it knocks."""
        if not self._dropping_somebody:
            self._waiting.clear()
            return
        if (dropped := drop.overflows()) == self._overflows and dropped >= 0:
            return
        self._overflows = dropped
        waiting = drop.syn_sent()
        by_real = {one.real: one for one in self._filtered.values() if one.ranges}
        for knock in waiting - self._waiting:
            source, _, ip, port = knock
            if found := by_real.get((ip, port)):
                self._note(found, source)
        self._waiting = waiting

    def _note(self, one: _Filtered, source: str) -> None:
        if not contains(one.ranges, number(source)):
            return
        for ip, port, seen_as in one.targets():
            flow = Flow(source, ip, port, "TCP", seen_as)
            verdict = self._fabric.gate.check(flow)
            if verdict.allowed:
                return  # the program is late: it will be let in at its next knock
            self._fabric.denied(flow, verdict)
            return
