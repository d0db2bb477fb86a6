"""HTTP/2 callers who ask for what isn't HTTP, for too much, or who take too long."""

import asyncio

import pytest
from aiohttp import web
from h2.errors import ErrorCodes
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.ingress.http2 import caller

from ..support import World, echo, named
from .client import GET, POST, Client2, connected, get

MALFORMED = [
    pytest.param([*GET, ("transfer-encoding", "chunked")], id="Transfer-Encoding"),
    pytest.param([*GET, ("connection", "close")], id="Connection"),
    pytest.param([*GET, ("te", "gzip")], id="TE other than trailers"),
    pytest.param([*GET, ("content-length", "5")], id="a length without a body"),
    pytest.param([*GET, ("a", "b\r\nGET /smuggled HTTP/1.1")], id="CRLF in a value"),
    pytest.param([*GET, ("a", "b\nX: y")], id="LF in a value"),
    pytest.param([*GET, ("a", "b\0c")], id="NUL in a value"),
    pytest.param([*GET, ("a\r\nx", "b")], id="CRLF in a name"),
    pytest.param([*GET, ("a: b", "c")], id="a colon in a name"),
    pytest.param([*GET, ("A", "b")], id="an upper-case name"),
    pytest.param([*GET, ("", "b")], id="no name"),
    pytest.param(get("/ HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled"), id="request splitting in the path"),
    pytest.param(get("/a b"), id="a space in the path"),
    pytest.param(get("http://shop.test/"), id="a URL as path"),
    pytest.param(get(""), id="an empty path"),
    pytest.param(get("*"), id="an asterisk, not for OPTIONS"),
    pytest.param(get("/a#b"), id="a fragment"),
    pytest.param(get("/", "shop.test\r\nX: y"), id="CRLF in the authority"),
    pytest.param(get("/", "user@shop.test"), id="userinfo"),
    pytest.param(get("/", "shop.test/x"), id="a path in the authority"),
    pytest.param(get("/", "shop.test", ("host", "other.test")), id="another Host"),
    pytest.param(get(method="GET / HTTP/1.1\r\nX: y"), id="request splitting in the method"),
    pytest.param(get(method="CONNECT"), id="CONNECT"),
    pytest.param([*GET[:2], *GET[3:]], id="no authority"),
    pytest.param([*GET, (":path", "/other")], id="two paths"),
    pytest.param([GET[0], *GET[2:]], id="no scheme"),
    pytest.param([("a", "b"), *GET], id="a pseudo-header after a header"),
    pytest.param([*GET, (":status", "200")], id="an answer's pseudo-header"),
    pytest.param([*GET, (":protocol", "websocket")], id="extended CONNECT's"),
    pytest.param([*GET, ("a", "x" * 9000)], id="a header over 8190 bytes"),
    pytest.param(get("/" + "x" * 9000), id="a path over 8190 bytes"),
    pytest.param([*GET, *[("a", "b")] * 200], id="more than 128 headers"),
    pytest.param([*GET, *[(f"a{number}", "x" * 5000) for number in range(10)]], id="too much of headers"),
]


@pytest.mark.parametrize("headers", MALFORMED)
async def test_malformed_requests_reach_no_pod(running: World, headers: list[tuple[str, str]]) -> None:
    """They are answered 4xx with the reason, and the connection serves the next."""
    seen: list[str] = []

    async def record(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.raw_path)
        return web.Response(text="ok")

    running.serve("web", await running.pod(record))
    async with connected(running) as client:
        status, answer, _ = await client.fetch(headers)
        assert 400 <= status < 500, answer
        assert answer["x-ingress-reason"]
        assert (await client.fetch(GET))[2] == b"ok"
    assert seen == ["/"]


@pytest.mark.parametrize(("announced", "sent"), [("3", b"12345"), ("9", b"12345")])
async def test_a_body_that_is_not_what_was_announced(running: World, announced: str, sent: bytes) -> None:
    """Content-Length must be the DATA's (RFC 9113 §8.1.1): the pod doesn't get to see a whole request."""
    whole: list[bytes] = []

    async def record(request: web.BaseRequest) -> web.StreamResponse:
        whole.append(await request.read())
        return web.Response(text="ok")

    running.serve("web", await running.pod(record))
    async with connected(running) as client:
        await client.ask(get("/", "shop.test", ("content-length", announced), method="POST"), sent)
        assert await client.goaway() == ErrorCodes.PROTOCOL_ERROR
    assert not whole


def _headers(stream: int, client_headers: bytes) -> bytes:
    frame = HeadersFrame(stream, client_headers)
    frame.flags |= {"END_HEADERS", "END_STREAM"}
    return frame.serialize()


async def test_rapid_reset_ends_the_connection(running: World) -> None:
    """CVE-2023-44487: streams opened and cancelled at once reach no pod, and there is an end to them."""
    seen: list[str] = []

    async def record(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response()

    running.serve("web", await running.pod(record))
    async with connected(running) as client:
        block = client.h2.encoder.encode(GET)
        flood = b"".join(
            _headers(stream, block) + RstStreamFrame(stream, error_code=8).serialize() for stream in range(1, 2001, 2)
        )
        client.raw(flood)
        assert await client.goaway() == ErrorCodes.ENHANCE_YOUR_CALM
    assert not seen


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(PingFrame(0, b"12345678").serialize(), id="PING"),
        pytest.param(SettingsFrame(0, {4: 65535}).serialize(), id="SETTINGS"),
        pytest.param(b"\0\0\5\2\0\0\0\0\1" + b"\0\0\0\0\x10", id="PRIORITY"),
    ],
)
async def test_floods_end_the_connection(running: World, frame: bytes) -> None:
    """Frames that only cost (CVE-2019-9512, -9515, -9513)."""
    async with connected(running) as client:
        client.raw(frame * 5000)
        assert await client.goaway() == ErrorCodes.ENHANCE_YOUR_CALM


