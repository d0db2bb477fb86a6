"""Finished answers, found by a structured key, and turned into replies without being parsed or packed again. Pure.

**The law of the key:** the lower-cased question, RD, CD, and the class of EDNS size with DO; nothing else.
A key of raw bytes would give each random spelling (0x20) and each cookie an entry of its own, so that one client could
fill the cache; lower-casing the wire form is safe because its length bytes (≤ 63) are below any letter.

    reply = id as sent + header + question as sent (case kept) + records, whose names are pointers into the question
"""

import struct
from typing import Any, NamedTuple

from minikube_py.cni.mmsg import Datagram
from minikube_py.coredns.message import Packed

__all__ = ["AnswerCache", "Edns", "Entry", "answer_all", "key_of", "opt_record", "size_class"]

_RD, _CD, _OPT = 1, 2, 4
_HEADERS = {
    bytes((rd, ad | cd)) + b"\0\1\0\0\0\0\0" + bytes((ar,)): (rd and _RD) | (cd and _CD) | (ar and _OPT)
    for rd in (0, 1)
    for ad in (0, 0x20)
    for cd in (0, 0x10)
    for ar in (0, 1)
}
"""The ten bytes after the id of every ordinary query → what of them matters."""

_PRECOMPUTED = 16
"""Rotations kept ready; an answer with more addresses is joined when it is sent."""
_UDP_SIZE = 1232
"""What we advertise: the size of the DNS flag day 2020, which no path fragments."""


class Edns(NamedTuple):
    """What a query's OPT record says."""

    size: int
    """What a UDP reply may hold, as one of few classes, so that sizes don't multiply entries."""
    do: bool


def size_class(size: int) -> int:
    return 512 if size < _UDP_SIZE else _UDP_SIZE if size < 4096 else 4096


_TAGS = [bytes((tag,)) for tag in range(256)]


def key_of(data: bytes) -> tuple[bytes, int] | None:
    """Return the key of an ordinary query and the offset after its question; None for what needs a closer look."""
    tag = _HEADERS.get(data[2:12])
    if tag is None:
        return None
    end = data.find(0, 12) + 5
    size = len(data)
    if tag < _OPT:
        return (data[12:end].lower() + _TAGS[tag], end) if size == end and end > 16 else None
    # root name, type OPT, size, extended rcode, version 0, flags, length of the options (cookies: not ours to read)
    if size < end + 11 or end < 17 or data[end : end + 3] != b"\0\0\x29" or data[end + 6]:
        return None
    if end + 11 + (data[end + 9] << 8 | data[end + 10]) != size:
        return None
    high = data[end + 3]
    tag |= (0 if high < 4 or (high == 4 and data[end + 4] < 0xD0) else 8 if high < 16 else 16) | data[end + 7] >> 7 << 5
    return data[12:end].lower() + _TAGS[tag], end


def opt_record(*, do: bool, extended_rcode: int = 0) -> bytes:
    """Return the OPT record of a reply; `extended_rcode` is the upper eight bits."""
    return b"\0\0\x29" + struct.pack("!HBBHH", _UDP_SIZE, extended_rcode, 0, 0x8000 if do else 0, 0)


