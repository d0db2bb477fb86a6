"""Each annotation through compile and over real sockets; unknown and unreadable ones draw warnings."""

import base64
import json

import pytest
from aiohttp import web

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.annotations import Draft, known, read
from minikube_py.ingress.annotations.limit_rps import LimitRequests
from minikube_py.ingress.compile import compile_rules
from minikube_py.ingress.htpasswd import apr1, supported, verify
from minikube_py.ingress.options import DEFAULTS, Answer, Call

from .support import PREFIX, World, echo, endpoints, ingress, named, path, service, sources

pytestmark = pytest.mark.usefixtures("both_ways")


def draft(**annotations: str) -> Draft:
    names = {name.replace("_", "-"): value for name, value in annotations.items()}
    return read(ingress("i", {"a.test": [path("web")]}, annotations=names), sources())


def call(**changes: object) -> Call:
    fields: dict[str, object] = {
        "method": "GET",
        "scheme": "http",
        "host": "a.test",
        "path": "/",
        "query": "",
        "remote": "10.0.0.1",
        "headers": {},
        "now": 0.0,
        "state": {},
        "tls": False,
        "https_port": 8443,
    }
    return Call(**{**fields, **changes})  # type: ignore[arg-type]


def test_no_annotation_leaves_the_defaults() -> None:
    """An Ingress without annotations shares one settings object: the fast path."""
    assert draft().options() is DEFAULTS


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        pytest.param({"rewrite_tarjet": "/"}, "did you mean nginx.ingress.kubernetes.io/rewrite-target?", id="typo"),
        pytest.param({"configuration_snippet": "x"}, "snippets can't be emulated", id="snippet"),
        pytest.param({"modsecurity_zzz": "x"}, "is not known to this controller and has no effect", id="unknown"),
    ],
)
def test_unknown_annotations_draw_a_warning(annotations: dict[str, str], words: str) -> None:
    """What has no effect is named, with the nearest known name."""
    (message,) = draft(**annotations).unknown
    assert words in message


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({"ssl_redirect": "maybe"}, id="not a flag"),
        pytest.param({"limit_rps": "many"}, id="not a number"),
        pytest.param({"proxy_body_size": "8 elephants"}, id="not a size"),
        pytest.param({"proxy_read_timeout": "1h"}, id="not seconds"),
        pytest.param({"whitelist_source_range": "10.0.0.0/99"}, id="not a CIDR"),
        pytest.param({"app_root": "x"}, id="not a path"),
        pytest.param({"backend_protocol": "GRPC"}, id="gRPC"),
        pytest.param({"auth_url": "ftp://x"}, id="not a URL"),
        pytest.param({"auth_type": "digest"}, id="digest"),
        pytest.param({"affinity": "ip"}, id="affinity by address"),
        pytest.param({"canary": "true", "canary_by_header_pattern": "("}, id="not a pattern"),
        pytest.param({"custom_http_errors": "abc"}, id="not a status"),
        pytest.param({"load_balance": "magic"}, id="unknown balancer"),
    ],
)
def test_unreadable_values_are_problems(annotations: dict[str, str]) -> None:
    """A value that can't be read is reported and has no effect; the Ingress works on."""
    made = draft(**annotations)
    assert made.problems
    assert PREFIX in made.problems[0]
    assert made.options() == DEFAULTS


def test_settings() -> None:
    """Settings land in the options with their units."""
    options = draft(
        proxy_body_size="8m",
        proxy_read_timeout="3600",
        proxy_send_timeout="7s",
        proxy_connect_timeout="2",
        proxy_next_upstream="error timeout non_idempotent",
        proxy_next_upstream_tries="5",
        backend_protocol="https",
        upstream_vhost="inner",
        upstream_hash_by="$request_uri",
    ).options()
    assert (options.body_size, options.read_timeout, options.send_timeout, options.connect_timeout) == (
        8 << 20,
        3600,
        7,
        2,
    )
    assert (options.tries, options.protocol, options.vhost, options.hash_by) == (5, "HTTPS", "inner", "$request_uri")
    assert "non_idempotent" in options.next_upstream


