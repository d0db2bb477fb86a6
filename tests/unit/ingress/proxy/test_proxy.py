"""The proxy over real sockets: headers, framing, streaming, retries, errors, upgrades, changes under load."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from minikube_py.apimachinery import meta

from ..support import World, echo, endpoints, ingress, named, parse, path, service, world

pytestmark = pytest.mark.usefixtures("both_ways")

Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answers(data: bytes) -> Raw:
    """A pod that reads one request's head and sends these bytes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()

    return handler


async def test_the_backend_sees_the_caller(running: World) -> None:
    """Host is kept; X-Forwarded-*, X-Real-IP and X-Request-ID are ours, whatever the caller claims."""
    running.serve("web", await running.pod(echo))
    status, _, body = await running.get(
        "/a%20b?x=1&y", "shop.test:8080", X_Forwarded_For="6.6.6.6", X_Real_IP="6.6.6.6", X_Mine="yes", Keep_Alive="x"
    )
    seen = json.loads(body)
    assert status == 200
    assert (seen["path"], seen["host"]) == ("/a%20b?x=1&y", "shop.test:8080")
    headers = seen["headers"]
    assert len(headers.pop("x-request-id")) == 32
    assert headers == {
        "host": "shop.test:8080",
        "x-real-ip": headers["x-real-ip"],
        "x-forwarded-for": headers["x-real-ip"],
        "x-forwarded-host": "shop.test:8080",
        "x-forwarded-port": "8080",
        "x-forwarded-proto": "http",
        "x-forwarded-scheme": "http",
        "x-scheme": "http",
        "x-original-forwarded-for": "6.6.6.6",
        "x-mine": "yes",
    }
    assert headers["x-real-ip"] != "6.6.6.6"


async def test_hop_by_hop_headers_stay_behind(running: World) -> None:
    """What Connection names, and headers with underscores, don't reach the backend."""
    running.serve("web", await running.pod(echo))
    data = await running.raw(
        b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close, X-Secret\r\n"
        b"X-Secret: 1\r\nX_Under: 1\r\nTE: trailers\r\n\r\n"
    )
    assert not {"x-secret", "x_under", "te", "connection"} & set(json.loads(parse(data)[2])["headers"])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_methods_and_bodies(running: World, method: str) -> None:
    """Every method passes, with its body."""
    running.serve("web", await running.pod(echo))
    body = b"" if method in ("GET", "OPTIONS") else b"hello"
    status, _, answer = await running.request(method, body=body)
    assert status == 200
    assert (json.loads(answer)["method"], json.loads(answer)["body"]) == (method, body.decode())


async def test_chunked_uploads_arrive_whole(running: World) -> None:
    """A chunked body is passed on as it comes."""
    running.serve("web", await running.pod(echo))
    data = await running.raw(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    )
    assert json.loads(parse(data)[2])["body"] == "abcde"


