"""The listener for TLS: by the name a caller asks for, either passed through to a pod untouched, or terminated here.

    accept ─► look at the ClientHello ─► a passthrough host ─► splice ─► pod's own TLS
                                      └► any other ─► TLS here (start_tls) ─► Front

Stands for ingress-nginx's TCP proxy (--enable-ssl-passthrough) and a Gateway's TLS listener of mode Passthrough.
The bytes that were looked at are replayed to whoever makes the handshake. Without passthrough hosts nothing is looked
at.
What isn't TLS is answered as by nginx: "plain HTTP request was sent to HTTPS port".
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast

from minikube_py.aiokit.clock import Timer, within
from minikube_py.cni.live import retracked
from minikube_py.cni.splice import Half
from minikube_py.ingress.front import Front
from minikube_py.ingress.http1.messages import encode_head
from minikube_py.ingress.proxy.accesslog import Record, line, session
from minikube_py.ingress.proxy.pages import page
from minikube_py.ingress.router import Endpoint, Upstream
from minikube_py.ingress.tls.sni import HANDSHAKE, NotTLS, by_host, server_name

__all__ = ["Door"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_HELLO_TIMEOUT = 10.0
"""Seconds a ClientHello may take."""
_CONNECT_TIMEOUT = 5.0
_TRIES = 3


class Door(asyncio.Protocol, Generic[_T]):
    """One connection to the TLS port, until it is known whose it is.

    `routes()` are the hosts to pass through (`name`, `*.suffix`, "" for any), `upstream` says where each goes now.
    Resource handling: what follows is a task of the proxy's scope.
    """

    def __init__(
        self,
        front: Front,
        context: ssl.SSLContext,
        routes: Callable[[], Mapping[str, _T]] = dict,
        upstream: Callable[[_T], Upstream | None] = lambda _: None,
    ) -> None:
        self._front = front
        self._context = context
        self._routes = routes
        self._upstream = upstream
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: Timer
        self._books: asyncio.BaseProtocol | None = None
        self._hello = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._books = self._transport.get_protocol()
        self._timer = self._front.clock.call_later(_HELLO_TIMEOUT, self._transport.abort)
        self._front.waiting.add(self)

    def data_received(self, data: bytes) -> None:
        self._hello += data
        if self._task is not None or self._transport is None:
            return
        if self._hello[0] != HANDSHAKE:
            self._refuse(self._transport)
            return
        name = ""
        if routes := self._routes():
            try:
                found = server_name(self._hello)
            except NotTLS as error:
                logger.debug("TLS connection refused error=%s", error)
                self._transport.abort()
                return
            if found is None:
                return  # the rest of the hello is on its way
            name = found
        self._decided()
        self._transport.pause_reading()
        wanted = by_host(routes, name)
        follow = self._terminate() if wanted is None else self._pass(self._transport, name, self._upstream(wanted))
        self._task = self._front.proxy.scope.spawn(follow, name="ingress-tls")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._decided()
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        """End a connection that nothing has been decided about."""
        if self._transport is not None:
            self._transport.abort()

    def _decided(self) -> None:
        self._timer.cancel()
        self._front.waiting.discard(self)

    def _refuse(self, transport: asyncio.Transport) -> None:
        """Tell a caller who forgot TLS, in nginx's words."""
        proxy = self._front.proxy
        now = proxy.clock.now()
        made = page(400, "The plain HTTP request was sent to HTTPS port", now=now, style=proxy.style)
        transport.write(encode_head(400, made.reason, made.fields) + b"Connection: close\r\n\r\n" + made.body)
        transport.close()
        peer = transport.get_extra_info("peername")
        record = Record(str(peer[0]) if isinstance(peer, tuple) else "", "", 400, len(made.body))
        proxy.write(line(record, now) + "\n")

    async def _terminate(self) -> None:
        transport = self._transport
        assert transport is not None
        early = _Early()
        loop = asyncio.get_running_loop()
        handshake = loop.start_tls(
            transport, early, self._context, server_side=True, ssl_handshake_timeout=_HELLO_TIMEOUT
        )
        starting = asyncio.ensure_future(handshake)
        # `start_tls` schedules its first step, which goes before what is scheduled from the callback below
        loop.call_soon(loop.call_soon, self._replay, transport)
        try:
            secure = await starting
        except OSError as error:  # SSLError and TimeoutError are OSErrors
            logger.debug("TLS handshake failed error=%s", error)
            transport.abort()
            return
        except BaseException:
            transport.abort()
            raise
        if secure is None:
            return  # the caller has gone meanwhile
        protocol: Any = self._front.negotiated(secure)
        if self._books is not None:
            protocol = retracked(protocol, self._books)
        secure.set_protocol(protocol)
        protocol.connection_made(secure)
        early.replay(protocol)

    def _replay(self, transport: asyncio.Transport) -> None:
        """Give the TLS protocol what has been read before it was there (both loops' is a BufferedProtocol)."""
        protocol: Any = transport.get_protocol()
        data = self._hello
        while data and not transport.is_closing():
            buffer = protocol.get_buffer(len(data))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            protocol.buffer_updated(size)
            data = data[size:]

    async def _pass(self, transport: asyncio.Transport, name: str, upstream: Upstream | None) -> None:
        proxy = self._front.proxy
        peer = transport.get_extra_info("peername")
        remote = str(peer[0]) if isinstance(peer, tuple) else ""
        started = proxy.clock.now()
        front, back = Half(), Half()
        try:
            endpoint = await self._connect(back, upstream)
        except BaseException:
            transport.abort()
            raise
        if endpoint is not None and self._books is not None:
            transport.set_protocol(retracked(front, self._books))  # it hears of the end from now on
            front.connection_made(transport)
            front.data_received(self._hello)
            front.join(back)
            back.join(front)
            transport.resume_reading()
            try:
                await front.lost
                await back.lost
            finally:
                if back.transport is not None:
                    back.transport.abort()
        else:
            transport.abort()
        status = 200 if endpoint is not None else 502 if upstream is not None and upstream.endpoints else 503
        now = proxy.clock.now()
        text = session(remote, name, str(endpoint or ""), status, front.received, back.received, now - started, now)
        proxy.write(text + "\n")

    async def _connect(self, back: Half, upstream: Upstream | None) -> Endpoint | None:
        tried: set[Endpoint] = set()
        while upstream is not None and len(tried) < _TRIES:
            endpoint = self._front.proxy.balancer.pick(upstream, tried)
            if endpoint is None:
                break
            tried.add(endpoint)
            try:
                async with within(self._front.clock, _CONNECT_TIMEOUT):
                    await asyncio.get_running_loop().create_connection(lambda: back, endpoint.address, endpoint.port)
            except OSError:
                continue
            return endpoint
        return None


class _Early(asyncio.Protocol):
    """Keeps what comes with the end of the handshake, before the connection has its protocol."""

    def __init__(self) -> None:
        self._data: list[bytes] = []
        self._eof = False
        self._lost: tuple[Exception | None] | None = None

    def data_received(self, data: bytes) -> None:
        self._data.append(data)

    def eof_received(self) -> None:
        self._eof = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = (exc,)

    def replay(self, protocol: Any) -> None:
        if self._data:
            protocol.data_received(b"".join(self._data))
        if self._eof:
            protocol.eof_received()
        if self._lost is not None:
            protocol.connection_lost(self._lost[0])
