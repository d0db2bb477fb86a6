"""A pod's listening TCP port: what `loop.create_server` returns inside a pod."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import socket
import ssl
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minikube_py.cni.accept import AcceptLoop, Address, TrackedSocket, reset
from minikube_py.cni.filters import Target
from minikube_py.cni.live import Closed, Live, tracked
from minikube_py.cni.types import Flow

if TYPE_CHECKING:
    from minikube_py.cni.namespace import NetworkNamespace

__all__ = ["PodServer"]

logger = logging.getLogger(__name__)


class PodServer(asyncio.AbstractServer):
    """One port of a pod, served by the pod's own protocol factory in the pod's context.

    Resource handling: `close()` stops accepting and leaves connections alone, as asyncio's servers do; the
    namespace's `close` ends those.
    """

    def __init__(
        self,
        namespace: NetworkNamespace,
        factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        port: int,
        *,
        local_only: bool,
        tls: ssl.SSLContext | None,
        handshake_timeout: float | None,
        shutdown_timeout: float | None,
        context: contextvars.Context,
    ) -> None:
        self.namespace = namespace
        self.port = port
        """As the pod sees it; `sockets` show the real one."""
        self._factory = factory
        self.local_only = local_only
        """Bound to localhost: others are refused."""
        self._tls: dict[str, Any] = {}
        if tls:
            self._tls = {
                "ssl": tls,
                "ssl_handshake_timeout": handshake_timeout,
                "ssl_shutdown_timeout": shutdown_timeout,
            }
        self.context = context
        """Of the code that opened it, and that answers."""
        self._loop = asyncio.get_running_loop()
        self._accept: AcceptLoop | None = AcceptLoop(sock, self._connected, context)
        self._forever: asyncio.Future[None] | None = None

    # What asyncio.Server offers

    @property
    def sockets(self) -> tuple[TransportSocket, ...]:
        return (TransportSocket(self._accept.sock),) if self._accept else ()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._accept is not None and self._accept.serving

    async def start_serving(self) -> None:
        self.start()

    async def serve_forever(self) -> None:
        self.start()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        finally:
            self._forever = None
            self.close()

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        if self._accept:
            self.namespace.fabric.filters.remove(self)
            self._accept.close()
            self._accept = None
            self.namespace.fabric.held.drop(self)
            self.namespace.forget_server(self)
            if self._forever and not self._forever.done():
                self._forever.cancel()

    def start(self) -> None:
        if self._accept is None:
            raise RuntimeError(f"the server on port {self.port} of {self.namespace} is closed")
        self._accept.start()
        namespace = self.namespace
        target = (Target(namespace.ip, self.port),)
        namespace.fabric.filters.add(self, (namespace.ip, self.port), self._accept, lambda: target)
        namespace.fabric.serving(namespace.ip, self.port)

    # Connections

    def _connected(self, sock: TrackedSocket, source: Address) -> None:
        """Somebody called the pod's own address."""
        self._judge(sock, source[0], None)

    def _judge(self, sock: TrackedSocket, caller: str, refused: Flow | None) -> None:
        namespace = self.namespace
        fabric = namespace.fabric
        if caller != namespace.ip:
            flow = Flow(caller, namespace.ip, self.port)
            verdict = fabric.gate.check(flow)
            if not verdict.allowed:
                if refused is None:
                    fabric.denied(flow, verdict)
                if fabric.deny == "reset":
                    reset(sock)
                else:
                    fabric.held.add(sock, self, lambda: self._judge(sock, caller, flow), lambda: None)
                return
        self.adopt(sock, caller, None)

    def adopt(self, sock: TrackedSocket, caller: str, closed: Closed | None) -> None:
        """Serve an accepted connection that policy has let through."""
        namespace = self.namespace
        if self.local_only and caller != namespace.ip:
            reset(sock)  # bound to localhost: nothing listens there for others
            if closed:
                closed(0, 0)
            return
        live = namespace.admitted(sock, closed)
        live.task = task = self._loop.create_task(self._connect(sock, live), context=self.context.copy())
        namespace.connecting.add(task)
        task.add_done_callback(namespace.connecting.discard)

    async def _connect(self, sock: TrackedSocket, live: Live) -> None:
        factory = self._factory
        try:
            live.transport, _ = await self._loop.connect_accepted_socket(
                lambda: tracked(factory(), live), sock, **self._tls
            )
        except (OSError, asyncio.CancelledError):
            reset(sock)  # the caller went away, its TLS handshake failed, or the pod ended
        except Exception:
            logger.exception("connection failed pod=%s port=%d", self.namespace, self.port)
            reset(sock)
        finally:
            live.task = None

    def __repr__(self) -> str:
        return f"<PodServer {self.namespace} {self.namespace.ip}:{self.port}>"
