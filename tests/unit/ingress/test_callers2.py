"""HTTP/2 to the controller over real TLS sockets: streams, windows, cancellation, drain, limits, attacks."""

import asyncio
import json

import pytest
from aiohttp import web
from h2 import events
from h2.errors import ErrorCodes
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from .client2 import GET, POST, connected, get
from .support import World, echo, named
from .test_proxy import answers


async def test_requests_are_routed_filtered_and_logged(running: World) -> None:
    """As over HTTP/1.1: `:authority` is the Host, cookies are one header, the log says HTTP/2.0."""
    running.serve("web", await running.pod(echo), custom_request_headers="")
    async with connected(running) as client:
        status, headers, body = await client.fetch(get("/a%20b?x=1", "shop.test", ("cookie", "a=1"), ("cookie", "b=2")))
    seen = json.loads(body)
    assert status == 200
    assert (seen["path"], seen["host"], seen["headers"]["cookie"]) == ("/a%20b?x=1", "shop.test", "a=1; b=2")
    assert seen["headers"]["x-forwarded-proto"] == "https"
    assert not {"content-length", "transfer-encoding", "connection"} & seen["headers"].keys()
    assert not {"connection", "transfer-encoding", "keep-alive"} & headers.keys()
    assert headers["strict-transport-security"]
    assert '"GET /a%20b?x=1 HTTP/2.0" 200 ' in running.log.lines()[-1].text


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_methods(running: World, method: str) -> None:
    """All of them; HEAD has headers only."""
    running.serve("web", await running.pod(echo))
    async with connected(running) as client:
        status, headers, body = await client.fetch(get(method=method), b"hi" if method[0] == "P" else None)
    assert status == 200
    assert int(headers["content-length"]) > 0
    if method == "HEAD":
        assert not body
    else:
        assert (json.loads(body)["method"], json.loads(body)["body"]) == (method, "hi" if method[0] == "P" else "")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", (204, b""), id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (304, b""), id="304"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nrest", (200, b"rest"), id="until the end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (200, b""), id="empty"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: X-A\r\nKeep-Alive: 5\r\nUpgrade: y\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nab\r\n0\r\n\r\n",
            (200, b"ab"),
            id="chunked, with connection headers",
        ),
    ],
)
async def test_answers(running: World, answer: bytes, expected: tuple[int, bytes]) -> None:
    """Whatever way a pod frames its answer; h2's client would refuse connection headers."""
    running.serve("web", await running.raw_pod(answers(answer)))
    async with connected(running) as client:
        status, _, body = await client.fetch(GET)
    assert (status, body) == expected


async def test_early_hints_and_trailers_pass(running: World) -> None:
    """103 comes before the answer, trailers after it; 101 to a request that asked for none is no answer."""
    running.serve(
        "web",
        await running.raw_pod(
            answers(
                b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 42\r\n\r\n"
            )
        ),
    )
    async with connected(running) as client:
        assert (await client.fetch(GET))[2] == b"x"
        hint = next(each for each in client.heard if isinstance(each, events.InformationalResponseReceived))
        assert dict(hint.headers) == {":status": "103", "link": "</a.css>"}
        trailers = next(each for each in client.heard if isinstance(each, events.TrailersReceived))
        assert dict(trailers.headers) == {"x-sum": "42"}


async def test_request_trailers_reach_the_pod(running: World) -> None:
    """As HTTP/1.1's, after the chunked body; those that may not stand there don't."""
    seen = b""

    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen = await reader.readuntil(b"0\r\n") + await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    running.serve("web", await running.raw_pod(pod))
    async with connected(running) as client:
        stream = await client.ask(POST, b"abc", end=False)
        client.h2.send_headers(stream, [("x-sum", "42"), ("content-length", "7")], end_stream=True)
        await client.flush()
        assert (await client.answer(stream))[0] == 200
    assert seen.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n")


async def test_streams_run_beside_each_other(running: World) -> None:
    """A slow answer holds up no other, and the limit of 128 is announced."""
    go = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/slow":
            await go.wait()
        return web.Response(text=request.path)

    running.serve("web", await running.pod(slow))
    async with connected(running) as client:
        first = await client.ask(get("/slow"))
        others = [await client.ask(get(f"/{number}")) for number in range(100)]
        assert [(await client.answer(each))[2] for each in others] == [b"/%d" % number for number in range(100)]
        go.set()
        assert (await client.answer(first))[2] == b"/slow"
        assert client.h2.remote_settings.max_concurrent_streams == 128


