"""kubectl logs, exec, attach, port-forward, top and proxy, against a runtime of a few lines."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from minikube_py.aiokit.linelog import LineLog
from minikube_py.client.runtime import Streams

pytestmark = pytest.mark.slow


class Runtime:
    """One container that knows four commands."""

    def __init__(self) -> None:
        self.container_log = LineLog()

    def log(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> LineLog:
        return self.container_log

    async def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], streams: Streams) -> int:
        match list(command):
            case ["echo", *words]:
                await streams.stdout(" ".join(words).encode() + b"\n")
            case ["cat"]:
                assert streams.stdin is not None
                while data := await streams.stdin.read(1 << 16):
                    await streams.stdout(data)
            case ["fail"]:
                await streams.stderr(b"oops\n")
                return 7
            case ["broken"]:
                raise ValueError("a bug")
            case _:
                return 127
        return 0

    async def attach(self, namespace: str, pod: str, container: str, streams: Streams) -> int:
        await streams.stdout(b"attached\n")
        return 3

    async def connect(self, namespace: str, pod: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)

    def usage(self) -> dict[tuple[str, str, str], tuple[float, int]]:
        return {("default", "p", "c"): (0.25, 64 << 20)}


@pytest.fixture
def kubectl_runtime() -> Runtime:
    return Runtime()


@pytest.fixture
def pod(kubectl: Any) -> str:
    """A pod that its kubelet says is running."""
    api = kubectl.server.operations
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "busybox", "ports": [{"containerPort": 80}]}]}
    api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": spec})
    api.modify("pods", "p", "default", lambda o: o.update(status={"phase": "Running"}), subresource="status")
    return "p"


@pytest.fixture(params=["1.32.4", "1.30.1", "1.28.15"], ids=["WebSocket", "SPDY for port-forward", "SPDY for all"])
def server_version(request: pytest.FixtureRequest, kubectl: Any) -> str:
    """Where kubectl is Google's dispatcher, the server's version chooses the client that is run."""
    kubectl.server._version = request.param
    return str(request.param)


@pytest.mark.usefixtures("server_version")
async def test_exec_carries_streams_and_exit_codes(kubectl: Any, pod: str) -> None:
    """Output, errors, input of any size, the command's code, and a server bug that stays a message."""
    assert await kubectl("exec", pod, "--", "echo", "hi", "there") == "hi there\n"
    failed = await kubectl.run("exec", pod, "--", "fail")
    assert (failed.code, failed.err) == (7, "oops\ncommand terminated with exit code 7\n")
    data = "0123456789" * 300_000
    assert (await kubectl.run("exec", "-i", pod, "--", "cat", stdin=data)).out == data
    assert "Internal error occurred" in await kubectl.fails("exec", pod, "--", "broken")


@pytest.mark.usefixtures("server_version")
async def test_attach_ends_with_the_container(kubectl: Any, pod: str) -> None:
    """attach shows output and takes over the exit code."""
    result = await kubectl.run("attach", pod)
    assert (result.code, "attached" in result.out) == (3, True)


@pytest.mark.usefixtures("server_version")
async def test_port_forward_carries_connections(kubectl: Any, pod: str) -> None:
    """Several connections, half-closed ones too; a refused one is told."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as service:
        port = service.sockets[0].getsockname()[1]
        forwarding = await kubectl.start("port-forward", pod, f":{port}", ":1")
        lines = [(await forwarding.stdout.readline()).decode() for _ in range(2)]
        local = int(lines[0].split("->")[0].rsplit(":", 1)[1])
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", local)
            writer.write(b"x" * 300_000)
            writer.write_eof()
            assert len(await reader.read()) == 300_000
            writer.close()
        forwarding.terminate()
        await forwarding.communicate()


async def test_port_forward_to_a_closed_port_says_so(kubectl: Any, pod: str) -> None:
    """The error comes through the error stream into kubectl's own words."""
    forwarding = await kubectl.start("port-forward", pod, ":1")
    line = (await forwarding.stdout.readline()).decode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(line.split("->")[0].rsplit(":", 1)[1]))
    assert await reader.read() == b""
    writer.close()
    _, err = await asyncio.wait_for(forwarding.communicate(), 10)
    assert b"error forwarding port 1 to pod p" in err


async def test_logs(kubectl: Any, pod: str, kubectl_runtime: Runtime) -> None:
    """All, the tail, with times, and following until the container ends."""
    log = kubectl_runtime.container_log
    log.write("one\ntwo\nthree\n", 1_700_000_000.0)
    assert await kubectl("logs", pod) == "one\ntwo\nthree\n"
    assert await kubectl("logs", pod, "--tail=1", "--timestamps") == "2023-11-14T22:13:20.000000Z three\n"
    assert await kubectl("logs", pod, "--since=1s") == ""
    assert await kubectl("logs", pod, "--limit-bytes=5") == "one\nt"
    following = await kubectl.start("logs", "-f", pod, "--tail=1")
    assert await following.stdout.readline() == b"three\n"
    log.write("four\n", 1_700_000_001.0)
    assert await following.stdout.readline() == b"four\n"
    log.close(1_700_000_002.0)
    assert (await following.communicate())[0] == b""
    assert await kubectl.fails("logs", pod, "-c", "x") == "error: container x is not valid for pod p"
    assert 'pods "q" not found' in await kubectl.fails("logs", "q")


async def test_top_shows_measured_usage(kubectl: Any, pod: str) -> None:
    """metrics.k8s.io comes from the runtime."""
    assert (await kubectl("top", "pod")).split() == ["NAME", "CPU(cores)", "MEMORY(bytes)", "p", "250m", "64Mi"]


async def test_proxy_reaches_a_pod(kubectl: Any, pod: str) -> None:
    """`get --raw …/proxy/…` is answered by the pod; an unreachable one is 503."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        body = json.dumps(head.splitlines()[0]).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as service:
        port = service.sockets[0].getsockname()[1]
        path = f"/api/v1/namespaces/default/pods/p:{port}/proxy/a%20b/?x=1"
        assert await kubectl("get", "--raw", path) == '"GET /a%20b/?x=1 HTTP/1.1"'
    assert "(ServiceUnavailable)" in await kubectl.fails("get", "--raw", "/api/v1/namespaces/default/pods/p:1/proxy/")
