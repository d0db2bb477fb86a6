"""Keep-alive connections to backends: one `Connection` per socket, lent to one request at a time.

    acquire ──► send ──► head() ──► read() … b"" ──► release (only after a clean end, else close)

A connection goes back to the pool only when the answer's end was certain and nothing followed it (the law of
framing). A lent connection isn't read faster than its data is taken: above `_HIGH` bytes the socket is paused.
"""

import asyncio
import ssl
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Protocol, cast

from minikube_py.aiokit.clock import Clock, Timer, within
from minikube_py.ingress.http1.messages import (
    MAX_HEAD,
    BadResponse,
    Chunks,
    Framing,
    Head,
    chunk,
    hopeful,
    last_chunk,
    parse_head,
)
from minikube_py.ingress.proxy.awaited import Awaited
from minikube_py.ingress.proxy.inbound import Fields
from minikube_py.ingress.router import Endpoint

__all__ = ["Closed", "Connection", "Listener", "Pool"]

_HIGH = 256 * 1024
_IDLE = 60.0
"""Seconds an unused connection stays open (ingress-nginx: upstream-keepalive-timeout 60)."""
_MAX_IDLE = 320
"""Connections kept per endpoint (ingress-nginx: upstream-keepalive-connections 320)."""


class Closed(ConnectionError):
    """The backend closed the connection; `clean` if not one byte of an answer had come."""

    def __init__(self, message: str, *, clean: bool) -> None:
        super().__init__(message)
        self.clean = clean


class Listener(Protocol):
    """Who is called back instead of waiting in a task (the fast path)."""

    def progressed(self) -> None:
        """The head, more of the body, or its end has come."""
        ...

    def failed(self, error: Exception) -> None:
        """Nothing more will come: Closed, BadResponse or TimeoutError."""
        ...


class Connection(Awaited, asyncio.Protocol):
    """One socket to one endpoint.

    Resource handling: `close()` is safe at any time; a connection that isn't released must be closed.
    """

    __slots__ = (
        "_buffer",
        "_busy",
        "_chunks",
        "_framing",
        "_left",
        "_method",
        "_reading_paused",
        "_size",
        "_write_waiter",
        "_writing_paused",
        "idle_since",
        "listener",
        "on_interim",
        "on_writable",
        "received",
        "reused",
        "secure",
        "transport",
    )

    def __init__(self, endpoint: Endpoint, secure: bool, clock: Clock) -> None:
        super().__init__(endpoint, clock)
        self.secure = secure
        self.reused = False
        self.idle_since = 0.0
        self.received = 0
        """Body bytes of the current answer."""
        self.on_writable: Callable[[], None] | None = None
        self.on_interim: Callable[[Head], None] | None = None
        """Told of informational answers (103 Early Hints)."""
        self.listener: Listener | None = None
        self.transport: asyncio.Transport | None = None
        self._write_waiter: asyncio.Future[None] | None = None
        self._busy = False
        self._writing_paused = False
        self._reading_paused = False
        self._reset("GET")

    def _reset(self, method: str) -> None:
        self._method = method
        self._buffer = b""
        self._head = None
        self._framing = Framing.NONE
        self._left = 0
        self._chunks: Chunks | None = None
        self._pieces = []
        self._size = 0
        self._done = False
        self.received = 0

    # The request

    @property
    def usable(self) -> bool:
        return self._error is None and self.transport is not None and not self.transport.is_closing()

    @property
    def writing_paused(self) -> bool:
        return self._writing_paused

    def start(self, method: str, data: bytes, *, body: bool = False) -> None:
        """Send a request's head; `body` follows."""
        self._reset(method)
        self._busy = True
        if self.transport is not None:
            self.transport.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def write_body(self, data: bytes, *, chunked: bool = False) -> None:
        """Send more of a request's body."""
        self.write(chunk(data) if chunked else data)

    def end_body(self, trailers: Fields = (), *, chunked: bool = False) -> None:
        if chunked:
            self.write(last_chunk(trailers))

    async def drain(self) -> None:
        """Wait until the backend takes more.

        Error handling: Closed when it is gone.
        """
        if self._error is not None:
            raise self._error
        if self._writing_paused:
            self._write_waiter = asyncio.get_running_loop().create_future()
            try:
                await self._write_waiter
            finally:
                self._write_waiter = None

    # The answer

    @property
    def trailers(self) -> Fields:
        """What came after the body, once it is here."""
        return self._chunks.trailers if self._chunks is not None else ()

    def take(self) -> bytes:
        """Return what is there of the body, without waiting."""
        pieces = self._pieces
        if not pieces:
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._size = 0
        if self._reading_paused and self.transport is not None and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()
        return data

    @property
    def reusable(self) -> bool:
        """The answer ended cleanly and the backend keeps the connection."""
        return self._done and self.usable and self._head is not None and self._head.keep_alive and not self._left

    @property
    def answer(self) -> Head | None:
        """The answer's head, if it has come."""
        return self._head

    def _held(self) -> bool:
        return self._reading_paused

    def _wake(self) -> None:
        if self.listener is not None:
            self.listener.progressed()
        else:
            super()._wake()

    def _refuse(self, error: Exception) -> None:
        if self.listener is not None:
            self.listener.failed(error)
        else:
            super()._refuse(error)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            # bytes nobody asked for: the next request must not take them for its answer
            self._fail(BadResponse(f"{self.endpoint} sent data without a request"))
            return
        try:
            if self._head is None:
                if not self._take_head(data):
                    return
            else:
                self._take_body(data)
        except BadResponse as error:
            self._fail(error)
            return
        self._wake()

    def _take_head(self, data: bytes) -> bool:
        self._buffer = data = self._buffer + data if self._buffer else data
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > MAX_HEAD:
                    raise BadResponse(f"{self.endpoint} sent more than {MAX_HEAD} bytes of headers")
                if not hopeful(data):  # don't wait for the end of what will never be an answer
                    raise BadResponse(f"not an HTTP/1.1 answer: {data[:60]!r}")
                self._buffer = data
                return False
            head = parse_head(data[:end], method=self._method)
            data = data[end + 4 :]
            if head.status >= 200 or head.status == 101:
                break
            if head.status != 100 and self.on_interim is not None:  # who sent Expect has had its 100 from us
                self.on_interim(head)
        self._buffer = b""
        if head.status == 101:
            head = replace(head, framing=Framing.UNTIL_CLOSE, keep_alive=False)
        self._head = head
        self._framing = head.framing
        self._left = head.length
        if head.framing is Framing.CHUNKED:
            self._chunks = Chunks()
        elif head.framing is Framing.NONE or (head.framing is Framing.LENGTH and not head.length):
            self._done = True
            self._left = len(data)  # more than there may be: not reusable
            return True
        if data:
            self._take_body(data)
        return True

    def _take_body(self, data: bytes) -> None:
        if self._done:
            self._left = 1
            return
        if self._framing is Framing.LENGTH:
            if len(data) > self._left:
                data = data[: self._left]
                self._left = 0
                self._error = Closed(f"{self.endpoint} sent more than its Content-Length", clean=False)
            else:
                self._left -= len(data)
            self._done = not self._left
        elif self._chunks is not None:
            data = self._chunks.feed(data)
            if self._chunks.done:
                self._done = True
                self._left = len(self._chunks.rest)
        if data:
            self._pieces.append(data)
            self._size += len(data)
            self.received += len(data)
            if self._size > _HIGH and not self._reading_paused and self.transport is not None:
                self._reading_paused = True
                self.transport.pause_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head is not None and self._framing is Framing.UNTIL_CLOSE and exc is None:
            self._done = True
        clean = self._head is None and not self._buffer
        self._error = self._error or Closed(
            f"{self.endpoint} closed the connection {'before answering' if clean else 'in the middle of its answer'}",
            clean=clean,
        )
        self.transport = None
        self._stop()
        if self._done:
            self._wake()
        else:
            self._refuse(self._error)
        if self._write_waiter is not None and not self._write_waiter.done():
            self._write_waiter.set_exception(self._error)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._write_waiter is not None and not self._write_waiter.done():
            self._write_waiter.set_result(None)
        if self.on_writable is not None:
            self.on_writable()

    # Its end

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._refuse(error)
        self.close()

    def rest(self) -> None:
        """The request is over and the connection waits for the next."""
        self._busy = False
        self.reused = True
        self.on_writable = self.on_interim = None
        self.listener = None

    def close(self) -> None:
        self._stop()
        if self.transport is not None:
            self.transport.abort()