def test_limit_rps_is_a_leaky_bucket() -> None:
    """Burst requests pass at once, the next is refused, and the bucket leaks at the rate; other clients are apart."""
    limit = LimitRequests(Key("d", "i"), "limit-rps", 2.0, 10)
    state: dict[object, object] = {}
    first = [limit.request(call(state=state)) for _ in range(12)]
    assert [each is None for each in first] == [True] * 11 + [False]
    assert isinstance(first[-1], Answer)
    assert first[-1].status == 503
    assert limit.request(call(state=state, remote="10.0.0.2")) is None
    assert limit.request(call(state=state, now=0.5)) is None
    assert limit.request(call(state=state, now=0.5)) is not None


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", id="SHA"),
        pytest.param("{PLAIN}password", id="plain"),
        pytest.param(apr1(b"password", b"abcdefgh"), id="apr1"),
        pytest.param("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", id="apr1 as htpasswd wrote it"),
    ],
)
def test_htpasswd(stored: str) -> None:
    """Stored passwords are recognized, and others are not."""
    assert supported(stored)
    assert verify("password", stored)
    assert not verify("passwore", stored)


@pytest.mark.parametrize(
    ("annotations", "rule", "sent", "seen"),
    [
        pytest.param({"rewrite_target": "/$2"}, "/something(/|$)(.*)", "/something/new?a=1", "/new?a=1", id="group"),
        pytest.param({"rewrite_target": "/$2"}, "/something(/|$)(.*)", "/something", "/", id="an empty group"),
        pytest.param({"rewrite_target": "/"}, "/app", "/app/x", "/", id="no group: all becomes the target"),
        pytest.param({"rewrite_target": "/v?p=$1"}, "/r/(.*)", "/r/x?q=1", "/v?p=x&q=1", id="target with arguments"),
        pytest.param({"use_regex": "true"}, "/foo/[a-z]{3}", "/FOO/baz", "/FOO/baz", id="use-regex alone"),
    ],
)
async def test_rewriting(running: World, annotations: dict[str, str], rule: str, sent: str, seen: str) -> None:
    """The backend gets the rewritten URI."""
    names = {name.replace("_", "-"): value for name, value in annotations.items()}
    pod = await running.pod(echo)
    running.create(
        service("web"),
        endpoints("web", [pod]),
        ingress("i", {"shop.test": [path("web", rule, "ImplementationSpecific")]}, annotations=names),
    )
    assert json.loads((await running.get(sent))[2])["path"] == seen


@pytest.mark.parametrize(
    ("annotations", "request_", "status", "location"),
    [
        pytest.param({"permanent_redirect": "https://x.test"}, {}, 301, "https://x.test", id="permanent"),
        pytest.param(
            {"permanent_redirect": "https://x.test$request_uri", "permanent_redirect_code": "308"},
            {"target": "/a?b"},
            308,
            "https://x.test/a?b",
            id="permanent with code and variable",
        ),
        pytest.param({"temporal_redirect": "http://x.test"}, {}, 302, "http://x.test", id="temporal"),
        pytest.param({"app_root": "/app"}, {}, 302, "http://shop.test/app", id="app-root"),
        pytest.param({"force_ssl_redirect": "true"}, {"target": "/x"}, 308, "https://shop.test/x", id="force-ssl"),
        pytest.param(
            {"force_ssl_redirect": "true"},
            {"host": "shop.test:8080"},
            308,
            "https://shop.test/",
            id="by the host's own door",
        ),
        pytest.param({"from_to_www_redirect": "true"}, {"host": "www.shop.test"}, 308, "http://shop.test/", id="www"),
    ],
)
async def test_redirects(
    running: World, annotations: dict[str, str], request_: dict[str, str], status: int, location: str
) -> None:
    """Redirects answer by themselves, with nginx's status and an absolute Location."""
    running.serve("web", await running.pod(echo), **annotations)
    got, headers, _ = await running.get(**request_)
    assert (got, headers.get("location")) == (status, location)


