"""Contour's HTTPProxy."""

import json
from typing import Any

import pytest
from multidict import CIMultiDict

from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.flavors import flavor
from minikube_py.ingress.options import Answer
from minikube_py.ingress.resources.httpproxy import RESOURCE, status_of
from minikube_py.ingress.router import Location, Match
from minikube_py.ingress.rules.compile import compile_rules
from minikube_py.ingress.rules.rules import Rules
from minikube_py.ingress.rules.sources import Sources

from ..support import call, echo, endpoints, named, service
from .conftest import Starter

WEB = [{"name": "web", "port": 80}]


def proxy(name: str, *routes: Object, fqdn: str = "shop.test", tls: Object | None = None, **spec: Any) -> Object:
    host = {"virtualhost": {"fqdn": fqdn, **({"tls": tls} if tls else {})}} if fqdn else {}
    return {
        "apiVersion": "projectcontour.io/v1",
        "kind": "HTTPProxy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**host, **({"routes": list(routes)} if routes else {}), **spec},
    }


def route(*conditions: Object, to: str = "web", **fields: Any) -> Object:
    return {"conditions": list(conditions), "services": [{"name": to, "port": 80}], **fields}


def compiled(*objects: Object) -> Rules:
    it = flavor("contour")
    found = [(RESOURCE, each) for each in objects] + [("services", service(name)) for name in ("web", "other")]
    return compile_rules(Sources(found), controller=it.controller, defaults=it.options, flavor=it)


def located(rules: Rules, target: str = "/", chance: float = 0.0, **asked: Any) -> Location | None:
    path, _, query = target.partition("?")
    headers = CIMultiDict(asked.pop("headers", {}))
    found = rules.table.route("shop.test", path, headers, chance, method="GET", query=query, **asked)
    return found.location if isinstance(found, Match) else None


def said(rules: Rules, name: str) -> str:
    return " | ".join(rules.custom.get((RESOURCE, Key("default", name)), ()))


async def test_over_sockets(controller: Starter) -> None:
    """A host with its routes; a change holds from the next request on."""
    world = await controller("contour")
    for name, pod in (("web", echo), ("other", named("other"))):
        world.create(service(name), endpoints(name, [await world.pod(pod)]))
    rewritten = route(
        {"prefix": "/api"}, pathRewritePolicy={"replacePrefix": [{"prefix": "/api", "replacement": "/v1"}]}
    )
    world.create(proxy("shop", rewritten, route({"prefix": "/"}, to="other")))
    status, headers, body = await world.get("/api/menu?a=b")
    assert (status, json.loads(body)["path"], headers["server"]) == (200, "/v1/menu?a=b", "envoy")
    assert headers["x-envoy-upstream-service-time"].isdigit()
    assert (await world.get("/else"))[2] == b"other"
    assert (await world.get(host="else.test"))[0] == 404
    world.api.update(proxy("shop", route({"prefix": "/"})))
    assert json.loads((await world.get("/else"))[2])["path"] == "/else"


@pytest.mark.parametrize(
    ("conditions", "target", "headers", "fits"),
    [
        ([{"prefix": "/a"}], "/ab", {}, True),
        ([{"prefix": "/a/"}], "/ab", {}, False),
        ([{"exact": "/a"}], "/a/", {}, False),
        ([{"regex": "/v[0-9]+"}], "/v12", {}, True),
        ([{"header": {"name": "x-env", "exact": "eu"}}], "/", {"X-Env": "eu"}, True),
        ([{"header": {"name": "x-env", "contains": "EU", "ignoreCase": True}}], "/", {"X-Env": "new-eu"}, True),
        ([{"header": {"name": "x-env", "notexact": "eu"}}], "/", {}, True),
        ([{"header": {"name": "x-env", "notcontains": "u"}}], "/", {"X-Env": "eu"}, False),
        ([{"header": {"name": "x-env", "present": True}}], "/", {}, False),
        ([{"header": {"name": "x-env", "notpresent": True}}], "/", {}, True),
        ([{"queryParameter": {"name": "p", "prefix": "a"}}], "/?p=abc", {}, True),
        ([{"queryParameter": {"name": "p", "present": True}}], "/?q=1", {}, False),
    ],
)
def test_conditions(conditions: list[Object], target: str, headers: dict[str, str], fits: bool) -> None:
    """All of a route's must hold."""
    assert (located(compiled(proxy("p", route(*conditions))), target, headers=headers) is not None) is fits


@pytest.mark.parametrize(
    ("target", "headers", "service_"),
    [("/a/b/c", {}, "exact"), ("/a/b/x", {}, "long"), ("/a/x", {}, "short"), ("/a/x", {"x-b": "1"}, "headed")],
)
def test_the_most_specific_route_wins(target: str, headers: dict[str, str], service_: str) -> None:
    """Exact, then the longest prefix, then more headers; whatever their order."""
    routes = [
        route({"prefix": "/a"}, to="short"),
        route({"prefix": "/a"}, {"header": {"name": "x-b", "present": True}}, to="headed"),
        route({"prefix": "/a/b"}, to="long"),
        route({"exact": "/a/b/c"}, to="exact"),
    ]
    location = located(compiled(proxy("p", *routes)), target, headers=headers)
    assert location is not None
    assert location.backend is not None
    assert location.backend.service == service_