class Pool:
    """Idle connections by endpoint.

    Resource handling: `close()` closes the idle ones; lent ones belong to their borrowers.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._idle: dict[tuple[Endpoint, bool], list[Connection]] = {}
        self._timer: Timer | None = None
        self._closed = False
        self._tls: ssl.SSLContext | None = None

    def acquire(self, endpoint: Endpoint, *, secure: bool = False) -> Connection | None:
        """Return an idle connection, the last used first; None if there is none."""
        idle = self._idle.get((endpoint, secure))
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    async def connect(self, endpoint: Endpoint, timeout: float, *, secure: bool = False) -> Connection:
        """Open a connection.

        Error handling: OSError (refused, unreachable, unknown name), TimeoutError after `timeout` seconds.
        """
        async with within(self._clock, timeout):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(endpoint, secure, self._clock),
                endpoint.address,
                endpoint.port,
                ssl=self._context() if secure else None,
            )
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.check_hostname = False  # ingress-nginx: proxy-ssl-verify is off
            self._tls.verify_mode = ssl.CERT_NONE
        return self._tls

    def release(self, connection: Connection) -> None:
        """Take a connection back: to be lent again if its answer ended cleanly, else closed."""
        if self._closed or not connection.reusable:
            connection.close()
            return
        idle = self._idle.setdefault((connection.endpoint, connection.secure), [])
        if len(idle) >= _MAX_IDLE:
            connection.close()
            return
        connection.rest()
        connection.idle_since = self._clock.now()
        idle.append(connection)
        if self._timer is None:
            self._timer = self._clock.call_later(_IDLE / 4, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        before = self._clock.now() - _IDLE
        for key, idle in list(self._idle.items()):
            kept = [each for each in idle if each.usable and each.idle_since > before]
            for each in idle:
                if each not in kept:
                    each.close()
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]
        if self._idle:
            self._timer = self._clock.call_later(_IDLE / 4, self._sweep)

    def retain(self, endpoints: Collection[Endpoint]) -> None:
        """Close the idle connections to endpoints that are no more."""
        for key in [each for each in self._idle if each[0] not in endpoints]:
            for connection in self._idle.pop(key):
                connection.close()

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()
