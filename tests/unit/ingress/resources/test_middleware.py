"""Traefik's Middleware, named by an Ingress's annotation."""

import base64
from typing import Any

import pytest

from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.flavors import flavor
from minikube_py.ingress.options import Answer, Call, Subrequest
from minikube_py.ingress.resources.middleware import RESOURCE
from minikube_py.ingress.rules.sources import Sources

from ..support import answered, asked, call, ingress, path, secret

HTTPS = "https://shop.test/x?a"
ANNOTATION = "traefik.ingress.kubernetes.io/router.middlewares"


def middleware(name: str, namespace: str = "default", **spec: Any) -> Object:
    return {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "Middleware",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def made(*middlewares: Object, named: str = "", secrets: tuple[Object, ...] = ()) -> Draft:
    """Read an Ingress that names these in their order."""
    names = ",".join(f"{m['metadata']['namespace']}-{m['metadata']['name']}@kubernetescrd" for m in middlewares)
    obj = ingress("i", {"shop.test": [path("web")]}, annotations={ANNOTATION: named or names}, class_name="traefik")
    it = flavor("traefik")
    objects = [*((RESOURCE, each) for each in middlewares), *(("secrets", each) for each in secrets)]
    return it.read(obj, Sources(objects), it.options)


def outcome(draft: Draft, request: Call) -> tuple[int, str]:
    found = asked(draft, request)
    assert not isinstance(found, Subrequest)
    return (found.status, dict(found.headers).get("Location", "")) if found else (200, request.target or request.uri)


@pytest.mark.parametrize(
    ("spec", "target", "sent"),
    [
        pytest.param({"stripPrefix": {"prefixes": ["/api", "/v1"]}}, "/v1/menu?a=b", "/menu?a=b", id="stripPrefix"),
        pytest.param({"stripPrefix": {"prefixes": ["/api"]}}, "/api", "/", id="stripPrefix: nothing is left"),
        pytest.param({"stripPrefix": {"prefixes": ["/api"]}}, "/apiary", "/ary", id="stripPrefix is about text"),
        pytest.param({"stripPrefix": {"prefixes": ["/api"]}}, "/menu", "/menu", id="stripPrefix: another path"),
        pytest.param({"stripPrefixRegex": {"regex": ["/v[0-9]+"]}}, "/v12/menu", "/menu", id="stripPrefixRegex"),
        pytest.param({"addPrefix": {"prefix": "/shop"}}, "/menu", "/shop/menu", id="addPrefix"),
        pytest.param({"replacePath": {"path": "/x"}}, "/menu?a=b", "/x?a=b", id="replacePath"),
        pytest.param(
            {"replacePathRegex": {"regex": "^/(\\w+)/(.*)", "replacement": "/${2}/$1"}},
            "/a/b/c",
            "/b/c/a",
            id="replacePathRegex",
        ),
        pytest.param({"compress": {}}, "/menu", "/menu", id="compress"),
    ],
)
def test_paths(spec: dict[str, Any], target: str, sent: str) -> None:
    """What the service gets."""
    assert outcome(made(middleware("m", **spec)), call(target)) == (200, sent)


def test_the_service_is_told_what_was_changed() -> None:
    """By a header."""
    request = call("/api/menu")
    asked(made(middleware("m", stripPrefix={"prefixes": ["/api"]})), request)
    assert request.request_headers == {"X-Forwarded-Prefix": "/api"}
    request = call("/menu")
    asked(made(middleware("m", replacePath={"path": "/x"})), request)
    assert request.request_headers == {"X-Replaced-Path": "/menu"}


def test_they_work_in_the_order_of_the_list() -> None:
    """Also those of a chain."""
    strip, add = middleware("s", stripPrefix={"prefixes": ["/a"]}), middleware("p", addPrefix={"prefix": "/a/b"})
    assert outcome(made(strip, add), call("/a/x")) == (200, "/a/b/x")
    assert outcome(made(add, strip), call("/a/x")) == (200, "/b/a/x")
    chain = middleware("c", chain={"middlewares": [{"name": "p"}, {"name": "s", "namespace": "default"}]})
    assert outcome(made(chain, strip, add, named="default-c@kubernetescrd"), call("/a/x")) == (200, "/b/a/x")


@pytest.mark.parametrize(
    ("spec", "request_", "expected"),
    [
        pytest.param({"redirectScheme": {"scheme": "https"}}, {}, (302, HTTPS), id="scheme"),
        pytest.param(
            {"redirectScheme": {"scheme": "https", "permanent": True}},
            {},
            (301, "https://shop.test/x?a"),
            id="permanent",
        ),
        pytest.param(
            {"redirectScheme": {"scheme": "https", "permanent": True}},
            {"method": "POST"},
            (308, "https://shop.test/x?a"),
            id="POST stays POST",
        ),
        pytest.param(
            {"redirectScheme": {"scheme": "https", "port": "8443"}}, {}, (302, "https://shop.test:8443/x?a"), id="port"
        ),
        pytest.param({"redirectScheme": {"scheme": "https"}}, {"scheme": "https"}, (200, "/x?a"), id="already"),
        pytest.param(
            {"redirectRegex": {"regex": "^http://([^/]+)/(.*)", "replacement": "https://www.$1/${2}"}},
            {},
            (302, "https://www.shop.test/x?a"),
            id="regex",
        ),
        pytest.param({"redirectRegex": {"regex": "^ftp", "replacement": "x"}}, {}, (200, "/x?a"), id="no match"),
        pytest.param({"ipAllowList": {"sourceRange": ["10.0.0.0/8"]}}, {}, (200, "/x?a"), id="allowed"),
        pytest.param({"ipAllowList": {"sourceRange": ["192.0.2.1"]}}, {}, (403, ""), id="not allowed"),
    ],
)
def test_answers(spec: dict[str, Any], request_: dict[str, Any], expected: tuple[int, str]) -> None:
    """Redirects and refusals."""
    assert outcome(made(middleware("m", **spec)), call("/x?a", **request_)) == expected


def test_rate_limit() -> None:
    """A burst, then the average; others have buckets of their own."""
    draft, state = made(middleware("m", rateLimit={"average": 120, "period": "1m", "burst": 3})), dict[Any, Any]()
    assert [outcome(draft, call(state=state))[0] for _ in range(4)] == [200, 200, 200, 429]
    assert outcome(draft, call(state=state, remote="10.0.0.2"))[0] == 200
    assert [outcome(draft, call(state=state, now=0.5))[0] for _ in range(2)] == [200, 429]


def test_what_a_rate_limit_remembers_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many callers the longest silent are forgotten."""
    monkeypatch.setattr("minikube_py.ingress.resources.middleware._CALLERS", 3)
    draft, state = made(middleware("m", rateLimit={"average": 1, "burst": 1})), dict[Any, Any]()
    for number in range(9):
        assert outcome(draft, call(state=state, remote=f"10.0.0.{number}"))[0] == 200
    assert sum(map(len, state.values())) == 3
    assert outcome(draft, call(state=state, remote="10.0.0.8"))[0] == 429


def test_requests_in_flight() -> None:
    """Too many at once are refused with 429."""
    draft, state = made(middleware("m", inFlightReq={"amount": 1})), dict[Any, Any]()
    assert [outcome(draft, call(state=state))[0] for _ in range(2)] == [200, 429]


def test_headers() -> None:
    """Of the request and of the answer; an empty one is removed; the shorthands for browsers."""
    draft = made(
        middleware(
            "m",
            headers={
                "customRequestHeaders": {"X-In": "1", "X-Gone": ""},
                "customResponseHeaders": {"X-Out": "2", "Server": ""},
                "frameDeny": True,
                "stsSeconds": 60,
                "stsPreload": True,
            },
        )
    )
    request = call()
    asked(draft, request)
    assert request.request_headers == {"X-In": "1", "X-Gone": ""}
    assert answered(draft, request, ("server", "theirs"), ("Vary", "x")) == [
        ("Vary", "x"),
        ("X-Out", "2"),
        ("X-Frame-Options", "DENY"),
        ("Strict-Transport-Security", "max-age=60; preload"),
    ]


@pytest.mark.parametrize(
    "users",
    [
        secret("users", users="ann:{SHA}6PLzp1L3dUxj5sgcOwKPaH1mDGI=\n"),
        {**secret("users", username="ann", password="pw"), "type": "kubernetes.io/basic-auth"},
    ],
)
def test_basic_auth(users: Object) -> None:
    """Users of a Secret of either form; the service doesn't see the password."""
    draft = made(middleware("m", basicAuth={"secret": "users", "removeHeader": True}), secrets=(users,))
    refused = asked(draft, call())
    assert isinstance(refused, Answer)
    assert refused.headers == (("WWW-Authenticate", 'Basic realm="traefik"'),)
    token = base64.b64encode(b"ann:pw").decode()
    if "type" in users:
        request = call(headers={"Authorization": f"Basic {token}"})
        assert asked(draft, request) is None
        assert request.request_headers == {"Authorization": ""}


def test_forward_auth() -> None:
    """The judge learns of the request, and its refusal is the answer."""
    draft = made(middleware("m", forwardAuth={"address": "http://judge.test/", "authResponseHeaders": ["X-User"]}))
    found = asked(draft, call("/x?y", method="POST"))
    assert isinstance(found, Subrequest)
    told = dict(found.headers)
    assert (told["X-Forwarded-Method"], told["X-Forwarded-Uri"], found.copy_headers) == ("POST", "/x?y", ("X-User",))
    answer = found.failed(302, {"Location": "https://login.test/"})
    assert (answer.status, answer.headers) == (302, [("Location", "https://login.test/")])


@pytest.mark.parametrize(
    ("middlewares", "named", "words"),
    [
        pytest.param([], "default-none@kubernetescrd", "does not exist: its router answers 404", id="missing"),
        pytest.param(
            [middleware("m", chain={"middlewares": [{"name": "m"}]})], "", "in circles", id="a chain of itself"
        ),
        pytest.param([middleware("m", rateLimit={"average": 1, "period": "x"})], "", "is no duration", id="malformed"),
        pytest.param(
            [middleware("m", basicAuth={"secret": "none"})], "", "Secret default/none does not exist", id="no Secret"
        ),
    ],
)
def test_a_router_whose_middleware_cant_be_built_is_not_there(
    middlewares: list[Object], named: str, words: str
) -> None:
    """404, and a problem that says why."""
    draft = made(*middlewares, named=named)
    assert outcome(draft, call())[0] == 404
    assert words in " ".join(draft.problems)


def test_what_has_no_effect_is_named() -> None:
    """Middlewares and fields."""
    draft = made(middleware("m", circuitBreaker={}), middleware("n", headers={"hostsProxyHeaders": ["x"]}))
    assert draft.unknown == [
        "Middleware default/m: circuitBreaker is not emulated and has no effect",
        "Middleware default/n: headers.hostsProxyHeaders is not emulated and has no effect",
    ]


def test_names_with_dashes_in_other_namespaces() -> None:
    """Namespace and name are told apart by what exists; other providers' middlewares are not there."""
    draft = made(middleware("strip-it", "my-team", stripPrefix={"prefixes": ["/a"]}))
    assert outcome(draft, call("/a/b")) == (200, "/b")
    assert "only namespace-name@kubernetescrd" in made(named="m@file").problems[0]