class Entry:
    """One finished answer for one key; `hits` and `seconds` are the metrics'."""

    __slots__ = ("_rests", "_shape", "_turn", "head", "hits", "info", "seconds", "whole")

    def __init__(self, packed: Packed, *, rd: bool, cd: bool, edns: Edns | None, limit: int, info: Any = None) -> None:
        """`limit` is the most bytes of a reply after its first 12 and its question."""
        self.info = info
        self.hits = 0
        self.seconds = 0.0
        self._turn = 0
        opt = opt_record(do=edns.do) if edns else b""
        room = limit - len(opt)
        fixed, room, cut = _fitting(packed.fixed, room)
        count = len(packed.rotating)
        size = len(packed.rotating[0]) if count else 0
        window = 0 if cut else min(count, room // size) if count else 0
        cut = cut or window < count
        room -= window * size
        authority, room, cut_authority = ((), room, False) if cut else _fitting(packed.authority, room)
        # Left-out additional records are no loss that a client must ask again for (RFC 2181 §9).
        additional, room, _ = ((), room, False) if cut or cut_authority else _fitting(packed.additional, room)
        cut = cut or cut_authority
        flags = packed.flags | (0x0200 if cut else 0) | (0x0100 if rd else 0) | (0x0010 if cd else 0)
        self.head = struct.pack(
            "!5H", flags, 1, len(fixed) + window, len(authority), len(additional) + (1 if edns else 0)
        )
        before, after = b"".join(fixed), b"".join((*authority, *additional, opt))
        self._shape = (before, packed.rotating, window, after)
        self._rests = tuple(self._rotated(turn) for turn in range(max(count, 1))) if count <= _PRECOMPUTED else ()
        self.whole = self._rests[0] if len(self._rests) == 1 else b""
        """What follows the question, if it is always the same."""

    def _rotated(self, turn: int) -> bytes:
        before, records, window, after = self._shape
        if not records:
            return before + after
        return before + b"".join((records[turn:] + records[:turn])[:window]) + after

    def rest(self) -> bytes:
        """Return what follows the question; each call begins with the next address."""
        turn = self._turn
        if rests := self._rests:
            self._turn = turn + 1 if turn + 1 < len(rests) else 0
            return rests[turn]
        self._turn = (turn + 1) % len(self._shape[1])
        return self._rotated(turn)

    @property
    def truncated(self) -> bool:
        return bool(self.head[0] & 0x02)


def _fitting(records: tuple[bytes, ...], room: int) -> tuple[tuple[bytes, ...], int, bool]:
    kept: list[bytes] = []
    for record in records:
        if len(record) > room:
            return tuple(kept), room, True
        room -= len(record)
        kept.append(record)
    return tuple(kept), room, False


def answer_all(
    cache: "AnswerCache", received: list[Datagram]
) -> tuple[list[Datagram], list["Entry"], list[Datagram], list[Datagram]]:
    """Return the replies to the queries with finished answers, their entries, those queries, and the other queries."""
    headers, get, revive = _HEADERS.get, cache.get, cache.revive
    replies: list[Datagram] = []
    entries: list[Entry] = []
    known: list[Datagram] = []
    others: list[Datagram] = []
    for datagram in received:
        data, client = datagram
        # Ordinary queries without EDNS are recognised here; key_of knows all (a call costs as much as all of this).
        tag = headers(data[2:12])
        if tag is not None and tag < _OPT and len(data) == (end := data.find(0, 12) + 5) and end > 16:
            key = data[12:].lower() + _TAGS[tag]
        elif tag is None or (found := key_of(data)) is None:
            others.append(datagram)
            continue
        else:
            key, end = found
        entry = get(key)
        if entry is None:
            if (entry := revive(key)) is None:
                others.append(datagram)
                continue
            get = cache.get
        replies.append((data[:2] + entry.head + data[12:end] + (entry.whole or entry.rest()), client))
        entries.append(entry)
        known.append(datagram)
    return replies, entries, known, others


class AnswerCache:
    """At most `2 × most` entries, of two ages: when the young are too many they become the old, and the old go.

    What is asked for again in time stays, so a flood of new names evicts only what nobody asks for.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._young: dict[bytes, Entry] = {}
        self._old: dict[bytes, Entry] = {}
        self.get = self._young.get

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def revive(self, key: bytes) -> Entry | None:
        """Look among the old; call when `get` found nothing."""
        entry = self._old.pop(key, None)
        if entry is not None:
            self.put(key, entry)
        return entry

    def put(self, key: bytes, entry: Entry) -> list[Entry]:
        """Add an entry; return those that go for it."""
        gone: list[Entry] = []
        if len(self._young) >= self._most:
            gone = [*self._old.values()]
            self._old, self._young = self._young, {}
            self.get = self._young.get
        self._young[key] = entry
        return gone

    def entries(self) -> list[Entry]:
        return [*self._young.values(), *self._old.values()]

    def clear(self) -> list[Entry]:
        """Forget all; return what was there."""
        gone = [*self._young.values(), *self._old.values()]
        self._young, self._old = {}, {}
        self.get = self._young.get
        return gone
