"""The fast path on the wire: what it serves itself, and what it hands over."""

import asyncio

from aiohttp import web

from minikube_py.ingress.inbound import Inbound

from .support import World, endpoints, ingress, named, parse, path, service

GET = b"GET %b HTTP/1.1\r\nHost: shop.test\r\n\r\n"


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


async def test_simple_requests_never_meet_aiohttp(running: World) -> None:
    """Several GETs on one connection are relayed; a POST is handed over, and the connection stays with aiohttp."""
    running.serve("web", await running.pod(named("web")))
    proxy = running.container.extra["proxy"]
    met: list[str] = []
    inner = proxy.serve

    async def counting(request: Inbound, *, secure: bool) -> None:
        met.append(request.method)
        await inner(request, secure=secure)

    proxy.serve = counting
    reader, writer = await running.open()
    for _ in range(3):
        writer.write(GET % b"/a")
        assert await answer(reader) == b"web"
    assert not met
    writer.write(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\n\r\nx")
    assert await answer(reader) == b"web"
    writer.write(GET % b"/b")
    assert await answer(reader) == b"web"
    assert met == ["POST", "GET"]
    writer.close()


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
