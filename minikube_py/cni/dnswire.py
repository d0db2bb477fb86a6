"""DNS messages as bytes: what a resolver sends, and as much of a reply as a resolver reads. Pure, no I/O.

Both ends of the cluster's DNS use it: the pods' stub resolver (`cni.resolver`) and the CoreDNS stand-in. It knows
names, headers, EDNS and record boundaries; record data in all its forms is dnslib's, which is imported only where
somebody wants to see it (it costs start time).

Names are text with a trailing dot; a dot or backslash inside a label is written `\\.` and `\\\\`, other bytes that are
not printable ASCII `\\DDD` (RFC 1035 §5.1), so every name that can be on the wire has one text.
"""

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from socket import inet_ntoa
from typing import NamedTuple

__all__ = [
    "RCODES",
    "RR",
    "TYPES",
    "Header",
    "WireError",
    "decode_name",
    "encode_name",
    "header",
    "labels_of",
    "query",
    "question_end",
    "rcode_name",
    "read_reply",
    "records",
    "type_name",
    "type_number",
]

TYPES = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "SOA": 6,
    "PTR": 12,
    "HINFO": 13,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "LOC": 29,
    "SRV": 33,
    "NAPTR": 35,
    "DNAME": 39,
    "OPT": 41,
    "DS": 43,
    "SSHFP": 44,
    "RRSIG": 46,
    "NSEC": 47,
    "DNSKEY": 48,
    "TLSA": 52,
    "SVCB": 64,
    "HTTPS": 65,
    "SPF": 99,
    "IXFR": 251,
    "AXFR": 252,
    "ANY": 255,
    "CAA": 257,
}
_TYPE_NAMES = {number: name for name, number in TYPES.items()}

RCODES = {
    "NOERROR": 0,
    "FORMERR": 1,
    "SERVFAIL": 2,
    "NXDOMAIN": 3,
    "NOTIMP": 4,
    "REFUSED": 5,
    "YXDOMAIN": 6,
    "YXRRSET": 7,
    "NXRRSET": 8,
    "NOTAUTH": 9,
    "NOTZONE": 10,
    "BADVERS": 16,
}
_RCODE_NAMES = {number: name for name, number in RCODES.items()}


class WireError(ValueError):
    """The bytes are not the DNS message that they should be."""


class Header(NamedTuple):
    """The fixed twelve bytes (RFC 1035 §4.1.1)."""

    id: int
    flags: int
    questions: int
    answers: int
    authorities: int
    additionals: int

    @property
    def rcode(self) -> int:
        return self.flags & 15

    @property
    def truncated(self) -> bool:
        return bool(self.flags & 0x0200)


class RR(NamedTuple):
    """Where one resource record of a message is."""

    name: str
    type: int
    klass: int
    ttl: int
    ttl_at: int
    """Offset of the four TTL bytes, for whoever ages a cached message."""
    start: int
    """Offset of the data."""
    end: int
    section: int
    """0 answer, 1 authority, 2 additional."""
    at: int
    """Offset of the record's first byte."""


def type_name(number: int) -> str:
    """Return `A`, `AAAA`, …; `TYPE731` for what has no name here (RFC 3597)."""
    return _TYPE_NAMES.get(number) or f"TYPE{number}"


def type_number(name: str) -> int:
    """Return the number of a type's name; ValueError for one that is neither known nor `TYPEnnn`."""
    upper = name.upper()
    if upper in TYPES:
        return TYPES[upper]
    if upper.startswith("TYPE") and upper[4:].isdigit() and int(upper[4:]) < 65536:
        return int(upper[4:])
    raise ValueError(f"no DNS record type is called {name!r}")


def rcode_name(number: int) -> str:
    return _RCODE_NAMES.get(number) or f"RCODE{number}"


def _escape(label: bytes) -> str:
    if label.isalnum():
        return label.decode("ascii")
    return "".join(
        "\\" + chr(byte) if byte in b".\\" else chr(byte) if 33 <= byte <= 126 else f"\\{byte:03d}" for byte in label
    )


def labels_of(name: str) -> list[bytes]:
    """Split a name into its labels, the root's left out.

    Error handling: WireError for an empty or overlong label, or more than 255 bytes in all.
    """
    if name in (".", ""):
        return []
    if "\\" not in name:
        labels = [part.encode("latin-1", "replace") for part in name.removesuffix(".").split(".")]
    else:
        labels, current, position = [], bytearray(), 0
        while position < len(name):
            char = name[position]
            if char == "\\" and name[position + 1 : position + 4].isdigit():
                current.append(int(name[position + 1 : position + 4]) & 255)
                position += 4
                continue
            if char == "\\":
                position += 1
                char = name[position : position + 1]
            elif char == ".":
                labels.append(bytes(current))
                current = bytearray()
                position += 1
                continue
            current += char.encode("latin-1", "replace")
            position += 1
        if current:
            labels.append(bytes(current))
    if any(not 0 < len(label) < 64 for label in labels):
        raise WireError(f"{name!r} has a label that is empty or longer than 63 bytes")
    if sum(map(len, labels)) + len(labels) + 1 > 255:
        raise WireError(f"{name[:40]!r}… is longer than 255 bytes")
    return labels


