"""gRPC to pods: real clients and servers (grpcio), and pods that speak frames, to do what those don't."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes

from minikube_py.images.grpc_health import HealthServer

from ..authority import Authority
from ..support import PORT, World, echo, endpoints, world
from .client import connected, get

CALL = get("/shop.Shop/Buy", "shop.test", ("content-type", "application/grpc"), ("te", "trailers"), method="POST")


class Shop(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """A service of all four kinds; messages are bytes."""

    def __init__(self, name: bytes = b"") -> None:
        self.name = name
        self.cancelled = asyncio.Event()

    def service(self, details: Any) -> Any:
        kind, method = {
            "Unary": (grpc.unary_unary_rpc_method_handler, self.unary),
            "Download": (grpc.unary_stream_rpc_method_handler, self.download),
            "Upload": (grpc.stream_unary_rpc_method_handler, self.upload),
            "Chat": (grpc.stream_stream_rpc_method_handler, self.chat),
            "Fail": (grpc.unary_unary_rpc_method_handler, self.fail),
            "Wait": (grpc.unary_unary_rpc_method_handler, self.wait),
        }[details.method.rpartition("/")[2]]
        return kind(method)

    async def unary(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-after", "42"),))
        return self.name + dict(context.invocation_metadata()).get("x-before", "").encode() + request

    async def download(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    async def upload(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"+".join([each async for each in requests])

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for each in requests:
            yield each.upper()

    async def fail(self, request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such beans")

    async def wait(self, request: bytes, context: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


class Stage:
    def __init__(self, running: World, cluster: Authority) -> None:
        self.running = running
        self.cluster = cluster
        self.closing = contextlib.AsyncExitStack()

    async def server(self, shop: Shop, *, tls: Authority | None = None) -> str:
        """Start a pod with grpcio's server."""
        address = self.running.address()
        server = grpc.aio.server(handlers=(shop,))
        if tls is None:
            server.add_insecure_port(f"{address}:{PORT}")
        else:
            chain, key = tls.issue(["shop.test"])
            server.add_secure_port(f"{address}:{PORT}", grpc.ssl_server_credentials([(key, chain)]))
        await server.start()
        self.closing.push_async_callback(server.stop, None)
        return address

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[Any]:
        """A client outside: the name it wants isn't the address it goes to."""
        options = (("grpc.ssl_target_name_override", "shop.test"), ("grpc.default_authority", "shop.test"))
        target = f"{self.running.address_of_controller}:{self.running.https_port}"
        trust = grpc.ssl_channel_credentials(self.cluster.pem)
        async with grpc.aio.secure_channel(target, trust, options=options) as channel:
            yield channel


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with world() as running:
        cluster = Authority("cluster")
        await running.start(certificate_authority=cluster)
        made = Stage(running, cluster)
        async with made.closing:
            yield made


async def say(*words: bytes) -> AsyncIterator[bytes]:
    for word in words:
        yield word


