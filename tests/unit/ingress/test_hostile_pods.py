"""Pods that answer wrongly: the caller is told, and the next caller never gets a byte of it."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.ingress.http1.messages import BadResponse
from minikube_py.ingress.http1.pool import Closed, Connection, Pool
from minikube_py.ingress.router import Endpoint

from .support import World, parse

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
ENDPOINT = Endpoint("127.0.0.1", 8080)


class Wire(asyncio.Transport):
    """A pod's connection in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: object) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def receive(pieces: Sequence[bytes], method: str = "GET", *, ended: bool = True) -> tuple[object, bytes, bool]:
    """Let a pod answer in these pieces; return (status or what went wrong, body, whether it may be used again)."""
    connection = Connection(ENDPOINT, False, VirtualClock())
    connection.connection_made(wire := Wire())
    connection.start(method, b"")
    body = b""
    for piece in pieces:
        if wire.closed:
            break
        connection.data_received(piece)
        body += connection.take()
    reusable = connection.reusable and not wire.closed
    if ended and not wire.closed:
        connection.connection_lost(None)
    if connection.done and connection.answer is not None:
        return connection.answer.status, body, reusable
    error = connection._error
    assert isinstance(error, BadResponse | Closed) or (error is None and not ended), error
    return type(error), body if connection.answer is not None else b"", reusable


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


GOOD = [
    OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
]
_PLACES = st.lists(st.integers(0, 500), max_size=6)


@given(st.sampled_from(GOOD), st.sampled_from(["GET", "HEAD"]), _PLACES)
def test_answers_are_read_the_same_however_they_are_cut(data: bytes, method: str, places: list[int]) -> None:
    """Status, body, and whether the connection may be used again don't depend on the pieces."""
    if method == "HEAD":
        data = data[: data.rindex(b"\r\n\r\n") + 4] if data.endswith(b"\r\n\r\n") is False else data
    assert receive(cut(data, places), method) == receive([data], method)


