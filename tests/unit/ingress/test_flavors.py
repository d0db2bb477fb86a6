"""Controllers beside ingress-nginx: what their paths mean, their redirects, headers and pages."""

import json

import pytest

from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.flavors import NAMES, flavor
from minikube_py.ingress.router import Match
from minikube_py.ingress.rules.compile import compile_rules
from minikube_py.kinds.clusterconfig import INGRESS_CONTROLLERS

from .support import World, echo, endpoints, ingress, ingress_class, path, service, sources


def made(name: str, *paths: Object, annotations: dict[str, str] | None = None, **spec: object) -> Object:
    return ingress("i", {"a.test": list(paths)}, class_name=name, annotations=annotations, **spec)


def test_the_cluster_file_knows_every_controller() -> None:
    """The list of names is the same in both places."""
    assert NAMES == INGRESS_CONTROLLERS
    assert [flavor(each).name for each in NAMES] == list(NAMES)


@pytest.mark.parametrize(
    ("name", "written", "asked", "found"),
    [
        ("alb", "/img/*", "/img/a/b", True),
        ("alb", "/img/*", "/img", False),
        ("alb", "/img", "/img/a", False),
        ("alb", "/img", "/img", True),
        ("alb", "/*/menu", "/a/b/menu", True),
        ("alb", "/v?", "/v12", False),
        ("gce", "/foo/*", "/foo/bar", True),
        ("gce", "/foo/*", "/foo", False),
        ("gce", "/foo", "/foo/bar", False),
        ("kong", "/foo", "/foobar", True),
        ("kong", "/~/v[0-9]+$", "/v12", True),
        ("kong", "/~/v[0-9]+$", "/v12/a", False),
        ("traefik", "/foo", "/foobar", True),
        ("istio", "/foo", "/foo/a", False),
        ("istio", "/foo/.*", "/foo/a", True),
        ("contour", "/foo", "/foobar", True),
        ("contour", "/v[0-9]+/x", "/v7/x", True),
    ],
)
def test_implementation_specific_means_what_the_controller_says(
    name: str, written: str, asked: str, found: bool
) -> None:
    """Wildcards, expressions or plain text, beside ordinary paths on the same host."""
    it = flavor(name)
    table = compile_rules(
        sources(
            ingress_class(name, it.controller),
            made(name, path("web", written, "ImplementationSpecific"), path("other", "/ordinary")),
        ),
        controller=it.controller,
        flavor=it,
    ).table
    assert isinstance(table.route("a.test", asked), Match) is found
    assert isinstance(table.route("a.test", "/ordinary/x"), Match)
    assert isinstance(table.route("a.test", "/ordinaryx"), Match) is (name == "traefik")  # it compares text


