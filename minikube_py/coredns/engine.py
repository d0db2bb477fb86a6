"""From the bytes of a query to the bytes of its reply, or to a wish to ask upstream. No I/O.

    fast(data)   a finished answer under the structured key: no parsing, no packing         (fastpath)
    slow(data)   header rules ─► server block ─► plugin chain ─► Answer ─► packed, kept
                                                             └─► Pending: forward, or chase a CNAME (server.py does it)

What is refused, and how, follows CoreDNS' server.go and miekg/dns' acceptance rules:
1. shorter than a header, or a reply: dropped (answering replies makes loops);
2. an opcode other than QUERY: NOTIMP;
3. not exactly one question, records where none belong, anything that can't be parsed: FORMERR;
4. an EDNS version other than 0: BADVERS;
5. a class other than IN: REFUSED; AXFR and IXFR: REFUSED (nothing is transferred);
6. a name in no server block's zones: REFUSED.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from minikube_py.cni.dnswire import TYPES, WireError, header, records
from minikube_py.cni.mmsg import Datagram
from minikube_py.coredns.fastpath import AnswerCache, Edns, Entry, answer_all, key_of, opt_record, size_class
from minikube_py.coredns.message import Answer, Question, pack, parent_of, question_of
from minikube_py.coredns.plugins import Block, Forward, Handler, Outcome, Query, chain
from minikube_py.coredns.querylog import ReplyInfo, formats_for
from minikube_py.coredns.zone import Zone

__all__ = ["Asked", "Engine", "Finished", "Pending", "Served", "ZoneSource"]

_TCP_LIMIT = 65535
_TCP_TAG = b"T"
"""Ends the key of an answer that was made for TCP, whole."""


class ZoneSource(Protocol):
    """Whatever knows the cluster: `agent.ZoneAgent`, or a test."""

    @property
    def zone(self) -> Zone: ...


class Asked(NamedTuple):
    """A well-formed query."""

    data: bytes
    question: Question
    end: int
    """Offset after the question."""
    edns: Edns | None
    tcp: bool
    remote: str

    @property
    def limit(self) -> int:
        """The most bytes of a reply."""
        return _TCP_LIMIT if self.tcp else self.edns.size if self.edns else 512

    @property
    def opt(self) -> bytes | None:
        return opt_record(do=self.edns.do) if self.edns else None


class Pending(NamedTuple):
    """A query whose answer needs upstream: `outcome` is a Forward, or an Answer with a name to chase."""

    asked: Asked
    outcome: Outcome
    served: "Served"


@dataclass(frozen=True, slots=True)
class Served:
    """A server block at work."""

    block: Block
    handler: Handler

    @classmethod
    def of(cls, block: Block) -> "Served":
        return cls(block, chain(block.steps))


class Finished(NamedTuple):
    """A reply and what log and metrics say of it."""

    reply: bytes
    info: ReplyInfo
    why: str = ""
    """A failure to be logged; "" if all is well or the block has no errors plugin."""


class Engine:
    """The decisions of one CoreDNS port; `source.zone` is the cluster as it is now."""

    def __init__(self, source: ZoneSource, blocks: Sequence[Block], folded: Callable[[Entry], None]) -> None:
        """`folded` is told of every finished answer that goes, so that its counters are kept."""
        self._source = source
        self._folded = folded
        self.cache = AnswerCache()
        self.generation = -1
        self.served: list[Served] = []
        self.use(blocks)

    def use(self, blocks: Sequence[Block]) -> None:
        """Serve by other blocks from now on."""
        self.served = [Served.of(block) for block in blocks]
        self.forget()

    def fold(self) -> None:
        """Hand the counters of every finished answer over, as a scrape wants them."""
        for entry in self.cache.entries():
            self._folded(entry)

    def forget(self) -> None:
        for entry in self.cache.clear():
            self._folded(entry)

    def zone(self) -> Zone:
        """Return the zone; a new generation ends every finished answer."""
        zone = self._source.zone
        if zone.generation != self.generation:
            self.generation = zone.generation
            self.forget()
        return zone

    def fast(self, data: bytes, *, tcp: bool = False) -> tuple[bytes, Entry] | None:
        """Return the reply to an ordinary query that was answered before in this generation, else None."""
        if self._source.zone.generation != self.generation:
            self.zone()
        found = key_of(data)
        if found is None:
            return None
        key, end = found
        if tcp:
            key += _TCP_TAG
        entry = self.cache.get(key) or self.cache.revive(key)
        if entry is None:
            return None
        return data[:2] + entry.head + data[12:end] + entry.rest(), entry

    def fast_all(self, received: list[Datagram]) -> tuple[list[Datagram], list[Entry], list[Datagram], list[Datagram]]:
        """Do what `fast` does for a batch of UDP queries (fastpath.answer_all)."""
        if self._source.zone.generation != self.generation:
            self.zone()
        return answer_all(self.cache, received)

    def slow(self, data: bytes, remote: str, *, tcp: bool) -> Finished | Pending | bytes | None:
        """Answer any bytes at all: Finished, Pending, an error's bytes, or None for what gets no answer.

        Error handling: never raises for what a client sends.
        """
        asked = self._read(data, remote, tcp=tcp)
        if not isinstance(asked, Asked):
            return asked
        question = asked.question
        served = self.block_for(question.name)
        if question.klass != "IN" or question.type in ("AXFR", "IXFR") or served is None:
            return self.finish(asked, Answer("REFUSED", authoritative=False), served)
        zone = self.zone()
        found = key_of(data)
        # A finished answer serves every spelling, so it is worked out for the plain one (the law of case: message.py).
        plain = question._replace(name=question.name.lower()) if found else question
        outcome = served.handler(Query(plain, zone, remote))
        if isinstance(outcome, Forward) or outcome.chase:
            return Pending(asked, outcome, served)
        if found is None or not outcome.shared or outcome.why:
            return self.finish(asked, outcome, served)
        return self._keep(asked, plain, outcome, served, *found)

    def _keep(self, asked: Asked, plain: Question, answer: Answer, served: Served, key: bytes, end: int) -> Finished:
        try:
            entry = self._entry(asked, plain, answer, served)
        except ValueError as error:
            return self._failed(asked, served, error)
        for gone in self.cache.put(key + _TCP_TAG if asked.tcp else key, entry):
            self._folded(gone)
        return Finished(asked.data[:2] + entry.head + asked.data[12:end] + entry.rest(), entry.info)

    def _failed(self, asked: Asked, served: Served | None, error: ValueError) -> Finished:
        return self.finish(
            asked, Answer("SERVFAIL", authoritative=False, why=f"can't encode the answer: {error}"), served
        )

    def _entry(self, asked: Asked, question: Question, answer: Answer, served: Served | None) -> Entry:
        packed = pack(question, answer, rotate=bool(served and served.block.rotate))
        rd, cd = bool(asked.data[2] & 1), bool(asked.data[3] & 0x10)
        entry = Entry(packed, rd=rd, cd=cd, edns=asked.edns, limit=asked.limit - asked.end)
        flags = int.from_bytes(entry.head[:2], "big")
        size = packed.uncompressed + (11 if asked.edns else 0)
        entry.info = self.info(asked, answer.rcode, flags, size, len(answer.answer), served, answer.plugin)
        return entry

    def finish(self, asked: Asked, answer: Answer, served: Served | None) -> Finished:
        """Pack an answer for this one query."""
        try:
            entry = self._entry(asked, asked.question, answer, served)
        except ValueError as error:
            return self._failed(asked, served, error)
        why = answer.why if served and served.block.errors else ""
        return Finished(asked.data[:2] + entry.head + asked.data[12 : asked.end] + entry.rest(), entry.info, why)

    def info(
        self, asked: Asked, rcode: str, flags: int, size: int, answers: int, served: Served | None, plugin: str
    ) -> ReplyInfo:
        rules = served.block.log if served else []
        zone = (
            max((z for z in served.block.zones if parent_of(asked.question.name, z)), key=len) if served else "dropped"
        )
        formats = formats_for(rules, asked.question, rcode, answers)
        return ReplyInfo(asked.question, rcode, flags, size, formats, zone, plugin, "tcp" if asked.tcp else "udp")

    def block_for(self, name: str) -> Served | None:
        """Return the block whose zone is the longest that holds `name`."""
        best, length = None, -1
        for served in self.served:
            for zone in served.block.zones:
                if len(zone) > length and parent_of(name, zone):
                    best, length = served, len(zone)
        return best

    def _read(self, data: bytes, remote: str, *, tcp: bool) -> Asked | bytes | None:
        if len(data) < 12 or data[2] & 0x80:
            return None
        if data[2] & 0x78:
            return _error(data, "NOTIMP")
        head = header(data)
        if head.questions != 1 or head.answers or head.authorities > 1 or head.additionals > 2:
            return _error(data, "FORMERR")
        try:
            question, _, _, end = question_of(data)
            edns, bad_version = None, False
            for rr in records(data):
                if rr.type == TYPES["OPT"]:
                    if edns is not None or rr.section != 2 or rr.name != ".":
                        return _error(data, "FORMERR")
                    edns = Edns(size_class(rr.klass), bool(rr.ttl & 0x8000))
                    bad_version = bool(rr.ttl >> 16 & 0xFF)
        except WireError:
            return _error(data, "FORMERR")
        if bad_version:
            head_ = data[:2] + struct.pack("!5H", 0x8000 | (data[2] & 1) << 8, 1, 0, 0, 1)
            return head_ + data[12:end] + opt_record(do=False, extended_rcode=1)
        return Asked(data, question, end, edns, tcp, remote)


def _error(data: bytes, rcode: str) -> bytes:
    """Return a bare header that refuses: what follows it in the query may be anything."""
    code = {"FORMERR": 1, "NOTIMP": 4}[rcode]
    flags = 0x8000 | (data[2] & 0x79) << 8 | code
    return data[:2] + struct.pack("!5H", flags, 0, 0, 0, 0)
