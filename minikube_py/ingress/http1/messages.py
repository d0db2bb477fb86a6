"""HTTP/1.1 towards backends without I/O: answers are parsed here, bytes in, values out.

**The law of framing** (RFC 9112 §6.3): how an answer ends is decided once, from its head, and what isn't certain is
refused: a wrong guess would hand the bytes of one caller's answer to the next caller on the same connection.
Requests of clients are parsed by aiohttp (llhttp); this is only the backend's side.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

__all__ = ["BadResponse", "Chunks", "Framing", "Head", "chunk", "encode_head", "hopeful", "last_chunk", "parse_head"]

MAX_HEAD = 64 * 1024
"""Bytes of an answer's status line and headers (nginx: proxy_buffer_size 4k; Go's client: 10 MB)."""
_MAX_CHUNK_LINE = 4096
_MAX_TRAILERS = 64
NO_TRAILER = frozenset(
    {
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""What a trailer must not say: framing, routing, authentication, how to read the body (RFC 9110 §6.5.1)."""
_BEGIN = b"HTTP/1."
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_FIELDS = re.compile(rb"(?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*)*")
"""All header lines at once: the usual case costs one match, not two per line."""
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


class BadResponse(Exception):
    """The backend's answer is not HTTP/1.1; the message says what is wrong (answered 502)."""


class Framing(Enum):
    """How the body ends."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Status line and headers of an answer."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes, bytes]]
    """(lower-case name, name as sent, value)"""
    framing: Framing
    length: int
    keep_alive: bool


def hopeful(data: bytes) -> bool:
    """Tell whether the beginning of a head may still become one."""
    return data.startswith(_BEGIN) if len(data) >= len(_BEGIN) else _BEGIN.startswith(data)


def parse_head(block: bytes, *, method: str) -> Head:
    """Parse everything before the empty line (without it); `method` is the request's.

    The same bytes may give the same Head again: pods repeat themselves.
    Error handling: BadResponse for whatever leaves the framing in doubt.
    """
    return (_remembered if len(block) <= _REMEMBERED else _parsed)(block, method == "HEAD")


def _parsed(block: bytes, bodiless: bool) -> Head:
    lines = block.split(b"\r\n")
    well_formed = _FIELDS.fullmatch(block, len(lines[0])) is not None
    if (status_line := _STATUS.fullmatch(lines[0])) is None:
        raise BadResponse(f"not an HTTP/1.1 status line: {lines[0][:60]!r}")
    minor, code, reason = status_line.groups()
    status = int(code)
    headers: list[tuple[bytes, bytes, bytes]] = []
    length = -1
    encoding = b""
    keep_alive = minor == b"1"
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not well_formed and (not colon or _NAME.fullmatch(name) is None):
            raise BadResponse(f"not a header line: {line[:60]!r}")
        value = value.strip(b" \t")
        if not well_formed and _VALUE.fullmatch(value) is None:
            raise BadResponse(f"control character in header {name.decode()}")
        lower = name.lower()
        if lower == b"content-length":
            if not value.isdigit() or len(value) > 18 or (length >= 0 and length != int(value)):
                raise BadResponse(f"bad Content-Length: {value[:40]!r}")
            if length < 0:
                headers.append((lower, name, value))
            length = int(value)
            continue
        if lower == b"transfer-encoding":
            encoding = encoding + b"," + value.lower() if encoding else value.lower()
        elif lower == b"connection":
            tokens = value.lower()
            if b"close" in tokens:
                keep_alive = False
            elif minor == b"0" and b"keep-alive" in tokens:
                keep_alive = True
        headers.append((lower, name, value))
    if bodiless or status < 200 or status in (204, 304):
        return Head(status, reason or b"", headers, Framing.NONE, 0, keep_alive)
    if encoding:
        if encoding != b"chunked" or length >= 0 or minor == b"0":
            raise BadResponse(f"ambiguous framing: Transfer-Encoding {encoding.decode('latin-1')!r}")
        return Head(status, reason or b"", headers, Framing.CHUNKED, 0, keep_alive)
    if length >= 0:
        return Head(status, reason or b"", headers, Framing.LENGTH, length, keep_alive)
    return Head(status, reason or b"", headers, Framing.UNTIL_CLOSE, 0, False)


_REMEMBERED = 2048
"""Bytes of a head that is worth remembering."""
_remembered = lru_cache(maxsize=512)(_parsed)


class Chunks:
    """Decodes one chunked body; `done` once the last chunk and the trailers are read, `rest` is what follows."""

    __slots__ = ("_buffer", "_left", "_trailing", "done", "rest", "trailers")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0  # bytes of the current chunk, then 2 for its CRLF
        self._trailing = False
        self.trailers: list[tuple[bytes, bytes, bytes]] = []
        """(lower-case name, name, value)"""
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the body bytes in `data`.

        Error handling: BadResponse for malformed sizes, missing line ends, endless extensions or trailers.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        out: list[bytes] = []
        position = 0
        size = len(data)
        while position < size:
            if self._left > 2:
                take = min(self._left - 2, size - position)
                out.append(data[position : position + take])
                self._left -= take
                position += take
                continue
            if self._left:
                if size - position < self._left:
                    self._check_crlf(data[position:])
                    self._buffer = data[position:]
                    break
                if data[position : position + 2] != b"\r\n":
                    raise BadResponse("a chunk is longer than its size says")
                position += 2
                self._left = 0
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                if size - position > _MAX_CHUNK_LINE:
                    raise BadResponse("endless chunk size line or trailer")
                self._buffer = data[position:]
                break
            line = data[position:end]
            position = end + 2
            if self._trailing:
                if not line:
                    self.done = True
                    self.rest = data[position:]
                    break
                self._trailer(line)
                continue
            if (match := _SIZE.fullmatch(line)) is None:
                raise BadResponse(f"bad chunk size: {line[:40]!r}")
            count = int(match[1], 16)
            if count:
                self._left = count + 2
            else:
                self._trailing = True
        return out[0] if len(out) == 1 else b"".join(out)

    def _trailer(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise BadResponse(f"bad trailer: {line[:40]!r}")
        if len(self.trailers) >= _MAX_TRAILERS:
            raise BadResponse(f"more than {_MAX_TRAILERS} trailers")
        if (lower := name.lower()) not in NO_TRAILER:
            self.trailers.append((lower, name, value))

    def _check_crlf(self, partial: bytes) -> None:
        if partial != b"\r":
            raise BadResponse("a chunk is longer than its size says")


def encode_head(status: int, reason: bytes, fields: Sequence[tuple[bytes, bytes, bytes]]) -> bytes:
    """Encode status line and headers, without the empty line; fields are (lower-case name, name, value)."""
    parts = [b"HTTP/1.1 %d %b\r\n" % (status, reason)]
    parts += (b"%b: %b\r\n" % (name, value) for _, name, value in fields)
    return b"".join(parts)


def chunk(data: bytes) -> bytes:
    """Encode one chunk; empty data must not come here, it would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Sequence[tuple[bytes, bytes, bytes]] = ()) -> bytes:
    """Encode the end of a chunked body; trailers are (lower-case name, name, value)."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"0\r\n" + b"".join(b"%b: %b\r\n" % (name, value) for _, name, value in trailers) + b"\r\n"