@pytest.mark.parametrize("protocol", ["GRPC", "GRPCS"])
async def test_all_four_kinds_of_calls(stage: Stage, protocol: str) -> None:
    """Unary with metadata both ways, streams either way, and both at once; an error is the server's own."""
    tls = Authority("pods") if protocol == "GRPCS" else None
    stage.running.serve("shop", await stage.server(Shop(), tls=tls), backend_protocol=protocol)
    async with stage.channel() as channel:
        call = channel.unary_unary("/shop.Shop/Unary")(b"hi", metadata=(("x-before", "7"),), timeout=10)
        assert await call == b"7hi"
        assert ("x-after", "42") in tuple(await call.trailing_metadata())
        found = channel.unary_stream("/shop.Shop/Download")(b"100", timeout=10)
        assert [each async for each in found] == [b"%d" % number for number in range(100)]
        assert await channel.stream_unary("/shop.Shop/Upload")(say(b"a", b"b", b"c"), timeout=10) == b"a+b+c"
        chat = channel.stream_stream("/shop.Shop/Chat")(timeout=10)
        for word in (b"hello", b"x" * 300_000, b"bye"):  # each answer is here before the next word is said
            await chat.write(word)
            assert await chat.read() == word.upper()
        await chat.done_writing()
        assert await chat.code() is grpc.StatusCode.OK
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await channel.unary_unary("/shop.Shop/Fail")(b"", timeout=10)
        assert (failure.value.code(), failure.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such beans")
    lines = [each.text for each in stage.running.log.lines()[1:]]
    assert len(lines) == 5
    assert all('HTTP/2.0" 200 ' in each for each in lines)


async def test_calls_take_turns(stage: Stage) -> None:
    """Each call, not each connection, goes to the next endpoint: what a Service alone can't do for gRPC."""
    pods = [await stage.server(Shop(name)) for name in (b"a", b"b", b"c")]
    stage.running.serve("shop", *pods, backend_protocol="GRPC")
    async with stage.channel() as channel:
        unary = channel.unary_unary("/shop.Shop/Unary")
        assert [await unary(b"", timeout=10) for _ in range(6)] == [b"a", b"b", b"c"] * 2


async def test_cancelling_reaches_the_server(stage: Stage) -> None:
    """A call that the client gives up is given up in the pod."""
    shop = Shop()
    stage.running.serve("shop", await stage.server(shop), backend_protocol="GRPC")
    async with stage.channel() as channel:
        call = channel.unary_unary("/shop.Shop/Wait")(b"")
        await asyncio.sleep(0)
        assert await channel.unary_unary("/shop.Shop/Unary")(b"x", timeout=10) == b"x"
        call.cancel()
        await asyncio.wait_for(shop.cancelled.wait(), 5)


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        pytest.param("refused", "refused the connection", id="refused"),
        pytest.param("http", "backend-protocol GRPC needs HTTP/2", id="a pod that speaks HTTP/1.1"),
    ],
)
async def test_failures_are_unavailable(stage: Stage, pod: str, words: str) -> None:
    """nginx's 502 page, which clients read as UNAVAILABLE; the reason is in a header of it."""
    running = stage.running
    address = running.address() if pod == "refused" else await running.pod(echo)
    running.serve("shop", address, backend_protocol="GRPC")
    async with stage.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await channel.unary_unary("/shop.Shop/Unary")(b"", timeout=10)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    async with connected(running) as client:
        status, headers, _ = await client.fetch(CALL, b"")
        assert status == 502
        assert words in headers["x-ingress-reason"]


async def test_health_checks_reach_the_images_own_servers(stage: Stage) -> None:
    """agnhost, podinfo and generic pods answer grpc.health.v1: Check again and again, Watch at once and on."""
    address = stage.running.address()
    server = await asyncio.get_running_loop().create_server(HealthServer, address, PORT)
    stage.closing.callback(server.close)
    stage.running.serve("shop", address, backend_protocol="GRPC")
    async with stage.channel() as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert [await check(b"", timeout=10) for _ in range(3)] == [b"\x08\x01"] * 3
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=10)
        assert await watch.read() == b"\x08\x01"
        watch.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await channel.unary_unary("/shop.Shop/Buy")(b"", timeout=10)
        assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


# Pods that speak frames

Step = Callable[[H2Connection, events.Event], None]


async def frames(running: World, step: Step, met: list[asyncio.StreamWriter] | None = None) -> str:
    """Start a pod that does `step` for each event."""

    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if met is not None:
            met.append(writer)
        h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        h2.initiate_connection()
        writer.write(h2.data_to_send())
        while data := await reader.read(65536):
            for event in h2.receive_data(data):
                step(h2, event)
            writer.write(h2.data_to_send())
            await writer.drain()

    return await running.raw_pod(pod)


def complete(h2: H2Connection, stream: int, body: bytes = b"ok") -> None:
    h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    h2.send_data(stream, body)
    h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)


async def test_calls_share_a_connection(running: World) -> None:
    """As many as the pod allows; more open another."""
    met: list[asyncio.StreamWriter] = []
    waiting: list[tuple[H2Connection, int]] = []

    def step(h2: H2Connection, event: events.Event) -> None:
        if isinstance(event, events.RemoteSettingsChanged):
            h2.update_settings({3: 2})  # MAX_CONCURRENT_STREAMS
        if isinstance(event, events.StreamEnded):
            waiting.append((h2, event.stream_id))
            if len(waiting) == 3:
                for each, stream in waiting[1:]:
                    if each is h2:
                        complete(each, stream)

    running.serve("shop", await frames(running, step, met), backend_protocol="GRPC")
    async with connected(running) as client:
        for _ in range(3):
            await client.ask(CALL, b"x")
        await client.until(lambda event: isinstance(event, events.StreamEnded))
    assert len(met) == 2


