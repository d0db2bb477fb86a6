"""From objects to a routing table: merging, conflicts, classes, default backends, backends."""

import pytest

from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.router import Match, NoMatch, RoutingTable
from minikube_py.ingress.rules.backends import compile_table
from minikube_py.ingress.rules.compile import compile_rules

from ..support import endpoints, ingress, ingress_class, path, service, sources


def compiled(*objects: Object) -> RoutingTable:
    given = sources(*objects)
    return compile_table(compile_rules(given), given)


def goes_to(table: RoutingTable, host: str, path_: str) -> str:
    """Return the Service that a request goes to, or the reason why none."""
    routed = table.route(host, path_)
    return routed.upstream.key.service if isinstance(routed, Match) else routed.reason


def test_several_ingresses_share_a_host() -> None:
    """Rules of several Ingresses for one host are merged."""
    table = compiled(
        ingress("one", {"shop.test": [path("menu", "/menu")]}),
        ingress("two", {"shop.test": [path("order", "/order")]}),
    )
    assert goes_to(table, "shop.test", "/menu/1") == "menu"
    assert goes_to(table, "shop.test", "/order") == "order"


def test_the_oldest_wins_a_conflict() -> None:
    """Of two Ingresses with the same host, path and type the older stays, and the younger gets a warning."""
    given = sources(
        ingress("young", {"shop.test": [path("second")]}, age=9), ingress("old", {"shop.test": [path("first")]}, age=1)
    )
    rules = compile_rules(given)
    assert goes_to(rules.table, "shop.test", "/") == "first"
    (problem,) = rules.problems[Key("default", "young")]
    assert problem.reason == "Conflict"
    assert "default/old, which is older" in problem.message


@pytest.mark.parametrize(
    ("made", "classes", "served"),
    [
        pytest.param({"class_name": "nginx"}, [], True, id="its class"),
        pytest.param({"class_name": "other"}, [], False, id="a class that does not exist"),
        pytest.param({"class_name": "alb"}, [ingress_class("alb", "aws")], False, id="another controller's class"),
        pytest.param(
            {"class_name": None, "annotations": {"kubernetes.io/ingress.class": "nginx"}}, [], True, id="annotation"
        ),
        pytest.param(
            {"class_name": None, "annotations": {"kubernetes.io/ingress.class": "gce"}}, [], False, id="annotated gce"
        ),
        pytest.param({"class_name": None}, [], False, id="no class and no default"),
        pytest.param({"class_name": None}, [ingress_class("d", default=True)], True, id="the default class"),
        pytest.param(
            {"class_name": None}, [ingress_class("d", "aws", default=True)], False, id="another's default class"
        ),
    ],
)
def test_classes(made: dict[str, object], classes: list[Object], served: bool) -> None:
    """An Ingress is served by class name, annotation or default class, and by nothing else."""
    rules = compile_rules(sources(*classes, ingress("one", {"shop.test": [path("web")]}, **made)))  # type: ignore[arg-type]
    assert (Key("default", "one") in rules.served) is served


def test_an_ingress_without_class_says_so_to_callers() -> None:
    """A 404 tells that an Ingress exists which nobody serves."""
    routed = compiled(ingress("lost", {"shop.test": [path("web")]}, class_name=None)).route("shop.test", "/")
    assert isinstance(routed, NoMatch)
    assert "Ingress default/lost: it names no class" in routed.reason


def test_default_backends() -> None:
    """An Ingress's default backend takes its hosts' other paths, one without rules takes every other host."""
    table = compiled(
        ingress("ruled", {"shop.test": [path("menu", "/menu")]}, default="rest"),
        ingress("all", None, default="everything"),
    )
    assert goes_to(table, "shop.test", "/menu") == "menu"
    assert goes_to(table, "shop.test", "/other") == "rest"
    assert goes_to(table, "unknown.test", "/") == "everything"


