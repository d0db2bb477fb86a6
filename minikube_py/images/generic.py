"""The generic app: what runs for an image that nobody described.

It listens on every declared port (containerPorts, probe ports, targetPorts of Services) and says who it is, so that
most public manifests come up and a caller sees which pod answered. One port speaks several languages: HTTP is
answered in JSON (or plain text for who asks for it), a gRPC health check with SERVING, and lines of anything else
are echoed; all of that within TLS, too, for whoever begins so. It has none of the real image's behaviour
and says so in each answer.

Where others wait for its end (init containers, pods of Jobs) and nobody calls it, it succeeds at once.
"""

import asyncio
import json
from typing import TYPE_CHECKING, cast

from minikube_py.images.container import Container
from minikube_py.images.grpc_health import PREFACE, HealthServer
from minikube_py.images.tls import CLIENT_HELLO, start_tls
from minikube_py.images.web import HTTPServer, client_address

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["describe", "main"]

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"CONNECT ", b"TRACE ")


class _Sniffer(asyncio.Protocol):
    """Looks at a connection's first bytes and hands it to the protocol that speaks their language."""

    def __init__(self, http: HTTPServer, *, secure: bool = False) -> None:
        self._http = http
        self._secure = secure
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def _choose(self) -> asyncio.Protocol | None:
        """Return the protocol for what was seen, itself for TLS, None while it could still be several."""
        if self._seen.startswith(_METHODS):
            return self._http.protocol()
        if self._seen.startswith(PREFACE[:14]):
            return HealthServer()
        if self._seen.startswith(CLIENT_HELLO) and not self._secure:
            return self
        if len(self._seen) < 14 and any(start.startswith(self._seen) for start in (*_METHODS, PREFACE, CLIENT_HELLO)):
            return None
        return _Echo()

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if (chosen := self._choose()) is self:
            start_tls(self._transport, _Sniffer(self._http, secure=True), self._seen)
        elif chosen is not None:
            # We are in the pod's context here, so the new protocol inherits it.
            self._transport.set_protocol(chosen)
            chosen.connection_made(self._transport)
            chosen.data_received(self._seen)


class _Echo(asyncio.Protocol):
    """Sends back what comes, as a plain TCP client expects of a test server; says that it is ok, as ZooKeeper does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"imok" if data.strip() == b"ruok" else data)
        if data.strip() == b"ruok":
            self._transport.close()

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()


class _UDPEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


def describe(container: Container) -> dict[str, str]:
    """Return who answers, for JSON."""
    pod = container.pod
    return {
        "pod": pod.name,
        "namespace": pod.namespace,
        "ip": pod.ip,
        "node": pod.node,
        "nodeIP": pod.node_ip,
        "container": container.name,
        "image": container.image,
    }


async def main(container: Container) -> int:
    """Listen on all declared ports until SIGTERM; without any succeed at once if the container is expected to end."""
    if container.ends and not (container.ports or container.udp_ports):
        container.print(f"minikube-py: nothing stands for {container.image}; taken to have succeeded")
        return 0
    from aiohttp import web

    who = describe(container)
    note = "generic stand-in of minikube-py: no program is mapped to this image (images: in the cluster file)"

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        body = {
            **who,
            "client": client_address(request),
            "method": request.method,
            "path": request.path_qs,
            "host": request.host,
            "note": note,
        }
        accept = request.headers.get("Accept", "")
        if "text/plain" in accept or "text/html" in accept:
            text = "".join(f"{key}: {value}\n" for key, value in body.items())
            response = web.Response(text=text)
        else:
            response = web.Response(text=json.dumps(body, indent=2) + "\n", content_type="application/json")
        response.headers["X-Pod-Name"] = container.pod.name
        container.print(f'{client_address(request)} "{request.method} {request.path_qs}" 200')
        return response

    server = HTTPServer(answer)
    opened: set[tuple[str, int]] = set()
    datagrams: list[asyncio.DatagramTransport] = []

    async def listen(protocol: str, port: int) -> None:
        if (protocol, port) in opened:
            return
        opened.add((protocol, port))
        if protocol == "UDP":
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(_UDPEcho, local_addr=("0.0.0.0", port))
            datagrams.append(transport)
        else:
            await server.listen(port, lambda: _Sniffer(server))

    try:
        for port in container.ports:
            await listen("TCP", port)
        for port in container.udp_ports:
            await listen("UDP", port)
        container.extra["listen"] = listen
        container.started()
        await container.terminated.wait()
    finally:
        for transport in datagrams:
            transport.close()
        await server.close()
    return 0
