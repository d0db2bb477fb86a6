"""The program in a Gateway's pod, over real sockets."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from minikube_py.apimachinery.meta import Object
from minikube_py.images.container import Container, PodInfo
from minikube_py.ingress.gateway.server import program
from minikube_py.ingress.rules.sources import GATEWAYS
from minikube_py.ingress.tls.certificates import fake_certificate

from ..support import World, echo, endpoints, parse, service
from .support import HTTP, gateway, prefix, route, rule


class Serving:
    """A running data plane: `await it(target, host, port)` → (status, headers, JSON body or bytes)."""

    def __init__(self, address: str, container: Container) -> None:
        self.address = address
        self._container = container

    @property
    def ports(self) -> dict[int, int]:
        """Of the listeners → those that are really bound."""
        found: dict[int, int] = self._container.extra["ports"]
        return found

    async def __call__(
        self, target: str, host: str = "a.test", port: int = 80, *, tls: ssl.SSLContext | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        name = host if tls is not None else None
        reader, writer = await asyncio.open_connection(self.address, self.ports[port], ssl=tls, server_hostname=name)
        lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += (f"{name.replace('_', '-')}: {value}" for name, value in headers.items())
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        status, found, body = parse(await reader.read(-1))
        writer.close()
        return status, found, json.loads(body) if body[:1] == b"{" else body


@contextlib.asynccontextmanager
async def serving(world: World) -> AsyncIterator[Serving]:
    """Run the program on free ports."""
    address = world.address()
    container = Container(
        "gateway",
        "i",
        PodInfo("default", "door-x", "u", address, "h", "n", "127.0.0.1"),
        lambda text: world.log.write(text, 0.0),
        args=("--gateway=default/door",),
    )
    running = asyncio.ensure_future(program(world.api, world.clock, host=address, relay=world.relay)(container))
    ready = asyncio.ensure_future(container.ready.wait())
    await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if running.done():
        running.result()
    try:
        yield Serving(address, container)
    finally:
        container.terminated.set()
        await running


def headers(kind: str, **spec: Any) -> Object:
    return {"type": kind, kind[0].lower() + kind[1:]: spec}


def header(name: str, value: str) -> Object:
    return {"name": name, "value": value}


async def test_filters_of_rule_and_backend(fresh: World, both_ways: str) -> None:
    """Headers both ways, rewrite and redirect; the backend's own filters come after the rule's."""
    rewrite = {
        "type": "URLRewrite",
        "urlRewrite": {"hostname": "inner.test", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}},
    }
    ref = {"name": "web", "port": 80, "filters": [headers("RequestHeaderModifier", add=[header("X-A", "2")])]}
    filters = [
        headers("RequestHeaderModifier", set=[header("X-A", "1")], remove=["X-Gone"]),
        headers("ResponseHeaderModifier", add=[header("X-B", "2")]),
        rewrite,
    ]
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
    fresh.create(
        gateway(),
        service("web"),
        endpoints("web", [await fresh.pod(echo)]),
        route(
            {"matches": [prefix("/old")], "filters": filters, "backendRefs": [ref]},
            {"matches": [prefix("/r")], "filters": [redirect]},
            rule("web", prefix("/r", headers=[{"name": "x-way", "value": "on"}])),
        ),
    )
    async with serving(fresh) as get:
        assert (await get("/r/x", X_Way="on"))[0] == 200
        status, found, seen = await get("/old/x?q=1", X_Gone="yes")
        assert (status, found["x-b"], seen["path"], seen["host"]) == (200, "2", "/new/x?q=1", "inner.test")
        assert seen["headers"]["x-a"] == "1,2"
        assert "x-gone" not in seen["headers"]
        status, found, _ = await get("/r/x")
        assert (status, found["location"]) == (301, "https://a.test/r/x")
        assert (await get("/nothing"))[0] == 404


async def test_what_cannot_be_served_says_why(fresh: World, both_ways: str) -> None:
    """500 for what is invalid, 503 for a Service without endpoints, 404 for another host."""
    fresh.create(
        gateway(),
        service("idle"),
        route(rule("gone", prefix("/gone")), rule("idle", prefix("/idle")), hostnames=["a.test"]),
    )
    async with serving(fresh) as get:
        status, _, page = await get("/gone")
        assert status == 500
        assert b"Service default/gone does not exist" in page
        assert (await get("/idle"))[0] == 503
        status, _, page = await get("/", "b.test")
        assert status == 404
        assert b"known: a.test" in page


async def test_timeouts_answer_504(fresh: World, both_ways: str) -> None:
    """timeouts.request and timeouts.backendRequest; a quick answer passes, 0s is no limit."""
    held = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        if "slow" in request.raw_path:
            await held.wait()
        return web.Response(text="done")

    fresh.create(
        gateway(),
        service("web"),
        endpoints("web", [await fresh.pod(slow)]),
        route(
            rule("web", prefix("/request"), timeouts={"request": "50ms"}),
            rule("web", prefix("/backend"), timeouts={"backendRequest": "50ms"}),
            rule("web", prefix("/off"), timeouts={"request": "0s"}),
        ),
    )
    async with serving(fresh) as get:
        assert (await get("/request"))[0] == 200
        status, _, page = await get("/request/slow")
        assert status == 504
        assert b"timeouts.request" in page
        assert (await get("/backend/slow"))[0] == 504
        waiting = asyncio.ensure_future(get("/off/slow"))
        held.set()
        assert (await waiting)[0] == 200


async def test_mirrors_get_copies(fresh: World, both_ways: str) -> None:
    """Each mirror one, with method, path and headers; the caller sees only the backend's answer."""
    copies: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def copy(name: str) -> Any:
        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            copies.put_nowait((name, f"{request.raw_path} {request.headers['X-Me']}"))
            return web.Response(status=500)

        return handler

    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "one", "port": 80}}}
    second = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "two", "port": 80}}}
    never = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "one", "port": 80}, "percent": 0}}
    fresh.create(gateway(), *map(service, ("web", "one", "two")))
    for name, handler in (("web", echo), ("one", copy("one")), ("two", copy("two"))):
        fresh.create(endpoints(name, [await fresh.pod(handler)]))
    fresh.create(route(rule("web", filters=[mirror, second, never])))
    async with serving(fresh) as get:
        assert (await get("/x?q=1", X_Me="me"))[0] == 200
        found = {await asyncio.wait_for(copies.get(), 5) for _ in range(2)}
        assert found == {("one", "/x?q=1 me"), ("two", "/x?q=1 me")}
        assert copies.empty()


