"""rabbitmq, as far as AMQP's opening: header, start, tune, open; heartbeats; the management port's health.

Leaves out: channels and queues: opening a channel closes the connection with 540 (not-implemented) and says why.
Source: https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf
"""

import asyncio
import struct
from typing import TYPE_CHECKING

from minikube_py.images.container import Container
from minikube_py.images.lines import STAND_IN, serve_streams
from minikube_py.images.web import HTTPServer

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = ("rabbitmq", "bitnami/rabbitmq", "*/rabbitmq")

_METHOD, _HEARTBEAT, _END = 1, 8, b"\xce"
_CONNECTION = 10
_START_OK, _TUNE_OK, _OPEN, _CLOSE, _CLOSE_OK = 11, 31, 40, 50, 51


def _frame(channel: int, payload: bytes, kind: int = _METHOD) -> bytes:
    return struct.pack("!BHI", kind, channel, len(payload)) + payload + _END


def _long(text: str) -> bytes:
    data = text.encode()
    return struct.pack("!I", len(data)) + data


def _short(text: str) -> bytes:
    data = text.encode()[:255]
    return bytes((len(data),)) + data


def _method(class_: int, method: int, arguments: bytes = b"") -> bytes:
    return struct.pack("!HH", class_, method) + arguments


_CAPABILITIES = b"".join(
    _short(name) + b"t\x01"
    for name in ("publisher_confirms", "basic.nack", "consumer_cancel_notify", "connection.blocked")
)
_PROPERTIES = (
    ("product", b"S", _long("RabbitMQ (minikube-py stand-in)")),
    ("version", b"S", _long("3.13.0")),
    ("capabilities", b"F", struct.pack("!I", len(_CAPABILITIES)) + _CAPABILITIES),
)


async def _handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if await reader.readexactly(8) != b"AMQP\x00\x00\x09\x01":
        writer.write(b"AMQP\x00\x00\x09\x01")
        return
    table = b"".join(_short(name) + kind + value for name, kind, value in _PROPERTIES)
    start = b"\x00\x09" + struct.pack("!I", len(table)) + table + _long("PLAIN AMQPLAIN") + _long("en_US")
    writer.write(_frame(0, _method(_CONNECTION, 10, start)))
    while True:
        kind, channel, size = struct.unpack("!BHI", await reader.readexactly(7))
        payload = await reader.readexactly(size + 1)
        if kind == _HEARTBEAT:
            writer.write(_frame(0, b"", _HEARTBEAT))
            continue
        class_, method = struct.unpack("!HH", payload[:4])
        match class_, method:
            case 10, 11:
                writer.write(_frame(0, _method(_CONNECTION, 30, struct.pack("!HIH", 2047, 131072, 60))))
            case 10, 31 | 51:
                if method == _CLOSE_OK:
                    return
            case 10, 40:
                writer.write(_frame(0, _method(_CONNECTION, 41, b"\x00")))
            case 10, 50:
                writer.write(_frame(0, _method(_CONNECTION, 51)))
                return
            case _:
                why = (
                    struct.pack("!H", 540)
                    + _short(f"NOT_IMPLEMENTED - {STAND_IN}")
                    + struct.pack("!HH", class_, method)
                )
                writer.write(_frame(0, _method(_CONNECTION, 50, why)))
        await writer.drain()
        del channel


async def main(container: Container) -> int:
    from aiohttp import web

    async def management(request: "web.BaseRequest") -> "web.StreamResponse":
        if request.path.startswith("/api/"):
            return web.json_response({"status": "ok", "note": STAND_IN})
        return web.Response(text=f"RabbitMQ Management: {STAND_IN}\n")

    server = HTTPServer(management)
    try:
        await server.listen(15672)
        return await serve_streams(container, _handle, 5672)
    finally:
        await server.close()
