"""exec and attach: the standard streams of a container over WebSocket or SPDY.

    channel   0 stdin   1 stdout   2 stderr   3 the outcome, a Status   4 terminal size   255 close of a channel (v5)

A failure after the upgrade goes to channel 3, never into an HTTP answer.
Source: k8s.io/apimachinery/pkg/util/remotecommand and k8s.io/kubelet/pkg/cri/streaming/remotecommand.
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from minikube_py.apimachinery import errors
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.representation import encode
from minikube_py.apiserver.streams import Inbox, Mux, SPDYStream, raw_spdy, upgrade_of
from minikube_py.client.runtime import Streams, TerminalSize

__all__ = ["Options", "outcome", "serve"]

logger = logging.getLogger(__name__)

_WEBSOCKET = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
_SPDY = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_ALL_STREAMS = 30.0
"""Seconds in which a SPDY client must have opened the streams that it announced (the kubelet's limit)."""

Run = Callable[[Streams], Awaitable[int]]


class Options:
    """Which streams a client asked for, in the query."""

    def __init__(self, query: Any) -> None:
        def on(*names: str) -> bool:
            return any(query.get(name, "").lower() in ("true", "1") for name in names)

        self.stdin, self.tty = on("stdin"), on("tty")
        self.stdout = on("stdout")
        self.stderr = on("stderr") and not self.tty
        if not (self.stdin or self.stdout or self.stderr):
            raise errors.bad_request("you must specify at least 1 of stdin, stdout, stderr")


def outcome(code: int) -> Object:
    """Return the Status of a command that ended."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def _run(run: Run, streams: Streams) -> Object:
    try:
        return outcome(await run(streams))
    except StatusError as error:
        return error.status()
    except (ConnectionError, RuntimeError) as error:
        if isinstance(error, ConnectionError):
            raise
        logger.exception("command failed")
        return errors.internal(str(error)).status()
    except Exception as error:
        logger.exception("command failed")
        return errors.internal(f"{type(error).__name__}: {error}").status()


async def serve(request: web.BaseRequest, options: Options, run: Run) -> web.StreamResponse:
    """Upgrade the request and run the command on its streams.

    Error handling: 400 for a request that isn't an upgrade.
    """
    match upgrade_of(request):
        case "websocket":
            return await _websocket(request, options, run)
        case "spdy":
            return await _spdy(request, options, run)
        case _:
            raise errors.bad_request("Upgrade request required")


async def _websocket(request: web.BaseRequest, options: Options, run: Run) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=_WEBSOCKET, max_msg_size=0, compress=False)
    await socket.prepare(request)
    protocol = socket.ws_protocol or "v4.channel.k8s.io"
    text = "base64" in protocol
    inbox = Inbox()
    resize: asyncio.Queue[TerminalSize] = asyncio.Queue()

    async def send(channel: int, data: bytes) -> None:
        if text:
            await socket.send_str(str(channel) + base64.b64encode(data).decode())
        else:
            await socket.send_bytes(bytes((channel,)) + data)

    async def stdout(data: bytes) -> None:
        if data and (options.stdout or options.tty):
            await send(1, data)

    async def stderr(data: bytes) -> None:
        if options.tty:
            await stdout(data)
        elif data and options.stderr:
            await send(2, data)

    async def pump() -> None:
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data:
                channel, data = message.data[0], message.data[1:]
            elif message.type is WSMsgType.TEXT and message.data and text:
                try:
                    channel, data = int(message.data[0]), base64.b64decode(message.data[1:])
                except ValueError:
                    continue
            elif message.type is WSMsgType.TEXT and message.data:  # the Python client sends str as it is
                raw = message.data.encode()
                channel, data = raw[0], raw[1:]
            else:
                continue
            if channel == 0:
                inbox.feed(data)
                await inbox.room()
            elif channel == 4:
                _resize(data, resize)
            elif channel == 255 and data[:1] == b"\x00":
                inbox.end()

    streams = Streams(inbox.reader if options.stdin else None, stdout, stderr, options.tty, resize)
    status = await _until_gone(pump(), _run(run, streams))
    inbox.end()
    if status is not None and not socket.closed:
        try:
            if said := _said(status, structured=protocol.startswith("v")):
                await send(3, said)
        except ConnectionError:
            pass  # the client left while the command ended
    await socket.close()
    return socket


async def _until_gone(pump: Any, work: Any) -> Object | None:
    """Return what the command gave, None if the client went first (then the command is cancelled)."""
    reading, working = asyncio.ensure_future(pump), asyncio.ensure_future(work)
    try:
        await asyncio.wait((reading, working), return_when=asyncio.FIRST_COMPLETED)
    finally:
        finished = working.done()
        for task in (reading, working):
            task.cancel()
        results = await asyncio.gather(reading, working, return_exceptions=True)
    result = results[1]
    if isinstance(result, Exception) and not isinstance(result, ConnectionError):
        logger.error("stream failed", exc_info=result)
    return result if finished and isinstance(result, dict) else None


def _resize(data: bytes, queue: "asyncio.Queue[TerminalSize]") -> None:
    try:
        size = msgspec.json.decode(data)
        queue.put_nowait(TerminalSize(int(size["Width"]), int(size["Height"])))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        logger.debug("terminal size not understood data=%r", data[:80])


def _said(status: Object, *, structured: bool) -> bytes:
    """Return what the outcome's channel says; versions before 4 have only words, and none for a success."""
    if structured:
        return encode(status)
    return b"" if status["status"] == "Success" else str(status.get("message", "")).encode()


def _negotiated(request: web.BaseRequest) -> str:
    """Return the newest version of the protocol that both sides speak; 403 if there is none."""
    offered = [
        name.strip() for line in request.headers.getall("X-Stream-Protocol-Version", []) for name in line.split(",")
    ]
    protocol = next((name for name in _SPDY if name in offered), None)
    if offered and protocol is None:
        raise errors.forbidden("pods", "", f"unable to upgrade: none of {offered} is served, only {list(_SPDY)}")
    return protocol or "channel.k8s.io"


async def _spdy(request: web.BaseRequest, options: Options, run: Run) -> web.StreamResponse:
    protocol = _negotiated(request)
    expected = {"error"}
    expected |= {name for name in ("stdin", "stdout", "stderr") if getattr(options, name)}
    if options.tty and protocol in ("v4.channel.k8s.io", "v3.channel.k8s.io"):
        expected.add("resize")
    streams: dict[str, SPDYStream] = {}
    complete = asyncio.Event()

    def opened(stream: SPDYStream) -> None:
        streams[stream.headers.get("streamtype", "")] = stream
        if expected <= streams.keys():
            complete.set()

    async def work(mux: Mux) -> None:
        try:
            async with asyncio.timeout(_ALL_STREAMS):
                await complete.wait()
        except TimeoutError:
            logger.debug("streams missing expected=%s opened=%s", sorted(expected), sorted(streams))
            return
        resize: asyncio.Queue[TerminalSize] = asyncio.Queue()

        async def write(name: str, data: bytes) -> None:
            if data and (stream := streams.get(name)):
                await stream.write(data)

        async def sizes() -> None:
            reader = streams["resize"].inbox.reader
            while line := await reader.readline():
                _resize(line, resize)

        out = Streams(
            streams["stdin"].inbox.reader if options.stdin else None,
            lambda data: write("stdout", data),
            lambda data: write("stdout" if options.tty else "stderr", data),
            options.tty,
            resize,
        )
        watching = asyncio.ensure_future(sizes()) if "resize" in streams else None
        try:
            status = await _run(run, out)
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        for name in ("stdout", "stderr"):
            if stream := streams.get(name):
                await stream.close()
        if said := _said(status, structured=protocol == "v4.channel.k8s.io"):
            await streams["error"].write(said)
        await streams["error"].close()
        # The client closes once it has read the outcome; waiting for it means nothing is cut off.
        try:
            async with asyncio.timeout(2):
                await mux.closed.wait()
        except TimeoutError:
            return

    return await raw_spdy(request, protocol, opened, work)