def secret(name: str, pair: tuple[bytes, bytes]) -> Object:
    data = {key: base64.b64encode(value).decode() for key, value in zip(("tls.crt", "tls.key"), pair, strict=True)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/tls",
        "data": data,
    }


async def test_https_listeners_show_their_own_certificates(fresh: World) -> None:
    """By port and server name, though the hostname is the same."""
    pairs = {name: fake_certificate() for name in ("one", "two")}

    def listener(name: str, port: int) -> Object:
        tls = {"certificateRefs": [{"name": name}]}
        return {"name": name, "port": port, "protocol": "HTTPS", "hostname": "a.test", "tls": tls}

    fresh.create(*(secret(name, pair) for name, pair in pairs.items()))
    fresh.create(
        gateway(HTTP, listener("one", 443), listener("two", 8443)),
        service("web"),
        endpoints("web", [await fresh.pod(echo)]),
        route(rule("web")),
    )
    async with serving(fresh) as get:
        for name, port in (("one", 443), ("two", 8443)):
            context = ssl.create_default_context(cadata=pairs[name][0].decode())
            context.check_hostname = False
            status, _, seen = await get("/", port=port, tls=context)
            assert (status, seen["headers"]["x-forwarded-proto"]) == (200, "https")


async def test_listeners_come_and_go_without_the_others(fresh: World) -> None:
    """A connection of a listener that stays is kept; a new port answers; one that is gone doesn't."""
    fresh.create(gateway(), service("web"), endpoints("web", [await fresh.pod(echo)]), route(rule("web")))
    async with serving(fresh) as get:
        reader, writer = await asyncio.open_connection(get.address, get.ports[80])

        async def again() -> bytes:
            writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            return head[:12]

        def listen(*listeners: Object) -> None:
            door: Any = fresh.api.get(GATEWAYS, "door", "default")
            fresh.api.update({**door, "spec": {**door["spec"], "listeners": list(listeners)}})

        async def until(*ports: int) -> None:
            while tuple(get.ports) != ports:
                await asyncio.sleep(0)

        assert await again() == b"HTTP/1.1 200"
        listen(HTTP, {**HTTP, "name": "more", "port": 8080})
        await asyncio.wait_for(until(80, 8080), 5)
        assert (await get("/", port=8080))[0] == 200
        gone = get.ports[8080]
        listen(HTTP)
        await asyncio.wait_for(until(80), 5)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(get.address, gone)
        assert await again() == b"HTTP/1.1 200"
        writer.close()
