"""The HTTP server under the built-in images: aiohttp's low-level server, one small object per pod.

No Application and no router: an image's handler takes a request and returns a response, so a thousand pods of one
image share everything but their sockets. Import aiohttp lazily, as here: a cluster without pods needs none of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from minikube_py.images.container import Container

if TYPE_CHECKING:
    import ssl

    from aiohttp import web

__all__ = ["LINGER", "HTTPServer", "Handler", "client_address", "closing_idle", "serve"]

Handler: TypeAlias = "Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]"

LINGER = 0.05
"""Seconds that idle connections stay open after SIGTERM: a request that is on its way still gets its answer, and with
it `Connection: close`, so that a busy client loses nothing."""


@asynccontextmanager
async def closing_idle(server: "web.Server") -> AsyncIterator[None]:
    """Close connections without a request while a server shuts down, also those that only now come to it.

    aiohttp closes the idle ones once, and then waits for all that are left: one that was accepted a moment later, by a
    client that sends nothing, would hold up the pod's end for its whole grace period.
    """

    async def close() -> None:
        while True:
            server.pre_shutdown()
            await asyncio.sleep(LINGER)

    closing = asyncio.create_task(close(), name="close idle connections")
    try:
        yield
    finally:
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)


class HTTPServer:
    """Listening ports with one handler.

    Resource handling: `close()` stops accepting, answers what is in flight (with `Connection: close`) and ends.
    The kubelet bounds it by the grace period.
    """

    def __init__(self, handler: Handler) -> None:
        from aiohttp import web

        self._handler = handler
        self._server = web.Server(self._handle, access_log=None)
        self._listeners: list[asyncio.AbstractServer] = []
        self._draining = False

    async def _handle(self, request: "web.BaseRequest") -> "web.StreamResponse":
        response = await self._handler(request)
        if self._draining:
            response.force_close()
        return response

    def protocol(self) -> asyncio.Protocol:
        """Return the protocol of one more connection."""
        return self._server()

    async def listen(
        self,
        port: int,
        protocol: Callable[[], asyncio.BaseProtocol] | None = None,
        *,
        context: "ssl.SSLContext | None" = None,
    ) -> None:
        """Open a port on the pod's address; OSError as `bind` raises it."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_server(protocol or self.protocol, None, port, ssl=context))

    async def close(self) -> None:
        self._draining = True
        for listener in self._listeners:
            listener.close()
        if self._server.connections:
            await asyncio.sleep(LINGER)
            async with closing_idle(self._server):
                await self._server.shutdown(None)


async def serve(container: Container, handler: Handler, *ports: int) -> int:
    """Serve HTTP on `ports` until SIGTERM, then drain; the exit code of a server that shut down well."""
    server = HTTPServer(handler)
    try:
        for port in ports:
            await server.listen(port)
        container.started()
        await container.terminated.wait()
    finally:
        await server.close()
    return 0


def client_address(request: "web.BaseRequest") -> str:
    """Return the caller as `ip:port`, as Go's RemoteAddr."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return f"{peer[0]}:{peer[1]}" if peer else ""