@settings(max_examples=300)
@given(
    data=st.sampled_from(GOOD),
    place=st.integers(0, 500),
    dropped=st.integers(0, 3),
    noise=st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\n", b"\r", b"0", b" ", b":", OK, POISON]),
    places=_PLACES,
)
def test_spoilt_answers_never_leave_a_connection_in_doubt(
    data: bytes, place: int, dropped: int, noise: bytes, places: list[int]
) -> None:
    """Bytes put in or left out anywhere: only BadResponse or Closed, the same in any cut, and what may be used again
    has given its whole answer and not a byte more."""
    at = place % len(data)
    spoilt = data[:at] + noise + data[at + dropped :]
    whole, pieces = receive([spoilt]), receive(cut(spoilt, places))
    if isinstance(whole[0], int) and isinstance(pieces[0], int):
        assert pieces[:2] == whole[:2]
    if pieces[2]:
        assert isinstance(pieces[0], int)


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_noise_is_no_answer(pieces: list[bytes]) -> None:
    """Arbitrary bytes raise nothing but what callers of a connection expect, and are never kept."""
    status, _, reusable = receive(pieces)
    assert status in (BadResponse, Closed)
    assert not reusable


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + POISON, id="two answers to one request"),
        pytest.param(OK[:-1] + b"kpoison", id="more than Content-Length"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\npoison", id="204 with a body"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison", id="304 with a body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + POISON, id="after the last chunk"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n" + POISON,
            id="both framings",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", id="an unknown coding"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 8\r\n\r\nok" + POISON, id="two lengths"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokpoison\r\n0\r\n\r\n", id="a chunk too long"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nz\r\n", id="a chunk size that is none"
        ),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok\r\n\r\n", id="bare line feeds"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", id="space before the colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", id="NUL"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000, id="endless headers"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + b"\x00" + POISON, id="noise after early hints"),
        pytest.param(b"\x00" * 100, id="noise"),
    ],
)
@pytest.mark.usefixtures("both_ways")
async def test_a_wrong_answer_is_nobody_elses(running: World, answer: bytes) -> None:
    """Whatever a pod adds to an answer or gets wrong in it, the next request is answered by what the pod says to it."""
    asked = 0

    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            asked += 1
            writer.write(answer if b"/wrong" in head else OK)

    running.serve("web", await running.raw_pod(pod))
    for _ in range(2):
        first = await running.raw(b"GET /wrong HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
        assert not first.startswith(b"HTTP/1.1 200") or b"poison" not in first
        for _ in range(2):
            status, _, body = await running.get("/next")
            assert (status, body) == (200, b"ok")
    assert asked >= 6


@pytest.mark.usefixtures("both_ways")
async def test_what_a_pod_says_unasked_is_not_an_answer(running: World) -> None:
    """Bytes on an idle connection close it: they must not wait there for the next request."""
    said = asyncio.Event()

    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        if b"/first" in head:
            await asyncio.sleep(0.005)  # a segment of its own, after the answer was read
            writer.write(POISON)
            await writer.drain()
            said.set()
            await reader.read()

    running.serve("web", await running.raw_pod(pod))
    assert (await running.get("/first"))[2] == b"ok"
    await said.wait()
    assert (await running.get("/second"))[2] == b"ok"


@pytest.mark.usefixtures("both_ways")
async def test_headers_without_end_are_cut_off(running: World) -> None:
    """64 KiB of an answer's head are the most that is kept: 502 says so, and the pod is let go."""
    gone = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while True:
                writer.write(b"A: " + b"b" * 1000 + b"\r\n")
                await writer.drain()
        finally:
            gone.set()

    running.serve("web", await running.raw_pod(endless))
    status, headers, _ = await running.get()
    assert status == 502
    assert "65536 bytes of headers" in headers["x-ingress-reason"]
    await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.usefixtures("both_ways")
async def test_a_cut_answer_closes_the_caller(running: World) -> None:
    """Half of a sized or chunked body, then the end: never made to look whole."""
    for answer in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ):

        async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes = answer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

        name = f"web-{len(answer)}"
        running.serve(name, await running.raw_pod(pod), host=f"{name}.test")
        try:
            data = await running.raw(b"GET / HTTP/1.1\r\nHost: %b.test\r\n\r\n" % name.encode())
        except ConnectionResetError:
            continue
        assert not data.endswith(b"0\r\n\r\n")
        assert b"Content-Length: 4" not in data


async def test_connections_to_pods_that_are_gone_are_closed(running: World) -> None:
    """An endpoint that leaves the table takes its idle connections along; the others stay."""
    closed: dict[str, asyncio.Event] = {"old": asyncio.Event(), "new": asyncio.Event()}

    def pod(name: str) -> object:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(OK)
            finally:
                closed[name].set()

        return handle

    from .support import endpoints

    old, new = await running.raw_pod(pod("old")), await running.raw_pod(pod("new"))  # type: ignore[arg-type]
    running.serve("web", old, new)
    for _ in range(4):
        assert parse(await running.raw(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"))[2] == b"ok"
    running.api.update(endpoints("web", [new]))
    await asyncio.wait_for(closed["old"].wait(), 5)
    assert not closed["new"].is_set()


async def test_idle_connections_end_with_their_time() -> None:
    """A minute after its last request (ingress-nginx: upstream-keepalive-timeout) a connection is closed, not later."""
    clock = VirtualClock()
    pool = Pool(clock)
    wires = []
    for _ in range(3):
        connection = Connection(ENDPOINT, False, clock)
        connection.connection_made(wire := Wire())
        connection.start("GET", b"")
        connection.data_received(OK)
        connection.take()
        pool.release(connection)
        wires.append(wire)
        await clock.advance(15)
    assert [each.closed for each in wires] == [False, False, False]
    await clock.advance(80)
    assert [each.closed for each in wires] == [True, True, True]
    assert pool.acquire(ENDPOINT) is None
    pool.close()