def encode_name(name: str) -> bytes:
    """Return a name's wire form, uncompressed."""
    return b"".join(bytes((len(label),)) + label for label in labels_of(name)) + b"\0"


def decode_name(message: bytes, offset: int) -> tuple[str, int]:
    """Return the name at `offset` and the offset after it; compression is followed, backwards only.

    Error handling: WireError when it leaves the message, loops, or is too long.
    """
    labels: list[str] = []
    after, limit, total = -1, offset, 1
    while True:
        if offset >= len(message):
            raise WireError("a name runs out of the message")
        length = message[offset]
        if length >= 0xC0:
            if offset + 1 >= len(message):
                raise WireError("a compression pointer runs out of the message")
            if after < 0:
                after = offset + 2
            offset = (length & 0x3F) << 8 | message[offset + 1]
            if offset >= limit:  # each jump must go further back, so there can't be a loop
                raise WireError("a compression pointer doesn't point backwards")
            limit = offset
            continue
        if length >= 0x40:
            raise WireError("a label of unknown type")
        offset += 1
        if not length:
            return (".".join(labels) + "." if labels else "."), (offset if after < 0 else after)
        if offset + length > len(message):
            raise WireError("a label runs out of the message")
        total += length + 1
        if total > 255:
            raise WireError("a name is longer than 255 bytes")
        labels.append(_escape(message[offset : offset + length]))
        offset += length


_HEADER = struct.Struct("!6H")
_FIXED = struct.Struct("!HHIH")


def header(message: bytes) -> Header:
    if len(message) < 12:
        raise WireError("shorter than a DNS header")
    return Header._make(_HEADER.unpack_from(message))


def question_end(message: bytes) -> int:
    """Return the offset after the (only) question."""
    _, end = decode_name(message, 12)
    if end + 4 > len(message):
        raise WireError("the question runs out of the message")
    return end + 4


def records(message: bytes) -> Iterator[RR]:
    """Yield every record of the three sections.

    Error handling: WireError, possibly after some were yielded.
    """
    head = header(message)
    offset = 12
    for _ in range(head.questions):
        _, offset = decode_name(message, offset)
        offset += 4
    for section, count in enumerate((head.answers, head.authorities, head.additionals)):
        for _ in range(count):
            at = offset
            name, offset = decode_name(message, offset)
            if offset + 10 > len(message):
                raise WireError("a record runs out of the message")
            type_, klass, ttl, length = _FIXED.unpack_from(message, offset)
            start = offset + 10
            if start + length > len(message):
                raise WireError("a record's data runs out of the message")
            yield RR(name, type_, klass, ttl, offset + 4, start, start + length, section, at)
            offset = start + length


def query(id_: int, name: str, type_: int, *, edns: int = 0, do: bool = False, recursion: bool = True) -> bytes:
    """Return a question as a resolver sends it; `edns` is the advertised UDP size, 0 for no OPT record."""
    head = _HEADER.pack(id_, 0x0100 if recursion else 0, 1, 0, 0, 1 if edns else 0)
    opt = b"\0\0\x29" + struct.pack("!HIH", edns, 0x8000 if do else 0, 0) if edns else b""
    return head + encode_name(name) + struct.pack("!HH", type_, 1) + opt


class Reply(NamedTuple):
    """What a stub resolver takes from a reply."""

    rcode: int
    truncated: bool
    addresses: tuple[str, ...]
    """Of the A and AAAA records, CNAMEs already followed by the server."""


def read_reply(message: bytes, question: bytes) -> Reply | None:
    """Read the reply to the query `question`; None if it isn't one (wrong id, another question: a forgery or a stray).

    Error handling: WireError when it claims to be the reply but is broken.
    """
    if len(message) < 12 or message[:2] != question[:2] or not message[2] & 0x80:
        return None
    head = header(message)
    if head.questions != 1:
        if head.rcode:  # some servers leave the question out of a FORMERR
            return Reply(head.rcode, False, ())
        return None
    end = question_end(question)
    if message[12:end].lower() != question[12:end].lower():
        return None
    if head.truncated:
        return Reply(head.rcode, True, ())
    found = []
    for rr in records(message):
        if rr.section == 0 and rr.klass == 1:
            data = message[rr.start : rr.end]
            if rr.type == 1 and len(data) == 4:
                found.append(inet_ntoa(data))
            elif rr.type == 28 and len(data) == 16:
                found.append(str(IPv6Address(data)))
    return Reply(head.rcode, False, tuple(found))
