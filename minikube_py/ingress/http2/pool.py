"""HTTP/2 to backends (gRPC): connections that are shared, one `Stream` for each request.

    acquire / connect ──► Stream ──► start ──► head() ──► read() … b"" ──► trailers ──► close

A `Stream` is to an exchange what a `http1.pool.Connection` is. Plain connections speak HTTP/2 at once (prior
knowledge), as grpc_pass does; over TLS by ALPN. A GOAWAY lets the running streams end and takes no new ones.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection
from typing import cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from minikube_py.aiokit.clock import Clock, Timer, within
from minikube_py.ingress.http1.messages import BadResponse, Framing, Head
from minikube_py.ingress.http1.pool import Closed
from minikube_py.ingress.http2.messages import Frames, FrameTooLong, Outgoing, head_of, request_headers, trailer_fields
from minikube_py.ingress.proxy.awaited import Awaited
from minikube_py.ingress.proxy.inbound import Fields
from minikube_py.ingress.router import Endpoint

__all__ = ["Pool2", "Stream"]

logger = logging.getLogger(__name__)

_WINDOW = 256 * 1024
"""Bytes of one answer that may wait for their caller."""
_ALL_WINDOWS = 1 << 26
_HIGH = 128 * 1024
"""Bytes of one request that wait for the pod before its caller is read slower."""
_STREAMS = 100
"""On one connection, if the pod allows as many (grpc-go's servers do)."""
_IDLE = 60.0
"""Seconds an unused connection stays open (ingress-nginx: upstream-keepalive-timeout 60)."""


class Stream(Awaited):
    """One request and its answer on a shared connection.

    Resource handling: `close()` is safe at any time; an answer that hasn't ended is cancelled for the pod too.
    """

    on_interim: Callable[[Head], None] | None = None

    def __init__(self, backend: "_Backend", *, reused: bool) -> None:
        super().__init__(backend.endpoint, backend.clock)
        self.reused = reused
        self.received = 0
        """Body bytes of the answer."""
        self.trailers: Fields = ()
        self.id = 0
        self.ended = False
        """Nothing will be added to the request."""
        self.end_sent = False
        self.out = Outgoing()
        self._backend = backend
        self._method = ""
        self._write_waiter: asyncio.Future[None] | None = None
        self._trailers_out: Fields = ()

    # The request

    def start(self, method: str, data: bytes, *, body: bool = False) -> None:
        """Send a request's head, given as HTTP/1.1 writes it."""
        self._method = method
        self.ended = self.end_sent = not body
        self._backend.open(self, data)

    def write_body(self, data: bytes, *, chunked: bool = False) -> None:
        if self._error is None and not self._done:
            self.out.add(data)
            self._backend.pump(self)

    def end_body(self, trailers: Fields = (), *, chunked: bool = False) -> None:
        self.ended = True
        self._trailers_out = trailers
        if self._error is None and not self._done:
            self._backend.pump(self)

    @property
    def trailers_out(self) -> list[tuple[bytes, bytes]]:
        return [(lower, value) for lower, _, value in self._trailers_out]

    def next_piece(self, most: int) -> bytes:
        """Take up to `most` bytes of what waits to be sent."""
        piece = self.out.take(most)
        if not self.writing_paused:
            _wake(self._write_waiter)
        return piece

    @property
    def writing_paused(self) -> bool:
        return self.out.size > _HIGH

    async def drain(self) -> None:
        """Wait until the pod takes more.

        Error handling: Closed when it won't.
        """
        while self.writing_paused:
            if self._error is not None:
                raise self._error
            if self._done:
                return
            self._write_waiter = asyncio.get_running_loop().create_future()
            try:
                await self._write_waiter
            finally:
                self._write_waiter = None

    # The answer

    def take(self) -> bytes:
        """Return what is there of the body, without waiting."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        if data:
            self._backend.acknowledge(self, len(data))
        return data

    # What the connection tells

    def answered(self, status: int, fields: list[tuple[bytes, bytes, bytes]], *, ended: bool) -> None:
        if status < 200:
            if self.on_interim is not None:
                self.on_interim(Head(status, b"", fields, Framing.NONE, 0, True))
            return
        sized = any(lower == b"content-length" for lower, _, _ in fields)
        framing = Framing.NONE if ended or self._method == "HEAD" else Framing.LENGTH if sized else Framing.UNTIL_CLOSE
        self._head = Head(status, b"", fields, framing, 0, True)
        self._done = self._done or ended
        self._wake()

    def feed(self, data: bytes) -> None:
        self._pieces.append(data)
        self.received += len(data)
        self._wake()

    def finished(self) -> None:
        self._done = True
        self._wake()
        _wake(self._write_waiter)

    def failed(self, error: Exception) -> None:
        if self._done:
            return
        self._error = self._error or error
        self._refuse(self._error)
        _wake(self._write_waiter)

    def lost(self, error: Exception | None) -> None:
        """The connection is gone, for a reason or without a word."""
        unanswered = self._head is None
        when = "before answering" if unanswered else "in the middle of its answer"
        self.failed(error or Closed(f"{self.endpoint} closed the connection {when}", clean=unanswered))

    def close(self) -> None:
        """Give the request up, if it isn't over."""
        self._stop()
        self._backend.leave(self)
        self.failed(Closed("the request was given up", clean=False))


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


class _Backend(asyncio.Protocol):
    """One connection to one endpoint."""

    def __init__(self, endpoint: Endpoint, secure: bool, clock: Clock) -> None:
        self.endpoint = endpoint
        self.idle_since = clock.now()
        self.streams: dict[int, Stream] = {}
        self.clock = clock
        self._scheme = b"https" if secure else b"http"
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._leaving = False
        self._frames = Frames()
        self._h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_inbound_headers=False,  # `messages.head_of` does
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings = Settings(
            client=True,
            initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW},
        )

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and not self._leaving

    @property
    def room(self) -> bool:
        """One stream more may be opened."""
        return self.usable and len(self.streams) < min(_STREAMS, self._h2.remote_settings.max_concurrent_streams)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_ALL_WINDOWS - 65535)
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            for piece in self._frames.feed(data):
                for event in self._h2.receive_data(piece):
                    self._on(event)
        except (ProtocolError, FrameTooLong) as error:
            spoken = "HTTP/1.1" if data.startswith(b"HTTP/1") else f"bad HTTP/2 ({error})"
            self._fail(BadResponse(f"{self.endpoint} speaks {spoken}, and backend-protocol GRPC needs HTTP/2"))
            self._flush()
            self.close()
            return
        for each in list(self.streams.values()):
            self.pump(each)
        self._flush()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        for each in list(self.streams.values()):
            self.pump(each)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(None)

    def _fail(self, error: Exception | None) -> None:
        for each in list(self.streams.values()):
            each.lost(error)
        self.streams.clear()

    def _on(self, event: events.Event) -> None:
        if isinstance(event, events.ConnectionTerminated):
            self._leaving = True
            # h2 lets nothing more be sent; RFC 9113 §6.8 lets the streams up to the last one end
            self._h2.state_machine.state = ConnectionState.CLIENT_OPEN
            last = event.last_stream_id if event.last_stream_id is not None else 0
            for each in [stream for number, stream in self.streams.items() if number > last]:
                del self.streams[each.id]
                each.failed(Closed(f"{self.endpoint} takes no more requests on this connection", clean=True))
            self._close_if_left()
            return
        stream = self.streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            if isinstance(event, events.DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return
        match event:
            case events.InformationalResponseReceived() | events.ResponseReceived():
                try:
                    status, fields = head_of(event.headers)
                except ValueError as error:
                    stream.failed(BadResponse(f"{self.endpoint}: {error}"))
                    return
                ended = isinstance(event, events.ResponseReceived) and event.stream_ended is not None
                stream.answered(status, fields, ended=ended)
            case events.DataReceived():
                if padding := event.flow_controlled_length - len(event.data):
                    self._h2.acknowledge_received_data(padding, event.stream_id)
                if event.data:
                    stream.feed(event.data)
            case events.TrailersReceived():
                stream.trailers = trailer_fields(event.headers)
            case events.StreamEnded():
                stream.finished()
            case events.StreamReset():
                self.streams.pop(stream.id, None)
                code = event.error_code
                name = code.name if isinstance(code, ErrorCodes) else str(code)
                stream.failed(Closed(f"{self.endpoint} broke its answer off ({name})", clean=False))

    # What streams ask for

    def open(self, stream: Stream, block: bytes) -> None:
        try:
            stream.id = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream.id, request_headers(block, scheme=self._scheme), end_stream=stream.ended)
        except ProtocolError as error:
            raise Closed(f"{self.endpoint} takes no more requests on this connection ({error})", clean=True) from error
        self.streams[stream.id] = stream
        self._flush()

    def acknowledge(self, stream: Stream, size: int) -> None:
        if self._transport is not None:
            self._h2.acknowledge_received_data(size, stream.id)
            self._flush()

    def pump(self, stream: Stream) -> None:
        """Send what the pod's windows allow."""
        while stream.out.size and stream.id in self.streams and not self._paused:
            room = min(self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size)
            if room <= 0:
                break
            self._h2.send_data(stream.id, stream.next_piece(room))
        if stream.ended and not stream.out.size and not stream.end_sent and stream.id in self.streams:
            stream.end_sent = True
            if stream.trailers_out:
                self._h2.send_headers(stream.id, stream.trailers_out, end_stream=True)
            else:
                self._h2.end_stream(stream.id)
        self._flush()

    def leave(self, stream: Stream) -> None:
        """A request is over, or given up."""
        if self.streams.pop(stream.id, None) is None:
            return
        stream.take()
        if self._transport is not None:
            if not stream.done or not stream.end_sent:
                code = ErrorCodes.NO_ERROR if stream.done else ErrorCodes.CANCEL
                try:
                    self._h2.reset_stream(stream.id, code)
                except ProtocolError:
                    pass  # closed by the pod meanwhile
            self._flush()
        self.idle_since = self.clock.now()
        self._close_if_left()

    def leave_soon(self) -> None:
        self._leaving = True
        self._close_if_left()

    def _close_if_left(self) -> None:
        if self._leaving and not self.streams:
            self.close()

    def _flush(self) -> None:
        if self._transport is not None and (data := self._h2.data_to_send()):
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Pool2:
    """Connections by endpoint; what `http1.pool.Pool` is for HTTP/1.1.

    Resource handling: `close()` closes all connections.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._backends: dict[tuple[Endpoint, bool], list[_Backend]] = {}
        self._locks: dict[tuple[Endpoint, bool], asyncio.Lock] = {}
        self._timer: Timer | None = None
        self._closed = False
        self._tls: ssl.SSLContext | None = None

    def acquire(self, endpoint: Endpoint, *, secure: bool = False) -> Stream | None:
        """Return a stream on a connection that is there; None if there is none with room."""
        for backend in self._backends.get((endpoint, secure), ()):
            if backend.room:
                return Stream(backend, reused=True)
        return None

    async def connect(self, endpoint: Endpoint, timeout: float, *, secure: bool = False) -> Stream:
        """Open a connection, or share one that another request has just opened.

        Error handling: OSError (refused, unreachable, unknown name), TimeoutError after `timeout` seconds.
        """
        key = endpoint, secure
        async with within(self._clock, timeout), self._locks.setdefault(key, asyncio.Lock()):
            if (stream := self.acquire(endpoint, secure=secure)) is not None:
                return stream
            _, backend = await asyncio.get_running_loop().create_connection(
                lambda: _Backend(endpoint, secure, self._clock),
                endpoint.address,
                endpoint.port,
                ssl=self._context() if secure else None,
            )
        if self._closed:
            backend.close()
            raise Closed("the controller ends", clean=True)
        self._backends.setdefault(key, []).append(backend)
        if self._timer is None:
            self._timer = self._clock.call_later(_IDLE / 4, self._sweep)
        return Stream(backend, reused=False)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.check_hostname = False  # ingress-nginx: grpc_ssl_verify is off
            self._tls.verify_mode = ssl.CERT_NONE
            self._tls.set_alpn_protocols(["h2"])
        return self._tls

    def _sweep(self) -> None:
        self._timer = None
        before = self._clock.now() - _IDLE
        for key, backends in list(self._backends.items()):
            for each in backends:
                if not each.streams and each.idle_since < before:
                    each.close()
            if kept := [each for each in backends if each.usable or each.streams]:
                self._backends[key] = kept
            else:
                del self._backends[key]
                self._locks.pop(key, None)
        if self._backends:
            self._timer = self._clock.call_later(_IDLE / 4, self._sweep)

    def retain(self, endpoints: Collection[Endpoint]) -> None:
        """Let go of endpoints that are no more; running requests may end."""
        for key in [each for each in self._backends if each[0] not in endpoints]:
            for backend in self._backends.pop(key):
                backend.leave_soon()
            self._locks.pop(key, None)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for backends in self._backends.values():
            for each in backends:
                each.close()
        self._backends.clear()
