"""One request from the caller to a pod and its answer back, streamed both ways.

    aiohttp (llhttp) ─► Call ─► RoutingTable.route ─► filters ─► endpoint ─► Connection ─► caller's transport

aiohttp terminates HTTP and owns the caller's connection; the answer is written to its transport as it comes, without
being built up as an aiohttp response (that would cost more than the rest together).

Error handling: refused or broken → 502 (after other endpoints were tried), silent → 504, no endpoint → 503, no rule →
404; each page says why. An answer that breaks off half-way breaks off for the caller too: its connection is closed.
Left out: trailers are dropped, 1xx of a backend are not passed on (as nginx), upgrades other than WebSocket.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import HttpVersion10
from aiohttp.web_exceptions import HTTPException
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from minikube_py.aiokit.clock import Clock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.accesslog import Record, line
from minikube_py.ingress.balancer import Balancer, cookie_value
from minikube_py.ingress.forwarding import HOST, NOT_FORWARDED, NOT_RETURNED, preamble, styled_preamble
from minikube_py.ingress.http1 import BadResponse, Framing, Head, chunk
from minikube_py.ingress.options import DEFAULTS, Answer, Call, Options, Subrequest
from minikube_py.ingress.pages import NGINX, Style, http_date, page
from minikube_py.ingress.pool import Closed, Connection, Pool
from minikube_py.ingress.router import (
    BackendKey,
    Endpoint,
    Match,
    NoMatch,
    RoutingTable,
    Upstream,
    cookie,
    normalize_path,
)
from minikube_py.ingress.urls import expand

__all__ = ["Proxy", "transport_security"]

logger = logging.getLogger(__name__)

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110 §9.2.2."""
_BODY_TIMEOUT = 60.0
"""Seconds between two reads of a request's body (nginx: client_body_timeout 60s)."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_HSTS = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")


class _Relayed(StreamResponse):
    """Tells aiohttp that the answer is already written, and whether the connection stays."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._stays

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        return None


class _Rejected(Exception):
    """The request ends here, with a page."""

    def __init__(self, status: int, because: str) -> None:
        super().__init__(because)
        self.status = status
        self.because = because


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


class Proxy:
    """Serves requests by the table that `table()` returns at that moment.

    Resource handling: `close()` closes idle connections; tasks are in `scope`, its owner's.
    """

    def __init__(
        self,
        table: Callable[[], RoutingTable],
        *,
        clock: Clock,
        scope: TaskScope,
        write: Callable[[str], None],
        https_port: Callable[[], int] = lambda: 443,
        chance: random.Random | None = None,
        style: Style = NGINX,
    ) -> None:
        self.style = style
        self.pool = Pool(clock)
        self.balancer = Balancer()
        self.requests: dict[tuple[str, str], int] = {}
        """(rule, backend) → requests answered; "" for none."""
        self.table = table
        self.clock = clock
        self.scope = scope
        self.write = write
        self._https_port = https_port
        self.chance = chance or random.Random()
        self._state: dict[Any, Any] = {}
        self._stays = _Relayed(True)
        self._closes = _Relayed(False)

    def close(self) -> None:
        self.pool.close()

    def count(self, rule: str, backend: str) -> None:
        """Count an answered request."""
        self.requests[rule, backend] = self.requests.get((rule, backend), 0) + 1

    def forget(self, served: frozenset[Key]) -> None:
        """Drop the state (rate limits) of Ingresses that are no more."""
        for key in [each for each in self._state if each[1] not in served]:
            del self._state[key]

    def handler(self, *, secure: bool) -> Callable[[BaseRequest], Awaitable[StreamResponse]]:
        """Return the request handler for one listener (`aiohttp.web.Server`'s argument)."""

        async def handle(request: BaseRequest) -> StreamResponse:
            return await self._handle(request, secure)

        return handle

    def reject(self, request: BaseRequest, status: int, because: str) -> StreamResponse:
        """Answer what isn't HTTP with a page, and close."""
        record = Record(request.remote or "-", "", status)
        block, record.sent = page(status, because, now=self.clock.now(), close=True, style=self.style)
        if request.transport is not None:
            request.transport.write(block)
        self.write(line(record, self.clock.now()) + "\n")
        return self._closes

    # One request

    async def _handle(self, request: BaseRequest, secure: bool) -> StreamResponse:
        started = self.clock.now()
        exchange = _Exchange(self, request, secure, started)
        try:
            await exchange.run()
        except _Rejected as rejected:
            exchange.answer(rejected.status, rejected.because)
        except asyncio.CancelledError:
            exchange.record.status = exchange.record.status or 499  # nginx: the client closed the request
            raise
        except HTTPException:
            raise
        except ConnectionError:
            exchange.broken()
        except Exception:
            logger.exception("ingress request failed request=%s", exchange.record.request)
            exchange.failed()
        finally:
            exchange.end()
        return self._stays if exchange.keep_alive else self._closes


