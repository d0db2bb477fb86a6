"""port-forward: TCP connections to a pod's ports, over SPDY (plain or inside WebSocket) or per-port WebSocket channels.

    client ── streams `error`, `data` with one requestid ──► connect(pod, port) ── bytes both ways

Source: KEP-4006 and k8s.io/kubelet/pkg/cri/streaming/portforward.
"""

import asyncio
import base64
import logging
import struct
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import errors
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apiserver.streams import Inbox, Mux, SPDYStream, raw_spdy, spdy_over_websocket, upgrade_of

__all__ = ["Connect", "serve"]

logger = logging.getLogger(__name__)

_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_SPDY = "portforward.k8s.io"
_CHANNELS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "portforward.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
_CHUNK = 64 << 10

Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def serve(request: web.BaseRequest, pod: str, connect: Connect) -> web.StreamResponse:
    """Upgrade the request and forward connections until the client goes.

    Error handling: 400 for a request that isn't an upgrade or names no valid port.
    """
    match upgrade_of(request):
        case "websocket":
            offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
            if _TUNNEL in offered:
                forward = _Forwarding(pod, connect)
                return await spdy_over_websocket(request, _TUNNEL, forward.opened, forward.work)
            return await _channels(request, pod, connect)
        case "spdy":
            forward = _Forwarding(pod, connect)
            return await raw_spdy(request, _SPDY, forward.opened, forward.work)
        case _:
            raise errors.bad_request("Upgrade request required")


class _Forwarding:
    """The connections of one SPDY session."""

    def __init__(self, pod: str, connect: Connect) -> None:
        self._pod = pod
        self._connect = connect
        self._half: dict[str, dict[str, SPDYStream]] = {}
        self._scope = TaskScope(f"port-forward {pod}")

    def opened(self, stream: SPDYStream) -> None:
        number, kind = stream.headers.get("requestid", ""), stream.headers.get("streamtype", "")
        pair = self._half.setdefault(number, {})
        pair[kind] = stream
        if "error" in pair and "data" in pair:
            del self._half[number]
            self._scope.spawn(self._forward(pair["data"], pair["error"]), name=f"port-forward {self._pod} {number}")

    async def work(self, mux: Mux) -> None:
        try:
            await mux.closed.wait()
        finally:
            await self._scope.close()

    async def _forward(self, data: SPDYStream, error: SPDYStream) -> None:
        text = data.headers.get("port", "")
        try:
            port = int(text)
            await _splice(self._connect, port, data.inbox.reader, data.write, data.close)
        except (OSError, ValueError, StatusError) as failure:
            why = f"error forwarding port {text} to pod {self._pod}: {failure}"
            logger.debug("port-forward failed pod=%s port=%s error=%s", self._pod, text, failure)
            await error.write(why.encode())
        finally:
            await data.close()
            await error.close()


async def _splice(
    connect: Connect,
    port: int,
    incoming: asyncio.StreamReader,
    write: Callable[[bytes], Awaitable[None]],
    close: Callable[[], Awaitable[None]],
) -> None:
    """Copy both ways until the pod has closed its side and the client's is copied, or either is gone."""
    reader, writer = await connect(port)
    try:

        async def to_pod() -> None:
            while data := await incoming.read(_CHUNK):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

        async def to_client() -> None:
            while data := await reader.read(_CHUNK):
                await write(data)
            await close()

        sending, receiving = asyncio.ensure_future(to_pod()), asyncio.ensure_future(to_client())
        try:
            await receiving
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)
    finally:
        writer.close()


async def _channels(request: web.BaseRequest, pod: str, connect: Connect) -> web.StreamResponse:
    """Serve the older form, which Python clients use: channels 2i (data) and 2i+1 (error) for the i-th port."""
    ports = []
    for value in request.query.getall("ports", []):
        for text in value.split(","):
            if not text.isdecimal() or not 0 < int(text) < 65536:
                raise errors.bad_request(f"invalid port {text!r}: it must be between 1 and 65535")
            ports.append(int(text))
    if not ports:
        raise errors.bad_request("query parameter 'ports' is required")
    socket = web.WebSocketResponse(protocols=_CHANNELS, max_msg_size=0, compress=False)
    await socket.prepare(request)
    text_frames = "base64" in (socket.ws_protocol or "")

    async def send(channel: int, data: bytes) -> None:
        if socket.closed:
            return
        if text_frames:
            await socket.send_str(str(channel) + base64.b64encode(data).decode())
        else:
            await socket.send_bytes(bytes((channel,)) + data)

    inboxes = [Inbox() for _ in ports]
    scope = TaskScope(f"port-forward {pod}")

    async def forward(index: int, port: int) -> None:
        async def close() -> None:
            return None

        try:
            await _splice(connect, port, inboxes[index].reader, lambda data: send(2 * index, data), close)
        except (OSError, StatusError) as failure:
            await send(2 * index + 1, f"error forwarding port {port} to pod {pod}: {failure}".encode())

    try:
        for index, port in enumerate(ports):
            await send(2 * index, struct.pack("<H", port))
            await send(2 * index + 1, struct.pack("<H", port))
        tasks = [
            scope.spawn(forward(index, port), name=f"port-forward {pod} {port}") for index, port in enumerate(ports)
        ]
        pumping = scope.spawn(_pump(socket, inboxes), name=f"port-forward {pod} client")
        everything = scope.spawn(_all(tasks), name=f"port-forward {pod} pod")
        await asyncio.wait((pumping, everything), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await scope.close()
    await socket.close()
    return socket


async def _all(tasks: "list[asyncio.Task[None]]") -> None:
    await asyncio.wait(tasks)


async def _pump(socket: web.WebSocketResponse, inboxes: list[Inbox]) -> None:
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data:
                channel, data = message.data[0], message.data[1:]
            elif message.type is WSMsgType.TEXT and message.data:
                channel, data = int(message.data[0]), base64.b64decode(message.data[1:])
            else:
                continue
            if channel % 2 == 0 and channel // 2 < len(inboxes):
                inboxes[channel // 2].feed(data)
                await inboxes[channel // 2].room()
    finally:
        for inbox in inboxes:
            inbox.end()
