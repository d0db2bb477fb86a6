"""Questions, records and answers as values, and answers as bytes.

Stands for what miekg/dns is to CoreDNS. Records are kept as zone-file text (`A`, `10.0.0.1`), which is how tests,
hosts files and templates write them; `pack` makes the bytes, once per cached answer, so text costs nothing later.
Record types without an encoder of their own here go through dnslib.

**The law of case:** an answer repeats the question's spelling of the name and of the zone (0x20 mixed case), so that
one packed answer serves every spelling: owner names and the zone's suffix are compression pointers into the question,
which is echoed as it was sent.
"""

import struct
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from socket import inet_aton
from typing import NamedTuple

from minikube_py.cni.dnswire import RCODES, WireError, decode_name, encode_name, labels_of, type_name, type_number

__all__ = ["Answer", "Packed", "Question", "Record", "pack", "parent_of", "question_of"]


class Question(NamedTuple):
    """One question; `name` is as the client spelled it, with the trailing dot."""

    name: str
    type: str
    klass: str = "IN"


class Record(NamedTuple):
    """One resource record, as a zone file writes it."""

    name: str
    ttl: int
    type: str
    rdata: str

    def __str__(self) -> str:
        return f"{self.name} {self.ttl} IN {self.type} {self.rdata}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered to a question."""

    rcode: str = "NOERROR"
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authoritative: bool = True
    zone: str = ""
    """The zone that answered, as the question spells it; "" for none."""
    chase: str = ""
    """A CNAME's target outside the zone, still to be resolved by whoever can (the question's type applies)."""
    plugin: str = ""
    """Who answered, for the metrics."""
    shared: bool = True
    """Whether every client gets it; False when the answer depends on who asks."""
    why: str = field(default="", compare=False)
    """A sentence about a failure, for the errors plugin."""


class Packed(NamedTuple):
    """An answer's bytes after the question, in parts, so that rotation and truncation need no packing."""

    flags: int
    """The 16 bits of the header, without RD and CD of the question."""
    counts: tuple[int, int, int]
    fixed: tuple[bytes, ...]
    """Answer records that come first (CNAMEs) or never rotate."""
    rotating: tuple[bytes, ...]
    """Address records, which the loadbalance plugin rotates."""
    authority: tuple[bytes, ...]
    additional: tuple[bytes, ...]
    uncompressed: int
    """Size of the whole reply without compression, for the query log, as CoreDNS counts it."""


def parent_of(name: str, zone: str) -> bool:
    """Tell whether `name` is in `zone` (or is it); both with trailing dots, any case."""
    if zone == ".":
        return True
    name, zone = name.lower(), zone.lower()
    return name == zone or name.endswith(f".{zone}")


def question_of(message: bytes) -> tuple[Question, int, int, int]:
    """Return the question of a query, its type and class as numbers, and the offset after it; WireError if broken."""
    name, end = decode_name(message, 12)
    if end + 4 > len(message):
        raise WireError("the question runs out of the message")
    type_, klass = struct.unpack_from("!HH", message, end)
    return Question(name, type_name(type_), _CLASSES.get(klass, f"CLASS{klass}")), type_, klass, end + 4


_CLASSES = {1: "IN", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}
_FIXED = struct.Struct("!HHIH")


