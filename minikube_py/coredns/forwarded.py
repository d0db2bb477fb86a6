"""Answers from upstream as bytes: fitting them to a client, reading them, and keeping them while their TTLs last. Pure.

Stands for CoreDNS' cache plugin, for what is not the cluster's own (that is always current, see `fastpath`).
"""

import struct
from collections import OrderedDict
from dataclasses import dataclass

from minikube_py.cni.dnswire import TYPES, header, question_end, rcode_name, records, type_name
from minikube_py.coredns.message import Answer, Question, Record, parent_of
from minikube_py.coredns.plugins.plugin import CacheRule

__all__ = ["ForwardCache", "fit", "read_answer"]


def read_answer(message: bytes) -> Answer:
    """Return an upstream's reply as an answer.

    Error handling: WireError, or dnslib's DNSError for record data that it can't read.
    """
    import dnslib

    parsed = dnslib.DNSRecord.parse(message)

    def of(rrs: list[dnslib.RR]) -> tuple[Record, ...]:
        return tuple(
            Record(str(rr.rname), rr.ttl, type_name(rr.rtype), str(rr.rdata)) for rr in rrs if rr.rtype != TYPES["OPT"]
        )

    head = header(message)
    return Answer(
        rcode_name(head.rcode),
        of(parsed.rr),
        of(parsed.auth),
        of(parsed.ar),
        authoritative=bool(head.flags & 0x0400),
        plugin="forward",
    )


def fit(message: bytes, query: bytes, *, opt: bytes | None, limit: int, age: int = 0) -> bytes:
    """Make an upstream's reply the reply to `query`: its id, its question as sent, TTLs less `age`, `limit` bytes.

    `opt` is the client's OPT record answered, None if it sent none. What doesn't fit is cut at a record, with TC set.
    """
    head = header(message)
    end = question_end(message)
    counts = [0, 0, 0]
    room = limit - (len(opt) if opt else 0)
    body = bytearray(message[:end])
    truncated = head.truncated
    for rr in records(message):
        if rr.type == TYPES["OPT"]:
            break  # the server's own; records after it would move, and names that point at them with them
        raw = bytearray(message[rr.at : rr.end])
        if age:
            struct.pack_into("!I", raw, rr.ttl_at - rr.at, max(rr.ttl - age, 0))
        if len(body) + len(raw) > room:
            truncated = truncated or rr.section < 2
            break
        body += raw
        counts[rr.section] += 1
    if opt:
        body += opt
        counts[2] += 1
    flags = head.flags & ~0x0200 | (0x0200 if truncated else 0)
    flags = flags & ~0x0110 | (query[2] & 1) << 8 | query[3] & 0x10
    body[:12] = query[:2] + struct.pack("!5H", flags, 1, *counts)
    body[12:end] = query[12:end]
    return bytes(body)


@dataclass(slots=True)
class _Kept:
    message: bytes
    since: float
    ttl: float


class ForwardCache:
    """Replies by (name, type, DO), at most as many as the rule's capacity, the longest unused going first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, bool], _Kept] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, question: Question, do: bool, now: float) -> tuple[bytes, int] | None:
        """Return (reply, its age in seconds) while it lasts."""
        key = (question.name.lower(), question.type, do)
        kept = self._kept.get(key)
        if kept is None or now >= kept.since + kept.ttl:
            self._kept.pop(key, None)
            self.misses += 1
            return None
        self._kept.move_to_end(key)
        self.hits += 1
        return kept.message, int(now - kept.since)

    def put(self, question: Question, do: bool, message: bytes, rule: CacheRule, now: float) -> None:
        """Keep a reply as long as its TTLs and the rule allow; failures and truncated ones aren't kept."""
        ttl = lifetime(question, message, rule)
        if ttl > 0:
            self._kept[question.name.lower(), question.type, do] = _Kept(message, now, ttl)
            while len(self._kept) > rule.capacity:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        self._kept.clear()


def lifetime(question: Question, message: bytes, rule: CacheRule) -> int:
    """Return for how many seconds a reply may be kept (RFC 2308 §5 for negative ones)."""
    name = question.name
    if not any(parent_of(name, zone) for zone in rule.zones):
        return 0
    head = header(message)
    if head.truncated or head.rcode not in (0, 3):
        return 0
    found = list(records(message))
    positive = [rr.ttl for rr in found if rr.section == 0]
    if head.rcode == 0 and positive:
        return 0 if any(parent_of(name, zone) for zone in rule.no_success) else min(rule.success, *positive)
    if any(parent_of(name, zone) for zone in rule.no_denial):
        return 0
    for rr in found:
        if rr.section == 1 and rr.type == TYPES["SOA"] and rr.end - rr.start >= 20:
            (minimum,) = struct.unpack_from("!I", message, rr.end - 4)
            return int(min(rule.denial, rr.ttl, minimum))
    return 0
