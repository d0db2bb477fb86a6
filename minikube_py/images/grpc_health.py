"""gRPC's health check, both ends, as far as probes and health stubs need it: HTTP/2 frames, HPACK for the path only.

Stands for `grpc_health_probe` and a server's health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
The client judges by the DATA frame, which is not compressed. The server knows the two paths it answers by their two
encodings (plain and Huffman, all constant); any other call gets UNIMPLEMENTED, as from a server without that service.
Watch tells the state once and keeps the stream open. Leaves out: changes told to watchers, flow control (a health
message fits any window), header compression of its own.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import cast

__all__ = ["PREFACE", "HealthServer", "check"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x9
_END_STREAM, _END_HEADERS, _ACK, _PADDED, _PRIORITY = 0x1, 0x4, 0x1, 0x8, 0x20

_CHECK = b"/grpc.health.v1.Health/Check"
_PATHS = {
    _CHECK: "Check",
    bytes.fromhex("626b2b22f394742675fb857c651d099d8bd3949d7f"): "Check",
    b"/grpc.health.v1.Health/Watch": "Watch",
    bytes.fromhex("626b2b22f394742675fb857c651d099d8e434927"): "Watch",
}
"""Each plain, and in the Huffman code of RFC 7541, appendix B."""

_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """Encode a header field without indexing (RFC 7541 §6.2.2); both parts are shorter than 127 bytes."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _message(payload: bytes) -> bytes:
    """Wrap a protobuf message as gRPC does: not compressed, length."""
    return struct.pack("!BI", 0, len(payload)) + payload


class _Frames:
    """Cuts a byte stream into frames: (type, flags, stream, payload)."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        self._buffer += data
        found = []
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                break
            kind, flags, stream = struct.unpack("!BBI", self._buffer[3:9])
            found.append((kind, flags, stream & 0x7FFFFFFF, self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
        return found


class _Paths:
    """Finds `:path` in header blocks (RFC 7541): representations and the dynamic table, without decoding Huffman."""

    _MOST = 256
    """Entries kept; the peer may have evicted the older ones, it never refers to those."""

    def __init__(self) -> None:
        self._table: list[tuple[bool, bytes]] = []

    def path(self, block: bytes) -> bytes:
        """Return the path as it was sent, plain or in Huffman code; ValueError for a broken block."""
        found, at = b"", 0
        while at < len(block):
            first = block[at]
            if first & 0x80:
                index, at = _integer(block, at, 7)
                is_path, value = self._entry(index)
            elif first & 0xE0 == 0x20:
                _, at = _integer(block, at, 5)
                continue
            else:
                index, at = _integer(block, at, 6 if first & 0x40 else 4)
                is_path = self._entry(index)[0]
                if not index:
                    name, at = _string(block, at)
                    is_path = name == b":path"
                value, at = _string(block, at)
                if first & 0x40:
                    self._table.insert(0, (is_path, value))
                    del self._table[self._MOST :]
            if is_path:
                found = value
        return found

    def _entry(self, index: int) -> tuple[bool, bytes]:
        if index < 62:
            return index in (4, 5), b""
        return self._table[index - 62] if index - 62 < len(self._table) else (False, b"")


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    value, at = block[at] & (1 << bits) - 1, at + 1
    if value < (1 << bits) - 1:
        return value, at
    shift = 0
    while at < len(block):
        value, shift, at = value + ((block[at] & 0x7F) << shift), shift + 7, at + 1
        if not block[at - 1] & 0x80:
            return value, at
    raise ValueError("truncated header block")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(block):
        raise ValueError("truncated header block")
    length, at = _integer(block, at, 7)
    return block[at : at + length], at + length


class HealthServer(asyncio.Protocol):
    """Answers `grpc.health.v1.Health/Check` and `/Watch` with what `serving` says."""

    def __init__(self, serving: Callable[[], bool] = lambda: True) -> None:
        self._serving = serving
        self._preface = b""
        self._frames = _Frames()
        self._paths = _Paths()
        self._headers: dict[int, bytes] = {}
        self._called: dict[int, str] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.write(_frame(_SETTINGS, 0, 0))

    def data_received(self, data: bytes) -> None:
        if len(self._preface) < len(PREFACE):
            self._preface += data
            if len(self._preface) < len(PREFACE):
                return
            data, self._preface = self._preface[len(PREFACE) :], PREFACE
        try:
            for kind, flags, stream, payload in self._frames.feed(data):
                self._frame(kind, flags, stream, payload)
        except (ValueError, IndexError):
            self._transport.close()

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._transport.write(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind in (_HEADERS, _CONTINUATION):
            if kind == _HEADERS and flags & _PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            if kind == _HEADERS and flags & _PRIORITY:
                payload = payload[5:]
            self._headers[stream] = self._headers.get(stream, b"") + payload
            if flags & _END_HEADERS:
                self._called[stream] = _PATHS.get(self._paths.path(self._headers.pop(stream)), "")
        if kind in (_HEADERS, _DATA) and flags & _END_STREAM and stream in self._called:
            self._answer(stream, self._called.pop(stream))

    def _answer(self, stream: int, method: str) -> None:
        head = b"\x88" + _literal(b"content-type", b"application/grpc")  # 0x88: `:status: 200` of the static table
        if not method:
            words = (b"grpc-status", b"12"), (b"grpc-message", b"stand-in: only the health check answers")
            why = b"".join(_literal(name, value) for name, value in words)
            self._transport.write(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, head + why))
            return
        status = _message(bytes((0x08, 1 if self._serving() else 2)))
        self._transport.write(_frame(_HEADERS, _END_HEADERS, stream, head) + _frame(_DATA, 0, stream, status))
        if method == "Check":
            self._transport.write(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _literal(b"grpc-status", b"0")))


async def check(host: str, port: int, service: str = "") -> tuple[bool, str]:
    """Ask a server for its health; return whether it serves, and what the kubelet's prober would say.

    Error handling: OSError when the connection fails; the caller bounds the time.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        name = service.encode()
        request = b"\x0a" + bytes((len(name),)) + name if name else b""
        block = (
            b"\x83\x86"
            + b"".join(  # `:method: POST`, `:scheme: http`
                _literal(key, value)
                for key, value in (
                    (b":path", _CHECK),
                    (b":authority", f"{host}:{port}".encode()[:120]),
                    (b"content-type", b"application/grpc"),
                    (b"te", b"trailers"),
                    (b"user-agent", b"kube-probe/1.32"),
                )
            )
        )
        writer.write(
            PREFACE
            + _frame(_SETTINGS, 0, 0)
            + _frame(_HEADERS, _END_HEADERS, 1, block)
            + _frame(_DATA, _END_STREAM, 1, _message(request))
        )
        frames, body = _Frames(), b""
        while data := await reader.read(65536):
            for kind, flags, stream, payload in frames.feed(data):
                if kind == _SETTINGS and not flags & _ACK:
                    writer.write(_frame(_SETTINGS, _ACK, 0))
                if stream == 1 and kind == _DATA:
                    body += payload
                if (stream == 1 and (kind == _RST or (flags & _END_STREAM and kind in (_DATA, _HEADERS)))) or (
                    kind == _GOAWAY
                ):
                    return _judge(body)
        return False, "error: the connection ended before the health check was answered"
    finally:
        writer.close()


def _judge(body: bytes) -> tuple[bool, str]:
    if len(body) < 5:
        return False, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
    message = body[5:]
    status = message[1] if len(message) >= 2 and message[0] == 0x08 else 0
    if status == 1:
        return True, "service healthy"
    return False, f'service unhealthy (responded with "{_STATUS.get(status, status)}")'