class _Packer:
    """Names of one answer, compressed against the question and against CNAME targets before."""

    def __init__(self, question: str, zone: str) -> None:
        self._labels = [label.lower() for label in labels_of(question)]
        self._offsets: dict[tuple[bytes, ...], int] = {}
        """Suffix → where it is in the question."""
        offset = 12
        for index, label in enumerate(self._labels):
            self._offsets[tuple(self._labels[index:])] = offset
            offset += len(label) + 1
        self._zone_labels = len(labels_of(zone)) if zone else 0
        self._start = offset + 1 + 4
        self.size = 0
        self._targets: dict[tuple[bytes, ...], int] = {}

    def owner(self, name: str, *, asked: bool) -> bytes:
        """Encode an owner name; `asked`: what equals the question is the question, spelled as it was sent."""
        labels = tuple(labels_of(name))
        lower = tuple(label.lower() for label in labels)
        for index in range(len(labels)):
            suffix = lower[index:]
            # Only the question as a whole or the zone: labels between may be spelled otherwise in the question.
            known = len(suffix) == self._zone_labels or (asked and len(suffix) == len(self._labels))
            at = self._offsets.get(suffix) if known else None
            if at is None:
                at = self._targets.get(labels[index:])
            if at is not None and at < 0x4000:
                head = b"".join(bytes((len(label),)) + label for label in labels[:index])
                return head + struct.pack("!H", 0xC000 | at)
        return encode_name(name)

    def target(self, name: str) -> bytes:
        """Encode a name inside record data: the zone's suffix by pointer, the rest as it is spelled."""
        labels = tuple(labels_of(name))
        lower = tuple(label.lower() for label in labels)
        count = self._zone_labels
        if count and len(labels) >= count and (at := self._offsets.get(lower[len(labels) - count :])) is not None:
            head = b"".join(bytes((len(label),)) + label for label in labels[: len(labels) - count])
            return head + struct.pack("!H", 0xC000 | at)
        return encode_name(name)

    def remember(self, name: str, data_at: int) -> None:
        """Let later owner names point at the name whose wire form begins `data_at` bytes into the answer."""
        self._targets.setdefault(tuple(labels_of(name)), self._start + data_at)

    def record(self, record: Record, *, asked: bool = True) -> bytes:
        owner = self.owner(record.name, asked=asked)
        head = len(owner) + 10
        data = self.rdata(record)
        if record.type == "CNAME":
            self.remember(_dotted(record.rdata), self.size + head)
        encoded = owner + _FIXED.pack(type_number(record.type), 1, record.ttl, len(data)) + data
        self.size += len(encoded)
        return encoded

    def rdata(self, record: Record) -> bytes:
        match record.type:
            case "A":
                return inet_aton(record.rdata)
            case "AAAA":
                return IPv6Address(record.rdata).packed
            case "CNAME" | "NS" | "PTR":
                return self.target(_dotted(record.rdata))
            case "SRV":
                priority, weight, port, target = record.rdata.split()
                return struct.pack("!3H", int(priority), int(weight), int(port)) + self.target(_dotted(target))
            case "SOA":
                mname, rname, *numbers = record.rdata.split()
                return self.target(mname) + self.target(rname) + struct.pack("!5I", *map(int, numbers))
            case "TXT" if record.rdata.startswith('"') and record.rdata.count('"') == 2 and "\\" not in record.rdata:
                text = record.rdata[1:-1].encode("latin-1", "replace")
                return b"".join(
                    bytes((len(text[i : i + 255]),)) + text[i : i + 255] for i in range(0, max(len(text), 1), 255)
                )
        return _by_dnslib(record)


def _by_dnslib(record: Record) -> bytes:
    import dnslib

    (parsed,) = dnslib.RR.fromZone(f"{record.name} {record.ttl} IN {record.type} {record.rdata}")
    buffer = dnslib.DNSBuffer()
    parsed.rdata.pack(buffer)
    return bytes(buffer.data)


def _dotted(name: str) -> str:
    return name if name.endswith(".") else f"{name}."


def _uncompressed(record: Record) -> int:
    """Return a record's size on the wire without compression."""
    size = len(encode_name(_dotted(record.name))) + 10
    match record.type:
        case "A":
            return size + 4
        case "AAAA":
            return size + 16
        case _:
            return size + len(_Packer(".", "").rdata(record))


def pack(question: Question, answer: Answer, *, rotate: bool = True) -> Packed:
    """Encode an answer's records once.

    Error handling: ValueError (WireError among them) for a record that can't be encoded, as a template may make.
    """
    packer = _Packer(question.name, answer.zone)
    rotates = [record for record in answer.answer if rotate and record.type in ("A", "AAAA")]
    if len({record.name.lower() for record in rotates}) > 1 or len({record.type for record in rotates}) > 1:
        rotates = []  # they differ in owner or kind: an order that somebody meant
    turning = {id(record) for record in rotates}
    fixed = tuple(packer.record(record) for record in answer.answer if id(record) not in turning)
    rotating = tuple(packer.record(record) for record in rotates)
    authority = tuple(packer.record(record) for record in answer.authority)
    additional = tuple(packer.record(record, asked=False) for record in answer.additional)
    every = (*answer.answer, *answer.authority, *answer.additional)
    return Packed(
        flags=0x8000 | (0x0400 if answer.authoritative else 0) | RCODES[answer.rcode] & 15,
        counts=(len(answer.answer), len(answer.authority), len(answer.additional)),
        fixed=fixed,
        rotating=rotating,
        authority=authority,
        additional=additional,
        uncompressed=12 + len(encode_name(question.name)) + 4 + sum(map(_uncompressed, every)),
    )
