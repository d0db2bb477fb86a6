"""Traefik's IngressRoute over real sockets, beside Ingresses."""

import json
from typing import Any

from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.flavors import flavor
from minikube_py.ingress.resources.ingressroute import RESOURCE, TRAEFIK_SERVICES
from minikube_py.ingress.router import Match
from minikube_py.ingress.rules.compile import compile_rules
from minikube_py.ingress.rules.sources import Sources

from ..support import echo, endpoints, ingress, named, path, service
from .conftest import Starter


def route(name: str, *routes: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "IngressRoute",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"routes": list(routes), **spec},
    }


def rule(match: str, *services: str, **fields: Any) -> Object:
    return {"kind": "Rule", "match": match, "services": [{"name": each, "port": 80} for each in services], **fields}


def strip(*prefixes: str) -> Object:
    return {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "Middleware",
        "metadata": {"name": "strip", "namespace": "default"},
        "spec": {"stripPrefix": {"prefixes": list(prefixes)}},
    }


async def test_rules_middlewares_and_changes(controller: Starter) -> None:
    """A router serves with its middlewares, follows its object, and goes with it."""
    world = await controller("traefik")
    made = route("r", rule("Host(`shop.test`) && PathPrefix(`/api`)", "web", middlewares=[{"name": "strip"}]))
    world.create(service("web"), endpoints("web", [await world.pod(echo)]), strip("/api"), made)
    assert json.loads((await world.get("/api/menu"))[2])["path"] == "/menu"
    assert (await world.get("/other"))[0] == 404
    world.api.update(strip("/api/menu"))
    assert json.loads((await world.get("/api/menu"))[2])["path"] == "/"
    world.api.delete(RESOURCE, "r", "default")
    assert (await world.get("/api/menu"))[0] == 404


async def test_the_longer_rule_or_the_larger_priority_wins(controller: Starter) -> None:
    """Among IngressRoutes and Ingresses alike."""
    world = await controller("traefik")
    for name in ("all", "deep", "first", "old"):
        world.create(service(name), endpoints(name, [await world.pod(named(name))]))
    world.create(
        route("r", rule("Host(`shop.test`)", "all"), rule("Host(`shop.test`) && PathPrefix(`/a/b`)", "deep")),
        route("p", rule("Path(`/a/b/c`)", "first", priority=1000)),
        ingress("i", {"shop.test": [path("old", "/a")]}, class_name="traefik"),
    )
    answers = [(await world.get(each))[2].decode() for each in ("/x", "/a/x", "/a/b/x", "/a/b/c")]
    assert answers == ["all", "old", "deep", "first"]


async def test_methods_and_headers(controller: Starter) -> None:
    """Decide between services."""
    world = await controller("traefik")
    for name in ("read", "write", "beta"):
        world.create(service(name), endpoints(name, [await world.pod(named(name))]))
    world.create(
        route(
            "r",
            rule("Host(`shop.test`)", "read"),
            rule("Host(`shop.test`) && Method(`POST`)", "write"),
            rule("Host(`shop.test`) && Header(`X-Beta`, `1`)", "beta"),
        )
    )
    assert (await world.get())[2] == b"read"
    assert (await world.request("POST"))[2] == b"write"
    assert (await world.get(X_Beta="1"))[2] == b"beta"


def table_of(*objects: tuple[str, Object]) -> Any:
    it = flavor("traefik")
    return compile_rules(Sources(objects), controller=it.controller, flavor=it)


def test_weights_share_the_requests() -> None:
    """Weight 0 gets none."""
    made = rule("Host(`a.test`)", "one", "two", "none")
    for each, weight in zip(made["services"], (1, 3, 0), strict=True):
        each["weight"] = weight
    table = table_of((RESOURCE, route("r", made))).table
    found = [table.route("a.test", "/", {}, chance, method="GET") for chance in (0.0, 0.24, 0.26, 0.99)]
    assert [each.upstream.key.service for each in found] == ["one", "one", "two", "two"]


def test_a_traefik_service_divides_its_share() -> None:
    """Half of the requests to one Service, the rest in the TraefikService's own proportion; a missing one has none."""
    parts = [{"name": "two", "port": 80, "weight": 3}, {"name": "three", "port": 80, "weight": 1}]
    split = {"metadata": {"name": "split", "namespace": "default"}, "spec": {"weighted": {"services": parts}}}
    made = rule("Host(`a.test`)", "one", "split", "none")
    made["services"][1]["kind"] = made["services"][2]["kind"] = "TraefikService"
    rules = table_of((RESOURCE, route("r", made)), (TRAEFIK_SERVICES, split))
    found = [rules.table.route("a.test", "/", {}, chance, method="GET") for chance in (0.49, 0.51, 0.86, 0.88)]
    assert [each.upstream.key.service for each in found] == ["one", "two", "two", "three"]
    assert "TraefikService default/none is missing" in rules.custom[RESOURCE, Key("default", "r")][0]


def test_entry_points_and_tls() -> None:
    """One router for HTTP, one for HTTPS, by the same rule; certificates by the rule's hosts."""
    rules = table_of(
        (RESOURCE, route("h", rule("Host(`a.test`)", "plain"), entryPoints=["web"])),
        (RESOURCE, route("s", rule("Host(`a.test`)", "safe"), entryPoints=["websecure"], tls={"secretName": "cert"})),
    )
    found = [rules.table.route("a.test", "/", method="GET", secure=secure) for secure in (False, True)]
    assert [each.upstream.key.service for each in found] == ["plain", "safe"]
    assert rules.tls["a.test"].secret == Key("default", "cert")


def test_what_is_wrong_or_has_no_effect_is_told() -> None:
    """Of one route; the others serve."""
    rules = table_of(
        (
            RESOURCE,
            route(
                "r",
                rule("Nonsense(`x`)", "a"),
                rule("Host(`a.test`)", "b", observability={}),
                entryPoints=["web", "mqtt"],
            ),
        )
    )
    told = rules.custom[RESOURCE, Key("default", "r")]
    assert [each.partition(":")[0] for each in told] == [
        "EntryPoint doesn't exist",
        "spec.routes[0].match",
        "spec.routes[1].observability is not emulated and has no effect",
    ]
    assert isinstance(rules.table.route("a.test", "/", method="GET"), Match)


def test_a_fast_look_without_the_method_decides_nothing() -> None:
    """Only the whole request tells which route takes it."""
    table = table_of((RESOURCE, route("r", rule("Host(`a.test`)", "b")))).table
    assert not isinstance(table.route("a.test", "/"), Match)
