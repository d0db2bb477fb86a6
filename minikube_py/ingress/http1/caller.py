"""One caller's connection: simple requests are relayed here, at once; everything else is aiohttp's.

    bytes ─► a whole request, small, nothing unusual, annotations that only look and change ─► Connection ─► pod
          └► anything else: aiohttp takes the connection over, for good

The relay is an answer to speed, not to meaning: it decides nothing that aiohttp's way (`front`, `proxy`) would not
decide the same. What isn't certain is handed over; a request that fails before its answer has begun is handed over
too, and there retried, or answered with the page that says why. It runs in callbacks, without a task for each request.
A small body is waited for before the pod hears of the request, as nginx does (proxy_request_buffering).
"""

import asyncio
from typing import TYPE_CHECKING, cast

from minikube_py.ingress.http1.messages import BadResponse, Framing, Head, chunk, encode_head, last_chunk
from minikube_py.ingress.http1.pool import Closed, Connection
from minikube_py.ingress.options import Call
from minikube_py.ingress.proxy.accesslog import Record, line
from minikube_py.ingress.proxy.forwarding import (
    SimpleFields,
    answer_head,
    beginning,
    filtered_head,
    preamble,
    returned,
    simple_fields,
    simple_line,
    styled_preamble,
)
from minikube_py.ingress.proxy.inbound import Attempt
from minikube_py.ingress.proxy.pages import http_date, page
from minikube_py.ingress.proxy.relaying import transport_security
from minikube_py.ingress.proxy.sending import IDEMPOTENT
from minikube_py.ingress.router import Endpoint, Location, Match, climbs

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

    from minikube_py.ingress.front import Front

__all__ = ["Caller"]

_MAX_HEAD = 8190
"""Bytes; larger heads are aiohttp's business (and limit)."""
_MAX_BODY = 64 * 1024
"""Bytes; larger bodies are streamed, by aiohttp's way."""
_HEAD_TIMEOUT = 60.0
"""Seconds from the first byte of a request's head to its last (ingress-nginx: client-header-timeout 60)."""
_BODY_PATIENCE = 5.0
"""Seconds without a byte after which an unfinished body is aiohttp's business, with its limits."""
_MAX_PENDING = 64 * 1024
"""Bytes that a caller may send ahead of its answer before it isn't read any more."""


