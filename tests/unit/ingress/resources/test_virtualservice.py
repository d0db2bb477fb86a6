"""Istio's Gateway and VirtualService at its ingress gateway."""

import json
from typing import Any

import pytest
from multidict import CIMultiDict

from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.flavors import flavor
from minikube_py.ingress.options import Answer
from minikube_py.ingress.resources.virtualservice import GATEWAYS, VIRTUAL_SERVICES
from minikube_py.ingress.router import Location, Match
from minikube_py.ingress.rules.compile import compile_rules
from minikube_py.ingress.rules.rules import Rules
from minikube_py.ingress.rules.sources import Sources

from ..support import call, echo, endpoints, named, service
from .conftest import Starter

TO_WEB = [{"destination": {"host": "web", "port": {"number": 80}}}]


def gateway(name: str = "door", *hosts: str, port: int = 80, **fields: Any) -> Object:
    server = {"port": {"number": port, "name": "p", "protocol": "HTTP"}, "hosts": list(hosts or "*"), **fields}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": [server]},
    }


def virtual_service(
    name: str, *http: Object, hosts: tuple[str, ...] = ("*",), gateways: tuple[str, ...] = ("door",)
) -> Object:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"hosts": list(hosts), "gateways": list(gateways), "http": list(http)},
    }


def compiled(*objects: Object) -> Rules:
    it = flavor("istio")
    resources = {"Gateway": GATEWAYS, "VirtualService": VIRTUAL_SERVICES}
    found = Sources((resources[each["kind"]], each) for each in objects)
    return compile_rules(found, controller=it.controller, defaults=it.options, flavor=it)


def located(
    rules: Rules, target: str = "/", host: str = "shop.test", chance: float = 0.0, **asked: Any
) -> Location | None:
    path, _, query = target.partition("?")
    headers = CIMultiDict(asked.pop("headers", {}))
    found = rules.table.route(host, path, headers, chance, **{"method": "GET", "query": query, **asked})
    return found.location if isinstance(found, Match) else None


async def test_a_gateway_with_its_routes(controller: Starter) -> None:
    """Over sockets: listed paths go to the Service, others nowhere; a change holds from the next request on."""
    world = await controller("istio")
    for name, pod in (("web", echo), ("other", named("other"))):
        world.create(service(name), endpoints(name, [await world.pod(pod)]))
    matches = [{"uri": {"exact": "/menu"}}, {"uri": {"prefix": "/static"}}]
    world.create(gateway(), virtual_service("shop", {"match": matches, "route": TO_WEB}))
    status, headers, body = await world.get("/menu")
    assert (status, json.loads(body)["path"], headers["server"]) == (200, "/menu", "istio-envoy")
    assert headers["x-envoy-upstream-service-time"].isdigit()
    assert [(await world.get(each))[0] for each in ("/static/x", "/menu/x", "/")] == [200, 404, 404]
    world.api.update(virtual_service("shop", {"route": [{"destination": {"host": "other"}}]}))
    assert (await world.get("/anything"))[2] == b"other"
    world.api.delete(GATEWAYS, "door", "default")
    assert (await world.get("/anything"))[0] == 404


@pytest.mark.parametrize(
    ("match", "target", "asked", "fits"),
    [
        ({"uri": {"prefix": "/a"}}, "/ab", {}, True),
        ({"uri": {"exact": "/a"}}, "/a/", {}, False),
        ({"uri": {"regex": "/v[0-9]+/.*"}}, "/v1/x", {}, True),
        ({"uri": {"prefix": "/A"}, "ignoreUriCase": True}, "/a/x", {}, True),
        ({"method": {"exact": "POST"}}, "/", {}, False),
        ({"method": {"exact": "POST"}}, "/", {"method": "POST"}, True),
        ({"headers": {"x-user": {"exact": "ann"}}}, "/", {"headers": {"X-User": "ann"}}, True),
        ({"headers": {"x-user": {}}}, "/", {}, False),
        ({"withoutHeaders": {"x-user": {}}}, "/", {"headers": {"X-User": "ann"}}, False),
        ({"queryParams": {"beta": {"exact": "1"}}}, "/?beta=1", {}, True),
        ({"authority": {"prefix": "shop."}}, "/", {}, True),
        ({"scheme": {"exact": "https"}}, "/", {}, False),
    ],
)
def test_matches(match: Object, target: str, asked: dict[str, Any], fits: bool) -> None:
    """All conditions of one match, any match of a route."""
    rules = compiled(gateway(), virtual_service("v", {"match": [{"uri": {"exact": "/none"}}, match], "route": TO_WEB}))
    assert (located(rules, target, **asked) is not None) is fits


@pytest.mark.parametrize(
    ("server", "wanted", "host", "served"),
    [
        (("*",), ("shop.test",), "shop.test", True),
        (("*",), ("shop.test",), "b.test", False),
        (("shop.test",), ("*",), "shop.test", True),
        (("shop.test",), ("*",), "b.test", False),
        (("*.test",), ("*.test",), "a.test", True),
        (("default/shop.test",), ("shop.test",), "shop.test", True),
        (("a.test",), ("b.test",), "b.test", False),
    ],
)
def test_hosts_are_those_that_both_name(
    server: tuple[str, ...], wanted: tuple[str, ...], host: str, served: bool
) -> None:
    """The Gateway's and the VirtualService's."""
    rules = compiled(gateway("door", *server), virtual_service("v", {"route": TO_WEB}, hosts=wanted))
    assert (located(rules, host=host) is not None) is served


