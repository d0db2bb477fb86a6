"""gRPC's health check, both ends, as far as probes need it: HTTP/2 frames without an HPACK decoder.

Stands for `grpc_health_probe` and a server's health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
The client judges by the DATA frame, which is not compressed. The server knows the one path it answers by its two
encodings (plain and Huffman, both constant); any other call gets UNIMPLEMENTED, as from a server without that service.
Leaves out: Watch, flow control (a health message fits any window), header compression of its own.
"""

import asyncio
import struct
from typing import cast

__all__ = ["PREFACE", "HealthServer", "check"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x9
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1

_CHECK = b"/grpc.health.v1.Health/Check"
_CHECK_HUFFMAN = bytes.fromhex("626b2b22f394742675fb857c651d099d8bd3949d7f")
"""`_CHECK` in the Huffman code of RFC 7541, appendix B."""

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


class HealthServer(asyncio.Protocol):
    """Answers `grpc.health.v1.Health/Check` with SERVING."""

    def __init__(self) -> None:
        self._preface = b""
        self._frames = _Frames()
        self._headers: dict[int, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.write(_frame(_SETTINGS, 0, 0))

    def data_received(self, data: bytes) -> None:
        if len(self._preface) < len(PREFACE):
            self._preface += data
            if len(self._preface) < len(PREFACE):
                return
            data, self._preface = self._preface[len(PREFACE) :], PREFACE
        for kind, flags, stream, payload in self._frames.feed(data):
            if kind == _SETTINGS and not flags & _ACK:
                self._transport.write(_frame(_SETTINGS, _ACK, 0))
            elif kind == _PING and not flags & _ACK:
                self._transport.write(_frame(_PING, _ACK, 0, payload))
            elif kind in (_HEADERS, _CONTINUATION):
                self._headers[stream] = self._headers.get(stream, b"") + payload
            if kind in (_HEADERS, _DATA, _CONTINUATION) and flags & _END_STREAM and stream in self._headers:
                self._answer(stream, self._headers.pop(stream))

    def _answer(self, stream: int, block: bytes) -> None:
        head = b"\x88" + _literal(b"content-type", b"application/grpc")  # 0x88: `:status: 200` of the static table
        if _CHECK in block or _CHECK_HUFFMAN in block:
            self._transport.write(
                _frame(_HEADERS, _END_HEADERS, stream, head)
                + _frame(_DATA, 0, stream, _message(b"\x08\x01"))
                + _frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _literal(b"grpc-status", b"0"))
            )
        else:
            why = _literal(b"grpc-status", b"12") + _literal(
                b"grpc-message", b"stand-in: only the health check answers"
            )
            self._transport.write(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, head + why))


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