async def test_empty_frames_end_the_connection(running: World) -> None:
    """CVE-2019-9518: DATA without data and without an end."""
    running.serve("web", await running.pod(echo))
    async with connected(running) as client:
        await client.ask(POST, end=False)
        client.raw(b"\0\0\0\0\0\0\0\0\1" * 5000)
        assert await client.goaway() == ErrorCodes.ENHANCE_YOUR_CALM


async def test_endless_headers_end_the_connection(running: World) -> None:
    """The CONTINUATION flood (VU#421644), and headers that are small on the wire only."""
    async with connected(running) as client:
        client.raw(HeadersFrame(1, client.h2.encoder.encode(GET)).serialize())
        client.raw(
            b"".join(ContinuationFrame(1, b"\x40\x01a\x7f\x81\x7f" + b"x" * 250).serialize() for _ in range(500))
        )
        assert await client.goaway() in (ErrorCodes.PROTOCOL_ERROR, ErrorCodes.ENHANCE_YOUR_CALM)
    async with connected(running) as client:
        block = client.h2.encoder.encode([*GET, ("bomb", "x" * 3000)]) + b"\xbe" * 10_000  # the table's newest, again
        frame = HeadersFrame(1, block)
        frame.flags |= {"END_HEADERS", "END_STREAM"}
        client.raw(frame.serialize())
        assert await client.goaway() in (ErrorCodes.PROTOCOL_ERROR, ErrorCodes.ENHANCE_YOUR_CALM)


async def test_more_streams_than_allowed(running: World) -> None:
    """The 129th at once is refused."""
    go = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await go.wait()
        return web.Response()

    running.serve("web", await running.pod(slow))
    async with connected(running) as client:
        block = client.h2.encoder.encode(GET)
        client.raw(b"".join(_headers(stream, block) for stream in range(1, 2 * 200, 2)))
        assert await client.goaway() in (ErrorCodes.PROTOCOL_ERROR, ErrorCodes.REFUSED_STREAM)
    go.set()


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n", b"\xff\xff\xff\0\0\0\0\0\1"])
async def test_a_frame_that_is_too_long_is_not_waited_for(running: World, first: bytes) -> None:
    """Its length is enough (RFC 9113 §4.2); so memory stays flat, and HTTP/1.1 after ALPN said h2 ends at once."""
    async with connected(running) as client:
        client.raw(first)
        assert await client.goaway() == ErrorCodes.FRAME_SIZE_ERROR


# Time


async def test_who_asks_for_nothing_is_sent_away(fresh: World) -> None:
    """After 75 seconds without a stream (nginx: keepalive_timeout), with a GOAWAY."""
    clock = VirtualClock()
    await fresh.start(clock=clock)
    fresh.serve("web", await fresh.pod(named("web")))
    async with connected(fresh) as client:
        await clock.advance(70)
        assert (await client.fetch(GET))[0] == 200
        await clock.advance(70)
        assert (await client.fetch(GET))[0] == 200
        await clock.advance(85)
        assert await client.goaway() == ErrorCodes.NO_ERROR


async def test_who_takes_nothing_of_an_answer_loses_it(fresh: World) -> None:
    """After 60 seconds without window (nginx: send_timeout): that stream only."""
    clock = VirtualClock()
    await fresh.start(clock=clock)

    async def large(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"x" * (1_000_000 if request.path == "/large" else 1))

    fresh.serve("web", await fresh.pod(large))
    async with connected(fresh, generous=False) as client:
        client.h2.increment_flow_control_window(1 << 20)
        stream = await client.ask(get("/large"))
        while client.h2.remote_flow_control_window(stream):
            await client.listen()
        await _settle(client)
        await clock.advance(70)
        assert await client.reset(stream) == ErrorCodes.INTERNAL_ERROR
        assert (await client.fetch(get("/small")))[2] == b"x"


async def test_a_connection_has_an_end(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What h2 remembers of closed streams must not grow for ever: after so many, GOAWAY."""
    monkeypatch.setattr(caller, "_REQUESTS", 3)
    running.serve("web", await running.pod(named("web")))
    async with connected(running) as client:
        streams = [await client.ask(GET) for _ in range(3)]
        await client.goaway()
        client.h2.state_machine.state = type(client.h2.state_machine.state).CLIENT_OPEN  # h2 ends with GOAWAY
        for each in streams:
            assert (await client.answer(each))[2] == b"web"
        while not client.closed:
            await client.listen()


async def _settle(client: Client2) -> None:
    """Let the controller come to rest: what was sent before has been dealt with."""
    for _ in range(3):
        asked = client.acks + 1
        client.h2.ping(b"12345678")
        await client.flush()
        while client.acks < asked:
            await client.listen()
