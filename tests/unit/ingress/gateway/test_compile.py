"""Which routes attach to a Gateway, and what their statuses say, with the conformance suite's reasons."""

from typing import Any

import pytest

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.router import Match

from ..support import service
from .support import (
    HTTP,
    backend,
    compiled,
    condition,
    gateway,
    grant,
    parent_of,
    prefix,
    route,
    routed,
    rule,
)

FAR: Object = {**service("a"), "metadata": {"name": "a", "namespace": "far"}}
CROSSING = route({"backendRefs": [{"name": "a", "namespace": "far", "port": 80}]})
SERVICE: Object = {"group": "", "kind": "Service"}


@pytest.mark.parametrize(
    ("granting", "allowed"),
    [
        pytest.param([], False, id="no grant"),
        pytest.param([grant("far", SERVICE)], True, id="all Services"),
        pytest.param([grant("far", {**SERVICE, "name": "a"})], True, id="this Service"),
        pytest.param([grant("far", {**SERVICE, "name": "b"})], False, id="another Service"),
        pytest.param([grant("far", {**SERVICE, "kind": "Secret"})], False, id="another kind"),
        pytest.param([grant("far", {**SERVICE, "group": "x.test"})], False, id="another group"),
        pytest.param([grant("default", SERVICE)], False, id="in the route's own namespace"),
        pytest.param([grant("far", SERVICE, of="elsewhere")], False, id="from another namespace"),
        pytest.param([grant("far", SERVICE, kind="GRPCRoute")], False, id="from another kind"),
        pytest.param([grant("far", SERVICE, group="x.test")], False, id="from another group"),
    ],
)
def test_a_reference_to_another_namespace_needs_a_grant(granting: list[Object], allowed: bool) -> None:
    """Without one: RefNotPermitted and 500."""
    found = compiled(gateway(), CROSSING, FAR, *granting)
    reason = "ResolvedRefs" if allowed else "RefNotPermitted"
    assert condition(parent_of(found), "ResolvedRefs") == (allowed, reason)
    assert condition(parent_of(found), "Accepted") == (True, "Accepted")
    match = routed(found, "h", "/")
    assert isinstance(match, Match)
    assert match.upstream.status == (503 if allowed else 500)


def refs(*found: Object) -> Object:
    return {"backendRefs": list(found)}


@pytest.mark.parametrize(
    ("made", "listener", "type_", "reason"),
    [
        pytest.param(route(rule("gone")), HTTP, "ResolvedRefs", "BackendNotFound", id="no such Service"),
        pytest.param(
            route(refs({"name": "a", "port": 81})), HTTP, "ResolvedRefs", "BackendNotFound", id="no such port"
        ),
        pytest.param(route(refs({"name": "a", "kind": "Cake"})), HTTP, "ResolvedRefs", "InvalidKind", id="no Service"),
        pytest.param(
            route(refs({"name": "a", "group": "x.test", "port": 80})), HTTP, "ResolvedRefs", "InvalidKind", id="group"
        ),
        pytest.param(
            route(rule("a"), hostnames=["b.test"]),
            {**HTTP, "hostname": "a.test"},
            "Accepted",
            "NoMatchingListenerHostname",
            id="another hostname",
        ),
        pytest.param(
            route(rule("a"), parentRefs=[{"name": "door", "sectionName": "x"}]),
            HTTP,
            "Accepted",
            "NoMatchingParent",
            id="no such listener",
        ),
        pytest.param(
            route(rule("a"), parentRefs=[{"name": "door", "port": 81}]),
            HTTP,
            "Accepted",
            "NoMatchingParent",
            id="no listener of that port",
        ),
        pytest.param(
            route(rule("a"), parentRefs=[{"name": "door", "sectionName": "http", "port": 81}]),
            HTTP,
            "Accepted",
            "NoMatchingParent",
            id="section and port of different listeners",
        ),
        pytest.param(
            route(rule("a")),
            {**HTTP, "allowedRoutes": {"kinds": [{"kind": "GRPCRoute"}]}},
            "Accepted",
            "NotAllowedByListeners",
            id="a kind that the listener doesn't take",
        ),
        pytest.param(
            route(rule("a", {"path": {"type": "RegularExpression", "value": "("}})),
            HTTP,
            "Accepted",
            "UnsupportedValue",
            id="no rule can be read",
        ),
        pytest.param(
            route(
                rule(
                    "a",
                    filters=[
                        {"type": "ExtensionRef", "extensionRef": {"group": "x.test", "kind": "Cake", "name": "c"}}
                    ],
                )
            ),
            HTTP,
            "ResolvedRefs",
            "InvalidKind",
            id="a filter of another controller",
        ),
    ],
)
def test_routes_say_what_is_wrong(made: Object, listener: Object, type_: str, reason: str) -> None:
    """Conditions with the suite's reasons."""
    assert condition(parent_of(compiled(gateway(listener), made)), type_) == (False, reason)


def test_a_rule_that_cannot_be_read_is_dropped_alone() -> None:
    """Accepted, and PartiallyInvalid with a message that begins as the API wants it."""
    bad = rule("a", {"path": {"type": "RegularExpression", "value": "*"}})
    found = compiled(gateway(), route(bad, rule("b", prefix("/b"))))
    assert backend(found, "h", "/b") == "b"
    assert condition(parent_of(found), "Accepted") == (True, "Accepted")
    partial = next(each for each in parent_of(found) if each.type == "PartiallyInvalid")
    assert (partial.true, partial.reason) == (True, "UnsupportedValue")
    assert partial.message.startswith("Dropped Rule")


