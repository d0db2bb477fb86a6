"""The fast path on the wire: what it serves itself, and what it hands over."""

import asyncio
import json
import random
import re

import pytest
from aiohttp import web

from minikube_py.ingress.flavors import NAMES, flavor
from minikube_py.ingress.proxy.inbound import Inbound
from minikube_py.ingress.proxy.proxy import Proxy

from ..support import World, echo, endpoints, ingress, ingress_class, named, parse, path, service

GET = b"GET %b HTTP/1.1\r\nHost: shop.test\r\n\r\n"


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the requests that came to aiohttp."""
    found: list[str] = []
    inner = Proxy.serve

    async def serve(self: Proxy, request: Inbound, *, secure: bool) -> None:
        found.append(request.method)
        await inner(self, request, secure=secure)

    monkeypatch.setattr(Proxy, "serve", serve)
    return found


async def test_simple_requests_never_meet_aiohttp(running: World, met: list[str]) -> None:
    """Several on one connection are relayed; one with chunks is handed over, and the connection stays with aiohttp."""
    running.serve("web", await running.pod(named("web")))
    reader, writer = await running.open()
    for _ in range(3):
        writer.write(GET % b"/a")
        assert await answer(reader) == b"web"
    writer.write(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\n\r\nx")
    assert await answer(reader) == b"web"
    assert not met
    writer.write(b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
    assert await answer(reader) == b"web"
    writer.write(GET % b"/b")
    assert await answer(reader) == b"web"
    assert met == ["POST", "GET"]
    writer.close()


@pytest.mark.parametrize(
    ("annotations", "handed_over"),
    [
        pytest.param({"rewrite_target": "/new"}, False, id="rewrite-target"),
        pytest.param({"enable_cors": "true"}, False, id="enable-cors"),
        pytest.param({"x_forwarded_prefix": "/app"}, False, id="x-forwarded-prefix"),
        pytest.param({"whitelist_source_range": "127.0.0.0/8"}, False, id="whitelist-source-range"),
        pytest.param({"upstream_vhost": "inner.test"}, False, id="upstream-vhost"),
        pytest.param({"proxy_body_size": "3"}, True, id="a body over proxy-body-size"),
        pytest.param({"denylist_source_range": "127.0.0.0/8"}, True, id="a refusal"),
        pytest.param({"limit_rps": "100"}, True, id="limit-rps counts"),
        pytest.param({"upstream_hash_by": "$uri"}, True, id="upstream-hash-by"),
        pytest.param({"affinity": "cookie"}, True, id="affinity"),
    ],
)
async def test_annotations_mean_the_same_on_both_ways(
    running: World, met: list[str], annotations: dict[str, str], handed_over: bool
) -> None:
    """What the fast path serves itself is, byte for byte, what aiohttp's way makes of it."""
    running.serve("web", await running.pod(echo), **annotations)
    head = b"POST /a?b=c HTTP/1.1\r\nHost: shop.test\r\nOrigin: https://a.test\r\nX-Forwarded-For: 1.1.1.1\r\n"
    seen = []
    for extra in (b"Connection: close\r\n", b"Connection: close, close\r\n"):  # the latter is not simple
        data = await running.raw(head + extra + b"Content-Length: 4\r\n\r\nbody")
        seen.append(without_chance(data))
    assert met == ["POST"] * (1 + handed_over)
    assert seen[0] == seen[1]


def without_chance(data: bytes) -> tuple[list[bytes], object]:
    """Return an answer's lines and what the pod saw, but for times, lengths and identities."""
    head, _, body = data.partition(b"\r\n\r\n")
    measured = re.compile(rb"((?:latency|-time): )\d+$", re.IGNORECASE)
    kept = (each for each in head.split(b"\r\n") if not re.match(b"Date|Content-Length", each))
    lines = sorted(measured.sub(rb"\1?", each) for each in kept)
    if not body.startswith(b"{"):
        return lines, body
    seen = json.loads(body)
    seen["headers"] = {name: value for name, value in seen["headers"].items() if not re.search("id$|trace", name)}
    return lines, seen