class Caller(asyncio.Protocol):
    """What one caller's connection is to the loop."""

    __slots__ = (
        "_beginning",
        "_begun",
        "_call",
        "_chunked",
        "_close",
        "_connecting",
        "_connection",
        "_data",
        "_drawn",
        "_front",
        "_host",
        "_location",
        "_method",
        "_missing",
        "_paused",
        "_pending",
        "_record",
        "_slow",
        "_started",
        "_transport",
        "before",
        "idle_since",
        "remote",
        "stalled_since",
    )

    def __init__(self, front: "Front") -> None:
        self._front = front
        self._transport: asyncio.Transport | None = None
        self._slow: RequestHandler | None = None
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._record: Record | None = None
        self._location: Location | None = None
        self._call: Call | None = None
        self._missing = 0
        self._data = b""
        self._pending = b""
        self._method = ""
        self._host = ""
        self._started = 0.0
        self._drawn: float | None = None
        self._beginning = self._begun = self._chunked = self._close = self._paused = False
        self.remote = ""
        self.idle_since = 0.0
        """When the last answer ended; the connection may stay idle as long as nginx lets it."""
        self.stalled_since: float | None = None
        """Since when the caller takes no bytes."""

    @property
    def relaying(self) -> bool:
        """A request is under way here."""
        return self._record is not None

    @property
    def _repeatable(self) -> bool:
        """The request may be sent twice."""
        return self._method in IDEMPOTENT and (self._record is None or not self._record.request_length)

    @property
    def handed_over(self) -> bool:
        return self._slow is not None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.remote = str(peer[0]) if isinstance(peer, tuple) else ""
        self.idle_since = self._front.clock.now()
        self._front.callers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.callers.discard(self)
        self._transport = None
        if self._slow is not None:
            self._slow.connection_lost(exc)
            return
        if self._connecting is not None:
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.listener = None
            connection.close()
        if self._record is not None:
            self._record.status = self._record.status or 499  # nginx: the client closed the request
            self._log()

    def eof_received(self) -> bool | None:
        if self._slow is not None:
            self._slow.eof_received()
        return None

    def pause_writing(self) -> None:
        self._paused = True
        self.stalled_since = self._front.clock.now()
        if self._slow is not None:
            self._slow.pause_writing()

    def resume_writing(self) -> None:
        self._paused = False
        self.stalled_since = None
        if self._slow is not None:
            self._slow.resume_writing()
        elif self._connection is not None:
            self.progressed()

    def data_received(self, data: bytes) -> None:
        if self._slow is not None:
            self._slow.data_received(data)
        elif self._record is not None:
            self._pending += data
            if len(self._pending) > _MAX_PENDING and self._transport is not None:
                self._transport.pause_reading()
        elif self._beginning:
            self._next(self._data + data)
        elif self._missing:
            self._data += data[: self._missing]
            rest = data[self._missing :]
            self._missing = max(self._missing - len(data), 0)
            self.idle_since = self._front.clock.now()
            if not self._missing:
                self._next(self._data)
            if rest:
                self.data_received(rest)
        else:
            self._next(data)

    # A request

    def _next(self, data: bytes) -> None:
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 and len(data) <= _MAX_HEAD and beginning(data):
            if not self._beginning:
                self._beginning = True
                self.idle_since = self._front.clock.now()
            self._data = data
            return
        self._beginning = False
        self._drawn = None
        if self._front.relay and 4 <= end <= _MAX_HEAD and (first := simple_line(data)) is not None:
            method, target, at = first
            fields = simple_fields(data[at:end])
            if fields is not None:
                missing = end + fields.length - len(data)
                if not missing and self._begin(data, end, method, target, fields):
                    return
                if missing > 0 and fields.length <= _MAX_BODY:
                    self._data = data
                    self._missing = missing
                    self.idle_since = self._front.clock.now()
                    return
        self._hand_over(data)

    def _begin(self, data: bytes, end: int, method: str, target: str, fields: SimpleFields) -> bool:
        """Start to relay a request whose head ends at `end`; False if this request needs more than that."""
        front = self._front
        proxy = front.proxy
        path, _, query = target.partition("?")
        self._drawn = drawn = proxy.chance.random()
        match = proxy.table().route(
            fields.host, path, fields.headers, drawn, method=method, query=query, secure=front.secure
        )
        if type(match) is not Match or climbs(path):
            return False
        location = match.location
        options = location.options
        if not options.simple or location.backend is None or not match.upstream.endpoints:
            return False
        if fields.length > options.body_size > 0:
            return False
        request_id = f"{proxy.chance.getrandbits(128):032x}"
        started = front.clock.now()
        filters = options.secure_filters if front.secure else options.filters
        call: Call | None = None
        added = ""
        asked = target
        if filters or options.response_filters:
            call = location.call(
                method, fields.host, path, query, self.remote, fields.headers, secure=front.secure, now=started,
                state=proxy.state, https_port=proxy.https_port(), port=proxy.port, request_id=request_id,
            )  # fmt: skip
            for each in filters:
                if each.request(call) is not None:
                    return False
            target = call.target or target
            if any(name in fields.headers for name in call.request_headers):
                return False
            added = "".join(f"{name}: {value}\r\n" for name, value in call.request_headers.items() if value)
        endpoint = proxy.balancer.pick(match.upstream)
        if endpoint is None:
            return False
        self._location = location
        self._call = call
        self._method = method
        self._host = fields.host
        self._data = data
        self._started = started
        self._begun = False
        self._close = fields.close
        self._record = Record(
            self.remote,
            f"{method} {asked} HTTP/1.1",
            referer=fields.referer,
            agent=fields.agent,
            request_length=fields.length,
            backend=str(location.backend),
            canary=str(match.canary.backend) if match.canary is not None else "",
            request_id=request_id,
        )
        style = proxy.style
        host = fields.host
        if style.forwarded:
            text = styled_preamble(
                style, method, target, options.vhost or host, request_id, self.remote, fields.received,
                secure=front.secure,
            )  # fmt: skip
        else:
            text = preamble(method, target, host, options.vhost, request_id, self.remote, secure=front.secure)
            if fields.received:
                text += f"X-Original-Forwarded-For: {fields.received}\r\n"
        block = (text + added).encode("utf-8", "surrogateescape") + fields.forwarded + data[end:]
        connection = proxy.pool.acquire(endpoint)
        if connection is not None:
            self._send(connection, block)
        else:
            self._connecting = proxy.scope.spawn(self._connect(endpoint, block), name="ingress-connect")
        return True

    async def _connect(self, endpoint: Endpoint, block: bytes) -> None:
        assert self._location is not None
        try:
            connection = await self._front.proxy.pool.connect(endpoint, self._location.options.connect_timeout)
        except OSError as error:
            self._connecting = None
            self._failed_at(endpoint, error, sent=False)
            return
        self._connecting = None
        if self._transport is None:
            connection.close()
        else:
            self._send(connection, block)

    def _send(self, connection: Connection, block: bytes) -> None:
        assert self._location is not None
        self._connection = connection
        connection.listener = self
        connection.on_interim = self._interim
        if self._call is not None:
            self._call.sent_at = self._front.clock.now()
        connection.start(self._method, block)
        connection.expect(self._location.options.read_timeout)

    # pool.Listener: the pod answers

    def progressed(self) -> None:
        """Pass on what has come."""
        connection = self._connection
        transport = self._transport
        if connection is None or transport is None or self._record is None or self._paused:
            return
        head = connection.answer
        if head is None:
            return
        if head.status == 101:  # no upgrade is asked for here
            self.failed(BadResponse(f"{connection.endpoint} changed to another protocol without being asked"))
            return
        block = b"" if self._begun else self._answer(head)
        data = connection.take()
        record = self._record
        if data:
            record.sent += len(data)
            if self._chunked:
                data = chunk(data)
        done = connection.done
        if done and self._chunked:
            data += last_chunk(connection.trailers)
        if block or data:
            transport.write(block + data if block else data)
        if done:
            self._finish(connection, head)
        else:
            assert self._location is not None
            connection.touch(self._location.options.read_timeout)

    def _interim(self, head: Head) -> None:
        """Pass an informational answer on (RFC 9110 §15.2)."""
        if self._transport is not None and not self._begun:
            self._transport.write(encode_head(head.status, head.reason, returned(head)) + b"\r\n")

    def _answer(self, head: Head) -> bytes:
        """Return the answer's head for the caller."""
        self._begun = True
        assert self._record is not None
        self._record.status = head.status
        self._close = self._close or self._front.draining or head.status == 101
        self._chunked = head.framing is Framing.CHUNKED or head.framing is Framing.UNTIL_CLOSE
        style = self._front.proxy.style
        assert self._location is not None
        now = self._front.clock.now()
        if self._call is not None and (filters := self._location.options.response_filters):
            assert self._connection is not None
            self._call.tell(self._connection.endpoint, self._call.sent_at, now)
            head = filtered_head(head, style.server, self._call, filters)
            block, dated = answer_head.__wrapped__(
                head, self._chunked, style.server or ""
            )  # made anew: not to remember
        else:
            block, dated = answer_head(head, self._chunked, style.server)
        if not dated:
            block += f"Date: {http_date(now)}\r\n".encode()
        if self._front.secure and style.hsts:
            block += transport_security(self._host)
        return block + (b"Connection: close\r\n\r\n" if self._close else b"\r\n")

    def _finish(self, connection: Connection, head: Head) -> None:
        self._connection = None
        connection.listener = None
        record = self._record
        assert record is not None
        now = self._front.clock.now()
        record.tries.append((str(connection.endpoint), connection.received, now - self._started, head.status))
        self._front.proxy.pool.release(connection)
        self._log()
        transport = self._transport
        if transport is None:
            return
        if self._close:
            transport.close()
            return
        self.idle_since = now
        self._go_on()

    def _go_on(self) -> None:
        """Look at what came meanwhile."""
        pending, self._pending = self._pending, b""
        if pending:
            if len(pending) > _MAX_PENDING and self._transport is not None:
                self._transport.resume_reading()
            self._next(pending)

    def failed(self, error: Exception) -> None:
        """The pod's connection broke, or was silent for too long."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.listener = None
        connection.close()
        if self._begun:  # the caller must not take what it has for the whole
            if self._transport is not None:
                self._transport.abort()
            return
        stale = isinstance(error, Closed) and error.clean and connection.reused and self._repeatable
        self._failed_at(None if stale else connection.endpoint, error, sent=True)

    def _failed_at(self, endpoint: Endpoint | None, error: Exception, *, sent: bool) -> None:
        """Let aiohttp's way do it over; an endpoint that failed (None: it only closed an idle connection) is told."""
        if self._transport is None:
            return
        tried: list[Attempt] = []
        if endpoint is not None:
            tried.append(Attempt(endpoint, error, sent, self._front.clock.now() - self._started))
        data = self._data + self._pending
        self._record = None
        resume = len(self._pending) > _MAX_PENDING
        self._pending = b""
        self._hand_over(data, tried)
        if resume and self._transport is not None:
            self._transport.resume_reading()

    def _log(self) -> None:
        record, self._record = self._record, None
        assert record is not None
        assert self._location is not None
        proxy = self._front.proxy
        now = self._front.clock.now()
        record.seconds = now - self._started
        proxy.count(str(self._location), record.canary or record.backend)
        proxy.write(line(record, now) + "\n")
        self._data = b""
        self._call = None

    # aiohttp

    def _hand_over(self, data: bytes, tried: list[Attempt] | None = None) -> None:
        assert self._transport is not None
        self._slow = slow = self._front.handler(tried or [], self._drawn)
        slow.connection_made(self._transport)
        if self._paused:
            slow.pause_writing()
        slow.data_received(data)

    def sweep(self, now: float, keep_alive: float, send: float) -> None:
        """Close the connection if nothing was said for `keep_alive`, or taken for `send` seconds."""
        if self.stalled_since is not None and self.stalled_since < now - send:
            self.abort()
        elif self._beginning and self.idle_since < now - _HEAD_TIMEOUT:
            self._give_up(now)
        elif self.idle_since < now - (_BODY_PATIENCE if self._missing else keep_alive):
            self.close_if_idle()

    def _give_up(self, now: float) -> None:
        """Tell a caller that takes too long over its request's head, as nginx does."""
        assert self._transport is not None
        proxy = self._front.proxy
        made = page(408, f"the head of the request did not come within {_HEAD_TIMEOUT:g} s", now=now, style=proxy.style)
        head = encode_head(made.status, made.reason, made.fields)
        self._transport.write(head + b"Connection: close\r\n\r\n" + made.body)
        self._transport.close()
        proxy.write(line(Record(self.remote, "", made.status, len(made.body)), now) + "\n")

    def close_if_idle(self) -> None:
        if self._missing:
            self._missing = 0
            self._hand_over(self._data)
        elif self._slow is None and self._record is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
