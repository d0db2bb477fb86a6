"""What a Gateway serves beside HTTP/1.1: gRPC by method, HTTP/2 without TLS, TLS passed through, TCP."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.router import Match
from minikube_py.ingress.tls.certificates import context_of

from ..authority import Authority
from ..support import PORT, World, echo, endpoints, service
from .support import HTTP, backend, compiled, condition, gateway, made, route, routed, rule
from .test_server import Serving, secret, serving


def calls(*rules: Object, name: str = "r", **spec: Any) -> Object:
    return made("GRPCRoute", name, {"parentRefs": [{"name": "door"}], "rules": list(rules), **spec})


def method(type_: str = "Exact", **parts: str) -> Object:
    return {"method": {"type": type_, **parts}}


CALLS = compiled(
    gateway(),
    calls(
        rule("a", method(service="shop.Shop", method="Buy")),
        rule("b", method(service="shop.Shop")),
        rule("c", method(method="Buy")),
        rule("d", method("RegularExpression", service="tea[.].*", method="(Brew|Pour)")),
        rule("d", {"headers": [{"name": "who", "value": "vip"}]}),
    ),
)


@pytest.mark.parametrize(
    ("path", "headers", "wanted"),
    [
        ("/shop.Shop/Buy", {}, "a"),
        ("/shop.Shop/Sell", {}, "b"),
        ("/shop.Shop/Sell/x", {}, None),
        ("/shop.Shopping/Sell", {}, None),
        ("/other.Shop/Buy", {}, "c"),
        ("/tea.House/Pour", {}, "d"),
        ("/tea.House/Drink", {}, None),
        ("/any.Thing/Else", {"who": "vip"}, "d"),
        ("/shop.Shop/Sell", {"who": "vip"}, "b"),
    ],
)
def test_calls_are_matched_by_service_and_method(path: str, headers: dict[str, str], wanted: str | None) -> None:
    """The most characters of the service win, then of the method, then headers."""
    assert backend(CALLS, "any.test", path, method="POST", headers=headers) == wanted


@pytest.mark.parametrize(
    ("kind", "app_protocol", "spoken"),
    [
        (route, "", "HTTP"),
        (route, "kubernetes.io/h2c", "GRPC"),
        (route, "kubernetes.io/ws", "HTTP"),
        (route, "https", "HTTPS"),
        (calls, "", "GRPC"),
        (calls, "https", "GRPCS"),
    ],
)
def test_how_backends_are_spoken_to(kind: Any, app_protocol: str, spoken: str) -> None:
    """By the Service port's appProtocol, and gRPC for calls."""
    web = service("web", ports=[{"port": 80, **({"appProtocol": app_protocol} if app_protocol else {})}])
    match = routed(compiled(gateway(), web, kind(rule("web"))), "h", "/")
    assert isinstance(match, Match)
    assert match.location.options.protocol == spoken


class Named(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Answers every call with its name."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def service(self, details: Any) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            return self._name

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
async def servers() -> AsyncIterator[list[Any]]:
    """grpcio's servers, stopped afterwards."""
    running: list[Any] = []
    yield running
    for each in running:
        await each.stop(None)


async def test_grpc_on_an_http_listener(fresh: World, servers: list[Any]) -> None:
    """A real client without TLS (HTTP/2 by prior knowledge), beside HTTP/1.1 on the same port."""
    fresh.create(gateway())
    for name in ("buy", "rest"):
        server = grpc.aio.server(handlers=(Named(name.encode()),))
        address = fresh.address()
        server.add_insecure_port(f"{address}:{PORT}")
        await server.start()
        servers.append(server)
        fresh.create(service(name), endpoints(name, [address]))
    fresh.create(
        calls(
            rule("buy", method(service="shop.Shop", method="Buy")),
            rule("rest", method(service="shop.Shop")),
            hostnames=["calls.test"],
        ),
        service("web"),
        endpoints("web", [await fresh.pod(echo)]),
        route(rule("web"), name="web", hostnames=["a.test"]),
    )
    async with serving(fresh) as get:
        options = (("grpc.default_authority", "calls.test"),)
        async with grpc.aio.insecure_channel(f"{get.address}:{get.ports[80]}", options=options) as channel:
            for path, wanted in (("/shop.Shop/Buy", b"buy"), ("/shop.Shop/Sell", b"rest")):
                assert await channel.unary_unary(path)(b"", timeout=10) == wanted
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await channel.unary_unary("/tea.House/Pour")(b"", timeout=10)
            assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert (await get("/"))[0] == 200


def wires(kind: str, backend_: str, name: str = "wire", port: int = 80, **spec: Any) -> Object:
    body = {"rules": [{"backendRefs": [{"name": backend_, "port": port}]}], "parentRefs": [{"name": "door"}], **spec}
    return made(kind, name, body)


async def say(get: Serving, port: int, text: bytes, **tls: Any) -> bytes:
    """Return what a connection answers to some bytes."""
    reader, writer = await asyncio.open_connection(get.address, get.ports[port], **tls)
    writer.write(text)
    answer = await asyncio.wait_for(reader.read(100), 5)
    writer.close()
    return answer


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read(100)).upper())
    await writer.drain()
    writer.close()


