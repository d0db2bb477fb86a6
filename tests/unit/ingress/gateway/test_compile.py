"""The Gateway API: listeners, hostnames, matches, weights, grants, conditions."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from minikube_py.apimachinery.meta import Key, Object
from minikube_py.images.container import Container, PodInfo
from minikube_py.ingress.gateway.compile import Compiled, compile_gateway
from minikube_py.ingress.gateway.listeners import intersect
from minikube_py.ingress.gateway.table import GatewayTable
from minikube_py.ingress.gateway.server import program
from minikube_py.ingress.router import Match
from minikube_py.ingress.sources import GATEWAYS, GRANTS, ROUTES, SERVICES, Sources

from ..support import World, echo, endpoints, parse, service

GROUP = "gateway.networking.k8s.io"
HTTP: Object = {"name": "http", "port": 80, "protocol": "HTTP"}


def gateway(*listeners: Object) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "metadata": {"name": "door", "namespace": "default"},
        "spec": {"gatewayClassName": "minikube-py", "listeners": list(listeners or (HTTP,))},
    }


def route(*rules: Object, name: str = "r", namespace: str = "default", age: int = 0, **spec: Any) -> Object:
    parent = {"name": "door", "namespace": "default"}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": f"2024-01-01T00:00:{age:02d}Z"},
        "spec": {"parentRefs": [parent], "rules": list(rules), **spec},
    }


def rule(backend: str, *matches: Object, **more: Any) -> Object:
    return {"backendRefs": [{"name": backend, "port": 80}], "matches": list(matches or ({},)), **more}


def prefix(value: str, **more: Any) -> Object:
    return {"path": {"type": "PathPrefix", "value": value}, **more}


_RESOURCE = {"Gateway": GATEWAYS, "HTTPRoute": ROUTES, "ReferenceGrant": GRANTS, "Service": SERVICES}


def compiled(*objects: Object, services: tuple[str, ...] = ("a", "b", "c", "d")) -> Compiled:
    given = [*objects, *map(service, services)]
    return compile_gateway(Sources((_RESOURCE[each["kind"]], each) for each in given), Key("default", "door"))


def backend(found: Compiled, host: str, path: str, port: int = 80, **how: Any) -> str | None:
    table = found.rules.table
    assert isinstance(table, GatewayTable)
    match = table.port_table(port).route(host, path, **how)
    return match.upstream.key.service if isinstance(match, Match) else None


def condition(conditions: Any, type_: str) -> tuple[bool, str]:
    return next((each[1], each[2]) for each in conditions if each[0] == type_)


def parent_of(found: Compiled, namespace: str = "default") -> Any:
    ((_, conditions),) = found.routes[Key(namespace, "r")]
    return conditions


def test_the_more_specific_match_wins() -> None:
    """Exact, then longest prefix by elements, then method, headers, query."""
    found = compiled(
        gateway(),
        route(
            rule("a", prefix("/")),
            rule("b", prefix("/menu"), {"path": {"type": "Exact", "value": "/x"}}),
            rule("c", prefix("/menu", method="POST"), prefix("/", queryParams=[{"name": "v", "value": "2"}])),
            rule("d", prefix("/menu", headers=[{"name": "who", "value": "b.*", "type": "RegularExpression"}])),
        ),
    )
    assert backend(found, "any.test", "/menus") == "a"
    assert backend(found, "any.test", "/menu/1") == "b"
    assert backend(found, "any.test", "/x") == "b"
    assert backend(found, "any.test", "/x/y") == "a"
    assert backend(found, "any.test", "/menu", method="POST") == "c"
    assert backend(found, "any.test", "/q", query="v=2&v=3") == "c"
    assert backend(found, "any.test", "/menu", headers={"who": "bob"}) == "d"


@pytest.mark.parametrize(
    ("listener", "hostname", "common"),
    [
        ("", "a.test", "a.test"),
        ("a.test", "", "a.test"),
        ("*.test", "a.b.test", "a.b.test"),
        ("*.test", "*.b.test", "*.b.test"),
        ("a.b.test", "*.test", "a.b.test"),
        ("*.test", "test", None),
        ("a.test", "b.test", None),
    ],
)
def test_hostnames_intersect(listener: str, hostname: str, common: str | None) -> None:
    """The more specific one, or nothing."""
    assert intersect(listener, hostname) == common


def test_weights_share_requests() -> None:
    """3 to 1, exactly, over evenly spread chance; weight 0 gets nothing."""
    refs = [{"name": "a", "port": 80, "weight": 3}, {"name": "b", "port": 80}, {"name": "c", "port": 80, "weight": 0}]
    found = compiled(gateway(), route({"backendRefs": refs}))
    counted = Counter(backend(found, "h", "/", chance=number / 100) for number in range(100))
    assert counted == {"a": 75, "b": 25}


def test_a_reference_to_another_namespace_needs_a_grant() -> None:
    """Without: 500 and RefNotPermitted; with: served."""
    far = {**service("a"), "metadata": {"name": "a", "namespace": "far"}}
    crossing = route({"backendRefs": [{"name": "a", "namespace": "far", "port": 80}]})
    found = compiled(gateway(), crossing, far)
    assert condition(parent_of(found), "ResolvedRefs") == (False, "RefNotPermitted")
    grant = {
        "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": "far"},
        "spec": {
            "from": [{"group": GROUP, "kind": "HTTPRoute", "namespace": "default"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }
    found = compiled(gateway(), crossing, far, grant)
    assert condition(parent_of(found), "ResolvedRefs") == (True, "ResolvedRefs")


@pytest.mark.parametrize(
    ("made", "listener", "type_", "reason"),
    [
        pytest.param(route(rule("gone")), HTTP, "ResolvedRefs", "BackendNotFound", id="no such service"),
        pytest.param(
            route({"backendRefs": [{"name": "a", "kind": "Cake"}]}),
            HTTP,
            "ResolvedRefs",
            "InvalidKind",
            id="no service",
        ),
        pytest.param(
            route(rule("a"), hostnames=["b.test"]),
            {**HTTP, "hostname": "a.test"},
            "Accepted",
            "NoMatchingListenerHostname",
            id="other hostname",
        ),
        pytest.param(
            route(rule("a"), parentRefs=[{"name": "door", "sectionName": "x"}]),
            HTTP,
            "Accepted",
            "NoMatchingParent",
            id="no such listener",
        ),
        pytest.param(route("nonsense"), HTTP, "Accepted", "UnsupportedValue", id="malformed"),  # type: ignore[arg-type]
    ],
)
def test_routes_say_what_is_wrong(made: Object, listener: Object, type_: str, reason: str) -> None:
    """Conditions with the conformance suite's reasons; a good route beside it is served."""
    found = compiled(gateway(listener), made, route(rule("b"), name="good", age=1))
    assert condition(parent_of(found), type_) == (False, reason)
    assert backend(found, "a.test", "/good") in ("b", "gone", "a")


