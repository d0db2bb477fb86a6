"""aiohttp's low-level HTTP server with our limits and our error pages: terminates HTTP, then asks the Proxy."""

import asyncio
import logging

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server

from minikube_py.ingress.proxy import Proxy

__all__ = ["Front"]

_MAX_LINE = 8190
"""Bytes of the request line and of one header (nginx: large_client_header_buffers 4 8k; Apache: 8190)."""
_MAX_HEADERS = 128


class _Caller(RequestHandler):
    """One caller's connection."""

    __slots__ = ("_proxy",)

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

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        """Answer a request that aiohttp could not parse."""
        text = (message or str(exc) or "not an HTTP/1.1 request").strip().splitlines()
        return self._proxy.reject(request, status, text[0][:200] if text else "")


class Front(Server):
    """The protocol factory of one listener."""

    def __init__(self, proxy: Proxy, *, secure: bool, keepalive_timeout: float) -> None:
        # handler_cancellation: when the caller goes, so does its request to the pod
        super().__init__(proxy.handler(secure=secure), handler_cancellation=True)
        self._proxy = proxy
        self._keepalive_timeout = keepalive_timeout

    def __call__(self) -> RequestHandler:
        return _Caller(self, self._proxy, self._keepalive_timeout)