def test_includes() -> None:
    """Conditions of the include and of the included add up; what nobody includes is an orphan."""
    root = proxy("root", includes=[{"name": "team", "conditions": [{"prefix": "/team"}]}])
    rules = compiled(root, proxy("team", route({"prefix": "/menu"}), fqdn=""), proxy("lost", route(), fqdn=""))
    assert located(rules, "/team/menu/x") is not None
    assert located(rules, "/menu") is None
    assert not said(rules, "team")
    assert "not part of a delegation chain" in said(rules, "lost")


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        pytest.param([proxy("p", includes=[{"name": "none"}])], "include default/none not found", id="missing"),
        pytest.param(
            [proxy("p", includes=[{"name": "c"}]), proxy("c", fqdn="", includes=[{"name": "c"}])],
            "include cycle",
            id="cycle",
        ),
        pytest.param([proxy("p", includes=[{"name": "q"}]), proxy("q", fqdn="b.test")], "another root", id="root"),
        pytest.param([proxy("p"), proxy("q")], 'fqdn "shop.test" is used in multiple HTTPProxies', id="two of a host"),
        pytest.param([proxy("p", route(to="none"))], 'service "default/none" not found', id="Service"),
        pytest.param([proxy("p", tcpproxy={})], "spec.tcpproxy is not emulated", id="a field"),
        pytest.param(
            [proxy("p", route(loadBalancerPolicy={"strategy": "RequestHash"}))],
            "RequestHash is not emulated",
            id="a strategy",
        ),
    ],
)
def test_what_is_wrong_is_told(objects: list[Object], words: str) -> None:
    """On the object that is wrong."""
    assert words in said(compiled(*objects), "p")


def test_weights() -> None:
    """Shares; without weights equal ones; mirrors take none."""
    services = [
        {"name": "web", "port": 80},
        {"name": "other", "port": 80},
        {"name": "copy", "port": 80, "mirror": True},
    ]
    found = []
    for weights in ((90, 10, 100), (0, 0, 0)):
        weighted = [{**each, "weight": weight} for each, weight in zip(services, weights, strict=True)]
        location = located(compiled(proxy("p", {"services": weighted})), chance=0.6)
        assert location is not None
        assert location.backend is not None
        found.append(location.backend.service)
        assert [each.backend.service for each in location.options.mirrors] == ["copy"]
    assert found == ["web", "other"]


@pytest.mark.parametrize(
    ("fields", "tls", "status", "url"),
    [
        pytest.param({}, {"secretName": "cert"}, 301, "https://shop.test/x?a", id="TLS"),
        pytest.param({"permitInsecure": True}, {"secretName": "cert"}, 0, "", id="HTTP is permitted"),
        pytest.param({"requestRedirectPolicy": {"hostname": "b.test"}}, None, 302, "http://b.test/x?a", id="host"),
        pytest.param(
            {"requestRedirectPolicy": {"path": "/y", "statusCode": 301}}, None, 301, "http://shop.test/y?a", id="path"
        ),
        pytest.param({"directResponsePolicy": {"statusCode": 418, "body": "tea"}}, None, 418, "", id="answer"),
        pytest.param({"ipAllowPolicy": [{"source": "Peer", "cidr": "192.0.2.0/24"}]}, None, 403, "", id="address"),
        pytest.param({"ipDenyPolicy": [{"source": "Peer", "cidr": "192.0.2.0/24"}]}, None, 0, "", id="another address"),
    ],
)
def test_answers_without_a_service(fields: Object, tls: Object | None, status: int, url: str) -> None:
    """Redirects, answers, refusals."""
    location = located(compiled(proxy("p", route(**fields), tls=tls)), "/x?a")
    assert location is not None
    outcomes = [found for each in location.options.filters if (found := each.request(call("/x?a"))) is not None]
    assert len(outcomes) == bool(status)
    for outcome in outcomes:
        assert isinstance(outcome, Answer)
        assert (outcome.status, dict(outcome.headers).get("Location", "")) == (status, url)


def test_settings() -> None:
    """Timeouts, retries, headers, limits, cookies, certificates."""
    rules = compiled(
        proxy(
            "p",
            route(
                timeoutPolicy={"response": "1m30s"},
                retryPolicy={"count": 4},
                requestHeadersPolicy={"set": [{"name": "Host", "value": "inner"}, {"name": "X-A", "value": "1"}]},
                loadBalancerPolicy={"strategy": "Cookie"},
                rateLimitPolicy={"local": {"requests": 2, "unit": "minute"}},
            ),
            tls={"secretName": "team/cert"},
        )
    )
    location = located(rules, secure=True)
    assert location is not None
    options = location.options
    assert (options.read_timeout, options.tries, options.vhost) == (90, 5, "inner")
    assert options.affinity_cookie == "X-Contour-Session-Affinity"
    assert rules.tls["shop.test"].secret == Key("team", "cert")
    state: dict[Any, Any] = {}
    seen = [
        [found for each in options.filters if (found := each.request(call(scheme="https", state=state)))]
        for _ in range(3)
    ]
    assert [[each.status for each in found] for found in seen] == [[], [], [429]]


@pytest.mark.parametrize(
    ("messages", "state"),
    [
        ([], "valid"),
        (["spec.tcpproxy is not emulated and has no effect"], "valid"),
        (["include default/none not found"], "invalid"),
        (["this HTTPProxy is not part of a delegation chain from a root HTTPProxy"], "orphaned"),
    ],
)
def test_status(messages: list[str], state: str) -> None:
    """What `kubectl get httpproxy` shows; the time of the last change stays."""
    obj = proxy("p")
    obj["status"] = status = status_of(obj, messages, ["127.200.0.3"], 0.0)
    assert status["currentStatus"] == state
    assert status["conditions"][0]["status"] == str(state == "valid")
    assert ("loadBalancer" in status) is (state == "valid")
    assert status_of(obj, messages, ["127.200.0.3"], 60.0) == status
