"""A caller's HTTP/2 connection: frames by the `h2` library, every stream an `Exchange` of its own.

    ALPN "h2" ─► Connection2 ─► HEADERS ─► Inbound2 ─► Proxy.serve ─► … ─► DATA as the caller's windows allow

RST_STREAM cancels the exchange, and with it the request to the pod. Draining sends GOAWAY and lets streams end.
What costs more than it brings is bounded: streams at once, headers, resets, and frames that only want an answer.
Left out: server push and priorities (deprecated by RFC 9113), WebSocket over HTTP/2 (RFC 8441; nginx has none either:
browsers open an HTTP/1.1 connection for it).
"""

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from minikube_py.ingress.http2.inbound import Inbound2
from minikube_py.ingress.http2.messages import (
    MAX_LIST,
    PREFACE,
    Budget,
    Frames,
    FrameTooLong,
    answer_headers,
    read_request,
    trailer_fields,
)

if TYPE_CHECKING:
    from minikube_py.ingress.front import Front

__all__ = ["Connection2"]

logger = logging.getLogger(__name__)

_STREAMS = 128
"""At once (nginx: http2_max_concurrent_streams 128)."""
_WINDOW = 64 * 1024
"""Bytes of one request's body that may wait here (nginx: http2_body_preread_size 64k)."""
_ALL_WINDOWS = _STREAMS * _WINDOW
"""The connection's window: one stream that nobody reads holds up no other."""
_SLICE = 16 * 1024
"""Bytes parsed before the budgets are looked at again."""
_BACKLOG = 256 * 1024
"""Bytes unsent above which a caller who takes no answers isn't read any more (CVE-2019-9512 ff.)."""
_RESETS = (200, 20)
"""Streams that a caller may cancel: at once, and per second in the long run (CVE-2023-44487)."""
_CONTROLS = (1000, 100)
"""PING, SETTINGS, PRIORITY and empty DATA frames: at once, and per second."""
_REQUESTS = 10_000
"""On one connection (nginx: keepalive_requests 1000): h2 remembers every stream that was closed."""
_CONTROL_EVENTS = (events.PingReceived, events.RemoteSettingsChanged, events.PriorityUpdated)


class _TooMuch(ProtocolError):
    """A caller asks for more than it could want."""