async def test_large_bodies_stream_both_ways(running: World) -> None:
    """5 MB go up and come down unchanged where proxy-body-size allows it."""

    async def mirror(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for data in request.content.iter_any():
            await response.write(data)
        await response.write_eof()
        return response

    running.serve("web", await running.pod(mirror), proxy_body_size="8m")
    body = bytes(range(256)) * 20_000
    status, _, answer = await running.request("POST", body=body)
    assert status == 200
    assert answer == body


async def test_a_stream_is_not_held_back(running: World) -> None:
    """Server-sent events reach the caller one by one, while the answer is still open."""
    more = asyncio.Event()

    async def events(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await more.wait()
        await response.write(b"data: 2\n\n")
        return response

    running.serve("web", await running.pod(events))
    reader, writer = await running.open()
    writer.write(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), 5)
    more.set()
    await asyncio.wait_for(reader.readuntil(b"data: 2\n\n"), 5)
    writer.close()


async def test_expect_100_continue(running: World) -> None:
    """A caller that waits for 100 gets it before it has sent its body."""
    running.serve("web", await running.pod(echo))
    reader, writer = await running.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ok")
    assert b'"body": "ok"' in await asyncio.wait_for(reader.readuntil(b"}"), 5) + await reader.read(500)
    writer.close()


@pytest.mark.parametrize(
    ("method", "answer", "expected"),
    [
        pytest.param(
            "HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", (200, "9", b""), id="HEAD keeps the length"
        ),
        pytest.param("GET", b"HTTP/1.1 204 No Content\r\n\r\n", (204, None, b""), id="204"),
        pytest.param(
            "GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (304, "5", b""), id="304 has no body"
        ),
        pytest.param("GET", b"HTTP/1.1 200 OK\r\n\r\nrest", (200, None, b"rest"), id="a body until the end"),
        pytest.param("GET", b"HTTP/1.0 200 OK\r\n\r\nold", (200, None, b"old"), id="HTTP/1.0"),
        pytest.param(
            "GET",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            (200, "1", b"x"),
            id="1xx before the answer",
        ),
        pytest.param(
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n",
            (200, None, b"abc"),
            id="chunked with a trailer",
        ),
    ],
)
async def test_answers_end_where_they_end(
    running: World, method: str, answer: bytes, expected: tuple[int, str | None, bytes]
) -> None:
    """Whatever way a backend frames its answer, the caller gets exactly that answer."""
    running.serve("web", await running.raw_pod(answers(answer)))
    status, headers, body = await running.request(method)
    assert (status, headers.get("content-length"), body) == expected


async def test_an_http_10_caller_gets_no_chunks(running: World) -> None:
    """To HTTP/1.0 a body without length ends with the connection."""
    running.serve(
        "web",
        await running.raw_pod(answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")),
    )
    data = await running.raw(b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n")
    assert b"chunked" not in data
    assert data.endswith(b"\r\n\r\na")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="not HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", id="CL and TE"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", id="obs-fold"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", id="bad header name"),
        pytest.param(b"", id="nothing at all"),
    ],
)
async def test_answers_that_are_not_http_become_502(running: World, answer: bytes) -> None:
    """A broken answer is refused with 502 and never guessed at."""
    running.serve("web", await running.raw_pod(answers(answer)))
    assert (await running.get())[0] == 502


