"""After an upgrade: bytes both ways, as they are."""

from typing import TYPE_CHECKING, Any

from aiohttp.web_protocol import RequestHandler

from minikube_py.ingress.http1 import Head
from minikube_py.ingress.pool import Closed, Connection
from minikube_py.ingress.relaying import response_head

if TYPE_CHECKING:
    from minikube_py.ingress.exchange import Exchange

__all__ = ["tunnel"]


class _Tunnel:
    """aiohttp's parser slot after an upgrade: what the caller sends goes to the backend as it is."""

    def __init__(self, protocol: RequestHandler, upstream: Connection, timeout: float) -> None:
        self._protocol = protocol
        self._upstream = upstream
        self._timeout = timeout
        upstream.on_writable = self._resume

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._upstream.touch(self._timeout)
        self._upstream.write(data)
        if self._upstream.writing_paused:
            self._protocol.pause_reading()
        return not self._upstream.usable, b""

    def _resume(self) -> None:
        self._protocol.resume_reading()

    def feed_eof(self) -> None:
        self._upstream.close()


async def tunnel(exchange: "Exchange", connection: Connection, head: Head, upgrade: str) -> None:
    request = exchange.request
    transport = request.transport
    if transport is None:
        raise Closed("the caller is gone", clean=False)
    block = response_head(exchange, head, connection, chunked=False, upgrade=upgrade)
    exchange.begun = True
    exchange.keep_alive = False
    exchange.record.status = 101
    transport.write(block)
    timeout = exchange.options.read_timeout
    tunnel: Any = _Tunnel(request.protocol, connection, timeout)
    request.protocol.set_parser(tunnel)
    try:
        while data := await connection.read(timeout):
            exchange.record.sent += len(data)
            transport.write(data)
            if request.protocol.writing_paused:
                await request.writer.drain()
    except (TimeoutError, Closed):
        return  # either side may end a tunnel at any time
