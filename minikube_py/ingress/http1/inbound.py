"""A request that came by HTTP/1: aiohttp parsed it, its answer is written to the connection directly.

Left out: trailers of requests, which aiohttp's parser reads, checks and drops (nginx drops them too).
"""

import asyncio
from typing import Any

from aiohttp import hdrs
from aiohttp.http_writer import HttpVersion10
from aiohttp.web_request import BaseRequest

from minikube_py.ingress.http1.messages import chunk, encode_head, last_chunk
from minikube_py.ingress.proxy.inbound import Attempt, Fields

__all__ = ["Inbound1"]


class Inbound1:
    """See `inbound.Inbound`."""

    __slots__ = (
        "_chunked",
        "_head",
        "_request",
        "before",
        "drawn",
        "has_body",
        "headers",
        "keep_alive",
        "length",
        "method",
        "raw_headers",
        "remote",
        "target",
        "version",
    )

    trailers: Fields = ()
    problem: tuple[int, str] | None = None

    def __init__(self, request: BaseRequest) -> None:
        self._request = request
        self._head = b""
        self._chunked = False
        self.method = request.method
        self.target = request.raw_path
        self.version = "HTTP/1.0" if request.version == HttpVersion10 else "HTTP/1.1"
        self.headers = headers = request.headers
        self.raw_headers = request.raw_headers
        self.remote = request.remote or ""
        self.keep_alive = request.keep_alive
        length = headers.get(hdrs.CONTENT_LENGTH)
        streamed = hdrs.TRANSFER_ENCODING in headers
        self.length = int(length) if length is not None and not streamed else None
        self.has_body = streamed or bool(self.length)
        protocol: Any = request.protocol
        self.before: list[Attempt] = protocol.before
        self.drawn: float | None = protocol.drawn
        protocol.before, protocol.drawn = [], None

    # The request

    @property
    def body_read(self) -> bool:
        return not self.has_body or self._request.content.is_eof()

    async def read(self) -> bytes:
        content = self._request.content
        try:
            while not (data := await content.readany()):
                if content.at_eof():
                    return b""
        except (OSError, asyncio.CancelledError):
            raise
        except Exception as error:  # aiohttp raises its own: a malformed chunk, a body cut short
            raise ValueError(str(error)) from error
        return data

    # The answer

    def interim(self, status: int, reason: bytes = b"", fields: Fields = ()) -> None:
        if self.version == "HTTP/1.0":
            return  # RFC 9110 §15.2: HTTP/1.0 has no such answers
        if (transport := self._request.transport) is not None:
            transport.write(encode_head(status, reason, fields) + b"\r\n")

    def begin(self, status: int, reason: bytes, fields: Fields, *, sized: bool) -> None:
        block = encode_head(status, reason, fields)
        if not sized:
            if self.version == "HTTP/1.0":
                self.keep_alive = False  # it knows no chunks: the end of the connection is the end of the body
            else:
                self._chunked = True
                block += b"Transfer-Encoding: chunked\r\n"
        protocol: Any = self._request.protocol
        self.keep_alive = self.keep_alive and not protocol.closing
        if not self.keep_alive:
            block += b"Connection: close\r\n"
        elif self.version == "HTTP/1.0":
            block += b"Connection: keep-alive\r\n"
        self._head = block + b"\r\n"

    def write(self, data: bytes) -> None:
        if self._chunked and data:
            data = chunk(data)
        self._send(data)

    def finish(self, data: bytes = b"", trailers: Fields = ()) -> None:
        if self._chunked:
            data = (chunk(data) if data else b"") + last_chunk(trailers)
        if data or self._head:
            self._send(data)

    def _send(self, data: bytes) -> None:
        if (transport := self._request.transport) is not None:
            transport.write(self._head + data if self._head else data)
        self._head = b""

    @property
    def gone(self) -> bool:
        return self._request.transport is None

    @property
    def paused(self) -> bool:
        return self._request.protocol.writing_paused

    async def drain(self) -> None:
        await self._request.writer.drain()

    def abort(self) -> None:
        self.keep_alive = False
        if (transport := self._request.transport) is not None:
            transport.abort()

    # Upgrades

    def switch(self, fields: Fields, upgrade: str, tunnel: Any) -> None:
        self.keep_alive = False
        block = encode_head(101, b"Switching Protocols", fields)
        block += f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n".encode("utf-8", "surrogateescape")
        if (transport := self._request.transport) is not None:
            transport.write(block)
        self._request.protocol.set_parser(tunnel)

    def pause(self) -> None:
        self._request.protocol.pause_reading()

    def resume(self) -> None:
        self._request.protocol.resume_reading()
