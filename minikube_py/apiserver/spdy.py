"""SPDY/3.1 framing, as much of it as Kubernetes' streaming uses. No I/O: bytes in, events and bytes out.

    control  1|version 3|type   flags|length   payload        data  0|stream   flags|length   bytes

`kubectl port-forward` always speaks it (since 1.31 inside WebSocket messages), `exec` of kubectl ≤ 1.29 too.
Kubernetes' own implementation (moby/spdystream) has no flow control, so WINDOW_UPDATE and SETTINGS are ignored.
Source: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["DICTIONARY", "Broken", "Data", "Opened", "Reset", "Session"]

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 1
_MAX_FRAME = 1 << 24
_MAX_HEADERS = 64 << 10
CHUNK = 32 << 10
"""Bytes in one data frame that we send."""

_NAMES = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
]

DICTIONARY = b"".join(
    struct.pack(">I", len(name)) + name.encode()
    for name in (*_NAMES, "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
) + (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    b"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    b"403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    b"Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    b"chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    b"text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
"""What both sides' header compression starts with (section 2.6.10.1)."""


class Broken(Exception):
    """The peer doesn't speak SPDY/3.1; the session can't go on."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The client opened a stream."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes on a stream; with `fin` the last ones of that direction."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """A stream, or with stream 0 the whole session, ended."""

    stream: int


Event = Opened | Data | Reset


class Session:
    """The server's side of one connection.

    Error handling: `receive` raises Broken for bytes that are not SPDY/3.1.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._out = bytearray()

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the wire; return what they say."""
        buffer = self._buffer
        buffer += data
        events: list[Event] = []
        while len(buffer) >= 8:
            first, second = struct.unpack_from(">II", buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            if len(buffer) < 8 + length:
                break
            payload = bytes(buffer[8 : 8 + length])
            del buffer[: 8 + length]
            if first >> 31:
                self._control(first, flags, payload, events)
            else:
                events.append(Data(first, payload, bool(flags & FIN)))
        if len(buffer) > _MAX_FRAME + 8:
            raise Broken("a frame is too long")
        return events

    def to_send(self) -> bytes:
        """Return, once, what is to be written to the wire."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def reply(self, stream: int) -> None:
        """Accept a stream: clients wait for it before they send."""
        block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._frame(SYN_REPLY, 0, struct.pack(">I", stream) + block)

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Send bytes on a stream, `fin` ending our direction of it."""
        for start in range(0, len(data), CHUNK) or (0,):
            piece = data[start : start + CHUNK]
            last = start + CHUNK >= len(data)
            if not piece and not fin:
                continue
            self._out += struct.pack(">II", stream, (FIN << 24 if fin and last else 0) | len(piece)) + piece

    def reset(self, stream: int, status: int = 5) -> None:
        """Refuse or abort a stream; 5 is CANCEL."""
        self._frame(RST_STREAM, 0, struct.pack(">II", stream, status))

    def _frame(self, kind: int, flags: int, payload: bytes) -> None:
        self._out += struct.pack(">HHI", 0x8003, kind, flags << 24 | len(payload)) + payload

    def _control(self, first: int, flags: int, payload: bytes, events: list[Event]) -> None:
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != 3:
            raise Broken(f"SPDY version {version} instead of 3")
        try:
            match kind:
                case 1:  # SYN_STREAM
                    (stream,) = struct.unpack_from(">I", payload)
                    events.append(Opened(stream & 0x7FFFFFFF, self._headers(payload[10:]), bool(flags & FIN)))
                case 3:  # RST_STREAM
                    (stream,) = struct.unpack_from(">I", payload)
                    events.append(Reset(stream & 0x7FFFFFFF))
                case 6:  # PING: even ones are answers to ours, which we never send
                    if struct.unpack_from(">I", payload)[0] & 1:
                        self._frame(PING, 0, payload[:4])
                case 7:  # GOAWAY
                    events.append(Reset(0))
                case 8:  # HEADERS: the compression state must follow
                    self._headers(payload[4:])
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise Broken(f"a frame of type {kind} can't be read: {error}") from None

    def _headers(self, block: bytes) -> dict[str, str]:
        raw = self._inflate.decompress(block, _MAX_HEADERS)
        (count,) = struct.unpack_from(">I", raw)
        position, found = 4, {}
        for _ in range(count):
            name, position = _text(raw, position)
            value, position = _text(raw, position)
            found[name.lower()] = value
        return found


def _text(raw: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", raw, position)
    start = position + 4
    if start + length > len(raw):
        raise Broken("a header block ends too early")
    return raw[start : start + length].decode(), start + length
