"""What filters do to requests and answers, without sockets."""

from typing import Any

import pytest

from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.gateway.filters import read_filters
from minikube_py.ingress.options import DEFAULTS, Answer, Call, Options
from minikube_py.ingress.router import BackendKey, normalize_path

MIRRORED = BackendKey("default", "copy", "80")


def options(*specs: Object, before: Options = DEFAULTS) -> Options:
    return read_filters(specs, before, lambda ref: MIRRORED if ref["name"] == "copy" else None)


def call(path: str = "/", *, host: str = "a.test", scheme: str = "http", port: int = 80, method: str = "GET",
         rule: str = "/", https_port: int = 443, **headers: str) -> Call:  # fmt: skip
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call(method, scheme, host, path, "q=1", "127.0.0.1", named, 0.0, {}, False, https_port, rule_path=rule,
                port=port, normalized=normalize_path(path))  # fmt: skip


def redirected(spec: Object, request: Call) -> tuple[int, str]:
    (found,) = options({"type": "RequestRedirect", "requestRedirect": spec}).filters
    answer = found.request(request)
    assert isinstance(answer, Answer)
    return answer.status, dict(answer.headers)["Location"]


@pytest.mark.parametrize(
    ("spec", "how", "location"),
    [
        pytest.param({}, {}, "http://a.test/", id="nothing"),
        pytest.param({}, {"host": "a.test:80"}, "http://a.test/", id="the usual port is left out"),
        pytest.param({}, {"port": 8080}, "http://a.test:8080/", id="the listener's port stays"),
        pytest.param({"port": 80}, {"port": 8080}, "http://a.test/", id="port 80"),
        pytest.param({"port": 8080}, {}, "http://a.test:8080/", id="port 8080"),
        pytest.param({"port": 443}, {}, "http://a.test:443/", id="another scheme's usual port"),
        pytest.param({"scheme": "https"}, {"port": 8080}, "https://a.test/", id="a scheme brings its port"),
        pytest.param({"scheme": "https", "port": 443}, {}, "https://a.test/", id="scheme and its port"),
        pytest.param({"scheme": "https", "port": 8443}, {}, "https://a.test:8443/", id="scheme and port"),
        pytest.param({}, {"scheme": "https", "port": 443}, "https://a.test/", id="HTTPS stays"),
        pytest.param({"port": 8443}, {"scheme": "https", "port": 443}, "https://a.test:8443/", id="HTTPS elsewhere"),
        pytest.param({"scheme": "http"}, {"scheme": "https", "port": 443}, "http://a.test/", id="back to HTTP"),
        pytest.param({"hostname": "b.test"}, {"host": "a.test:1234"}, "http://b.test/", id="another name"),
        pytest.param(
            {"scheme": "https"}, {"host": "a.test:20080", "https_port": 20443}, "https://a.test:20443/", id="moved up"
        ),
        pytest.param({}, {"host": "a.test:20080", "https_port": 20443}, "http://a.test:20080/", id="moved and kept"),
    ],
)
def test_where_a_redirect_leads(spec: Object, how: dict[str, Any], location: str) -> None:
    """The API's rules for scheme and port; path and query stay."""
    assert redirected(spec, call(**how)) == (302, f"{location}?q=1")


FULL = {"type": "ReplaceFullPath"}
PREFIX = {"type": "ReplacePrefixMatch"}


@pytest.mark.parametrize(
    ("path", "rule", "asked", "wanted"),
    [
        ({**FULL, "replaceFullPath": "/one"}, "/full", "/full/two", "/one"),
        ({**PREFIX, "replacePrefixMatch": "/xyz"}, "/foo", "/foo/bar", "/xyz/bar"),
        ({**PREFIX, "replacePrefixMatch": "/xyz/"}, "/foo", "/foo/bar", "/xyz/bar"),
        ({**PREFIX, "replacePrefixMatch": "/xyz"}, "/foo/", "/foo/bar", "/xyz/bar"),
        ({**PREFIX, "replacePrefixMatch": "/xyz/"}, "/foo/", "/foo/bar", "/xyz/bar"),
        ({**PREFIX, "replacePrefixMatch": "/xyz"}, "/foo", "/foo", "/xyz"),
        ({**PREFIX, "replacePrefixMatch": "/xyz"}, "/foo", "/foo/", "/xyz/"),
        ({**PREFIX, "replacePrefixMatch": "/xyz"}, "/foo", "/f%6Fo/%62ar%20x", "/xyz/bar%20x"),
        ({**PREFIX, "replacePrefixMatch": "/xyz"}, "/foo", "/foo/../foo/bar", "/xyz/bar"),
        ({**PREFIX, "replacePrefixMatch": ""}, "/foo", "/foo/bar", "/bar"),
        ({**PREFIX, "replacePrefixMatch": "/"}, "/foo", "/foo/bar", "/bar"),
        ({**PREFIX, "replacePrefixMatch": "/"}, "/foo", "/foo", "/"),
        ({**PREFIX, "replacePrefixMatch": "/xyz"}, "/", "/bar", "/xyz/bar"),
    ],
)
def test_paths_are_replaced(path: Object, rule: str, asked: str, wanted: str) -> None:
    """The table of HTTPPathModifier, for rewrites and redirects alike."""
    (rewrite,) = options({"type": "URLRewrite", "urlRewrite": {"path": path}}).filters
    request = call(asked, rule=rule)
    assert rewrite.request(request) is None
    assert request.target == f"{wanted}?q=1"
    assert redirected({"path": path, "statusCode": 301}, call(asked, rule=rule)) == (
        301,
        f"http://a.test{wanted}?q=1",
    )


