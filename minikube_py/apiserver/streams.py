"""Byte streams over one connection: WebSocket channels and SPDY streams, behind one face.

    Pipe         one direction in (an asyncio.StreamReader that pushes back), one out (an async write)
    Multiplex    many pipes over a WebSocket or a raw SPDY connection

exec, attach and port-forward (`remote.py`, `portforward.py`) are written against these alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from minikube_py.apimachinery import errors
from minikube_py.apiserver import spdy

__all__ = ["Inbox", "Mux", "SPDYStream", "raw_spdy", "spdy_over_websocket"]

logger = logging.getLogger(__name__)

_WINDOW = 256 << 10
"""Bytes a reader may lag behind before its sender is held back."""


class Inbox(asyncio.Transport):
    """What arrives for one reader; `room()` returns once the reader has kept up."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = asyncio.StreamReader(limit=_WINDOW)
        self.reader.set_transport(self)
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False

    def pause_reading(self) -> None:
        self._room.clear()

    def resume_reading(self) -> None:
        self._room.set()

    def is_closing(self) -> bool:
        return False

    def feed(self, data: bytes) -> None:
        if not self._ended and data:
            self.reader.feed_data(data)

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self.reader.feed_eof()
        self._room.set()

    async def room(self) -> None:
        await self._room.wait()


class SPDYStream:
    """One stream of a SPDY connection."""

    def __init__(self, mux: "Mux", number: int, headers: Mapping[str, str]) -> None:
        self._mux = mux
        self.number = number
        self.headers = headers
        self.inbox = Inbox()
        self._closed = False

    async def write(self, data: bytes) -> None:
        if not self._closed:
            await self._mux.send(self.number, data)

    async def close(self) -> None:
        """End our direction."""
        if not self._closed:
            self._closed = True
            await self._mux.send(self.number, b"", fin=True)


class _Wire(Protocol):
    async def write(self, data: bytes) -> None: ...


class Mux:
    """A SPDY connection: accepts streams and hands each to `on_stream`."""

    def __init__(self, wire: _Wire, on_stream: Callable[[SPDYStream], None]) -> None:
        self._session = spdy.Session()
        self._wire = wire
        self._on_stream = on_stream
        self._streams: dict[int, SPDYStream] = {}
        self.closed = asyncio.Event()

    async def receive(self, data: bytes) -> None:
        """Take bytes from the wire; waits while a stream's reader lags behind."""
        for event in self._session.receive(data):
            match event:
                case spdy.Opened(number, headers, fin):
                    stream = self._streams[number] = SPDYStream(self, number, headers)
                    self._session.reply(number)
                    if fin:
                        stream.inbox.end()
                    self._on_stream(stream)
                case spdy.Data(number, payload, fin):
                    if found := self._streams.get(number):
                        found.inbox.feed(payload)
                        if fin:
                            found.inbox.end()
                        await self._flush()
                        await found.inbox.room()
                case spdy.Reset(0):
                    self.end()
                case spdy.Reset(number):
                    if found := self._streams.pop(number, None):
                        found.inbox.end()
        await self._flush()

    async def send(self, number: int, data: bytes, *, fin: bool = False) -> None:
        if not self.closed.is_set():
            self._session.send(number, data, fin=fin)
            await self._flush()

    async def _flush(self) -> None:
        if data := self._session.to_send():
            await self._wire.write(data)

    def end(self) -> None:
        """The connection is gone: every reader sees its end."""
        self.closed.set()
        for stream in self._streams.values():
            stream.inbox.end()


class _WebSocketWire:
    def __init__(self, socket: "web.WebSocketResponse") -> None:
        self._socket = socket

    async def write(self, data: bytes) -> None:
        await self._socket.send_bytes(data)


async def spdy_over_websocket(
    request: web.BaseRequest,
    protocol: str,
    on_stream: Callable[[SPDYStream], None],
    work: Callable[[Mux], Awaitable[None]],
) -> web.StreamResponse:
    """Serve SPDY inside binary WebSocket messages (KEP-4006); `work` runs until it or the client ends."""
    socket = web.WebSocketResponse(protocols=(protocol,), max_msg_size=0, compress=False)
    await socket.prepare(request)
    mux = Mux(_WebSocketWire(socket), on_stream)

    async def pump() -> None:
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    await mux.receive(message.data)
        finally:
            mux.end()

    await _together(pump(), work(mux))
    await socket.close()
    return socket


class _RawProtocol(asyncio.Protocol):
    """Takes an HTTP connection over, after `101 Switching Protocols`."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self._transport: Any = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._queued = 0

    def take_over(self, transport: Any) -> None:
        self._transport = transport
        transport.set_protocol(self)
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._queued += len(data)
        self.incoming.put_nowait(data)
        if self._queued > _WINDOW:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self.incoming.put_nowait(b"")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.incoming.put_nowait(b"")
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def next(self) -> bytes:
        data = await self.incoming.get()
        self._queued -= len(data)
        if self._queued <= _WINDOW // 2 and not self._transport.is_closing():
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
            await self._writable.wait()


class _Hijacked(web.Response):
    """Stands for an answer that was written by hand."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def raw_spdy(
    request: web.BaseRequest,
    protocol: str,
    on_stream: Callable[[SPDYStream], None],
    work: Callable[[Mux], Awaitable[None]],
) -> web.StreamResponse:
    """Serve `Upgrade: SPDY/3.1` on the connection itself; `protocol` is the X-Stream-Protocol-Version agreed on."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    wire = _RawProtocol()
    transport.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        b"X-Stream-Protocol-Version: " + protocol.encode() + b"\r\n\r\n"
    )
    wire.take_over(transport)
    mux = Mux(wire, on_stream)

    async def pump() -> None:
        try:
            while data := await wire.next():
                await mux.receive(data)
        finally:
            mux.end()

    try:
        await _together(pump(), work(mux))
    finally:
        transport.close()
    answer = _Hijacked()
    answer.force_close()
    return answer


async def _together(pump: Any, work: Any) -> None:
    """Run both until the first ends; a failure is logged: after an upgrade nothing may become an HTTP answer."""
    tasks = [asyncio.ensure_future(pump), asyncio.ensure_future(work)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, (spdy.Broken, ConnectionError)):
                logger.debug("stream ended error=%s", result)
            elif isinstance(result, Exception):
                logger.error("stream failed", exc_info=result)


def upgrade_of(request: web.BaseRequest) -> str:
    """Return `websocket`, `spdy` or "" (no upgrade asked for).

    Error handling: 400 for an upgrade to something else.
    """
    if "upgrade" not in request.headers.get("Connection", "").lower():
        return ""
    wanted = request.headers.get("Upgrade", "").lower()
    if wanted == "websocket":
        return "websocket"
    if wanted == "spdy/3.1":
        return "spdy"
    raise errors.bad_request(f"unable to upgrade: unknown protocol {wanted!r}; websocket and SPDY/3.1 are served")