def test_other_namespaces_are_not_allowed_by_default() -> None:
    """allowedRoutes.namespaces.from is Same; All lets them in, and they are counted."""
    other = route(rule("a"), namespace="far")
    assert condition(parent_of(compiled(gateway(), other), "far"), "Accepted") == (False, "NotAllowedByListeners")
    found = compiled(gateway({**HTTP, "allowedRoutes": {"namespaces": {"from": "All"}}}), other)
    assert condition(parent_of(found, "far"), "Accepted") == (True, "Accepted")
    assert found.attached["http"] == 1


def test_listeners_say_what_is_wrong() -> None:
    """A missing Secret, an unknown protocol, two listeners that can't be told apart."""
    secure = {"name": "s", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "none"}]}}
    tcp = {"name": "t", "port": 9, "protocol": "TCP"}
    found = compiled(gateway(HTTP, secure, tcp, {**HTTP, "name": "again"}))
    conditions = {each.name: each.conditions for each in found.listeners}
    assert condition(conditions["s"], "ResolvedRefs") == (False, "InvalidCertificateRef")
    assert condition(conditions["t"], "Accepted") == (False, "UnsupportedProtocol")
    assert condition(conditions["again"], "Conflicted") == (True, "HostnameConflict")
    assert found.accepted[1:3] == (False, "ListenersNotValid")


async def test_filters_on_the_wire(fresh: World) -> None:
    """Headers, rewrite and redirect, through the program that runs in a Gateway's pod."""
    filters = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "X-A", "value": "1"}]}},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "X-B", "value": "2"}]}},
        {
            "type": "URLRewrite",
            "urlRewrite": {
                "hostname": "inner.test",
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"},
            },
        },
    ]
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
    fresh.create(
        gateway(),
        service("web"),
        endpoints("web", [await fresh.pod(echo)]),
        route(rule("web", prefix("/old"), filters=filters), {"matches": [prefix("/r")], "filters": [redirect]}),
    )
    address = fresh.address()
    container = Container(
        "gateway",
        "i",
        PodInfo("default", "door-x", "u", address, "h", "n", "127.0.0.1"),
        lambda text: fresh.log.write(text, 0.0),
        args=("--gateway=default/door", "--listen=80/HTTP"),
    )
    running = asyncio.ensure_future(program(fresh.api, fresh.clock, host=address)(container))
    await container.ready.wait()

    async def get(target: str) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection(address, container.extra["ports"][80])
        writer.write(f"GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode())
        found: tuple[int, dict[str, str], bytes] = parse(await reader.read(-1))
        writer.close()
        return found

    status, headers, body = await get("/old/x?q=1")
    seen = json.loads(body)
    assert (status, headers["x-b"], seen["path"], seen["host"]) == (200, "2", "/new/x?q=1", "inner.test")
    assert seen["headers"]["x-a"] == "1"
    status, headers, _ = await get("/r/x")
    assert (status, headers["location"]) == (301, "https://a.test/r/x")
    container.terminated.set()
    await running
