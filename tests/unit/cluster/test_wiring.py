"""What manifests wire together, read from objects alone."""

from typing import Any

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery.meta import Key
from minikube_py.apiserver.operations import Operations
from minikube_py.cluster.wiring import Route, edges, routes, services, workloads


@pytest.fixture
def api() -> Operations:
    return Operations(VirtualClock(), seed=1)


def service(name: str, *ports: int, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"name": f"p{p}", "port": p} for p in ports], **spec},
    }


def pod(**container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "x", **container}]},
    }


@pytest.mark.parametrize(
    ("name", "value", "service_name", "port"),
    [
        pytest.param("DB_HOST", "db", "db", 5432, id="the name alone, in a variable that is called an address"),
        pytest.param("DATABASE_URL", "postgres://u:p@db:5432/x", "db", 5432, id="a URL with user and port"),
        pytest.param("REDIS", "redis://cache", "cache", 6379, id="a URL's scheme has a port"),
        pytest.param("API", "http://api.shop.svc.cluster.local/v1", "api", 8080, id="a full name in another namespace"),
        pytest.param("API", "api.shop:9090", "api", 9090, id="namespace and port"),
        pytest.param("KAFKA_BROKERS", "db,cache", "cache", 6379, id="one of a list"),
    ],
)
def test_a_variable_that_names_a_service_is_an_edge(
    api: Operations, name: str, value: str, service_name: str, port: int
) -> None:
    """An address in the environment is a call that the container would make."""
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    for each in (service("db", 5432), service("cache", 6379), service("api", 8080, 9090, namespace="shop")):
        api.create(each)
    api.create(pod(env=[{"name": name, "value": value}]))
    found = [edge for edge in edges(api) if edge.service.name == service_name]
    assert [(edge.port, edge.via, edge.workload) for edge in found] == [(port, f"env {name}", "Pod/web")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("MODE", "db", id="a bare word that is no address"),
        pytest.param("NOTE_TEXT", "the db is slow", id="a word in a sentence"),
        pytest.param("API_URL", "https://db.example.com/", id="a name outside the cluster"),
        pytest.param("DB_HOST", "mydb", id="a name that only ends alike"),
    ],
)
def test_what_only_looks_like_a_service_is_no_edge(api: Operations, name: str, value: str) -> None:
    """Words are not addresses: a false edge would be a false finding."""
    api.create(service("db", 5432))
    api.create(pod(env=[{"name": name, "value": value}]))
    assert edges(api) == []


def test_config_maps_siblings_and_arguments_are_read(api: Operations) -> None:
    """Values from ConfigMaps, the port in a sibling variable, $(VAR) and command lines count."""
    api.create(service("db", 5432, 6432))
    config = {"DB_HOST": "db", "DB_PORT": "6432"}
    api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": config})
    api.create(
        pod(
            envFrom=[{"configMapRef": {"name": "config"}}],
            env=[{"name": "TARGET", "value": "$(DB_HOST):5432"}],
            args=["--store=tcp://db:5432"],
        )
    )
    assert {(edge.via, edge.port) for edge in edges(api)} == {
        ("env DB_HOST", 6432),
        ("env TARGET", 5432),
        ("args", 5432),
    }
    assert {edge.service for edge in edges(api)} == {Key("default", "db")}


def test_a_port_that_the_service_lacks_is_known(api: Operations) -> None:
    """Calling a port that isn't there has no port to probe: 0."""
    api.create(service("db", 5432))
    api.create(pod(args=["db:9999"]))
    assert [edge.port for edge in edges(api)] == [0]


def test_services_count_selected_pods_and_ready_endpoints(api: Operations) -> None:
    """A plan has the pods that the selector finds and the addresses that slices list as ready."""
    api.create(service("web", 80))
    api.create(pod())
    api.create(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["127.244.1.5"], "conditions": {"ready": True}},
                {"addresses": ["127.244.1.6"], "conditions": {"ready": False}},
            ],
        }
    )
    [plan] = services(api)
    assert plan.selected == 1
    assert dict(plan.endpoints) == {"127.244.1.5": (("TCP", 8080),)}


def test_workloads_that_others_own_are_not_rows(api: Operations) -> None:
    """A Deployment's row stands for its ReplicaSets and pods; a bare pod is a row of its own."""
    api.create(pod())
    owned = pod()
    owned["metadata"] = {
        "name": "owned",
        "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "1", "controller": True}
        ],
    }
    api.create(owned)
    assert [(row.name, row.ok) for row in workloads(api)] == [("Pod/web", False)]


@pytest.mark.parametrize(
    ("path", "called"),
    [
        ("/api", "/api"),
        ("/api(/|$)(.*)", "/api"),
        ("/files/.*", "/files/"),
        ("/robots.txt", "/robots.txt"),
        ("/(a|b)", "/"),
    ],
)
def test_a_regular_expression_is_called_by_its_plain_beginning(path: str, called: str) -> None:
    """A row is tried with a request that its path matches."""
    assert Route({}, "*.shop.example", path, "s", "80", False).called_path == called
    assert Route({}, "*.shop.example", path, "s", "80", False).called_host == "any.shop.example"


def test_every_path_and_default_backend_is_a_route(api: Operations) -> None:
    """One row a path; an Ingress of only a default backend has one."""
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": path, "pathType": "Prefix", "backend": backend} for path in ("/a", "/b")]
    for name, spec in {
        "two": {"rules": [{"host": "x.example", "http": {"paths": paths}}], "tls": [{"hosts": ["x.example"]}]},
        "rest": {"defaultBackend": backend},
    }.items():
        api.create({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": spec})
    assert [(r.host, r.path, r.service, r.port, r.tls) for r in routes(api)] == [
        ("x.example", "/a", "web", "80", True),
        ("x.example", "/b", "web", "80", True),
        ("", "/", "web", "80", False),
    ]


@pytest.mark.parametrize(
    ("rule", "headers", "share"),
    [
        ({"canary-by-header": "X-New"}, {"X-New": "always"}, ""),
        ({"canary-by-header": "X-New", "canary-by-header-value": "beta"}, {"X-New": "beta"}, ""),
        ({"canary-by-cookie": "new", "canary-weight": "5"}, {"Cookie": "new=always"}, ""),
        ({"canary-by-header": "X-New", "canary-by-header-pattern": "b.*"}, {}, "requests whose X-New matches b.*"),
        ({"canary-weight": "20"}, {}, "weight 20"),
    ],
)
def test_a_canary_is_asked_for_by_its_own_rule(rule: dict[str, str], headers: dict[str, str], share: str) -> None:
    """A plain request would come to the other Ingress; and what that one shares with its canary is no fault."""

    def ingress(name: str, service: str, **annotations: str) -> dict[str, Any]:
        backend = {"service": {"name": service, "port": {"number": 80}}}
        paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
        said = {f"nginx.ingress.kubernetes.io/{key}": value for key, value in annotations.items()}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": name, "namespace": "default", "annotations": said},
            "spec": {"rules": [{"host": "shop.example", "http": {"paths": paths}}]},
        }

    operations = Operations(VirtualClock())
    operations.create(ingress("main", "old", **{"backend-protocol": "GRPC"}))
    operations.create(ingress("try", "new", canary="true", **rule))
    main, canary = routes(operations)
    assert (main.headers, main.share, main.also, main.grpc) == ({}, "", ("new",), True)
    assert (canary.headers, canary.share, canary.also, canary.grpc) == (headers, share, (), False)
