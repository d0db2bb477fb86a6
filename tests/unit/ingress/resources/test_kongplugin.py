"""Kong's plugins, named by an Ingress's annotation."""

import base64
import json
from typing import Any

import pytest

from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.flavors import flavor
from minikube_py.ingress.options import Answer, Call
from minikube_py.ingress.rules.sources import Sources

from ..support import answered, asked, call, echo, endpoints, ingress, path, secret, service
from .conftest import Starter

PLUGINS, CLUSTER_PLUGINS, CONSUMERS = flavor("kong").resources[:3]


def plugin(name: str, kind: str, /, **config: Any) -> Object:
    return {
        "apiVersion": "configuration.konghq.com/v1",
        "kind": "KongPlugin",
        "metadata": {"name": name, "namespace": "default"},
        "plugin": kind,
        "config": config,
    }


def consumer(name: str, *credentials: str) -> Object:
    return {
        "apiVersion": "configuration.konghq.com/v1",
        "kind": "KongConsumer",
        "metadata": {"name": name, "namespace": "default"},
        "username": name,
        "credentials": list(credentials),
    }


def credential(name: str, kind: str, **data: str) -> Object:
    made = secret(name, **data)
    made["metadata"]["labels"] = {"konghq.com/credential": kind}
    return made


def made(*plugins: Object, named: str = "", more: tuple[tuple[str, Object], ...] = ()) -> Draft:
    """Read an Ingress that names these plugins."""
    names = named or ",".join(each["metadata"]["name"] for each in plugins)
    obj = ingress("i", {"shop.test": [path("web")]}, annotations={"konghq.com/plugins": names}, class_name="kong")
    it = flavor("kong")
    return it.read(obj, Sources([*((PLUGINS, each) for each in plugins), *more]), it.options)


def told(outcome: object) -> tuple[int, str]:
    assert isinstance(outcome, Answer)
    assert outcome.content is not None
    return outcome.status, json.loads(outcome.content[1])["message"]


def headers_of(draft: Draft, request: Call, *headers: tuple[str, str]) -> dict[str, str]:
    return {name: value for name, value in answered(draft, request, *headers) if name != "Via"}


def test_rate_limiting() -> None:
    """So many a window, and headers that say how many are left."""
    draft, state = made(plugin("p", "rate-limiting", minute=2, hour=100)), dict[Any, Any]()
    seen = []
    for _ in range(2):
        request = call(state=state, now=90.0)
        assert asked(draft, request) is None
        seen.append(headers_of(draft, request)["RateLimit-Remaining"])
    assert seen == ["1", "0"]
    refused = asked(draft, call(state=state, now=90.0))
    assert told(refused) == (429, "API rate limit exceeded")
    assert isinstance(refused, Answer)
    assert dict(refused.headers)["Retry-After"] == "30"
    assert dict(refused.headers)["X-RateLimit-Remaining-Hour"] == "98"
    assert asked(draft, call(state=state, now=90.0, remote="10.0.0.2")) is None
    assert asked(draft, call(state=state, now=120.0)) is None