async def test_a_goaway_lets_streams_end_and_the_next_go_elsewhere(running: World) -> None:
    """A pod that is replaced says goodbye: what it has begun it answers, what comes goes by another connection."""
    met: list[asyncio.StreamWriter] = []

    def step(h2: H2Connection, event: events.Event) -> None:
        if isinstance(event, events.StreamEnded):
            state = h2.state_machine.state
            h2.close_connection(last_stream_id=event.stream_id)
            h2.state_machine.state = state
            complete(h2, event.stream_id)

    running.serve("shop", await frames(running, step, met), backend_protocol="GRPC")
    async with connected(running) as client:
        for _ in range(3):
            assert (await client.fetch(CALL, b"x"))[2] == b"ok"
    assert len(met) == 3


@pytest.mark.parametrize("begun", [False, True])
async def test_a_stream_that_the_pod_resets(running: World, begun: bool) -> None:
    """Before an answer it is a 502 with the code; in the middle the caller's stream breaks off, and only that."""

    def step(h2: H2Connection, event: events.Event) -> None:
        if isinstance(event, events.StreamEnded):
            if begun:
                h2.send_headers(event.stream_id, [(":status", "200")])
                h2.send_data(event.stream_id, b"half")
            h2.reset_stream(event.stream_id, ErrorCodes.INTERNAL_ERROR)

    running.serve("shop", await frames(running, step), backend_protocol="GRPC")
    async with connected(running) as client:
        stream = await client.ask(CALL, b"x")
        if begun:
            assert await client.reset(stream) == ErrorCodes.INTERNAL_ERROR
        else:
            status, headers, _ = await client.answer(stream)
            assert status == 502
            assert "broke its answer off (INTERNAL_ERROR)" in headers["x-ingress-reason"]


async def test_windows_hold_both_ways(running: World) -> None:
    """A pod that gives no window stops its caller; a caller that gives none stops its pod: memory stays flat."""
    received = 0

    def step(h2: H2Connection, event: events.Event) -> None:
        nonlocal received
        if isinstance(event, events.RequestReceived) and dict(event.headers)[":path"] == "/download":
            h2.send_headers(event.stream_id, [(":status", "200")])
        elif isinstance(event, events.DataReceived):
            received += len(event.data)  # and no window for it
        for stream in list(h2.streams):
            if h2.streams[stream].state_machine.headers_sent:
                while room := min(h2.local_flow_control_window(stream), 16384):
                    h2.send_data(stream, b"x" * room)

    running.serve("shop", await frames(running, step), backend_protocol="GRPC", proxy_body_size="0")
    async with connected(running, generous=False) as client:
        stream = await client.ask(CALL, end=False)
        sent = quiet = 0
        while quiet < 3:
            if room := min(client.h2.local_flow_control_window(stream), 16384):
                client.h2.send_data(stream, b"x" * room)
                sent += room
                await client.flush()
                quiet = 0
                continue
            quiet += 1
            asked = client.acks + 1
            client.h2.ping(b"12345678")
            await client.flush()
            while client.acks < asked:
                await client.listen()
        assert received == 65535
        assert sent < 1 << 20
        await client.ask(get("/download"))
        await client.until(lambda event: isinstance(event, events.DataReceived))


async def test_endpoints_that_are_gone_keep_no_connection(running: World) -> None:
    """Their connections end with the last stream; the pool forgets them."""
    met: list[asyncio.StreamWriter] = []

    def step(h2: H2Connection, event: events.Event) -> None:
        if isinstance(event, events.StreamEnded):
            complete(h2, event.stream_id)

    address = await frames(running, step, met)
    running.serve("shop", address, backend_protocol="GRPC")
    async with connected(running) as client:
        assert (await client.fetch(CALL, b"x"))[2] == b"ok"
        running.api.update(endpoints("shop", [await frames(running, step)]))
        assert (await client.fetch(CALL, b"x"))[2] == b"ok"
    while not met[0].transport.is_closing():
        await asyncio.sleep(0)