class _Exchange:
    """The state of one request."""

    __slots__ = (
        "_begun",
        "call",
        "keep_alive",
        "location",
        "match",
        "options",
        "proxy",
        "record",
        "request",
        "secure",
        "started",
        "target",
        "upload",
        "upload_error",
        "uploaded",
    )

    def __init__(self, proxy: Proxy, request: BaseRequest, secure: bool, started: float) -> None:
        version = request.version
        headers = request.headers
        self.proxy = proxy
        self.request = request
        self.secure = secure
        self.started = started
        self.keep_alive = request.keep_alive
        self.match: Match | None = None
        self.call: Call | None = None
        self.options: Options = DEFAULTS
        self.target = request.raw_path
        self.upload: asyncio.Task[None] | None = None
        self.upload_error: _Rejected | None = None
        self.uploaded = 0
        self._begun = False
        self.location = ""
        self.record = Record(
            request.remote or "",
            f"{request.method} {request.raw_path} HTTP/{version.major}.{version.minor}",
            referer=headers.get("Referer", ""),
            agent=headers.get("User-Agent", ""),
        )

    async def run(self) -> None:
        request = self.request
        method = request.method
        headers = request.headers
        host = headers.get("Host", "")
        target = self.target
        if not target.startswith("/"):
            host, target = self._other_form(host, target)
        if "Host" not in headers and request.version > HttpVersion10:  # an empty one is allowed (RFC 9112 §3.2)
            raise _Rejected(400, "an HTTP/1.1 request needs a Host header")
        if HOST.fullmatch(host) is None:
            raise _Rejected(400, f"the Host header {host[:80]!r} is not a host and port")
        if headers.get(hdrs.TRANSFER_ENCODING, "chunked").lower() != "chunked":
            # llhttp lets "identity, chunked" through; backends differ in what they make of it
            raise _Rejected(400, "Transfer-Encoding may be chunked and nothing else")
        if method == "CONNECT":
            raise _Rejected(405, "CONNECT is for forward proxies; this is an ingress")
        path, _, query = target.partition("?")
        fragment = path.find("#")
        if fragment >= 0:
            raise _Rejected(400, "a request target has no fragment")
        proxy = self.proxy
        match = proxy.table().route(host, path, headers, proxy.chance.random(), method=method, query=query)
        self.record.request_id = request_id = headers.get("X-Request-ID") or f"{proxy.chance.getrandbits(128):032x}"
        if isinstance(match, NoMatch):
            raise _Rejected(404, match.reason)
        self.match = match
        self.options = options = match.location.options
        self.location = str(match.location)
        self.record.backend = str(match.location.backend) if match.location.backend else ""
        if match.canary is not None:
            self.record.canary = str(match.canary.backend)
        if options.filters or options.response_filters or options is not DEFAULTS:
            self.call = call = Call(
                method,
                "https" if self.secure else "http",
                host,
                path,
                query,
                self.record.remote,
                headers,
                self.started,
                proxy._state,
                match.location.tls,
                proxy._https_port(),
                normalize_path(path),
                match.location.pattern,
                request_id,
                match.location.path,
            )
            if await self._filtered(call, options):
                return
            if call.target:
                target = call.target
        if match.location.refused and match.location.backend is None:
            raise _Rejected(match.upstream.status, match.location.refused)
        if not match.upstream.endpoints:
            raise _Rejected(match.upstream.status, match.upstream.reason)
        if options.mirror:
            self._mirror(options)
        await self._forward(method, host, target, request_id)

    def _other_form(self, host: str, target: str) -> tuple[str, str]:
        if target == "*" and self.request.method == "OPTIONS":
            return host, "/"
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise _Rejected(400, f"the request target {target[:80]!r} is neither a path nor a URL")
        return parts.netloc.rpartition("@")[2], (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    async def _filtered(self, call: Call, options: Options) -> bool:
        for each in options.filters:
            outcome = each.request(call)
            if outcome is None:
                continue
            if isinstance(outcome, Subrequest):
                answer = await self._ask(outcome, call)
                if answer is None:
                    continue
                outcome = answer
            self.answer(outcome.status, outcome.because, *outcome.headers, content=outcome.content)
            return True
        return False

    # Answers of our own

    def answer(
        self, status: int, because: str, *headers: tuple[str, str], content: tuple[str, str] | None = None
    ) -> None:
        """Write a page; after an answer has begun there is nothing left but to close."""
        if self._begun:
            self.broken()
            return
        self._begun = True
        request = self.request
        if status in (400, 405) or (not request.content.is_eof() and self._has_body()):
            self.keep_alive = False  # what the caller still sends is not read
        extra = list(headers)
        if self.call is not None and status not in (301, 302, 307, 308):
            for each in self.options.response_filters:
                each.response(self.call, status, extra)
        block, length = page(
            status,
            because,
            now=self.proxy.clock.now(),
            headers=extra,
            rule=self.location,
            close=not self.keep_alive,
            head=request.method == "HEAD",
            style=self.proxy.style,
            content=content,
        )
        self.record.status = status
        self.record.sent = length
        if request.transport is not None:
            request.transport.write(block)

    def broken(self) -> None:
        """The answer can't be finished: the caller must not take what it has for the whole."""
        self.keep_alive = False
        if self.request.transport is not None:
            self.request.transport.abort() if self._begun else self.request.transport.close()

    def failed(self) -> None:
        self.keep_alive = False
        self.answer(500, "the ingress controller failed; its log on this machine has the traceback")

    def end(self) -> None:
        proxy = self.proxy
        if self.upload is not None and not self.upload.done():
            self.upload.cancel()
        if self.call is not None:
            for each in self.call.closing:
                each()
        now = proxy.clock.now()
        record = self.record
        record.seconds = now - self.started
        record.request_length = self.uploaded
        proxy.count(self.location, record.canary or record.backend)
        proxy.write(line(record, now) + "\n")

    # To the backend

    def _has_body(self) -> bool:
        headers = self.request.headers
        return hdrs.TRANSFER_ENCODING in headers or headers.get(hdrs.CONTENT_LENGTH, "0") != "0"

    def _head(self, method: str, host: str, target: str, request_id: str, upgrade: str) -> bytes:
        """Return the request line and headers for the backend."""
        request = self.request
        headers = request.headers
        remote = self.record.remote
        style = self.proxy.style
        if style.forwarded:
            received = headers.get("X-Forwarded-For", "")
            vhost = self.options.vhost or host
            text = styled_preamble(style, method, target, vhost, request_id, remote, received, secure=self.secure)
        else:
            text = preamble(method, target, host, self.options.vhost, request_id, remote, secure=self.secure)
        if not style.forwarded and (forwarded := headers.get("X-Forwarded-For")) is not None:
            text += f"X-Original-Forwarded-For: {forwarded}\r\n"
        if upgrade:
            text += f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\n"
        if hdrs.TRANSFER_ENCODING in headers:
            text += "Transfer-Encoding: chunked\r\n"
        elif (length := headers.get(hdrs.CONTENT_LENGTH)) is not None:
            text += f"Content-Length: {int(length)}\r\n"
        skipped: frozenset[bytes] | set[bytes] = NOT_FORWARDED
        if (connection := headers.get("Connection")) is not None:
            named = {token.strip().lower().encode("latin-1", "replace") for token in connection.split(",")}
            if not named <= NOT_FORWARDED:
                skipped = NOT_FORWARDED | named
        if self.call is not None and self.call.request_headers:
            skipped = skipped | {name.lower().encode() for name in self.call.request_headers}
            text += "".join(f"{name}: {value}\r\n" for name, value in self.call.request_headers.items() if value)
        parts = [text.encode("utf-8", "surrogateescape")]
        for name, value in request.raw_headers:
            # nginx: underscores_in_headers off; X_Forwarded_For must not pass for X-Forwarded-For in CGI-like apps
            if name.lower() not in skipped and b"_" not in name:
                parts.append(b"%b: %b\r\n" % (name, value))
        parts.append(b"\r\n")
        return b"".join(parts)

    async def _forward(self, method: str, host: str, target: str, request_id: str) -> None:
        options = self.options
        request = self.request
        body = self._has_body()
        if body and options.body_size and int(request.headers.get(hdrs.CONTENT_LENGTH, "0")) > options.body_size:
            raise _Rejected(413, _too_large(options.body_size))
        upgrade = request.headers.get("Upgrade", "")
        if upgrade.lower() != "websocket" or "upgrade" not in request.headers.get("Connection", "").lower():
            upgrade = ""
        block = self._head(method, host, target, request_id, upgrade)
        connection, head = await self._answered(method, block, body)
        clean = False
        try:
            if upgrade and head.status == 101:
                await self._tunnel(connection, head, upgrade)
            elif head.status in options.error_codes and options.error_backend is not None:
                await self._error_page(connection, head.status)
            else:
                await self._relay(connection, head, method)
                clean = self.upload is None or self.upload.done()
        finally:
            spent = self.proxy.clock.now() - self.started
            self.record.tries.append((str(connection.endpoint), connection.received, spent, head.status))
            if clean:
                self.proxy.pool.release(connection)
            else:
                connection.close()
                if self.upload is not None and not self.upload.done():
                    self.keep_alive = False

    async def _answered(self, method: str, block: bytes, body: bool) -> tuple[Connection, Head]:
        """Send to one endpoint after the other until one answers."""
        proxy = self.proxy
        options = self.options
        assert self.match is not None
        upstream: Upstream = self.match.upstream
        secure = options.protocol == "HTTPS"
        sticky, hashed = self._preference(options)
        tried: set[Endpoint] = set()
        errors: list[str] = []
        status = 502
        for failed, why, sent, seconds in self._before():  # the fast path's attempt at this request
            status = 504 if isinstance(why, TimeoutError) else 502
            tried.add(failed)
            errors.append(_why(failed, why, sent, options))
            self.record.tries.append((str(failed), 0, seconds, status))
            if ("timeout" if status == 504 else "error") not in options.next_upstream or isinstance(why, BadResponse):
                raise _Rejected(status, errors[0])
        fresh = False
        endpoint: Endpoint | None = None
        while len(errors) < options.tries:
            if not fresh or endpoint is None:
                endpoint = proxy.balancer.pick(upstream, tried, hash_of=hashed, sticky=sticky)
            if endpoint is None:
                break
            connection = None if fresh else proxy.pool.acquire(endpoint, secure=secure)
            sent = False
            try:
                if connection is None:
                    connection = await proxy.pool.connect(endpoint, options.connect_timeout, secure=secure)
                sent = True
                head = await self._sent(connection, method, block, body)
            except (OSError, BadResponse) as error:  # TimeoutError and Closed are OSErrors
                if connection is not None:
                    connection.close()
                if self.upload_error is not None:
                    raise self.upload_error from None
                stale = isinstance(error, Closed) and error.clean and connection is not None and connection.reused
                again = not sent or (method in _IDEMPOTENT and not body) or "non_idempotent" in options.next_upstream
                if stale and method in _IDEMPOTENT and not body:
                    fresh = True  # the pod closed it while idle: the same endpoint, on a new connection
                    continue
                fresh = False
                timed_out = isinstance(error, TimeoutError)
                status = 504 if timed_out else 502
                errors.append(_why(endpoint, error, sent, options))
                self.record.tries.append((str(endpoint), 0, proxy.clock.now() - self.started, status))
                tried.add(endpoint)
                if (
                    not again
                    or (body and sent)
                    or ("timeout" if timed_out else "error") not in options.next_upstream
                    or isinstance(error, BadResponse)
                ):
                    break
                upstream = proxy.table().upstream(upstream.key)  # it may have changed since
                continue
            except BaseException:
                if connection is not None:
                    connection.close()
                raise
            return connection, head
        if not errors:
            raise _Rejected(503, upstream.reason or "no endpoint is left to try")
        raise _Rejected(status, "; ".join(errors))

    def _before(self) -> list[tuple[Endpoint, Exception, bool, float]]:
        protocol: Any = self.request.protocol
        before: list[tuple[Endpoint, Exception, bool, float]] = protocol.before
        protocol.before = []
        return before

    async def _sent(self, connection: Connection, method: str, block: bytes, body: bool) -> Head:
        connection.start(method, block)
        if body:
            if self.request.headers.get("Expect", "").lower() == "100-continue" and not self.request.content.is_eof():
                transport = self.request.transport
                if transport is not None:
                    transport.write(_CONTINUE)
            self.upload = self.proxy.scope.spawn(self._send_body(connection), name="ingress-upload")
        return await connection.head(self.options.read_timeout)

    def _preference(self, options: Options) -> tuple[str, str]:
        sticky = cookie(self.request.headers, options.affinity_cookie) or "" if options.affinity_cookie else ""
        hashed = expand(options.hash_by, self.call) if options.hash_by and self.call is not None else ""
        return sticky, hashed

    async def _send_body(self, connection: Connection) -> None:
        """Pass the caller's body on as it comes; a broken one closes the backend's connection."""
        content = self.request.content
        chunked = hdrs.TRANSFER_ENCODING in self.request.headers
        limit = self.options.body_size
        try:
            while True:
                try:
                    async with asyncio.timeout(_BODY_TIMEOUT):
                        data = await content.readany()
                except TimeoutError:
                    raise _Rejected(408, f"no byte of the body came for {_BODY_TIMEOUT:g} s") from None
                if not data:
                    if content.at_eof():
                        break
                    continue
                self.uploaded += len(data)
                if limit and self.uploaded > limit:
                    self.upload_error = _Rejected(413, _too_large(limit))
                    connection.close()
                    return
                connection.write(chunk(data) if chunked else data)
                if connection.writing_paused:
                    async with asyncio.timeout(self.options.send_timeout):
                        await connection.drain()
            if chunked:
                connection.write(b"0\r\n\r\n")
        except TimeoutError:
            self.upload_error = _Rejected(504, f"{connection.endpoint} took no more of the body (proxy-send-timeout)")
            connection.close()
        except (OSError, BadResponse):
            return  # the waiting side sees the same end and says so
        except asyncio.CancelledError:
            raise
        except _Rejected as rejected:
            self.upload_error = rejected
            connection.close()
        except Exception as error:  # aiohttp raises its own: a malformed chunk, a body cut short
            self.upload_error = _Rejected(400, f"the request body can't be read: {error}")
            connection.close()

    # Back to the caller

    def _response_head(self, head: Head, connection: Connection, *, chunked: bool, upgrade: str = "") -> bytes:
        request = self.request
        now = self.proxy.clock.now()
        parts = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
        fields = [each for each in head.headers if each[0] not in NOT_RETURNED]
        lower = {each[0] for each in fields}
        options = self.options
        if self.call is not None and options.response_filters:
            texts = [(name.decode("latin-1"), value.decode("latin-1")) for _, name, value in fields]
            for each in options.response_filters:
                each.response(self.call, head.status, texts)
            fields = [(n.lower().encode(), n.encode("latin-1"), v.encode("latin-1", "replace")) for n, v in texts]
            lower = {each[0] for each in fields}
        for _, name, value in fields:
            parts.append(b"%b: %b\r\n" % (name, value))
        if b"date" not in lower:
            parts.append(f"Date: {http_date(now)}\r\n".encode())
        style = self.proxy.style
        if style.server and b"server" not in lower:
            parts.append(f"Server: {style.server}\r\n".encode())
        if self.secure and style.hsts:
            parts.append(transport_security(request.headers.get("Host", "")))
        if options.affinity_cookie:
            wanted = cookie_value(connection.endpoint)
            if cookie(request.headers, options.affinity_cookie) != wanted:
                attributes = options.affinity_attributes
                parts.append(f"Set-Cookie: {options.affinity_cookie}={wanted}; {attributes}\r\n".encode())
        if chunked:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        if upgrade:
            parts.append(f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\n".encode())
        elif not self.keep_alive:
            parts.append(b"Connection: close\r\n")
        elif request.version == HttpVersion10:
            parts.append(b"Connection: keep-alive\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    async def _relay(self, connection: Connection, head: Head, method: str) -> None:
        request = self.request
        unsized = head.framing is Framing.CHUNKED or head.framing is Framing.UNTIL_CLOSE
        chunked = unsized and request.version > HttpVersion10
        if unsized and not chunked:
            self.keep_alive = False  # HTTP/1.0 knows no chunks: the end of the connection is the end of the body
        if self.upload is not None and not self.upload.done() and connection.done:
            self.keep_alive = False  # the backend answered without reading the body: so do we
        block = self._response_head(head, connection, chunked=chunked)
        transport = request.transport
        if transport is None:
            raise Closed("the caller is gone", clean=False)
        self._begun = True
        record = self.record
        record.status = head.status
        data = connection.take()
        if data:
            record.sent += len(data)
            if chunked:
                data = chunk(data)
        if connection.done:
            transport.write(block + data + b"0\r\n\r\n" if chunked else block + data)
            return
        transport.write(block + data)
        writer = request.writer
        timeout = self.options.read_timeout
        try:
            while data := await connection.read(timeout):
                record.sent += len(data)
                transport.write(chunk(data) if chunked else data)
                if request.protocol.writing_paused:
                    await writer.drain()
        except (TimeoutError, BadResponse) as error:
            raise Closed(str(error), clean=False) from error
        if chunked:
            transport.write(b"0\r\n\r\n")

    async def _tunnel(self, connection: Connection, head: Head, upgrade: str) -> None:
        request = self.request
        transport = request.transport
        if transport is None:
            raise Closed("the caller is gone", clean=False)
        block = self._response_head(head, connection, chunked=False, upgrade=upgrade)
        self._begun = True
        self.keep_alive = False
        self.record.status = 101
        transport.write(block)
        timeout = self.options.read_timeout
        tunnel: Any = _Tunnel(request.protocol, connection, timeout)
        request.protocol.set_parser(tunnel)
        try:
            while data := await connection.read(timeout):
                self.record.sent += len(data)
                transport.write(data)
                if request.protocol.writing_paused:
                    await request.writer.drain()
        except (TimeoutError, Closed):
            return  # either side may end a tunnel at any time

    # Requests of our own

    async def _exchange(
        self, endpoint: Endpoint, secure: bool, method: str, block: bytes
    ) -> tuple[Connection, Head] | None:
        try:
            connection = await self.proxy.pool.connect(endpoint, self.options.connect_timeout, secure=secure)
        except OSError:
            return None
        try:
            connection.start(method, block)
            return connection, await connection.head(self.options.read_timeout)
        except (OSError, BadResponse):
            connection.close()
            return None
        except BaseException:
            connection.close()
            raise

    async def _ask(self, ask: Subrequest, call: Call) -> Answer | None:
        """Make a subrequest; None if it lets the request pass."""
        parts = urlsplit(ask.url)
        secure = parts.scheme == "https"
        endpoint = Endpoint(parts.hostname or "", parts.port or (443 if secure else 80))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        text = f"{ask.method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        text += "".join(f"{name}: {value}\r\n" for name, value in ask.headers) + "Connection: close\r\n\r\n"
        found = await self._exchange(endpoint, secure, ask.method, text.encode("utf-8", "surrogateescape"))
        if found is None:
            return ask.failed(0, {})
        connection, head = found
        connection.close()
        fields = {name.decode("latin-1").title(): value.decode("latin-1") for _, name, value in head.headers}
        answer = {name.replace("Www-", "WWW-"): value for name, value in fields.items()}
        if 200 <= head.status < 300:
            for name in ask.copy_headers:
                call.request_headers[name] = fields.get(name.title(), "")
            return None
        return ask.failed(head.status, answer)

    async def _error_page(self, failed: Connection, status: int) -> None:
        """Put the default backend's answer in place of an error (custom-http-errors)."""
        assert self.match is not None
        key = self.options.error_backend
        assert isinstance(key, BackendKey)
        endpoint = self.proxy.balancer.pick(self.proxy.table().upstream(key))
        failed.close()
        ingress = self.match.location.ingress
        block = (
            f"GET / HTTP/1.1\r\nHost: {self.request.headers.get('Host', '')}\r\nX-Code: {status}\r\n"
            f"X-Format: {self.request.headers.get('Accept', '*/*')}\r\nX-Original-URI: {self.request.raw_path}\r\n"
            f"X-Namespace: {ingress.namespace}\r\nX-Ingress-Name: {ingress.name}\r\n"
            f"X-Service-Name: {self.match.upstream.key.service}\r\nX-Request-ID: {self.record.request_id}\r\n\r\n"
        )
        found = endpoint and await self._exchange(endpoint, False, "GET", block.encode("utf-8", "surrogateescape"))
        if not found:
            raise _Rejected(status, f"annotation custom-http-errors: default backend {key} does not answer")
        connection, head = found
        try:
            if self.request.method == "HEAD":
                head = replace(head, framing=Framing.NONE)
                self.keep_alive = False
            await self._relay(connection, head, self.request.method)
        finally:
            connection.close()

    def _mirror(self, options: Options) -> None:
        if self.call is None:
            return
        parts = urlsplit(expand(options.mirror, self.call))
        endpoint = Endpoint(parts.hostname or "", parts.port or 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = "".join(
            f"{name}: {value}\r\n"
            for name, value in self.call.headers.items()
            if name.lower().encode("latin-1", "replace") not in NOT_FORWARDED
        )
        method = self.call.method
        text = f"{method} {target} HTTP/1.1\r\nHost: {options.mirror_host or parts.netloc}\r\n{headers}\r\n"

        async def send() -> None:
            found = await self._exchange(endpoint, False, method, text.encode("utf-8", "surrogateescape"))
            if found:
                found[0].close()

        self.proxy.scope.spawn(send(), name="ingress-mirror")


def _too_large(limit: int) -> str:
    return f"the body is larger than {limit} bytes (annotation nginx.ingress.kubernetes.io/proxy-body-size, default 1m)"


def transport_security(host: str) -> bytes:
    """Return the HSTS header line of an answer over HTTPS."""
    return b"" if _local(host) else "{}: {}\r\n".format(*_HSTS).encode()


def _local(host: str) -> bool:
    """Tell whether HSTS would do harm: browsers would then ask this machine's other ports for HTTPS too."""
    name = host.rpartition(":")[0] if ":" in host else host
    return name == "localhost" or name.endswith(".localhost")


def _why(endpoint: Endpoint, error: Exception, sent: bool, options: Options) -> str:
    if isinstance(error, TimeoutError):
        return (
            f"{endpoint} did not answer within {options.read_timeout:g} s (proxy-read-timeout)"
            if sent
            else f"{endpoint} accepted no connection within {options.connect_timeout:g} s (proxy-connect-timeout; "
            "a NetworkPolicy may drop it)"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"{endpoint} refused the connection: nothing listens on port {endpoint.port} of that pod"
    return str(error) if isinstance(error, Closed | BadResponse) else f"{endpoint}: {error}"
