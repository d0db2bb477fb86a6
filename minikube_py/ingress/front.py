"""One listener: HTTP/1.1 by `http1.caller`, behind it aiohttp with our limits and pages; HTTP/2 by `http2.caller`."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server

from minikube_py.aiokit.clock import Clock, Timer
from minikube_py.cni.live import retracked
from minikube_py.ingress.http1.caller import Caller
from minikube_py.ingress.proxy.inbound import Attempt
from minikube_py.ingress.proxy.proxy import Proxy

if TYPE_CHECKING:
    from minikube_py.ingress.http2.caller import Connection2
    from minikube_py.ingress.tls.passthrough import Door

__all__ = ["Front"]

_MAX_LINE = 8190
"""Bytes of the request line and of one header (nginx: large_client_header_buffers 4 8k; Apache: 8190)."""
_MAX_HEADERS = 128
_SEND_TIMEOUT = 60.0
"""Seconds a caller may take no byte of its answer (nginx: send_timeout 60s)."""
_SWEEP = 5.0


class _Handler(RequestHandler):
    """aiohttp's side of one caller's connection."""

    __slots__ = ("_proxy", "before", "drawn")

    def __init__(self, front: "Front", proxy: Proxy, keepalive_timeout: float) -> None:
        super().__init__(
            front,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=keepalive_timeout,
            tcp_keepalive=False,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for "none"
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
            max_headers=_MAX_HEADERS,
            lingering_time=2.0,
            auto_decompress=False,  # a proxy passes bodies on as they are
            logger=logging.getLogger(__name__),
        )
        self._proxy = proxy
        self.before: list[Attempt] = []
        """Attempts at the first request that failed before it was handed over."""
        self.drawn: float | None = None

    @property
    def closing(self) -> bool:
        """No request is taken after the one that runs."""
        return self._close or self._force_close

    def data_received(self, data: bytes) -> None:
        if not self.closing or not (self._request_in_progress or self._messages):
            super().data_received(data)
            return
        # The rest of a request that has begun: aiohttp, told to close, would drop it, and its reader wait for ever.
        flags = self._close, self._force_close
        self._close = self._force_close = False
        super().data_received(data)
        self._close, self._force_close = flags

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        """Answer a request that aiohttp could not parse."""
        text = (message or str(exc) or "not an HTTP/1.1 request").strip().splitlines()
        return self._proxy.reject(request, status, text[0][:200] if text else "")


class _Negotiated(asyncio.Protocol):
    """Stands in for a connection until TLS has settled which protocol it speaks (ALPN)."""

    def __init__(self, front: "Front") -> None:
        self._front = front

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        protocol: Any = retracked(self._front.negotiated(transport), transport.get_protocol())
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class Front(Server):
    """The protocol factory of one listener.

    Resource handling: `pre_shutdown()` closes idle callers, `shutdown()` the rest, and its timer.
    """

    def __init__(
        self, proxy: Proxy, *, secure: bool, keepalive_timeout: float, clock: Clock, relay: bool = True
    ) -> None:
        # handler_cancellation: when the caller goes, so does its request to the pod
        super().__init__(proxy.handler(secure=secure), handler_cancellation=True)
        self.proxy = proxy
        self.secure = secure
        self.clock = clock
        self.draining = False
        """No answer leaves its connection open any more."""
        self.callers: set[Caller] = set()
        self.multiplexed: set[Connection2] = set()
        self.waiting: set[Door[Any]] = set()
        """TLS callers that haven't said yet whom they want."""
        self.relay = relay
        """Simple requests don't go aiohttp's way."""
        self._keepalive_timeout = keepalive_timeout
        self._timer: Timer | None = None

    def __call__(self) -> Any:
        return _Negotiated(self) if self.secure else self.http1()

    def negotiated(self, transport: asyncio.BaseTransport) -> Any:
        """Return the protocol that caller and listener have agreed on (ALPN)."""
        tls = transport.get_extra_info("ssl_object")
        return self.http1() if tls is None or tls.selected_alpn_protocol() != "h2" else self.http2()

    def http2(self) -> Any:
        from minikube_py.ingress.http2.caller import Connection2  # 40 ms, for whoever asks for it first

        self._watch()
        return Connection2(self)

    def http1(self) -> Any:
        self._watch()
        return Caller(self)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self.clock.call_later(_SWEEP, self._sweep)

    def handler(self, before: list[Attempt], drawn: float | None) -> RequestHandler:
        """Return a connection of aiohttp's."""
        made = _Handler(self, self.proxy, self._keepalive_timeout)
        made.before, made.drawn = before, drawn
        return made

    def _sweep(self) -> None:
        """Close callers that said nothing, or took nothing, for too long: one timer for all of them."""
        self._timer = None
        now = self.clock.now()
        for each in list(self.callers):
            each.sweep(now, self._keepalive_timeout, _SEND_TIMEOUT)
        for connection in list(self.multiplexed):
            connection.sweep(now, self._keepalive_timeout, _SEND_TIMEOUT)
        if self.callers or self.multiplexed:
            self._timer = self.clock.call_later(_SWEEP, self._sweep)

    def pre_shutdown(self) -> None:
        self.draining = True
        for each in list(self.callers):
            each.close_if_idle()
        for door in list(self.waiting):
            door.abort()
        for connection in list(self.multiplexed):
            connection.drain()
        super().pre_shutdown()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Wait up to `timeout` seconds for running requests, then cut them off."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (timeout or 0.0)
        while loop.time() < deadline and (
            any(each.relaying for each in self.callers) or any(each.relaying for each in self.multiplexed)
        ):
            await asyncio.sleep(0.01)
        for each in list(self.callers):
            if not each.handed_over:
                each.abort()
        for connection in list(self.multiplexed):
            connection.abort()
        await asyncio.sleep(0)  # what was handed over just now has begun then
        await super().shutdown(timeout)
