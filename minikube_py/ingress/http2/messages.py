"""HTTP/2's rules without I/O: what a request says, what an answer may say, and how much nonsense is borne.

The `h2` library parses frames and keeps the states of streams; whether a field may stand in a request is decided here,
so that one table of attacks shows it, and a malformed request is answered with a page that says why.

**The law of the downgrade**: a request goes on to a pod as HTTP/1.1 text, so no value may hold what HTTP/1.1 takes for
structure: no control characters, no blanks in a path, no length or framing other than the stream's own.
Sources: RFC 9113 §8.2, §8.3; CVE-2023-44487 (rapid reset), CVE-2019-9512 to -9518 (floods).
"""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minikube_py.ingress.http1.messages import NO_TRAILER

__all__ = [
    "MAX_FRAME",
    "MAX_LIST",
    "PREFACE",
    "Budget",
    "FrameTooLong",
    "Frames",
    "Outgoing",
    "RequestHead",
    "answer_headers",
    "head_of",
    "read_request",
    "request_headers",
    "trailer_fields",
]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
"""No control characters, no blanks around it."""
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PATH = re.compile(rb"/[!-~\x80-\xff]*")
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_CONNECTION = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})

MAX_FIELD = 8190
"""Bytes of one header or the path, as over HTTP/1.1 (nginx: large_client_header_buffers 4 8k)."""
MAX_LIST = 32 * 1024
"""Bytes of all headers, as RFC 9113 §6.5.2 counts them."""
MAX_FIELDS = 128
MAX_FRAME = 1 << 14
"""Bytes of a frame, as long as SETTINGS don't say otherwise (RFC 9113 §4.2)."""
_GOAWAY = 0x7
PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a request."""

    method: str
    target: str
    fields: tuple[tuple[bytes, bytes], ...]
    """(name, value); Host is among them."""
    length: int | None = None
    problem: str = ""
    """What makes it malformed; the rest is then only good for the log."""
    status: int = 400


def read_request(headers: Iterable[tuple[bytes, bytes]], *, ended: bool) -> RequestHead:
    """Read the HEADERS of a request; `ended` if no body follows."""
    pseudo: dict[bytes, bytes] = {}
    fields: list[tuple[bytes, bytes]] = []
    problem = ""
    size = 0
    for name, value in headers:
        size += len(name) + len(value) + 32
        if problem:
            continue
        if name in _PSEUDO:
            if fields:
                problem = "a pseudo-header stands after a header"
            elif name in pseudo:
                problem = f"two {name.decode()}"
            pseudo[name] = value
        else:
            problem = _unfit(name, value)
            fields.append((name, value))
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    status = 400
    if problem:
        pass
    elif size > MAX_LIST or len(fields) > MAX_FIELDS or any(len(n) + len(v) > MAX_FIELD for n, v in fields):
        problem = f"the headers are too large: at most {MAX_FIELDS}, each {MAX_FIELD} bytes, together {MAX_LIST}"
    elif _METHOD.fullmatch(method) is None:
        problem = "the method is missing or no word"
    elif method == b"CONNECT":
        problem, status = "CONNECT is for forward proxies; this is an ingress", 405
    elif pseudo.get(b":scheme", b"") not in (b"http", b"https"):
        problem = "the scheme is neither http nor https"
    elif len(path) > MAX_FIELD:
        problem, status = f"the request target is longer than {MAX_FIELD} bytes", 414
    elif _PATH.fullmatch(path) is None and not (path == b"*" and method == b"OPTIONS"):
        problem = "the request target is no path"
    length = None
    if not problem:
        problem, length = _framing(fields, ended)
    if not problem:
        problem = _host(fields, pseudo.get(b":authority"))
    return RequestHead(
        method.decode("latin-1"), path.decode("utf-8", "surrogateescape"), tuple(fields), length, problem, status
    )


def _unfit(name: bytes, value: bytes) -> str:
    if _NAME.fullmatch(name) is None:
        return f"not a header name: {name[:60]!r}"
    if _VALUE.fullmatch(value) is None:
        return f"the value of header {name[:60].decode()} has control characters or blanks around it"
    if name in _CONNECTION or (name == b"te" and value.lower() != b"trailers"):
        return f"header {name.decode()} has no place in HTTP/2"
    return ""


def _framing(fields: Sequence[tuple[bytes, bytes]], ended: bool) -> tuple[str, int | None]:
    lengths = [value for name, value in fields if name == b"content-length"]
    if not lengths:
        return "", None
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        return "bad Content-Length", None
    length = int(lengths[0])
    return ("the body is missing", None) if ended and length else ("", length)


def _host(fields: list[tuple[bytes, bytes]], authority: bytes | None) -> str:
    """Make Host what `:authority` says; RFC 9113 §8.3.1: they must not differ."""
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (hosts and authority is not None and hosts[0].lower() != authority.lower()):
        return "Host and :authority differ"
    if not hosts and authority is not None:
        if _VALUE.fullmatch(authority) is None:
            return "the authority has control characters or blanks around it"
        fields.insert(0, (b"host", authority))
    return ""


def answer_headers(status: int, fields: Iterable[tuple[bytes, bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the HEADERS of an answer; fields are (lower-case name, name, value)."""
    headers = [(b":status", b"%d" % status)]
    headers += ((lower, value) for lower, _, value in fields if lower not in _CONNECTION)
    return headers