async def test_a_body_may_come_in_pieces(running: World, met: list[str]) -> None:
    """The pod hears of the request once its body is whole, and gets it once."""
    running.serve("web", await running.pod(echo))
    reader, writer = await running.open()
    for piece in (b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 6\r\n\r\n", b"ab", b"cd", b"ef"):
        writer.write(piece)
        await asyncio.sleep(0.005)  # pieces of their own on the wire
    assert json.loads(await answer(reader))["body"] == "abcdef"
    assert not met
    writer.close()


@pytest.mark.parametrize("first", [b"", b"GET /warm HTTP/1.1\r\nHost: shop.test\r\n\r\n"], ids=["new", "stale"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_a_request_with_a_body_is_never_sent_twice(running: World, first: bytes, method: str) -> None:
    """Neither to the same pod over a new connection nor to another one: 502, once a byte of it was sent."""
    bodies: list[bytes] = []

    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/warm" not in head:
                bodies.append(head)
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    running.serve("web", *[await running.raw_pod(dies) for _ in range(2)])
    reader, writer = await running.open()
    for _ in range(2 if first else 0):
        writer.write(first)
        assert await answer(reader) == b"ok"
    writer.write(b"%b / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\npay" % method.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 502")
    assert len(bodies) == 1
    writer.close()


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    ("lots", "status"), [pytest.param([0.4, 0.9], b"503", id="canary"), pytest.param([0.6, 0.1], b"200", id="main")]
)
async def test_a_lot_is_drawn_once(fresh: World, lots: list[float], status: bytes) -> None:
    """A request whose canary has no pod is handed over, and still is the canary's."""

    left = iter(lots)

    class Lots(random.Random):
        def random(self) -> float:
            return next(left)

    await fresh.start(chance=Lots())
    fresh.serve("web", await fresh.pod(named("web")))
    canary = {"canary": "true", "canary-weight": "50"}
    fresh.create(service("next"), ingress("next", {"shop.test": [path("next")]}, annotations=canary))
    found = await fresh.raw(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
    assert found[9:12] == status


@pytest.mark.parametrize("name", [each for each in NAMES if each != "nginx"])
async def test_other_controllers_have_the_fast_path_too(fresh: World, met: list[str], name: str) -> None:
    """Their headers, towards both sides, are those of aiohttp's way."""
    await fresh.start(flavor=flavor(name))
    fresh.create(ingress_class("other", flavor(name).controller), service("web"))
    fresh.create(endpoints("web", [await fresh.pod(echo)]))
    fresh.create(ingress("i", {"shop.test": [path("web")]}, class_name="other"))
    seen = []
    for extra in (b"Connection: close\r\n", b"Connection: close, close\r\n"):
        data = await fresh.raw(b"GET /x HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 1.1.1.1\r\n" + extra + b"\r\n")
        seen.append(without_chance(data))
    assert seen[0] == seen[1]
    assert met == ["GET"]


async def test_requests_sent_ahead_are_answered_in_order(running: World) -> None:
    """Pipelined requests, also those that come while one is under way."""
    release = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/0":
            await release.wait()
        return web.Response(text=request.path)

    running.serve("web", await running.pod(slow))
    reader, writer = await running.open()
    writer.write(GET % b"/0")
    await asyncio.sleep(0.02)  # the request is at the pod
    writer.write(GET % b"/1" + GET % b"/2")
    await asyncio.sleep(0.02)
    release.set()
    assert [await answer(reader) for _ in range(3)] == [b"/0", b"/1", b"/2"]
    writer.close()


async def test_a_refusing_pod_is_skipped(running: World) -> None:
    """A request whose pod refuses is done over with the next one; the log names both."""
    good = await running.pod(named("good"))
    running.create(
        service("web"), endpoints("web", [running.address(), good]), ingress("i", {"shop.test": [path("web")]})
    )
    for _ in range(4):
        assert (await running.get())[2] == b"good"
    lines = [each.text for each in running.log.lines()]
    assert any(" 502, 200 " in each for each in lines)


async def test_no_other_pod_means_502_with_a_reason(running: World) -> None:
    """The page says who refused."""
    running.create(service("web"), endpoints("web", [running.address()]), ingress("i", {"shop.test": [path("web")]}))
    status, headers, _ = await running.get()
    assert status == 502
    assert "refused the connection" in headers["x-ingress-reason"]


async def test_a_caller_who_takes_nothing_slows_only_its_pod(running: World) -> None:
    """What a caller doesn't read stays in the pod: the relay's memory is flat."""
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    running.serve("web", await running.raw_pod(endless))
    reader, writer = await running.open()
    writer.write(GET % b"/")
    await reader.readuntil(b"\r\n\r\n")
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.1)
    assert sent < 64 << 20
    writer.close()


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("coding", [b"Content-Length: 6", b"Transfer-Encoding: chunked"])
async def test_a_stopping_controller_takes_the_rest_of_a_body(running: World, coding: bytes) -> None:
    """A request that has begun before SIGTERM is served, though its body ends afterwards."""

    async def size(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=str(len(await request.read())))

    running.serve("web", await running.pod(size))
    reader, writer = await running.open()
    body = b"6\r\nabcdef\r\n0\r\n\r\n" if b"chunked" in coding else b"abcdef"
    writer.write(b"POST / HTTP/1.1\r\nHost: shop.test\r\n" + coding + b"\r\n\r\n" + body[:4])
    await asyncio.sleep(0.02)
    stopping = asyncio.ensure_future(running.stop())
    await asyncio.sleep(0.02)
    writer.write(body[4:])
    async with asyncio.timeout(5):
        status, headers, got = parse(await reader.read(-1))
    assert (status, headers["connection"], got) == (200, "close", b"6")
    await stopping
    writer.close()


async def test_the_last_answer_of_a_stopping_controller_says_close(running: World) -> None:
    """A running request is answered after SIGTERM; its connection ends with it."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        arrived.set()
        await release.wait()
        return web.Response(text="done")

    running.serve("web", await running.pod(slow))
    reader, writer = await running.open()
    writer.write(GET % b"/")
    await arrived.wait()
    stopping = asyncio.ensure_future(running.stop())
    await asyncio.sleep(0.02)
    release.set()
    status, headers, body = parse(await reader.read(-1))
    assert (status, headers["connection"], body) == (200, "close", b"done")
    await stopping
    writer.close()