class Connection2(asyncio.Protocol):
    """What one caller's connection is to the loop.

    Resource handling: `drain()` ends it after its streams, `abort()` at once; exchanges are tasks of the proxy's scope.
    """

    def __init__(self, front: "Front") -> None:
        self._front = front
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, Inbound2] = {}
        self._new: list[Inbound2] = []
        self._paused = False
        self._reading_paused = False
        self._draining = False
        self._opened = 0
        self._frames = Frames(preface=PREFACE)
        self._resets = Budget(*_RESETS)
        self._controls = Budget(*_CONTROLS)
        self.remote = ""
        self.idle_since = 0.0
        config = H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,  # `messages.read_request` does, and says what is wrong
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._h2 = H2Connection(config)
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_LIST,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
            },
        )
        self._h2.decoder.max_header_list_size = 2 * MAX_LIST  # up to there an answer says what was too large

    @property
    def relaying(self) -> bool:
        """Requests are under way here."""
        return bool(self._streams)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.remote = str(peer[0]) if isinstance(peer, tuple) else ""
        self.idle_since = self._front.clock.now()
        self._front.multiplexed.add(self)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_ALL_WINDOWS - 65535)
        self._flush()
        if self._front.draining:
            self.drain()

    def data_received(self, data: bytes) -> None:
        for at in range(0, len(data), _SLICE):
            if self._transport is None or self._transport.is_closing():
                return
            try:
                for piece in self._frames.feed(data[at : at + _SLICE]):
                    for event in self._h2.receive_data(piece):
                        self._on(event)
            except (ProtocolError, FrameTooLong) as error:  # its own GOAWAY h2 has put into the buffer already
                if isinstance(error, _TooMuch):
                    self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM, str(error).encode())
                elif isinstance(error, FrameTooLong):
                    self._h2.close_connection(ErrorCodes.FRAME_SIZE_ERROR, str(error).encode())
                logger.debug("HTTP/2 connection refused remote=%s error=%s", self.remote, error)
                self._flush()
                self._end()
                return
            self._start()
            self._pump_all()
            self._flush()
        if self._opened >= _REQUESTS and not self._draining:
            self.drain()
        if self._paused and self._transport is not None and self._transport.get_write_buffer_size() > _BACKLOG:
            self._reading_paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()
        self._pump_all()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.multiplexed.discard(self)
        self._transport = None
        for each in list(self._streams.values()):
            self._forget(each)
        self._new.clear()

    # Events

    def _on(self, event: events.Event) -> None:
        match event:
            case events.RequestReceived():
                self._open(event)
            case events.DataReceived():
                self._data(event)
            case events.StreamEnded():
                if stream := self._streams.get(event.stream_id):
                    stream.end()
            case events.TrailersReceived():
                if stream := self._streams.get(event.stream_id):
                    stream.trailers = trailer_fields(event.headers)
            case events.StreamReset():
                if stream := self._streams.get(event.stream_id):
                    self._forget(stream)
                    self._spend(self._resets, "too many cancelled streams")
            case events.ConnectionTerminated():
                # h2 lets nothing more be sent; RFC 9113 §6.8 lets the running streams end
                self._h2.state_machine.state = ConnectionState.SERVER_OPEN
                self._draining = True
                self._end_if_drained()
            case _ if isinstance(event, _CONTROL_EVENTS):
                self._spend(self._controls, "too many control frames")

    def _open(self, event: events.RequestReceived) -> None:
        ended = event.stream_ended is not None
        stream = Inbound2(self, event.stream_id, read_request(event.headers, ended=ended), ended=ended)
        if self._draining or len(self._streams) >= 2 * _STREAMS:
            self._h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        self._streams[event.stream_id] = stream
        self._opened += 1
        self._new.append(stream)

    def _data(self, event: events.DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        size = len(event.data)
        if not size and event.stream_ended is None:
            self._spend(self._controls, "too many empty frames")
        unread = event.flow_controlled_length - (size if stream is not None else 0)
        if unread:
            self._h2.acknowledge_received_data(unread, event.stream_id)
        if stream is not None and size:
            stream.feed(event.data)

    def _spend(self, budget: Budget, what: str) -> None:
        if not budget.spend(self._front.clock.now()):
            raise _TooMuch(what)

    def _start(self) -> None:
        """Serve the streams that are new and still there."""
        new, self._new = self._new, []
        for stream in new:
            if not stream.broken:
                stream.task = self._front.proxy.scope.spawn(self._serve(stream), name="ingress-stream")

    async def _serve(self, stream: Inbound2) -> None:
        try:
            await self._front.proxy.serve(stream, secure=self._front.secure)
        finally:  # what was said may still be on its way
            if not stream.finished:
                stream.abort()

    # What streams ask for

    def acknowledge(self, stream: Inbound2, size: int) -> None:
        if self._transport is not None:
            self._h2.acknowledge_received_data(size, stream.id)
            self._flush()

    def send_headers(self, stream: Inbound2, headers: list[tuple[bytes, bytes]], *, end: bool = False) -> None:
        self._h2.send_headers(stream.id, headers, end_stream=end)
        self._flush()

    def pump(self, stream: Inbound2) -> None:
        while self._step(stream):
            pass
        self._flush()

    def _pump_all(self) -> None:
        """Send what windows allow, one frame of each stream in turn."""
        waiting = [each for each in self._streams.values() if each.begun]
        while waiting:
            waiting = [each for each in waiting if self._step(each)]

    def _step(self, stream: Inbound2) -> bool:
        """Send one frame; False if there is none, or no room for it."""
        if stream.broken or stream.id not in self._streams:
            return False
        if stream.out.size:
            room = min(self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size)
            if self._paused or room <= 0:
                if stream.stalled_since is None:
                    stream.stalled_since = self._front.clock.now()
                return False
            stream.stalled_since = None
            piece = stream.next_piece(room)
            end = stream.finished and not stream.out.size and not stream.trailers_out
            self._h2.send_data(stream.id, piece, end_stream=end)
            if end:
                self.ended(stream)
            return not end
        if stream.finished:
            if stream.trailers_out:
                self._h2.send_headers(stream.id, answer_headers(0, stream.trailers_out)[1:], end_stream=True)
            else:
                self._h2.end_stream(stream.id)
            self.ended(stream)
        return False

    def ended(self, stream: Inbound2) -> None:
        """The whole answer is sent; what the caller still sends is not wanted (RFC 9113 §8.1)."""
        if not stream.received_all:
            self._h2.reset_stream(stream.id, ErrorCodes.NO_ERROR)
        self._forget(stream, cancel=False)
        self._flush()

    def reset(self, stream: Inbound2) -> None:
        """Break a stream off."""
        if stream.id in self._streams and self._transport is not None:
            self._h2.reset_stream(stream.id, ErrorCodes.INTERNAL_ERROR)
        self._forget(stream, cancel=False)
        self._flush()

    def _forget(self, stream: Inbound2, *, cancel: bool = True) -> None:
        if self._streams.pop(stream.id, None) is None:
            return
        stream.take()
        stream.broken = stream.broken or cancel or not stream.finished
        stream.wake()
        if cancel and stream.task is not None:
            stream.task.cancel()
        if not self._streams:
            self.idle_since = self._front.clock.now()
            self._end_if_drained()

    # Its end

    def _flush(self) -> None:
        if self._transport is not None and (data := self._h2.data_to_send()):
            self._transport.write(data)

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.close()
        for each in list(self._streams.values()):
            self._forget(each)

    def _end_if_drained(self) -> None:
        if self._draining and not self._streams and self._transport is not None:
            self._flush()
            self._transport.close()

    def drain(self) -> None:
        """Take no more streams; close after the last."""
        if self._transport is None:
            return
        self._draining = True
        # by hand: after h2's own `close_connection` the running streams could not end
        goaway = GoAwayFrame(0, last_stream_id=self._h2.highest_inbound_stream_id, error_code=ErrorCodes.NO_ERROR)
        self._flush()
        self._transport.write(goaway.serialize())
        self._end_if_drained()

    def sweep(self, now: float, idle: float, stalled: float) -> None:
        """Close the connection after `idle` seconds without a request, streams after `stalled` without progress."""
        if not self._streams and self.idle_since < now - idle:
            self.drain()
        for each in list(self._streams.values()):
            if each.stalled_since is not None and each.stalled_since < now - stalled:
                if each.task is not None:
                    each.task.cancel()
                self.reset(each)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