async def test_a_cut_answer_is_cut_for_the_caller(running: World) -> None:
    """A body that stops short closes the caller's connection instead of looking complete."""
    running.serve("web", await running.raw_pod(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")))
    try:
        data = await running.raw(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    except ConnectionResetError:
        return
    assert data.endswith(b"abc")


async def test_connections_to_pods_are_kept(running: World) -> None:
    """Two requests of two callers use one connection to the pod."""
    peers = []

    async def peer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.Response(text="x")

    running.serve("web", await running.pod(peer))
    await running.get()
    await running.get()
    assert peers[0] == peers[1]


async def test_a_stale_connection_is_replaced(running: World) -> None:
    """A pod that closes its idle connection costs nobody a request."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        await reader.readuntil(b"\r\n\r\n")  # takes the second request, and goes

    running.serve("web", await running.raw_pod(once))
    assert [(await running.get())[0] for _ in range(4)] == [200] * 4


async def test_a_post_is_never_sent_twice(running: World) -> None:
    """A request that isn't idempotent and was sent is not repeated on another pod."""
    seen = []

    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))

    running.serve("web", await running.raw_pod(dies), await running.raw_pod(dies))
    assert (await running.request("POST", body=b"pay"))[0] == 502
    assert len(seen) == 1


async def test_a_refused_connection_tries_the_next_pod(running: World) -> None:
    """As nothing was sent, even a POST goes on to another endpoint."""
    running.serve("web", running.address(), await running.pod(named("alive")))
    for _ in range(4):
        assert (await running.request("POST", body=b"x"))[2] == b"alive"


async def test_round_robin(running: World) -> None:
    """Requests take the ready endpoints in turn."""
    running.serve("web", *[await running.pod(named(name)) for name in "abc"])
    assert [(await running.get())[2].decode() for _ in range(6)] == ["a", "b", "c"] * 2


@pytest.mark.parametrize(
    ("host", "status", "words"),
    [
        pytest.param("other.test", 404, "no Ingress rule for host other.test path /; known hosts: ", id="no rule"),
        pytest.param("none.test", 503, "does not exist", id="no Service"),
        pytest.param("refused.test", 502, "refused the connection: nothing listens on port 8080", id="refused"),
    ],
)
async def test_errors_explain_themselves(running: World, host: str, status: int, words: str) -> None:
    """Each page has nginx's title and says what is wrong."""
    running.serve("refused", running.address(), host="refused.test")
    running.create(ingress("none", {"none.test": [path("nowhere")]}))
    got, headers, body = await running.get(host=host)
    assert got == status
    assert f"<title>{status} " in body.decode()
    assert words in body.decode()
    assert words in headers["x-ingress-reason"]


async def test_a_silent_pod_times_out(running: World) -> None:
    """No answer within proxy-read-timeout is a 504."""
    silent = asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()

    running.serve("web", await running.raw_pod(waits))
    made = running.api.get("ingresses.networking.k8s.io", "web", "default")
    assert made
    location = running.container.extra["tables"].table().route("shop.test", "/").location
    object.__setattr__(location, "options", type(location.options)(read_timeout=0.05, next_upstream=frozenset()))
    status, _, body = await running.get()
    silent.set()
    assert status == 504
    assert b"did not answer within 0.05 s" in body


async def test_websockets(running: World) -> None:
    """A WebSocket passes in both directions, large messages too."""

    async def chat(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket

    running.serve("web", await running.pod(chat))
    url = f"http://{running.address_of_controller}:{running.http_port}/ws"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers={"Host": "shop.test"}) as socket:
        for text in ("hello", "x" * 500_000):
            await socket.send_str(text)
            assert (await socket.receive_str()) == text.upper()


async def test_pipelined_requests_are_answered_in_order(running: World) -> None:
    """Requests sent at once on one connection get their answers in their order."""
    running.serve("web", await running.pod(echo))
    data = await running.raw(
        b"GET /1 HTTP/1.1\r\nHost: shop.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: shop.test\r\n\r\n"
        b"GET /3 HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
    )
    assert [part[:1] for part in data.split(b'"path": "/')[1:]] == [b"1", b"2", b"3"]


async def test_a_body_over_the_limit_is_refused(running: World) -> None:
    """proxy-body-size holds for announced and for chunked bodies; the answer names the annotation."""
    running.serve("web", await running.pod(echo), proxy_body_size="4")
    status, _, body = await running.request("POST", body=b"12345")
    assert status == 413
    assert b"proxy-body-size" in body
    data = await running.raw(
        b"POST / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n"
    )
    assert parse(data)[0] == 413


async def test_changes_lose_no_request(running: World) -> None:
    """While rules and endpoints change all the time, every request is answered by a pod that is in the table."""
    pods = [await running.pod(named(str(number))) for number in range(3)]
    running.serve("web", *pods)
    stop = asyncio.Event()
    statuses: list[int] = []

    async def ask() -> None:
        while not stop.is_set():
            statuses.append((await running.get())[0])

    callers = [asyncio.ensure_future(ask()) for _ in range(4)]
    for turn in range(60):
        slices = meta.copy(endpoints("web", [pods[turn % 3], pods[(turn + 1) % 3]]))
        running.api.update(slices)
        running.create(ingress(f"extra-{turn}", {f"h{turn}.test": [path("web")]}))
        await asyncio.sleep(0.002)  # the callers' turn: the change is to hit requests in progress
    stop.set()
    await asyncio.gather(*callers)
    assert len(statuses) > 60
    assert set(statuses) == {200}


async def test_a_removed_endpoint_is_not_picked_again(running: World) -> None:
    """The first request after a commit goes by the new endpoints."""
    old, new = await running.pod(named("old")), await running.pod(named("new"))
    running.serve("web", old)
    assert (await running.get())[2] == b"old"
    running.api.update(endpoints("web", [new]))
    table = running.container.extra["tables"].table()
    assert [each.address for each in table.route("shop.test", "/").upstream.endpoints] == [new]


async def test_the_access_log_is_ingress_nginxs(running: World) -> None:
    """One line per request, with backend, pod and request id; requests are counted per rule."""
    pod = await running.pod(named("x"))
    running.serve("web", pod)
    await running.get("/menu", X_Request_ID="abc", User_Agent='evil" \\')
    line = running.log.lines()[-1].text
    assert '"GET /menu HTTP/1.1" 200 1 "-" "evil\\x22 \\x5C" 0 ' in line
    assert "[default-web-80] [] " + pod + ":8080 1 " in line
    assert line.endswith(" 200 abc")
    assert running.container.extra["proxy"].requests == {("default/web shop.test/", "default-web-80"): 1}


async def test_a_caller_that_goes_frees_the_pod(running: World) -> None:
    """When the caller hangs up, its request to the pod ends too."""
    gone = asyncio.Event()
    asked = asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()

    running.serve("web", await running.raw_pod(waits))
    _, writer = await running.open()
    writer.write(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    await asyncio.wait_for(asked.wait(), 5)
    writer.close()
    await asyncio.wait_for(gone.wait(), 5)


async def test_sigterm_lets_requests_end(running: World) -> None:
    """A request in progress is answered after SIGTERM; then the program ends."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        asked.set()
        await go.wait()
        return web.Response(text="done")

    running.serve("web", await running.pod(slow))
    answer = asyncio.ensure_future(running.get())
    await asyncio.wait_for(asked.wait(), 5)
    stopping = asyncio.ensure_future(running.stop())
    await asyncio.sleep(0)
    go.set()
    assert (await answer)[2] == b"done"
    await stopping


async def test_health_and_metrics() -> None:
    """Where the manifest names port 10254, probes and the counts per rule are served there; flags are read."""
    async with world() as made:
        await made.start(ports=(10254,), args=("/nginx-ingress-controller", "--default-backend-service=default/web"))
        made.create(service("web"), endpoints("web", [await made.pod(named("fallback"))]))
        assert (await made.get(host="unknown.test"))[2] == b"fallback"
        address = f"http://{made.address_of_controller}:10254"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{address}/healthz") as response:
                assert response.status == 200
            async with session.get(f"{address}/metrics") as response:
                text = await response.text()
        assert 'nginx_ingress_controller_requests{rule="(default backend) */",backend="default-web-"} 1' in text


async def test_any_upgrade_passes(running: World) -> None:
    """A protocol of the pod's own: after 101 the bytes are its and the caller's alone; what came early isn't lost."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Upgrade: shouting/2\r\n" in head
        assert b"Connection: Upgrade\r\n" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shouting/2\r\nConnection: Upgrade\r\n\r\nhello\n")
        while line := await reader.readline():
            writer.write(line.upper())

    running.serve("web", await running.raw_pod(shout))
    reader, writer = await running.open()
    writer.write(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: shouting/2\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nUpgrade: shouting/2\r\n" in head
    assert await asyncio.wait_for(reader.readline(), 5) == b"hello\n"
    for word in (b"get / http/1.1\n", b"x" * 60_000 + b"\n"):
        writer.write(word)
        assert await asyncio.wait_for(reader.readline(), 5) == word.upper()
    writer.close()


@pytest.mark.parametrize("offered", ["h2c", "H2C, websocket", "HTTP/2.0", "TLS/1.2", "a b"])
async def test_upgrades_that_would_pass_by_the_rules_are_not_offered(running: World, offered: str) -> None:
    """The request goes on without the offer, as an ordinary one."""
    running.serve("web", await running.pod(echo))
    data = await running.raw(
        b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: %b\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" % offered.encode()
    )
    assert not {"upgrade", "http2-settings", "connection"} & set(json.loads(parse(data)[2])["headers"])


async def test_early_hints_pass(running: World) -> None:
    """103 reaches the caller before the answer, 100 that nobody asked for doesn't; HTTP/1.0 knows no such answers."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\n\r\n"
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" + hints + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    running.serve("web", await running.raw_pod(answers(answer)))
    data = await running.raw(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
    first, second, _ = data.split(b"\r\n\r\n")
    assert first == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>"
    assert second.startswith(b"HTTP/1.1 200 OK")
    assert (await running.raw(b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")


async def test_trailers_pass(running: World) -> None:
    """What comes after a pod's chunked body reaches the caller; what may not stand there doesn't."""
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-Sum: 42\r\nContent-Length: 7\r\nSet-Cookie: a=b\r\n\r\n"
    )
    running.serve("web", await running.raw_pod(answers(answer)))
    data = await running.raw(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
    assert data.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n")