def test_what_rate_limiting_remembers_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers choose the paths that are counted, so those asked for longest ago are forgotten."""
    monkeypatch.setattr("minikube_py.ingress.resources.kongplugin._WINDOWS", 3)
    draft, state = made(plugin("p", "rate-limiting", minute=1, limit_by="path")), dict[Any, Any]()
    for number in range(9):
        assert asked(draft, call(f"/{number}", state=state)) is None
    assert sum(map(len, state.values())) == 3
    assert told(asked(draft, call("/8", state=state))) == (429, "API rate limit exceeded")


@pytest.mark.parametrize(
    ("config", "target", "headers", "sent", "seen"),
    [
        pytest.param(
            {"add": {"headers": ["X-A:1", "X-Have:no"]}, "remove": {"headers": ["X-Gone"]}},
            "/x",
            {"X-Have": "yes", "X-Gone": "1"},
            "/x",
            {"X-A": "1", "X-Gone": ""},
            id="add and remove",
        ),
        pytest.param(
            {"replace": {"headers": ["X-Have:new", "X-None:1"]}, "rename": {"headers": ["X-Old:X-New"]}},
            "/x",
            {"X-Have": "yes", "X-Old": "1"},
            "/x",
            {"X-Have": "new", "X-New": "1", "X-Old": ""},
            id="replace what is there, rename",
        ),
        pytest.param(
            {"add": {"querystring": ["c:3"]}, "remove": {"querystring": ["a"]}},
            "/x?a=1&b=2",
            {},
            "/x?b=2&c=3",
            {},
            id="arguments",
        ),
        pytest.param({"replace": {"uri": "/y"}}, "/x?a=1", {}, "/y?a=1", {}, id="path"),
    ],
)
def test_request_transformer(
    config: dict[str, Any], target: str, headers: dict[str, str], sent: str, seen: dict[str, str]
) -> None:
    """What the service gets."""
    request = call(target, headers=headers)
    assert asked(made(plugin("p", "request-transformer", **config)), request) is None
    assert (request.target or request.uri) == sent
    assert request.request_headers == seen


def test_response_transformer() -> None:
    """What the caller gets."""
    draft = made(plugin("p", "response-transformer", add={"headers": ["X-A:1"]}, remove={"headers": ["Server"]}))
    assert headers_of(draft, call(), ("Server", "x"), ("Vary", "y")) == {"Vary": "y", "X-A": "1"}


@pytest.mark.parametrize(
    ("config", "status"),
    [({"allow": ["10.0.0.0/8"]}, 0), ({"allow": ["192.0.2.1"]}, 403), ({"deny": ["10.0.0.1"], "status": 404}, 404)],
)
def test_ip_restriction(config: dict[str, Any], status: int) -> None:
    """Allow, deny, and what is said."""
    outcome = asked(made(plugin("p", "ip-restriction", **config)), call())
    assert (told(outcome) if status else outcome) == ((status, "IP address not allowed: 10.0.0.1") if status else None)


def test_request_termination() -> None:
    """A message, or a body of any type."""
    assert told(asked(made(plugin("p", "request-termination")), call())) == (503, "Service unavailable")
    outcome = asked(
        made(plugin("p", "request-termination", status_code=418, body="tea", content_type="text/x")), call()
    )
    assert isinstance(outcome, Answer)
    assert (outcome.status, outcome.content) == (418, ("text/x", "tea"))


def test_cors() -> None:
    """Preflights are answered, for the origins of the list."""
    draft = made(plugin("p", "cors", origins=["https://a.test"], methods=["GET"], credentials=True, max_age=60))
    preflight = call(method="OPTIONS", headers={"Origin": "https://a.test", "Access-Control-Request-Method": "GET"})
    outcome = asked(draft, preflight)
    assert isinstance(outcome, Answer)
    assert (outcome.status, dict(outcome.headers)["Access-Control-Max-Age"]) == (200, "60")
    assert headers_of(draft, call(headers={"Origin": "https://a.test"}))["Access-Control-Allow-Credentials"] == "true"
    assert not headers_of(draft, call(headers={"Origin": "https://b.test"}))


@pytest.mark.parametrize(
    ("kind", "data", "good", "bad"),
    [
        ("key-auth", {"key": "k1"}, {"apikey": "k1"}, {"apikey": "k2"}),
        (
            "basic-auth",
            {"username": "ann", "password": "pw"},
            {"Authorization": "Basic " + base64.b64encode(b"ann:pw").decode()},
            {"Authorization": "Basic " + base64.b64encode(b"ann:no").decode()},
        ),
    ],
)
def test_consumers(kind: str, data: dict[str, str], good: dict[str, str], bad: dict[str, str]) -> None:
    """The service is told who it is; nobody else gets in."""
    draft = made(
        plugin("p", kind, hide_credentials=True),
        more=((CONSUMERS, consumer("ann", "c")), ("secrets", credential("c", kind, **data))),
    )
    request = call(headers=good)
    assert asked(draft, request) is None
    assert request.request_headers == {"X-Consumer-Username": "ann", next(iter(good)): ""}
    assert told(asked(draft, call(headers=bad))) == (401, "Unauthorized")
    assert told(asked(draft, call()))[0] == 401


def test_they_run_in_kongs_order() -> None:
    """Whatever the order of the list: an address that isn't allowed is refused before the request is terminated."""
    draft = made(plugin("t", "request-termination"), plugin("i", "ip-restriction", allow=["192.0.2.1"]))
    assert told(asked(draft, call()))[0] == 403


@pytest.mark.parametrize(
    ("plugins", "named", "words"),
    [
        pytest.param([], "none", "KongPlugin default/none does not exist", id="missing"),
        pytest.param([plugin("p", "rate-limiting")], "", "needs a limit", id="malformed"),
        pytest.param([plugin("p", "acl")], "", "plugin acl is not emulated", id="not emulated"),
    ],
)
def test_what_is_wrong_is_told(plugins: list[Object], named: str, words: str) -> None:
    """And the Ingress serves without it."""
    draft = made(*plugins, named=named)
    assert words in " ".join([*draft.problems, *draft.unknown])
    assert asked(draft, call()) is None


async def test_over_sockets_and_with_measured_latencies(controller: Starter) -> None:
    """A plugin that changes is another plugin from the next request on; answers say how long things took."""
    world = await controller("kong")
    world.create(plugin("p", "response-transformer", add={"headers": ["X-A:1"]}))
    rule = ingress("i", {"shop.test": [path("web")]}, annotations={"konghq.com/plugins": "p"}, class_name="kong")
    world.create(service("web"), endpoints("web", [await world.pod(echo)]), rule)
    _, headers, _ = await world.get()
    assert (headers["x-a"], headers["via"]) == ("1", "1.1 kong/3.9.0")
    assert headers["x-kong-upstream-latency"].isdigit()
    assert headers["x-kong-proxy-latency"].isdigit()
    world.api.update(plugin("p", "request-termination", message="closed"))
    status, headers, body = await world.get()
    assert (status, json.loads(body)) == (503, {"message": "closed"})
    assert "x-kong-upstream-latency" not in headers


def test_a_cluster_plugin_is_found_where_the_namespace_has_none() -> None:
    """KongClusterPlugin."""
    everywhere = {**plugin("p", "request-termination"), "kind": "KongClusterPlugin", "metadata": {"name": "p"}}
    assert told(asked(made(named="p", more=((CLUSTER_PLUGINS, everywhere),)), call()))[0] == 503
