"""A thousand callers who take their time: others are served meanwhile, memory stays flat, and each is given up in time.

The time is the controller's own clock, which the tests move; nobody waits.
"""

import asyncio
import gc
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from minikube_py.aiokit.clock import VirtualClock

from .support import World, named

pytestmark = [pytest.mark.usefixtures("both_ways"), pytest.mark.timeout(300)]  # a thousand callers, on a busy machine

CALLERS = 1000
HEAD = b"GET /slow HTTP/1.1\r\nHost: slow.test\r\n"
BODY = b"POST /slow HTTP/1.1\r\nHost: slow.test\r\nContent-Length: 100000\r\n\r\n"
Caller = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def clock(fresh: World) -> VirtualClock:
    clock = VirtualClock()
    await fresh.start(clock=clock)
    fresh.serve("web", await fresh.pod(named("quick")), proxy_body_size="200k")
    return clock


@asynccontextmanager
async def crowd(world: World, size: int = CALLERS) -> AsyncIterator[list[Caller]]:
    """Callers who have connected."""
    callers = [await world.open() for _ in range(size)]
    try:
        yield callers
    finally:
        for _, writer in callers:
            writer.transport.abort()
        await asyncio.sleep(0.05)  # the controller hears of it


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def whole_answer(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(-1), 20)


async def memory_grows(
    callers: list[Caller], piece: bytes, others: Callable[[], Awaitable[None]], settled: Callable[[], bool]
) -> int:
    """Let each caller send `piece` once a second; return by how many bytes memory has grown in ten, once `settled`."""

    async def a_second() -> None:
        for _, writer in callers:
            writer.write(piece)
        await turns()

    await a_second()
    while not settled():
        await turns()
    gc.collect()
    tracemalloc.start()
    try:
        for second in range(10):
            await a_second()
            if second % 5 == 0:
                await others()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(HEAD, b"X", id="heads without end"),
        pytest.param(b"", b"X", id="methods without end"),
        pytest.param(BODY, b"x", id="bodies"),
    ],
)
async def test_a_byte_a_second_stops_nobody(fresh: World, clock: VirtualClock, start: bytes, piece: bytes) -> None:
    """While a thousand callers send byte by byte, others are answered, and each of them costs next to nothing more."""
    arrived = 0

    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        await reader.readuntil(b"\r\n\r\n")
        arrived += 1
        while await reader.read(1000):
            pass

    async def others() -> None:
        assert (await fresh.get())[2] == b"quick"

    fresh.serve("slow", await fresh.raw_pod(patient), host="slow.test")
    async with crowd(fresh) as callers:
        for number, (_, writer) in enumerate(callers):
            writer.write(start)
            if number % 50 == 0:
                await turns()  # no more at once than the pod's backlog holds
        expected = CALLERS if start == BODY else 0
        assert await memory_grows(callers, piece, others, lambda: arrived == expected) < CALLERS * 4096


async def test_heads_are_given_up_after_a_minute(fresh: World, clock: VirtualClock) -> None:
    """A head that isn't whole 60 s after its first byte is answered 408; a caller who never says a word is let go."""
    async with crowd(fresh, 7) as callers:
        said = [b"", b"\r\n", b"G", b"GET /slow", HEAD, HEAD + b"A: b\r\n", b"POST /slow HTTP/1.1\r\n"]
        for (_, writer), start in zip(callers, said, strict=True):
            writer.write(start)
        await turns()
        for _ in range(5):
            await clock.advance(10)
            for _, writer in callers[1:]:
                writer.write(b"X")  # a byte now and then is no reprieve
            await turns()
            assert (await fresh.get())[2] == b"quick"
        await clock.advance(30)
        assert await whole_answer(callers[0][0]) == b""
        for reader, _ in callers[1:]:
            assert (await whole_answer(reader)).startswith(b"HTTP/1.1 408 Request Time-out\r\n")
    assert any('"-" 408 ' in each.text for each in fresh.log.lines())


async def test_idle_connections_are_closed_after_their_time(fresh: World, clock: VirtualClock) -> None:
    """75 s after its last answer (keep-alive 75) a connection is closed; one that is used stays."""
    async with crowd(fresh, 2) as ((idle, idle_writer), (busy, busy_writer)):
        for _ in range(10):
            for reader, writer in (
                (busy, busy_writer),
                *([(idle, idle_writer)] if clock.now() < 1_700_000_001 else []),
            ):
                writer.write(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
                await asyncio.wait_for(reader.readuntil(b"quick"), 5)
            await clock.advance(10)
        if fresh.relay:  # aiohttp's way counts by the loop's clock
            assert await whole_answer(idle) == b""
        assert not busy.at_eof()


async def test_a_body_that_stops_is_given_up(fresh: World, clock: VirtualClock) -> None:
    """A body of which nothing comes any more is answered 408, also one that was waited for before the pod was asked."""
    for length in (b"100000", b"10"):
        reader, writer = await fresh.open()
        writer.write(BODY.replace(b"100000", length).replace(b"slow.test", b"shop.test") + b"x")
        await turns()
        await clock.advance(10)  # now it is aiohttp's business
        await turns()
        await clock.advance(60)
        assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_pod_that_waits_for_its_request_is_not_silent(fresh: World, clock: VirtualClock) -> None:
    """An upload may take longer than the pod may be silent: its time begins with the end of the request."""
    reader, writer = await fresh.open()
    writer.write(BODY.replace(b"slow.test", b"shop.test"))
    for _ in range(4):
        writer.write(bytes(25_000))
        await turns()
        await clock.advance(40)
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_who_takes_nothing_is_dropped(fresh: World, clock: VirtualClock) -> None:
    """Callers who read nothing of a large answer hold back their pod, not the memory here, and go after 60 s."""
    size = 32 << 20

    async def large(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        for _ in range(size >> 16):
            await response.write(bytes(1 << 16))
        return response

    fresh.serve("large", await fresh.pod(large), host="large.test")
    gc.collect()
    tracemalloc.start()
    socks = []
    try:
        for _ in range(20):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (fresh.address_of_controller, fresh.http_port))
            sock.send(b"GET / HTTP/1.1\r\nHost: large.test\r\n\r\n")
            socks.append(sock)
        for _ in range(10):
            await turns(100)
            assert (await fresh.get())[2] == b"quick"
        assert tracemalloc.get_traced_memory()[0] < 20 * (3 << 20)  # of 32 MB each
        await clock.advance(70)
        await turns()
        for sock in socks:
            assert await asyncio.wait_for(left(sock), 20) < size
    finally:
        tracemalloc.stop()
        for sock in socks:
            sock.close()


async def left(sock: socket.socket) -> int:
    """Return how many bytes come before the end."""
    total = 0
    while True:
        try:
            data = await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
        except ConnectionResetError:
            return total
        if not data:
            return total
        total += len(data)