def test_a_route_that_was_stored_without_schema_takes_nothing_down() -> None:
    """Malformed: not accepted; the good one beside it is served."""
    wild = {**route(rule("a"), name="wild"), "spec": {"parentRefs": [{"name": "door"}], "rules": ["nonsense"]}}
    found = compiled(gateway(), wild, route(rule("b")))
    assert backend(found, "h", "/") == "b"
    assert condition(parent_of(found, name="wild"), "Accepted") == (False, "UnsupportedValue")


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (refs({"name": "a", "port": 80, "weight": 0}), "all backendRefs of the rule have weight 0"),
        ({"matches": [prefix("/")]}, "the rule has no backend"),
    ],
)
def test_a_rule_without_backend_answers_500(rules: Object, reason: str) -> None:
    """All weights 0, or no backendRefs and no filter that answers."""
    match = routed(compiled(gateway(), route(rules)), "h", "/")
    assert isinstance(match, Match)
    assert (match.upstream.status, match.upstream.reason) == (500, reason)


def test_an_invalid_backend_keeps_its_share() -> None:
    """Half of the requests get 500, the others the good backend."""
    found = compiled(gateway(), route(refs({"name": "gone", "port": 80}, {"name": "b", "port": 80})))
    matches = [routed(found, "h", "/", chance=chance) for chance in (0.25, 0.75)]
    assert [each.upstream.status for each in matches if isinstance(each, Match)] == [500, 503]


def namespace(name: str, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


@pytest.mark.parametrize(
    ("allowed", "accepted"),
    [
        pytest.param({}, False, id="Same is the default"),
        pytest.param({"from": "Same"}, False, id="Same"),
        pytest.param({"from": "All"}, True, id="All"),
        pytest.param({"from": "Selector", "selector": {"matchLabels": {"shop": "yes"}}}, True, id="Selector"),
        pytest.param({"from": "Selector", "selector": {"matchLabels": {"shop": "no"}}}, False, id="another label"),
    ],
)
def test_namespaces_of_routes(allowed: Object, accepted: bool) -> None:
    """allowedRoutes.namespaces decides, and what isn't accepted isn't counted."""
    spec = {**HTTP, "allowedRoutes": {"namespaces": allowed}} if allowed else HTTP
    far = {**service("a"), "metadata": {"name": "a", "namespace": "far"}}
    found = compiled(gateway(spec), route(rule("a"), namespace="far"), far, namespace("far", shop="yes"))
    reason = "Accepted" if accepted else "NotAllowedByListeners"
    assert condition(parent_of(found, "far"), "Accepted") == (accepted, reason)
    assert found.attached == {"http": int(accepted)}
    assert backend(found, "h", "/") == ("a" if accepted else None)


def test_routes_are_counted_once_by_each_listener_that_takes_them() -> None:
    """Only by intersecting hostnames; two parentRefs to one listener are one route."""
    listeners = [{**HTTP, "name": n, "hostname": h} for n, h in (("one", "very.specific.com"), ("two", "*.wild.io"))]
    twice = [{"name": "door"}, {"name": "door", "sectionName": "one"}]
    twice = [{**each, "sectionName": each.get("sectionName", "two")} for each in twice]
    found = compiled(
        gateway(*listeners),
        route(rule("a", prefix("/s1")), name="one", hostnames=["non.matching.com", "very.specific.com"]),
        route(rule("b", prefix("/s2")), name="two", hostnames=["wild.io", "foo.wild.io", "foo.bar.wild.io"]),
        route(rule("c", prefix("/s3")), name="three", hostnames=["*.specific.com"], parentRefs=twice),
    )
    assert found.attached == {"one": 2, "two": 1}
    asked = [("very.specific.com:1234", "/s1"), ("foo.bar.wild.io", "/s2"), ("very.specific.com", "/s3")]
    assert [backend(found, *each) for each in asked] == ["a", "b", "c"]
    for host, path in (("wild.io", "/s2"), ("bar.wild.io", "/s2"), ("foo.specific.com", "/s3"), ("x.com", "/s1")):
        assert backend(found, host, path) is None


def test_a_parent_that_is_no_gateway_is_left_alone() -> None:
    """A Service (GAMMA) or an object of another group gets no entry of ours."""
    for kind in ({"kind": "Service", "group": ""}, {"group": "x.test"}):
        assert not compiled(gateway(), route(rule("a"), parentRefs=[{"name": "door", **kind}])).routes


def test_terminating_routes_are_gone() -> None:
    """Deletion ends their service at once."""
    going: Any = meta.copy(route(rule("a")))
    going["metadata"]["deletionTimestamp"] = "2024-01-02T00:00:00Z"
    assert backend(compiled(gateway(), going), "h", "/") is None


def test_every_backend_is_known_by_its_service() -> None:
    """So that one pod's coming and going costs one look-up; mirrors count."""
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "b", "port": 80}}}
    found = compiled(gateway(), route(rule("a", filters=[mirror])))
    assert set(found.rules.keys) == {Key("default", "a"), Key("default", "b")}