def test_the_first_route_that_matches_wins() -> None:
    """However long the paths are."""
    short = {"match": [{"uri": {"prefix": "/"}}], "route": [{"destination": {"host": "first"}}]}
    long = {"match": [{"uri": {"prefix": "/a/b"}}], "route": [{"destination": {"host": "second"}}]}
    location = located(compiled(gateway(), virtual_service("v", short, long)), "/a/b")
    assert location is not None
    assert location.backend is not None
    assert location.backend.service == "first"


def test_weights_ports_and_names() -> None:
    """Shares; a port that is not said is the Service's only one; names of other namespaces."""
    route = [
        {"destination": {"host": "one"}, "weight": 10},
        {"destination": {"host": "two.team.svc.cluster.local", "port": {"number": 81}}, "weight": 90},
    ]
    rules = compiled(gateway(), virtual_service("v", {"route": route}))
    keys = []
    for chance in (0.09, 0.11):
        location = located(rules, chance=chance)
        assert location is not None
        keys.append(tuple(location.backend or ())[:3])
    assert keys == [("default", "one", ""), ("team", "two", "81")]


@pytest.mark.parametrize(
    ("uri", "rewrite", "sent", "seen"),
    [
        ({"prefix": "/api/"}, {"uri": "/"}, "/api/x?a=b", "/x?a=b"),
        ({"prefix": "/api"}, {"uri": "/v2"}, "/api/x", "/v2/x"),
        ({"exact": "/old"}, {"uri": "/new"}, "/old", "/new"),
        (
            {"prefix": "/"},
            {"uriRegexRewrite": {"match": "^/u/([^/]+)", "rewrite": r"/users/\1"}},
            "/u/ann/x",
            "/users/ann/x",
        ),
    ],
)
def test_rewrites(uri: Object, rewrite: Object, sent: str, seen: str) -> None:
    """The prefix that matched, or the whole path."""
    rules = compiled(gateway(), virtual_service("v", {"match": [{"uri": uri}], "rewrite": rewrite, "route": TO_WEB}))
    location = located(rules, sent)
    assert location is not None
    request = call(sent)
    for each in location.options.filters:
        assert each.request(request) is None
    assert request.target == seen


@pytest.mark.parametrize(
    ("http", "status", "url"),
    [
        ({"redirect": {"uri": "/new", "authority": "b.test"}}, 301, "http://b.test/new?a"),
        ({"redirect": {"scheme": "https", "redirectCode": 308}}, 308, "https://shop.test/x?a"),
        ({"directResponse": {"status": 418, "body": {"string": "tea"}}}, 418, ""),
        ({"fault": {"abort": {"httpStatus": 503}}, "route": TO_WEB}, 503, ""),
        ({"fault": {"abort": {"httpStatus": 503, "percentage": {"value": 0}}}, "route": TO_WEB}, 0, ""),
    ],
)
def test_answers_without_a_service(http: Object, status: int, url: str) -> None:
    """Redirects, answers, faults."""
    location = located(compiled(gateway(), virtual_service("v", http)), "/x?a")
    assert location is not None
    outcomes = [outcome for each in location.options.filters if (outcome := each.request(call("/x?a"))) is not None]
    if not status:
        assert not outcomes
        return
    (outcome,) = outcomes
    assert isinstance(outcome, Answer)
    assert (outcome.status, dict(outcome.headers).get("Location", "")) == (status, url)


def test_https_servers_and_certificates() -> None:
    """Each server has its own port; its certificate's Secret lies with the gateway; httpsRedirect answers HTTP."""
    rules = compiled(
        gateway("door", "shop.test", tls={"httpsRedirect": True}),
        gateway("safe", "shop.test", port=443, tls={"mode": "SIMPLE", "credentialName": "cert"}),
        virtual_service("v", {"route": TO_WEB}, gateways=("door", "safe")),
    )
    assert rules.tls["shop.test"].secret == Key("istio-system", "cert")
    plain, safe = located(rules), located(rules, secure=True)
    assert plain is not None
    assert safe is not None
    assert not safe.options.filters
    outcome = plain.options.filters[0].request(call("/x"))
    assert isinstance(outcome, Answer)
    assert (outcome.status, dict(outcome.headers)["Location"]) == (301, "https://shop.test/x")


def test_what_has_no_effect_is_told() -> None:
    """Subsets, the mesh, other gateways' pods, ports and fields."""
    foreign = gateway("mine")
    foreign["spec"]["selector"] = {"istio": "eastwest"}
    route = [{"destination": {"host": "web", "subset": "v1"}}]
    rules = compiled(
        gateway(),
        gateway("odd", port=31400),
        foreign,
        virtual_service(
            "v", {"route": route, "delegate": {}, "fault": {"delay": {}}}, gateways=("door", "mesh", "none")
        ),
    )
    told = {key.name: messages for (_, key), messages in rules.custom.items()}
    assert "no gateway's pods have the labels istio=eastwest" in told["mine"][0]
    assert "has no port 31400" in told["odd"][0]
    words = ("gateway mesh", "Gateway default/none does not exist", "delegate", "fault.delay", "subsets")
    assert all(any(word in each for each in told["v"]) for word in words)
