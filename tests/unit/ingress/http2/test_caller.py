"""HTTP/2 to the controller over real TLS sockets: streams, windows, cancellation, drain, limits, attacks."""

import asyncio
import json
import subprocess
import sys

import pytest
from aiohttp import web
from h2 import events
from h2.errors import ErrorCodes

from ..proxy.test_proxy import answers
from ..support import World, echo, endpoints, ingress, named, path, service
from .client import GET, POST, connected, get


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


@pytest.mark.parametrize(
    ("annotations", "asked", "status", "header"),
    [
        pytest.param({"permanent_redirect": "https://elsewhere.test/x"}, "/", 301, "location", id="a redirect"),
        pytest.param({"app_root": "/home"}, "/", 302, "location", id="app-root"),
        pytest.param({"whitelist_source_range": "10.9.8.7/32"}, "/", 403, "x-ingress-reason", id="a filter's refusal"),
        pytest.param({"enable_cors": "true"}, "/", 200, "access-control-allow-origin", id="an answer's header"),
        pytest.param({"affinity": "cookie"}, "/", 200, "set-cookie", id="affinity"),
        pytest.param({"limit_rps": "1", "limit_burst_multiplier": "1"}, "/", 200, "content-type", id="a limit"),
    ],
)
async def test_annotations_hold(
    running: World, annotations: dict[str, str], asked: str, status: int, header: str
) -> None:
    """Filters of requests and of answers are the same code for every HTTP."""
    running.serve("web", await running.pod(echo), **annotations)
    async with connected(running) as client:
        found, headers, _ = await client.fetch(get(asked))
    assert found == status
    assert headers[header]


async def test_rewritten_paths_and_error_pages(running: World) -> None:
    """rewrite-target changes what the pod gets; custom-http-errors' page comes from the default backend."""

    async def failing(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=503, text=request.path)

    async def pages(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=503, text=f"sorry: {request.headers['X-Code']}")

    running.create(
        service("errors"),
        endpoints("errors", [await running.pod(pages)]),
        service("web"),
        endpoints("web", [await running.pod(failing)]),
        ingress(
            "web",
            {"shop.test": [path("web", "/api(/|$)(.*)", "ImplementationSpecific")]},
            annotations={"rewrite-target": "/$2"},
        ),
        ingress(
            "other",
            {"other.test": [path("web")]},
            annotations={"custom-http-errors": "503", "default-backend": "errors"},
        ),
    )
    async with connected(running) as client:
        assert (await client.fetch(get("/api/tea")))[2] == b"/tea"
        assert (await client.fetch(get("/", "other.test")))[2] == b"sorry: 503"
        assert (await client.fetch(get("/", "nobody.test")))[0] == 404


_LOADED = """
import sys
import minikube_py.ingress.front, minikube_py.ingress.tls.passthrough, minikube_py.ingress.proxy.proxy
print([name for name in sys.modules if name.partition(".")[0] in ("h2", "hpack", "hyperframe")])
"""


@pytest.mark.slow
def test_who_speaks_no_http2_loads_none() -> None:
    """The library comes with the first connection that speaks it: start-up doesn't pay for it."""
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"
