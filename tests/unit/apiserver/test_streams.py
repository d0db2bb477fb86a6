"""exec and port-forward as Python clients speak them: WebSocket channels, binary and base64."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest

from minikube_py.aiokit.clock import LoopClock
from minikube_py.aiokit.linelog import LineLog
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apiserver.credentials import Credentials
from minikube_py.apiserver.operations import Operations
from minikube_py.apiserver.server import APIServer
from minikube_py.client.runtime import Streams, TerminalSize

POD = "/api/v1/namespaces/default/pods/p"


class Runtime:
    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.sizes: list[TerminalSize] = []

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> LineLog:
        raise StatusError(400, "BadRequest", f'previous terminated container "{container}" in pod "{pod}" not found')

    async def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], streams: Streams) -> int:
        if command[0] == "size":
            self.sizes.append(await streams.resize.get())
            return 0
        if command[0] == "wait":
            await streams.stdout(b"ready")
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if command[0] == "refuse":
            raise StatusError(404, "NotFound", "container not running")
        assert streams.stdin is not None
        data = await streams.stdin.read()
        await streams.stdout(data.upper())
        await streams.stderr(b"done")
        return 5

    async def attach(self, namespace: str, pod: str, container: str, streams: Streams) -> int:
        return 0

    async def connect(self, namespace: str, pod: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)

    def usage(self) -> dict[tuple[str, str, str], tuple[float, int]]:
        return {}


@pytest.fixture
async def runtime() -> Runtime:
    return Runtime()


@pytest.fixture
async def server(credentials: Credentials, runtime: Runtime) -> AsyncIterator[APIServer]:
    clock = LoopClock()
    api = Operations(clock, seed=1)
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "busybox"}]}
    api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    api.modify("pods", "p", "default", lambda o: o.update(status={"phase": "Running"}), subresource="status")
    server = APIServer(api, clock=clock, port=0, credentials=credentials, runtime=runtime)
    await server.start()
    yield server
    await server.stop()


def connect(client: Any, path: str, *protocols: str) -> Any:
    headers = {"Authorization": f"Bearer {client.server.credentials.token}"}
    return client.session.ws_connect(client.server.url + path, protocols=protocols, headers=headers)


async def everything(socket: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    """Return what came on each channel until the server closed."""
    channels: dict[int, bytes] = {}
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            channel, data = message.data[0], message.data[1:]
        else:
            channel, data = int(message.data[0]), base64.b64decode(message.data[1:])
        channels[channel] = channels.get(channel, b"") + data
    assert socket.close_code == 1000
    return channels


async def test_exec_v5_closes_stdin_by_a_message(client: Any) -> None:
    """[255, 0] ends stdin; the outcome comes on channel 3."""
    path = POD + "/exec?command=upper&stdin=true&stdout=true&stderr=true"
    async with connect(client, path, "v5.channel.k8s.io") as socket:
        assert socket.protocol == "v5.channel.k8s.io"
        await socket.send_bytes(b"\x00hel")
        await socket.send_bytes(b"\x00lo")
        await socket.send_bytes(b"\xff\x00")
        channels = await everything(socket)
    assert (channels[1], channels[2]) == (b"HELLO", b"done")
    assert json.loads(channels[3])["details"]["causes"] == [{"reason": "ExitCode", "message": "5"}]


async def test_exec_in_base64(client: Any) -> None:
    """Text frames: a digit and base64."""
    async with connect(client, POD + "/exec?command=refuse&stdout=true", "v4.base64.channel.k8s.io") as socket:
        status = json.loads((await everything(socket))[3])
    assert (status["reason"], status["message"]) == ("NotFound", "container not running")


async def test_exec_passes_terminal_sizes_on(client: Any, runtime: Runtime) -> None:
    """Channel 4 carries width and height."""
    async with connect(client, POD + "/exec?command=size&stdout=true&tty=true", "v4.channel.k8s.io") as socket:
        await socket.send_bytes(b'\x04{"Width":91,"Height":37}')
        await everything(socket)
    assert runtime.sizes == [TerminalSize(91, 37)]


async def test_client_that_leaves_ends_its_command(client: Any, runtime: Runtime) -> None:
    """Nothing runs on for nobody."""
    async with connect(client, POD + "/exec?command=wait&stdout=true", "v4.channel.k8s.io") as socket:
        assert (await socket.receive()).data == b"\x01ready"
    async with asyncio.timeout(5):
        await runtime.cancelled.wait()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (POD + "/exec?stdout=true", "you must specify a command for the container"),
        (POD + "/exec?command=x", "you must specify at least 1 of stdin, stdout, stderr"),
        (POD + "/exec?command=x&stdout=true&container=zz", "container zz is not valid for pod p"),
        (POD + "/exec?command=x&stdout=true", "Upgrade request required"),
        (POD + "/log?previous=true", 'previous terminated container "c" in pod "p" not found'),
        (POD + "/log?tailLines=x", 'invalid value "x" of tailLines: it must be an integer'),
    ],
)
async def test_refusals_come_before_the_upgrade(client: Any, path: str, message: str) -> None:
    """They are ordinary Status answers."""
    answer = await client("GET", path)
    assert (answer.status, answer.json["message"]) == (400, message)


@pytest.mark.parametrize("protocols", [("v4.channel.k8s.io",), ()], ids=["kubernetes client", "kr8s"])
async def test_port_forward_by_channels(client: Any, protocols: tuple[str, ...]) -> None:
    """Both channels of a port begin with its number; data goes both ways; a refused port is told on the odd one."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readexactly(5)).upper())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as service:
        port = service.sockets[0].getsockname()[1]
        async with connect(client, f"{POD}/portforward?ports={port},1", *protocols) as socket:
            await socket.send_bytes(b"\x00hello")
            channels = await everything(socket)
    assert channels[0] == struct.pack("<H", port) + b"HELLO"
    assert channels[1] == struct.pack("<H", port)
    assert channels[3].startswith(struct.pack("<H", 1) + b"error forwarding port 1 to pod p")
