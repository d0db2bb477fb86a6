"""A connection that a pod's protocol has: counted, and found again when the pod ends."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from minikube_py.cni import tcpinfo
from minikube_py.cni.accept import TrackedSocket
from minikube_py.cni.tcpinfo import TcpInfo

__all__ = ["Closed", "Live", "retracked", "tracked"]

Closed: TypeAlias = Callable[[int, int], None]
"""Called once when a connection has ended, with the bytes received and sent (from the pod's point of view)."""

_SETTLED = 0.05
"""Seconds without data after which an answered connection counts as an idle keep-alive when its pod ends."""

# How servers are asked to finish: they close the connection now if it is idle, else after the current request.
_FINISH = {"aiohttp": "close", "uvicorn": "shutdown"}


class Live:
    """One accepted connection in a pod.

    Resource handling: `abort()` ends it in any state; `ended` (the socket's own close) takes it off the books.
    """

    __slots__ = ("_books", "_closed", "_last", "since", "socket", "task", "transport")

    def __init__(self, sock: TrackedSocket, books: set["Live"], closed: Callable[["Live"], None]) -> None:
        self.socket: TrackedSocket = sock
        self.transport: asyncio.Transport | None = None  # or uvloop's, which is no subclass of it
        self.task: asyncio.Task[None] | None = None
        self._books = books
        self._closed = closed
        self._last = TcpInfo()
        self.since = time.monotonic()
        """When the connection was handed over, in `time.monotonic` seconds."""
        books.add(self)
        sock.on_closed = self.ended

    @property
    def traffic(self) -> TcpInfo:
        """What went through so far (TLS included)."""
        info = tcpinfo.read(self.socket)
        if info is not tcpinfo.GONE:
            self._last = info
        return self._last

    def sample(self) -> None:
        """Note the counters while the socket is still there (uvloop closes it before it says so)."""
        _ = self.traffic

    def ended(self) -> None:
        _ = self.traffic
        self._books.discard(self)
        self._closed(self)

    def finish(self) -> None:
        """Ask the server's protocol to end the connection once nothing is in flight; not all know how."""
        protocol = self.transport.get_protocol() if self.transport else None
        inner = getattr(protocol, "inner", protocol)
        if name := _FINISH.get(type(inner).__module__.partition(".")[0]):
            getattr(inner, name)()

    def idle(self) -> bool:
        """The last word was ours, and it is delivered: nothing is in flight as far as the kernel can tell."""
        info = self.traffic
        return info.closed_by_peer or (info.answered and info.quiet_for >= _SETTLED)

    def close(self) -> None:
        if self.transport:
            self.transport.close()

    def abort(self) -> None:
        if self.task:
            self.task.cancel()
        if self.transport:
            self.transport.abort()
        elif self.socket.fileno() >= 0:
            self.socket.close()


class _Delegate(asyncio.BaseProtocol):
    """Stands before a pod's protocol to see `connection_lost`; the rest are the protocol's own bound methods.

    Instance attributes shadow this class's methods, so nothing is added to the path of the bytes.
    """

    def __init__(self, inner: Any, live: Live, *methods: str) -> None:
        self.inner = inner
        self._live = live
        for method in methods:
            setattr(self, method, getattr(inner, method))

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.sample()
        self.inner.connection_lost(exc)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


_COMMON = ("connection_made", "eof_received", "pause_writing", "resume_writing")


class _StreamDelegate(_Delegate, asyncio.Protocol):
    pass


class _BufferedDelegate(_Delegate, asyncio.BufferedProtocol):
    pass


def tracked(protocol: asyncio.BaseProtocol, live: Live) -> asyncio.BaseProtocol:
    """Return the delegate that fits `protocol`'s kind."""
    if isinstance(protocol, asyncio.BufferedProtocol):
        return _BufferedDelegate(protocol, live, *_COMMON, "get_buffer", "buffer_updated")
    return _StreamDelegate(protocol, live, *_COMMON, "data_received")


def retracked(protocol: asyncio.BaseProtocol, before: asyncio.BaseProtocol) -> asyncio.BaseProtocol:
    """Return what a connection's next protocol must be wrapped in, so that it stays on the books of `before`."""
    return tracked(protocol, before._live) if isinstance(before, _Delegate) else protocol