def test_a_default_backend_beside_rules_takes_unknown_hosts_too() -> None:
    """As the API says: requests that match no rule go to the default backend."""
    assert goes_to(compiled(ingress("i", {"a.test": [path("a")]}, default="rest")), "b.test", "/") == "rest"


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        pytest.param([], 'Service "default/web" does not exist', id="no Service"),
        pytest.param(
            [service("web", ports=[{"name": "x", "port": 81}])],
            'Service "default/web" has no port "80" (its ports: x=81)',
            id="no such port",
        ),
        pytest.param(
            [service("web")],
            'Service "default/web" has no endpoints: no pod matches its selector app=web',
            id="no pods",
        ),
        pytest.param(
            [service("web"), endpoints("web", ["10.0.0.1"], ready=False)],
            'Service "default/web" has no ready endpoint (1 not ready)',
            id="none ready",
        ),
        pytest.param(
            [service("web", ports=[{"name": "http", "port": 80, "protocol": "UDP"}])],
            'port "80" of Service "default/web" is UDP, HTTP needs TCP',
            id="UDP",
        ),
    ],
)
def test_backends_without_endpoints_say_why(objects: list[Object], reason: str) -> None:
    """What a 503 says names the Service and the cause."""
    routed = compiled(ingress("i", {"a.test": [path("web")]}), *objects).route("a.test", "/")
    assert isinstance(routed, Match)
    assert not routed.upstream.endpoints
    assert routed.upstream.reason == reason


@pytest.mark.parametrize("port", [80, "http"])
def test_ports_by_number_and_name(port: int | str) -> None:
    """A backend's port is found by number and by name; the pods' own port is what counts in the end."""
    table = compiled(
        ingress("i", {"a.test": [path("web", port=port)]}), service("web"), endpoints("web", ["10.0.0.1", "10.0.0.2"])
    )
    routed = table.route("a.test", "/")
    assert isinstance(routed, Match)
    assert [str(each) for each in routed.upstream.endpoints] == ["10.0.0.1:8080", "10.0.0.2:8080"]


def test_external_names_and_cluster_ips() -> None:
    """ExternalName goes to the name; service-upstream goes to the ClusterIP."""
    table = compiled(
        ingress("i", {"a.test": [path("ext")]}),
        ingress("j", {"b.test": [path("web")]}, annotations={"service-upstream": "true"}),
        service("ext", type="ExternalName", externalName="db.example.com"),
        service("web", clusterIP="10.96.0.9"),
    )
    for host, endpoint in (("a.test", "db.example.com:80"), ("b.test", "10.96.0.9:80")):
        routed = table.route(host, "/")
        assert isinstance(routed, Match)
        assert [str(each) for each in routed.upstream.endpoints] == [endpoint]


def test_resource_backends_are_refused() -> None:
    """A resource backend answers 503 with its name, and draws a warning."""
    made = ingress("i", {"a.test": []})
    made["spec"]["rules"][0]["http"]["paths"] = [
        {"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "b"}}}
    ]
    rules = compile_rules(sources(made))
    routed = rules.table.route("a.test", "/")
    assert isinstance(routed, Match)
    assert "resource backends are not supported by this controller (Bucket/b)" in routed.upstream.reason
    assert [each.reason for each in rules.problems[Key("default", "i")]] == ["ResourceBackendNotSupported"]


def test_a_path_that_looks_like_a_regular_expression_draws_a_warning() -> None:
    """Without use-regex a pattern is compared literally, which is rarely meant."""
    made = ingress("i", {"a.test": [path("web", "/x(/|$)(.*)", "ImplementationSpecific")]})
    assert [each.reason for each in compile_rules(sources(made)).problems[Key("default", "i")]] == ["PathIsNoRegex"]


def test_terminating_ingresses_are_gone() -> None:
    """A deleted Ingress with finalizers serves no more."""
    made = ingress("i", {"a.test": [path("web")]})
    made["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    assert not compile_rules(sources(made)).served