async def test_sources(running: World) -> None:
    """Allow and deny lists decide by the caller's address, with 403."""
    pod = await running.pod(echo)
    running.create(service("web"), endpoints("web", [pod]))
    for host, annotations in {
        "in.test": {"whitelist-source-range": "127.0.0.0/8"},
        "out.test": {"whitelist-source-range": "10.0.0.0/8"},
        "denied.test": {"denylist-source-range": "127.0.0.0/8"},
    }.items():
        running.create(ingress(host.replace(".", "-"), {host: [path("web")]}, annotations=annotations))
    assert [(await running.get(host=host))[0] for host in ("in.test", "out.test", "denied.test")] == [200, 403, 403]


async def test_basic_auth(running: World) -> None:
    """Only a user of the Secret gets in; a changed Secret holds from the next request on."""
    running.serve("web", await running.pod(echo), auth_type="basic", auth_secret="users", auth_realm="Shop")
    assert (await running.get())[0] == 503  # no Secret yet: nobody

    def secret(line: str) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "users", "namespace": "default"},
            "data": {"auth": base64.b64encode(line.encode()).decode()},
        }

    running.create(secret("ann:{PLAIN}pw\n"))
    good = "Basic " + base64.b64encode(b"ann:pw").decode()
    status, headers, _ = await running.get()
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="Shop"')
    assert (await running.get(Authorization=good))[0] == 200
    running.api.update(secret("ann:{PLAIN}other\n"))
    assert (await running.get(Authorization=good))[0] == 401


async def test_external_auth(running: World) -> None:
    """auth-url decides: 200 passes with its headers, 401 leads to auth-signin, 403 is refused."""

    async def judge(request: web.BaseRequest) -> web.StreamResponse:
        status = int(request.headers.get("X-Want", "200"))
        return web.Response(status=status, headers={"X-User": request.headers["X-Original-URL"]})

    judge_at = await running.pod(judge)
    running.serve(
        "web",
        await running.pod(echo),
        auth_url=f"http://{judge_at}:8080/auth",
        auth_signin="https://login.test/start",
        auth_response_headers="X-User",
    )
    status, _, body = await running.get("/x?y")
    assert (status, json.loads(body)["headers"]["x-user"]) == (200, "http://shop.test/x?y")
    status, headers, _ = await running.get(X_Want="401")
    assert (status, headers["location"]) == (302, "https://login.test/start?rd=http%3A%2F%2Fshop.test%2F")
    assert (await running.get(X_Want="403"))[0] == 403


async def test_cors(running: World) -> None:
    """A preflight is answered here; other answers get the headers, only for allowed origins."""
    running.serve("web", await running.pod(echo), enable_cors="true", cors_allow_origin="https://*.good.test")
    status, headers, _ = await running.request("OPTIONS", Origin="https://a.good.test")
    assert (status, headers["access-control-allow-origin"]) == (204, "https://a.good.test")
    assert headers["access-control-max-age"] == "1728000"
    status, headers, _ = await running.get(Origin="https://a.good.test")
    assert (status, headers["access-control-allow-credentials"]) == (200, "true")
    assert "access-control-allow-origin" not in (await running.get(Origin="https://evil.test"))[1]


async def test_canary(running: World) -> None:
    """The canary takes what its header says; the main backend keeps the rest."""
    running.serve("web", await running.pod(named("main")))
    running.serve("new", await running.pod(named("canary")), canary="true", canary_by_header="X-Canary")
    assert [(await running.get(X_Canary=value))[2] for value in ("always", "never", "x")] == [
        b"canary",
        b"main",
        b"main",
    ]


async def test_cookie_affinity(running: World) -> None:
    """The first answer sets the cookie; with it a caller stays on its pod."""
    running.serve("web", *[await running.pod(named(name)) for name in "abc"], affinity="cookie")
    _, headers, first = await running.get()
    cookie, _, attributes = headers["set-cookie"].partition(";")
    assert attributes.strip() == "Path=/; HttpOnly"
    assert cookie.startswith("INGRESSCOOKIE=")
    assert {(await running.get(Cookie=cookie))[2] for _ in range(5)} == {first}