def trailer_fields(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes, bytes]]:
    """Return what may be passed on of trailers: nothing that speaks of framing or routing (RFC 9110 §6.5.1)."""
    return [
        (name.lower(), name, value)
        for name, value in headers
        if not name.startswith(b":") and not _unfit(name.lower(), value) and name.lower() not in NO_TRAILER
    ]


def head_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, list[tuple[bytes, bytes, bytes]]]:
    """Return status and fields of an answer's HEADERS.

    Error handling: ValueError for what isn't an answer.
    """
    status = b""
    fields = []
    for name, value in headers:
        if name == b":status":
            status = value
        elif problem := _unfit(name, value):
            raise ValueError(problem)
        else:
            fields.append((name, name, value))
    if len(status) != 3 or not status.isdigit() or status < b"100":
        raise ValueError("an answer without a status")
    return int(status), fields


def request_headers(block: bytes, *, scheme: bytes) -> list[tuple[bytes, bytes]]:
    """Return the HEADERS of a request whose HTTP/1.1 head (with the empty line) is `block`."""
    first, *lines = block[:-4].split(b"\r\n")
    method, _, rest = first.partition(b" ")
    target = rest.rpartition(b" ")[0]
    headers = [(b":method", method), (b":scheme", scheme), (b":path", target)]
    fields = []
    for line in lines:
        name, _, value = line.partition(b":")
        lower = name.lower()
        value = value.strip(b" \t")
        if lower == b"host":
            headers.append((b":authority", value))
        elif lower not in _CONNECTION:
            fields.append((lower, value))
    return headers + fields


class FrameTooLong(Exception):
    """A frame announces more bytes than it may have."""


class Frames:
    """Watches frames go by, for two things that `h2` doesn't do.

    A frame that is too long is refused by its announced length; h2 waits for all of its 16 MB first. And what is given
    to h2 at once ends with a GOAWAY: h2 takes nothing after it, where RFC 9113 §6.8 lets running streams end, so its
    state has to be set right in between.
    """

    __slots__ = ("_cut", "_header", "_left")

    def __init__(self, *, preface: int = 0) -> None:
        self._left = preface
        """Bytes until the next frame begins."""
        self._header = b""
        self._cut = False
        """The current frame is a GOAWAY."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return what came, in pieces for h2.

        Error handling: FrameTooLong.
        """
        pieces: list[bytes] = []
        begun = at = 0
        size = len(data)
        while at < size:
            if self._left:
                skipped = min(self._left, size - at)
                self._left -= skipped
                at += skipped
                if self._cut and not self._left:
                    pieces.append(data[begun:at])
                    begun = at
                    self._cut = False
                continue
            missing = 4 - len(self._header)
            self._header += data[at : at + missing]
            at = min(at + missing, size)
            if len(self._header) < 4:
                break
            length = int.from_bytes(self._header[:3], "big")
            if length > MAX_FRAME:
                raise FrameTooLong(f"a frame of {length} bytes, where {MAX_FRAME} are allowed")
            self._cut = self._header[3] == _GOAWAY
            self._header = b""
            self._left = length + 5
        if begun < size:
            pieces.append(data[begun:] if begun else data)
        return pieces


class Outgoing:
    """Bytes that wait for the other side's window."""

    __slots__ = ("_at", "_pieces", "size")

    def __init__(self) -> None:
        self.size = 0
        self._pieces: deque[bytes] = deque()
        self._at = 0

    def add(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            self.size += len(data)

    def take(self, most: int) -> bytes:
        """Return up to `most` bytes; there must be some."""
        first = self._pieces[0]
        piece = first[self._at : self._at + most]
        self._at += len(piece)
        if self._at == len(first):
            self._pieces.popleft()
            self._at = 0
        self.size -= len(piece)
        return piece


class Budget:
    """So many events at once, so many per second in the long run: a token bucket."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._at = 0.0

    def spend(self, now: float) -> bool:
        """Take one; False if there is none left."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= 1
        return self._left >= 0
