"""agnhost serve-hostname: the pod's name over HTTP, TCP or UDP."""

import asyncio
from typing import TYPE_CHECKING, cast

from minikube_py.images.container import Container
from minikube_py.images.flags import Flags
from minikube_py.images.web import HTTPServer

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["serve_hostname"]


class _HostnameTCP(asyncio.Protocol):
    def __init__(self, hostname: str) -> None:
        self._hostname = hostname

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        stream.write(self._hostname.encode())
        stream.close()


class _HostnameUDP(asyncio.DatagramProtocol):
    def __init__(self, hostname: str) -> None:
        self._hostname = hostname

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._hostname.encode(), addr)


async def serve_hostname(container: Container, flags: Flags) -> int:
    """HTTP unless --tcp or --udp says otherwise; they may be combined (--http=false switches HTTP off)."""
    from aiohttp import web

    port = flags.number("port", default=9376)
    tcp, udp = flags.on("tcp"), flags.on("udp")
    http = flags.get("http", default="true").lower() in ("true", "1", "t")
    if tcp and http and "http" not in flags.values:
        http = False  # one TCP port speaks one language
    hostname = container.pod.hostname

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        return web.Response(text=hostname)

    loop = asyncio.get_running_loop()
    server = HTTPServer(answer)
    opened: list[asyncio.AbstractServer | asyncio.DatagramTransport] = []
    try:
        if udp:
            endpoint = await loop.create_datagram_endpoint(lambda: _HostnameUDP(hostname), local_addr=("0.0.0.0", port))
            opened.append(endpoint[0])
        if tcp:
            opened.append(await loop.create_server(lambda: _HostnameTCP(hostname), None, port))
        elif http:
            await server.listen(port)
        kinds = ", ".join(k for k, on in (("http", http and not tcp), ("tcp", tcp), ("udp", udp)) if on)
        container.print(f"Serving on port {port} ({kinds}).")
        container.started()
        await container.terminated.wait()
    finally:
        for one in opened:
            one.close()
        await server.close()
    return 0
