"""How a Gateway's listeners take connections that are not TLS: HTTP/1.1 or HTTP/2 by what comes first, TCP as it is.

Stands for Envoy's codec detection. HTTP/2 without TLS ("h2c", prior knowledge) is what gRPC callers of an HTTP listener
speak; an upgrade to it (RFC 7540) is not taken, as RFC 9113 has dropped it.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Any, cast

from minikube_py.aiokit.clock import Timer
from minikube_py.cni.live import retracked
from minikube_py.ingress.front import Front
from minikube_py.ingress.gateway.table import Shares
from minikube_py.ingress.router import Upstream
from minikube_py.ingress.server import KEEP_ALIVE
from minikube_py.ingress.tls.passthrough import Door

__all__ = ["Either", "Wire"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 §3.4."""


class Either(asyncio.Protocol):
    """One connection to an HTTP listener, until its first bytes say which HTTP it speaks."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._data = b""
        self._transport: asyncio.Transport | None = None
        self._timer: Timer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = self._front.clock.call_later(KEEP_ALIVE, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._transport is None or (len(self._data) < len(_PREFACE) and _PREFACE.startswith(self._data)):
            return
        self._timer.cancel()
        made = self._front.http2() if self._data.startswith(_PREFACE) else self._front.http1()
        protocol: Any = retracked(made, self._transport.get_protocol())
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._timer.cancel()


class Wire(Door[Shares]):
    """One connection to a TCP listener: passed on without a look at it."""

    def __init__(
        self, front: Front, routes: Callable[[], Mapping[str, Shares]], upstream: Callable[[Shares], Upstream | None]
    ) -> None:
        super().__init__(front, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), routes, upstream)  # TLS is never ended here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._timer.cancel()
        assert self._transport is not None
        self._transport.pause_reading()
        shares = self._routes().get("")
        upstream = None if shares is None else self._upstream(shares)
        self._task = self._front.proxy.scope.spawn(self._pass(self._transport, "", upstream), name="gateway-tcp")