async def test_upstream_hash_by(running: World) -> None:
    """The same URI goes to the same pod; different ones spread."""
    running.serve("web", *[await running.pod(named(name)) for name in "abc"], upstream_hash_by="$request_uri")
    seen = {target: {(await running.get(target))[2] for _ in range(3)} for target in map("/{}".format, range(12))}
    assert all(len(each) == 1 for each in seen.values())
    assert len({next(iter(each)) for each in seen.values()}) == 3


async def test_headers_and_names(running: World) -> None:
    """upstream-vhost, x-forwarded-prefix, server-alias and custom-headers do what they say."""
    running.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "headers", "namespace": "default"},
            "data": {"X-Mine": "1"},
        }
    )
    running.serve(
        "web",
        await running.pod(echo),
        upstream_vhost="inner.test",
        x_forwarded_prefix="/shop",
        server_alias="alias.test",
        custom_headers="default/headers",
    )
    status, headers, body = await running.get(host="alias.test")
    seen = json.loads(body)
    assert (status, seen["host"], seen["headers"]["x-forwarded-prefix"]) == (200, "inner.test", "/shop")
    assert headers["x-mine"] == "1"


async def test_custom_errors_and_default_backend(running: World) -> None:
    """Listed statuses, and a backend without endpoints, are answered by the default backend."""

    async def broken(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=500)

    async def page(request: web.BaseRequest) -> web.StreamResponse:
        code = request.headers.get("X-Code")
        return web.Response(text=f"page {code}", status=int(code or 200))

    running.create(service("errors"), endpoints("errors", [await running.pod(page)]))
    running.serve("web", await running.pod(broken), custom_http_errors="500", default_backend="errors")
    status, _, body = await running.get("/x")
    assert (status, body) == (500, b"page 500")
    running.api.delete("endpointslices.discovery.k8s.io", "web-abcde", "default")
    assert (await running.get("/x"))[2] == b"page None"


async def test_mirror(running: World) -> None:
    """A copy of each request goes to the mirror; its answer does not matter."""
    import asyncio

    seen: asyncio.Queue[str] = asyncio.Queue()

    async def copy(request: web.BaseRequest) -> web.StreamResponse:
        seen.put_nowait(request.raw_path)
        return web.Response(status=500)

    at = await running.pod(copy)
    running.serve("web", await running.pod(echo), mirror_target=f"http://{at}:8080$request_uri")
    assert (await running.get("/a?b"))[0] == 200
    assert await asyncio.wait_for(seen.get(), 5) == "/a?b"


async def test_limit_connections(running: World) -> None:
    """Requests beyond those in progress are refused with 503, and the count goes down again."""
    import asyncio

    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        asked.set()
        await go.wait()
        return web.Response()

    running.serve("web", await running.pod(slow), limit_connections="1")
    first = asyncio.ensure_future(running.get())
    await asyncio.wait_for(asked.wait(), 5)
    assert (await running.get())[0] == 503
    go.set()
    assert (await first)[0] == 200
    assert (await running.get())[0] == 200


def test_canary_without_main_draws_a_warning() -> None:
    """A canary alone serves nothing and says so."""
    made = ingress("c", {"a.test": [path("web")]}, annotations={"canary": "true"})
    rules = compile_rules(sources(made))
    assert [each.reason for each in rules.problems[Key("default", "c")]] == ["CanaryWithoutMain"]
    assert not rules.table.hosts


def test_every_file_is_listed() -> None:
    """Each annotation file of the folder is read."""
    from pathlib import Path

    import minikube_py.ingress.annotations as folder

    files = {each.stem for each in Path(folder.__file__).parent.glob("*.py")} - {"__init__", "draft"}
    assert files == set(folder._MODULES)
    assert "rewrite-target" in known()