async def asked(
    world: World,
    name: str,
    annotations: dict[str, str] | None = None,
    target: str = "/x",
    port: str = "",
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """Ask a controller of this flavor, whose one rule is for /x."""
    it = flavor(name)
    await world.start(flavor=it)
    backend = path("web", "/x")
    if port:
        backend["backend"]["service"] = {"name": port, "port": {"name": "use-annotation"}}
    if name != "nginx":  # that one is there
        world.create(ingress_class(name, it.controller))
    world.create(
        service("web"),
        endpoints("web", [await world.pod(echo)]),
        made(name, backend, annotations=annotations),
    )
    return await world.get(target, "a.test", **headers)


@pytest.mark.parametrize("name", NAMES)
async def test_every_controller_serves(name: str, fresh: World) -> None:
    """The same rule, the same pod."""
    status, _, body = await asked(fresh, name)
    assert status == 200
    assert json.loads(body)["host"] == "a.test"


async def test_kong_speaks_json(fresh: World) -> None:
    """No route: 404 with Kong's message."""
    status, headers, body = await asked(fresh, "kong", target="/nowhere")
    assert (status, headers["server"]) == (404, "kong/3.9.0")
    assert json.loads(body) == {"message": "no Route matched with those values"}


async def test_traefik_speaks_text(fresh: World) -> None:
    """No router: 404 page not found."""
    assert (await asked(fresh, "traefik", target="/nowhere"))[2] == b"404 page not found\n"


async def test_envoy_signs_answers(fresh: World) -> None:
    """Istio's gateway replaces the backend's Server."""
    assert (await asked(fresh, "istio"))[1]["server"] == "istio-envoy"


async def test_a_frontend_config_asks_for_https(fresh: World) -> None:
    """GKE's own kind, named by an annotation."""
    annotations = {"networking.gke.io/v1beta1.FrontendConfig": "safe"}
    it = flavor("gce")
    config = {
        "apiVersion": "networking.gke.io/v1beta1",
        "kind": "FrontendConfig",
        "metadata": {"name": "safe", "namespace": "default"},
        "spec": {"redirectToHttps": {"enabled": True, "responseCodeName": "PERMANENT_REDIRECT"}, "sslPolicy": "x"},
    }
    fresh.create(*it.definitions, config)
    status, headers, _ = await asked(fresh, "gce", annotations)
    assert (status, headers["location"]) == (308, "https://a.test/x")
    rules = fresh.container.extra["tables"].rules
    assert [each.message for each in rules.problems[Key("default", "i")]] == [
        "FrontendConfig default/safe: sslPolicy is not emulated and has no effect"
    ]


@pytest.mark.parametrize("name", ["istio", "contour"])
async def test_envoy_says_little(name: str, fresh: World) -> None:
    """Its words for a Service without pods; why is in a header."""
    it = flavor(name)
    await fresh.start(flavor=it)
    fresh.create(ingress_class(name, it.controller), service("web"), made(name, path("web", "/x")))
    status, headers, body = await fresh.get("/x", "a.test")
    assert (status, body) == (503, b"no healthy upstream")
    assert "no pod matches its selector app=web" in headers["x-ingress-reason"]


async def test_kong_strips_paths_where_asked(fresh: World) -> None:
    """strip-path."""
    _, _, body = await asked(fresh, "kong", {"konghq.com/strip-path": "true"}, "/x/menu?a=1")
    assert json.loads(body)["path"] == "/menu?a=1"


async def test_alb_appends_to_forwarded_for(fresh: World) -> None:
    """What callers say is kept; there is no X-Forwarded-Host."""
    _, _, body = await asked(fresh, "alb", X_Forwarded_For="9.9.9.9")
    headers = json.loads(body)["headers"]
    assert headers["x-forwarded-for"] == "9.9.9.9, 127.0.0.1"
    assert "x-forwarded-host" not in headers
    assert headers["x-amzn-trace-id"].startswith("Root=1-")


async def test_alb_answers_by_actions(fresh: World) -> None:
    """A fixed response in the annotation, a backend that names it."""
    action = {"type": "fixed-response", "fixedResponseConfig": {"statusCode": "418", "messageBody": "short and stout"}}
    annotations = {"alb.ingress.kubernetes.io/actions.teapot": json.dumps(action)}
    status, _, body = await asked(fresh, "alb", annotations, port="teapot")
    assert (status, body) == (418, b"short and stout")


def test_albs_actions_take_their_turn() -> None:
    """Of two paths that are the same the first stays, whichever of them is an action."""
    action = {"type": "fixed-response", "fixedResponseConfig": {"statusCode": "418"}}
    teapot = path("teapot", "/x")
    teapot["backend"]["service"]["port"] = {"name": "use-annotation"}
    it = flavor("alb")
    annotations = {"alb.ingress.kubernetes.io/actions.teapot": json.dumps(action)}
    for paths, backend in (((path("web", "/x"), teapot), "web"), ((teapot, path("web", "/x")), None)):
        made_of = sources(ingress_class("alb", it.controller), made("alb", *paths, annotations=annotations))
        found = compile_rules(made_of, controller=it.controller, flavor=it).table.route("a.test", "/x")
        assert isinstance(found, Match)
        assert (found.location.backend and found.location.backend.service) == backend


def test_alb_forwards_by_weight() -> None:
    """An action names Services and their shares; weight 0 gets nothing."""
    groups = [
        {"serviceName": name, "servicePort": 80, "weight": weight} for name, weight in (("a", 1), ("b", 3), ("c", 0))
    ]
    action = {"type": "forward", "forwardConfig": {"targetGroups": groups}}
    backend = path("blue-green", "/x")
    backend["backend"]["service"]["port"] = {"name": "use-annotation"}
    it = flavor("alb")
    annotations = {"alb.ingress.kubernetes.io/actions.blue-green": json.dumps(action)}
    rules = compile_rules(
        sources(ingress_class("alb", it.controller), made("alb", backend, annotations=annotations)),
        controller=it.controller,
        flavor=it,
    )
    found = [rules.table.route("a.test", "/x", {}, chance) for chance in (0.2, 0.3, 0.99)]
    assert [each.upstream.key.service for each in found if isinstance(each, Match)] == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("name", "annotations", "status"),
    [
        ("alb", {"alb.ingress.kubernetes.io/ssl-redirect": "443", "alb.ingress.kubernetes.io/listen-ports": "[]"}, 301),
        ("kong", {"konghq.com/protocols": "https"}, 426),
        ("kong", {"konghq.com/protocols": "https", "konghq.com/https-redirect-status-code": "308"}, 308),
        ("gce", {"kubernetes.io/ingress.allow-http": "false"}, 404),
        ("traefik", {"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"}, 404),
    ],
)
async def test_https_is_asked_for_in_each_ones_way(
    name: str, annotations: dict[str, str], status: int, fresh: World
) -> None:
    """Redirects, refusals and silence of the HTTP side."""
    assert (await asked(fresh, name, annotations))[0] == status


def test_a_malformed_ingress_does_not_take_the_others_down() -> None:
    """What validation would have refused is left out, and a problem says so."""
    broken = ingress("broken", {"b.test": [path("web")]})
    broken["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = "Nonsense"
    worse = {**ingress("worse"), "spec": {"ingressClassName": "nginx", "rules": 7}}
    rules = compile_rules(sources(broken, worse, ingress("good", {"a.test": [path("web")]})))
    assert isinstance(rules.table.route("a.test", "/"), Match)
    assert {key.name: [each.reason for each in found] for key, found in rules.problems.items()}.keys() >= {
        "broken",
        "worse",
    }


@pytest.mark.parametrize(
    ("protocol", "version", "spoken"),
    [("HTTP", "HTTP1", "HTTP"), ("HTTPS", "HTTP1", "HTTPS"), ("HTTP", "GRPC", "GRPC"), ("HTTPS", "HTTP2", "GRPCS")],
)
def test_what_albs_target_groups_speak(protocol: str, version: str, spoken: str) -> None:
    """backend-protocol with backend-protocol-version: HTTP/2 is how gRPC is spoken."""
    prefix = "alb.ingress.kubernetes.io/backend-protocol"
    annotations = {prefix: protocol, f"{prefix}-version": version}
    rules = compile_rules(
        sources(ingress_class("alb", flavor("alb").controller), made("alb", path("web"), annotations=annotations)),
        controller=flavor("alb").controller,
        flavor=flavor("alb"),
    )
    routed = rules.table.route("a.test", "/")
    assert isinstance(routed, Match)
    assert routed.location.options.protocol == spoken