def modifier(**spec: Any) -> Object:
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": spec}


def header(name: str, value: str) -> Object:
    return {"name": name, "value": value}


def test_request_headers_of_rule_and_backend_add_up() -> None:
    """Set replaces, add appends to what is there, also to what the rule's own filter made; remove removes."""
    rule = options(modifier(set=[header("X-Set", "new")], add=[header("X-Add", "2")], remove=["X-Gone"]))
    both = options(modifier(add=[header("x-set", "more")]), before=rule)
    request = call(X_Set="old", X_Add="1", X_Gone="yes")
    for each in both.filters:
        each.request(request)
    assert request.request_headers == {"X-Set": "new,more", "X-Add": "1,2", "X-Gone": ""}


def test_filters_leave_the_framing_alone() -> None:
    """Headers on which the connections depend can be neither set nor removed."""
    found = options(
        modifier(set=[header("Content-Length", "0")], add=[header("Transfer-Encoding", "chunked")], remove=["Host"]),
        {
            "type": "ResponseHeaderModifier",
            "responseHeaderModifier": {"set": [header("Content-Length", "0")], "remove": ["Transfer-Encoding"]},
        },
    )
    request = call()
    found.filters[0].request(request)
    assert request.request_headers == {}
    headers = [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
    found.response_filters[0].response(request, 200, headers)
    assert headers == [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]


def test_response_headers() -> None:
    """Set, add, remove; by name whatever its case."""
    spec = {"set": [header("x-a", "new")], "add": [header("X-B", "2")], "remove": ["X-C"]}
    (found,) = options({"type": "ResponseHeaderModifier", "responseHeaderModifier": spec}).response_filters
    headers = [("X-A", "old"), ("X-B", "1"), ("x-c", "gone")]
    found.response(call(), 200, headers)
    assert headers == [("X-B", "1"), ("x-a", "new"), ("X-B", "2")]


@pytest.mark.parametrize(
    ("spec", "share"),
    [({}, 1.0), ({"percent": 20}, 0.2), ({"percent": 0}, 0.0), ({"fraction": {"numerator": 1, "denominator": 4}}, 0.25),
     ({"fraction": {"numerator": 50}}, 0.5)],
)  # fmt: skip
def test_mirrors_have_a_share(spec: Object, share: float) -> None:
    """All, a percentage, a fraction; several mirrors are several; one whose backend can't be used is none."""
    mirrors = [
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": name}, **spec}}
        for name in ("copy", "copy", "gone")
    ]
    assert [(each.backend, each.share) for each in options(*mirrors).mirrors] == [(MIRRORED, share)] * 2


CORS = {
    "type": "CORS",
    "cors": {
        "allowOrigins": ["https://www.foo.com", "https://*.bar.com"],
        "allowMethods": ["GET", "OPTIONS"],
        "allowHeaders": ["x-1", "x-2"],
        "exposeHeaders": ["x-3"],
        "allowCredentials": True,
        "maxAge": 3600,
    },
}


def answered(spec: Object, request: Call) -> tuple[int, dict[str, str]]:
    found = options(spec)
    answer = found.filters[0].request(request)
    headers = list(answer.headers) if isinstance(answer, Answer) else []
    found.response_filters[0].response(request, 200, headers)
    shown = {name.removeprefix("Access-Control-"): value for name, value in headers if name != "Vary"}
    return (answer.status if isinstance(answer, Answer) else 0), shown


def preflight(origin: str, method: str = "GET", **more: str) -> Call:
    return call(method="OPTIONS", Origin=origin, Access_Control_Request_Method=method, **more)


@pytest.mark.parametrize("origin", ["https://www.foo.com", "https://www.bar.com", "https://x.www.bar.com"])
def test_a_preflight_is_answered(origin: str) -> None:
    """For origins that are named, or that a wildcard covers with any number of labels."""
    assert answered(CORS, preflight(origin)) == (
        200,
        {
            "Allow-Origin": origin,
            "Allow-Credentials": "true",
            "Allow-Methods": "GET, OPTIONS",
            "Allow-Headers": "x-1, x-2",
            "Expose-Headers": "x-3",
            "Max-Age": "3600",
        },
    )


@pytest.mark.parametrize("origin", ["https://foobar.com", "http://www.foo.com", "https://bar.com", ""])
def test_other_origins_get_no_permission(origin: str) -> None:
    """Neither for a preflight nor for a request."""
    assert answered(CORS, preflight(origin))[1] == {}
    assert answered(CORS, call(Origin=origin)) == (0, {})


def test_wildcards_of_cors_allow_what_is_asked() -> None:
    """`*` for origins, methods and headers echoes the question, which credentials need."""
    spec = {"type": "CORS", "cors": {"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"]}}
    status, headers = answered(spec, preflight("https://a:1", "PUT", Access_Control_Request_Headers="x-9"))
    assert status == 200
    assert (headers["Allow-Origin"], headers["Allow-Methods"], headers["Allow-Headers"]) == (
        "https://a:1",
        "PUT",
        "x-9",
    )
    assert "Allow-Credentials" not in headers


def test_a_filter_that_is_not_known_is_never_skipped() -> None:
    """500, as the API demands."""
    (found,) = options({"type": "ExtensionRef"}).filters
    answer = found.request(call())
    assert isinstance(answer, Answer)
    assert answer.status == 500
