"""Queries over UDP and TCP: answered at once where `engine` can, else with what upstreams say; counted and logged.

bytes ──► Engine.fast ──► reply
              └─► Engine.slow ──► reply
                     └─► Pending ──► Upstreams: cache, one question at a time for all who ask it, UDP then TCP
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from minikube_py.aiokit.tasks import TaskScope
from minikube_py.cni.dnswire import RCODES, WireError, header, rcode_name
from minikube_py.cni.mmsg import Datagram
from minikube_py.coredns.engine import Asked, Engine, Finished, Pending, Served
from minikube_py.coredns.fastpath import Entry
from minikube_py.coredns.forwarded import fit, read_answer
from minikube_py.coredns.message import Answer, Question
from minikube_py.coredns.metrics import FIRST_BUCKET, Metrics
from minikube_py.coredns.plugins import Forward, Outcome, Query
from minikube_py.coredns.querylog import QueryLog
from minikube_py.coredns.upstreams import UpstreamError, Upstreams

__all__ = ["Datagrams", "Queries"]

logger = logging.getLogger(__name__)

_TCP_IDLE = 10.0
"""Seconds that a TCP client may be silent (CoreDNS: 10 s idle timeout)."""
_MOST_PENDING = 4096
"""Questions in flight to upstreams, if the Corefile sets no limit."""
_MOST_CHASES = 8
"""CNAMEs that are followed out of their zones, one after the other."""


class Queries:
    """What one container's CoreDNS does with queries, whatever port they come to.

    Error handling: what an upstream fails to answer is SERVFAIL, with a line in the log.
    """

    def __init__(
        self, scope: TaskScope, upstreams: Upstreams, metrics: Metrics, log: QueryLog, say: Callable[[str], None]
    ) -> None:
        self.scope = scope
        self.upstreams = upstreams
        self.metrics = metrics
        self.log = log
        self.panics = 0
        self._print = say

    def fold(self, entry: Entry) -> None:
        """Keep the counters of a finished answer that goes."""
        if entry.hits:
            self.metrics.add(entry.info, entry.hits, entry.seconds)
            entry.hits, entry.seconds = 0, 0.0

    def finished(self, done: Finished, client: Any, data: bytes, seconds: float) -> None:
        """Count and log one reply of the slow path."""
        self.metrics.add(done.info, 1, seconds)
        if seconds > FIRST_BUCKET:
            self.metrics.slow(done.info, seconds)
        if done.info.formats:
            self.log.add(client, data, done.info, seconds)
        if done.why:
            self._error(done.info.question, done.info.rcode, done.why)

    def _error(self, question: Question, rcode: str, why: str) -> None:
        self._print(f"[ERROR] plugin/errors: {RCODES[rcode]} {question.name} {question.type}: {why}")

    async def respond(self, pending: Pending, engine: Engine) -> Finished:
        """Do what a pending query wants; a failure is SERVFAIL."""
        asked, outcome, served = pending
        if isinstance(outcome, Forward) and not outcome.after:
            try:
                message, age = await self.upstreams.ask(
                    outcome, served.block.cache, do=bool(asked.edns and asked.edns.do)
                )
            except UpstreamError as error:
                return self._failed(asked, served, engine, error)
            reply = fit(message, asked.data, opt=asked.opt, limit=asked.limit, age=age)
            head = header(reply)
            info = engine.info(asked, rcode_name(head.rcode), head.flags, len(reply), head.answers, served, "forward")
            return Finished(reply, info)
        try:
            answer = await self._answer(asked.question, outcome, engine, served)
        except UpstreamError as error:
            return self._failed(asked, served, engine, error)
        return engine.finish(asked, answer, served)

    def _failed(self, asked: Asked, served: Served, engine: Engine, error: UpstreamError) -> Finished:
        answer = Answer(error.rcode, authoritative=False, plugin="forward", why=str(error))
        return engine.finish(asked, answer, served)

    async def _answer(
        self, question: Question, outcome: Outcome, engine: Engine, served: Served, depth: int = 0
    ) -> Answer:
        """Resolve an outcome to records: ask upstream, undo rewrites, follow a CNAME out of its zone."""
        if isinstance(outcome, Forward):
            message, age = await self.upstreams.ask(outcome, served.block.cache, do=False)
            answer = _aged(_readable(message), age)
            for undo in outcome.after:
                answer = undo(answer)
            return answer
        if not outcome.chase or depth >= _MOST_CHASES:
            return outcome
        # CoreDNS resolves the target as if it were asked for it, and keeps the CNAME whatever comes of that.
        target = question._replace(name=outcome.chase)
        next_served = engine.block_for(target.name)
        if next_served is None:
            return outcome
        try:
            more = await self._answer(
                target, next_served.handler(Query(target, engine.zone())), engine, next_served, depth + 1
            )
        except UpstreamError as error:
            return replace(outcome, chase="", why=f"{target.name}: {error}")
        return replace(outcome, answer=(*outcome.answer, *more.answer), chase="")

    async def connection(self, engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername") or ("", 0)
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                begin = time.perf_counter()
                if (found := engine.fast(data, tcp=True)) is not None:
                    writer.write(len(found[0]).to_bytes(2, "big") + found[0])
                    self.finished(Finished(found[0], found[1].info), client, data, time.perf_counter() - begin)
                    await writer.drain()
                    continue
                done = engine.slow(data, client[0], tcp=True)
                if done is None:
                    return
                if isinstance(done, Pending):
                    done = await self.respond(done, engine)
                reply = done.reply if isinstance(done, Finished) else done
                writer.write(len(reply).to_bytes(2, "big") + reply)
                if isinstance(done, Finished):
                    self.finished(done, client, data, time.perf_counter() - begin)
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            return  # the client is done, silent, or gone
        finally:
            writer.close()


class Datagrams(asyncio.DatagramProtocol):
    """The UDP side of one port."""

    def __init__(self, queries: Queries, engine: Engine) -> None:
        self._queries = queries
        self._engine = engine
        self._log = queries.log.add
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a datagram endpoint

    def datagram_received(self, data: bytes, addr: Any) -> None:
        begin = time.perf_counter()
        found = self._engine.fast(data)
        if found is None:
            self._slowly(data, addr, begin)
            return
        reply, entry = found
        self._transport.sendto(reply, addr)
        seconds = time.perf_counter() - begin
        entry.hits += 1
        entry.seconds += seconds
        if entry.info.formats:
            self._log(addr, data, entry.info, seconds)
        if seconds > FIRST_BUCKET:
            self._queries.metrics.slow(entry.info, seconds)

    def datagrams_received(self, received: list[Datagram]) -> list[Datagram]:
        """Answer a batch (cni.datagrams); each query is said to have taken its share of the time."""
        begin = time.perf_counter()
        replies, entries, known, others = self._engine.fast_all(received)
        if entries:
            seconds = (time.perf_counter() - begin) / len(received)
            logged = False
            for entry in entries:
                entry.hits += 1
                entry.seconds += seconds
                logged = logged or bool(entry.info.formats)
            if logged:
                self._queries.log.add_all(known, entries, seconds)
            if seconds > FIRST_BUCKET:
                for entry in entries:
                    self._queries.metrics.slow(entry.info, seconds)
        for data, client in others:
            self._slowly(data, client, time.perf_counter())
        return replies

    def _slowly(self, data: bytes, addr: Any, begin: float) -> None:
        queries, engine = self._queries, self._engine
        try:
            done = engine.slow(data, addr[0], tcp=False)
            if isinstance(done, Pending):
                if len(queries.scope) >= _MOST_PENDING:
                    queries.upstreams.rejected += 1
                    done = engine.finish(done.asked, Answer("REFUSED", authoritative=False), done.served)
                else:
                    queries.scope.spawn(self._later(done, addr, begin), name="forward")
                    return
        except Exception:  # one client's query must not end the service for all (CoreDNS recovers, too)
            queries.panics += 1
            logger.exception("dns query failed client=%s query=%s", addr, data[:64].hex())
            return
        if isinstance(done, Finished):
            self._send(done.reply, addr)
            queries.finished(done, addr, data, time.perf_counter() - begin)
        elif done is not None:
            self._send(done, addr)

    async def _later(self, pending: Pending, addr: Any, begin: float) -> None:
        done = await self._queries.respond(pending, self._engine)
        self._send(done.reply, addr)
        self._queries.finished(done, addr, pending.asked.data, time.perf_counter() - begin)

    def _send(self, reply: bytes, addr: Any) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(reply, addr)


def _readable(message: bytes) -> Answer:
    from dnslib import DNSError

    try:
        return read_answer(message)
    except (DNSError, WireError) as error:
        raise UpstreamError(f"plugin/forward: an upstream's answer can't be read: {error}") from None


def _aged(answer: Answer, age: int) -> Answer:
    if not age:
        return answer
    return replace(answer, answer=tuple(record._replace(ttl=max(record.ttl - age, 0)) for record in answer.answer))