async def test_bodies_stream_both_ways(running: World) -> None:
    """Larger than all windows, and byte by byte: what comes goes on at once."""

    async def relay(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        async for data in request.content.iter_any():
            await answer.write(data)
        return answer

    running.serve("web", await running.pod(relay), proxy_body_size="0")
    async with connected(running) as client:
        whole = bytes(range(256)) * 20_000
        assert (await client.fetch(POST, whole))[2] == whole
        stream = await client.ask(POST, b"a", end=False)
        for letter in (b"a", b"b"):
            await client.until(
                lambda each, wanted=letter: (
                    isinstance(each, events.DataReceived)  # type: ignore[misc]
                    and (each.stream_id, each.data) == (stream, wanted)
                )
            )
            await client.send(stream, b"b", end=letter == b"b")
        assert (await client.answer(stream))[2] == b"abb"


async def test_a_caller_that_gives_no_window_stops_its_pod(running: World) -> None:
    """What it has not room for isn't read from the pod, and other streams go on."""
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        head = await reader.readuntil(b"\r\n\r\n")
        if b"GET /small" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.transport.set_write_buffer_limits(65536)
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    running.serve("web", await running.raw_pod(endless))
    async with connected(running, generous=False) as client:
        client.h2.increment_flow_control_window(1 << 20)  # the connection's; the stream keeps its 64 KiB
        stream = await client.ask(get("/endless"))
        assert (await client.fetch(get("/small")))[2] == b"ok"
        before = -1
        while before != sent:
            before = sent
            assert (await client.fetch(get("/small")))[2] == b"ok"
        assert sent < 16 << 20
        got = sum(
            len(each.data) for each in client.heard if isinstance(each, events.DataReceived) if each.stream_id == stream
        )
        assert got == 65535


async def test_a_pod_that_reads_nothing_stops_its_caller(running: World) -> None:
    """The window of the stream isn't given back; other streams go on."""
    done = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"GET /small" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await done.wait()

    running.serve("web", await running.raw_pod(deaf), proxy_body_size="0")
    async with connected(running) as client:
        stream = await client.ask(POST, end=False)
        total = 0
        for _ in range(10):
            while room := min(client.h2.local_flow_control_window(stream), 16384):
                client.h2.send_data(stream, b"x" * room)
                total += room
                await client.flush()
            assert (await client.fetch(get("/small")))[2] == b"ok"
        assert total < 32 << 20
        client.h2.reset_stream(stream)
        await client.flush()
        assert (await client.fetch(get("/small")))[2] == b"ok"
        done.set()


async def test_reset_cancels_the_request_to_the_pod(running: World) -> None:
    """RST_STREAM, and the end of the connection; nginx logs 499."""
    asked: asyncio.Queue[None] = asyncio.Queue()
    gone: asyncio.Queue[None] = asyncio.Queue()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.put_nowait(None)
        await reader.read()
        gone.put_nowait(None)

    running.serve("web", await running.raw_pod(waits))
    async with connected(running) as client:
        stream = await client.ask(GET)
        await asyncio.wait_for(asked.get(), 5)
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)
        await client.flush()
        await asyncio.wait_for(gone.get(), 5)
        await client.ask(GET)
        await asyncio.wait_for(asked.get(), 5)
    await asyncio.wait_for(gone.get(), 5)
    assert all('HTTP/2.0" 499 ' in each.text for each in running.log.lines()[1:])


async def test_an_answer_that_breaks_off_breaks_the_stream(running: World) -> None:
    """The caller must not take it for the whole; the connection stays."""
    running.serve("web", await running.raw_pod(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")))
    running.serve("other", await running.pod(named("other")), host="other.test")
    async with connected(running) as client:
        assert await client.reset(await client.ask(GET)) == ErrorCodes.INTERNAL_ERROR
        assert (await client.fetch(get(host="other.test")))[2] == b"other"


async def test_sigterm_lets_streams_end(running: World) -> None:
    """GOAWAY at once; running streams are answered, new ones refused, then the connection closes."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        asked.set()
        await go.wait()
        return web.Response(text="done")

    running.serve("web", await running.pod(slow))
    async with connected(running) as client:
        stream = await client.ask(GET)
        await asyncio.wait_for(asked.wait(), 5)
        stopping = asyncio.ensure_future(running.stop())
        assert await client.goaway() == ErrorCodes.NO_ERROR
        client.h2.state_machine.state = type(client.h2.state_machine.state).CLIENT_OPEN  # h2 ends with GOAWAY
        refused = await client.ask(GET)
        assert await client.reset(refused) == ErrorCodes.REFUSED_STREAM
        go.set()
        assert (await client.answer(stream))[2] == b"done"
        while not client.closed:
            await client.listen()
        await stopping


async def test_a_caller_that_says_goodbye_gets_its_answers(running: World) -> None:
    """GOAWAY from the caller: running streams end, then the connection closes."""
    go = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await go.wait()
        return web.Response(text="x" * 100_000)

    running.serve("web", await running.pod(slow))
    async with connected(running) as client:
        stream = await client.ask(GET)
        client.h2.close_connection()
        client.h2.state_machine.state = type(client.h2.state_machine.state).CLIENT_OPEN
        await client.flush()
        go.set()
        assert len((await client.answer(stream))[2]) == 100_000
        while not client.closed:
            await client.listen()


async def test_too_much_of_a_body_is_refused(running: World) -> None:
    """proxy-body-size for announced bodies and others; the rest is not wanted, the connection stays."""
    running.serve("web", await running.pod(echo), proxy_body_size="4")
    async with connected(running) as client:
        for headers in (get("/", "shop.test", ("content-length", "5"), method="POST"), POST):
            stream = await client.ask(headers, b"12345", end=False)
            status, _, body = await client.answer(stream)
            assert status == 413
            assert b"proxy-body-size" in body
            assert await client.reset(stream) == ErrorCodes.NO_ERROR
        assert (await client.fetch(GET))[0] == 200


async def test_expect_100_continue(running: World) -> None:
    """Answered before the body is there."""
    running.serve("web", await running.pod(echo))
    async with connected(running) as client:
        stream = await client.ask(get("/", "shop.test", ("expect", "100-continue"), method="POST"), end=False)
        await client.until(lambda each: isinstance(each, events.InformationalResponseReceived))
        await client.send(stream, b"ok", end=True)
        assert json.loads((await client.answer(stream))[2])["body"] == "ok"


# Attacks

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
