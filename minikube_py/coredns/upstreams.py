"""Asking upstream nameservers: over UDP, over TCP when truncated; the network half of the forward plugin.

Left out: health checks, kept connections, DNS over TLS.
"""

import asyncio
import contextvars
import random

from minikube_py.aiokit.clock import Clock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.cni import dnsclient
from minikube_py.cni.dnswire import WireError, header, query, rcode_name, type_number
from minikube_py.coredns.forwarded import ForwardCache
from minikube_py.coredns.plugins.plugin import CacheRule, Forward, Upstream

__all__ = ["UpstreamError", "Upstreams"]

_READ_TIMEOUT = 2.0
"""Seconds for an upstream's answer (CoreDNS' forward: readTimeout)."""
_DEADLINE = 4.5
"""Seconds for all upstreams together: less than libc's 5, so that the client hears SERVFAIL and not nothing."""


class UpstreamError(Exception):
    """No upstream gave an answer."""

    def __init__(self, why: str, rcode: str = "SERVFAIL") -> None:
        super().__init__(why)
        self.rcode = rcode


_Key = tuple[str, str, bool, tuple[Upstream, ...]]


class Upstreams:
    """Asks elsewhere: from the cache, once for all who want the same at the same time, else over the wire."""

    def __init__(self, scope: TaskScope, clock: Clock, chance: random.Random) -> None:
        self.cache = ForwardCache()
        self.rejected = 0
        """Queries refused because too many were in flight."""
        self._scope = scope
        self._clock = clock
        self._chance = chance
        self._turn = 0
        self._flying: dict[_Key, asyncio.Task[bytes | UpstreamError]] = {}

    def forget(self) -> None:
        self.cache.clear()

    async def ask(self, forward: Forward, rule: CacheRule | None, *, do: bool) -> tuple[bytes, int]:
        """Return an upstream's reply and its age in seconds.

        Error handling: UpstreamError.
        """
        question = forward.question
        now = self._clock.now()
        if rule and (kept := self.cache.get(question, do, now)):
            return kept
        key = (question.name.lower(), question.type, do, forward.upstreams)
        task = self._flying.get(key)
        if task is None:
            if forward.max_concurrent and len(self._flying) >= forward.max_concurrent:
                self.rejected += 1
                raise UpstreamError(f"concurrent queries exceeded maximum {forward.max_concurrent}", "REFUSED")
            task = self._scope.spawn(self._exchange(forward, do), name=f"forward:{question.name}")
            self._flying[key] = task
            task.add_done_callback(lambda _: self._flying.pop(key, None))
        result = await asyncio.shield(task)
        if isinstance(result, UpstreamError):
            raise UpstreamError(str(result), result.rcode)
        if rule:
            self.cache.put(question, do, result, rule, now)
        return result, 0

    async def _exchange(self, forward: Forward, do: bool) -> bytes | UpstreamError:
        """Return the reply, or the UpstreamError (a failure of the network is a result here, not of the task)."""
        self._turn += 1
        clock = self._clock
        deadline = clock.now() + _DEADLINE
        order = forward.order(self._chance, self._turn)
        asked = query(
            self._chance.getrandbits(16), forward.question.name, type_number(forward.question.type), edns=1232, do=do
        )
        why, last = "no upstream answered", b""
        refused: set[Upstream] = set()
        for upstream in (*order, *order):
            left = deadline - clock.now()
            if left <= 0 or upstream in refused:
                continue
            where = f"{upstream.address}:{upstream.port}"
            try:
                reply = await self._once(asked, upstream, min(left, _READ_TIMEOUT), tcp=forward.force_tcp)
            except OSError as error:
                refused.add(upstream)
                why = f"read udp {where}: {error.strerror or error}"
                continue
            except WireError as error:
                why = f"{where}: {error}"
                continue
            if reply is None:
                why = f"read udp {where}: i/o timeout"
                continue
            last = reply
            if rcode_name(header(reply).rcode) not in forward.failover:
                return reply
            refused.add(upstream)
        return last or UpstreamError(f"plugin/forward: {why}")

    async def _once(self, asked: bytes, upstream: Upstream, timeout: float, *, tcp: bool) -> bytes | None:
        exchange = self._datagrams(asked, upstream, timeout, tcp=tcp)
        if upstream.of_machine:  # a task of its own, in no pod's context
            return await asyncio.create_task(exchange, context=contextvars.Context())
        return await exchange

    async def _datagrams(self, asked: bytes, upstream: Upstream, timeout: float, *, tcp: bool) -> bytes | None:
        clock = self._clock
        if not tcp:
            (reply,) = await dnsclient.udp([asked], (upstream.address, upstream.port), timeout=timeout, clock=clock)
            if reply is None or not header(reply).truncated:
                return reply
        return await dnsclient.tcp(asked, (upstream.address, upstream.port), timeout=timeout, clock=clock)