async def test_tcp(fresh: World) -> None:
    """Bytes go to the backend as they are; without an endpoint the connection ends at once."""
    listeners = [{"name": f"p{port}", "port": port, "protocol": "TCP"} for port in (9000, 9001)]
    address = fresh.address()
    server = await asyncio.start_server(shout, address, PORT)
    fresh.create(
        gateway(*listeners),
        service("raw"),
        endpoints("raw", [address]),
        wires("TCPRoute", "raw", parentRefs=[{"name": "door", "sectionName": "p9000"}]),
        wires("TCPRoute", "gone", "lost", parentRefs=[{"name": "door", "sectionName": "p9001"}]),
    )
    async with serving(fresh) as get:
        assert await say(get, 9000, b"hello") == b"HELLO"
        with contextlib.suppress(ConnectionError):
            assert await say(get, 9001, b"hello") == b""
    server.close()
    await server.wait_closed()


async def test_tls_is_passed_through_by_name(fresh: World) -> None:
    """The pod's own certificate is shown; HTTPS of another name ends here, on the same port."""
    pods, cluster = Authority("pods"), Authority("cluster")
    address = fresh.address()
    chain = context_of(pods.issue(["raw.test"]))
    chain.set_alpn_protocols([])
    server = await asyncio.start_server(shout, address, PORT, ssl=chain)
    listeners: list[Object] = [
        {"name": "raw", "port": 443, "protocol": "TLS", "hostname": "raw.test", "tls": {"mode": "Passthrough"}},
        {"name": "web", "port": 443, "protocol": "HTTPS", "hostname": "web.test",
         "tls": {"certificateRefs": [{"name": "crt"}]}},
        {"name": "only", "port": 8443, "protocol": "TLS", "hostname": "raw.test", "tls": {"mode": "Passthrough"}},
    ]  # fmt: skip
    fresh.create(
        secret("crt", cluster.issue(["web.test"])),
        gateway(*listeners),
        service("raw"),
        endpoints("raw", [address]),
        service("web"),
        endpoints("web", [await fresh.pod(echo)]),
        wires("TLSRoute", "raw", hostnames=["raw.test", "other.test"]),
        route(rule("web")),
    )
    async with serving(fresh) as get:
        theirs = ssl.create_default_context(cadata=pods.pem.decode())
        for port in (443, 8443):
            assert await say(get, port, b"hello", ssl=theirs, server_hostname="raw.test") == b"HELLO"
        ours = ssl.create_default_context(cadata=cluster.pem.decode())
        assert (await get("/", "web.test", 443, tls=ours))[0] == 200
        with pytest.raises((ConnectionError, ssl.SSLError)):  # nobody's name, and nothing here ends TLS
            await say(get, 8443, b"hello", ssl=theirs, server_hostname="stranger.test")
    server.close()
    await server.wait_closed()


def test_listeners_take_their_own_kinds() -> None:
    """A TLSRoute goes to TLS, not to HTTP; TLS that is to be ended here is refused; UDP is not served."""
    tls = {"name": "tls", "port": 443, "protocol": "TLS", "tls": {"mode": "Passthrough"}}
    ended = {"name": "ended", "port": 8443, "protocol": "TLS", "tls": {"certificateRefs": [{"name": "x"}]}}
    udp = {"name": "udp", "port": 53, "protocol": "UDP"}
    found = compiled(gateway(HTTP, tls, ended, udp), wires("TLSRoute", "a"), calls(rule("a")))
    assert found.attached == {"http": 1, "tls": 1, "ended": 0, "udp": 0}
    conditions = {each.name: condition(each.conditions, "Accepted") for each in found.listeners}
    assert (conditions["ended"], conditions["udp"]) == ((False, "UnsupportedValue"), (False, "UnsupportedProtocol"))
    assert found.ports == {80: "HTTP", 443: "TLS"}
    for kind, listener in (("TLSRoute", HTTP), ("UDPRoute", udp)):
        alone = compiled(gateway(listener), wires(kind, "a"))
        ((_, conditions_),) = alone.routes[kind, Key("default", "wire")]
        assert condition(conditions_, "Accepted") == (False, "NotAllowedByListeners")
