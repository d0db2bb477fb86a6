"""What is wrong with a listener: protocols, kinds, certificates, conflicts."""

import base64

import pytest

from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.gateway.listeners import intersect

from .support import HTTP, compiled, condition, gateway, grant, route, rule

PEM = {"tls.crt": "-----BEGIN CERTIFICATE-----", "tls.key": "-----BEGIN PRIVATE KEY-----"}


def secret(namespace: str = "default", **data: str) -> Object:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in (data or PEM).items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "crt", "namespace": namespace}, "data": encoded}


def https(name: str = "https", port: int = 443, hostname: str = "", **ref: str) -> Object:
    found = {"name": name, "port": port, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "crt", **ref}]}}
    return {**found, "hostname": hostname} if hostname else found


@pytest.mark.parametrize(
    ("listener", "hostname", "common"),
    [
        ("", "a.test", "a.test"),
        ("a.test", "", "a.test"),
        ("", "", ""),
        ("*.test", "a.b.test", "a.b.test"),
        ("*.test", "*.b.test", "*.b.test"),
        ("*.b.test", "*.test", "*.b.test"),
        ("a.b.test", "*.test", "a.b.test"),
        ("*.test", "test", None),
        ("test", "*.test", None),
        ("*.test", "atest", None),
        ("a.test", "b.test", None),
        ("*.a.test", "*.b.test", None),
    ],
)
def test_hostnames_intersect(listener: str, hostname: str, common: str | None) -> None:
    """The more specific one, or nothing."""
    assert intersect(listener, hostname) == common


@pytest.mark.parametrize(
    ("listener", "objects", "reason"),
    [
        pytest.param(https(), [], "InvalidCertificateRef", id="no such Secret"),
        pytest.param(https(kind="ConfigMap"), [secret()], "InvalidCertificateRef", id="another kind"),
        pytest.param(https(group="x.test"), [secret()], "InvalidCertificateRef", id="another group"),
        pytest.param(https(), [secret(**{"tls.crt": "x"})], "InvalidCertificateRef", id="no key"),
        pytest.param(https(), [secret(**{**PEM, "tls.crt": "x"})], "InvalidCertificateRef", id="no certificate"),
        pytest.param(https(namespace="far"), [secret("far")], "RefNotPermitted", id="another namespace"),
        pytest.param(
            https(namespace="far"),
            [secret("far"), grant("far", {"group": "", "kind": "Secret"})],
            "RefNotPermitted",
            id="granted to HTTPRoutes",
        ),
        pytest.param(
            https(namespace="far"),
            [secret("far"), grant("far", {"group": "", "kind": "Secret", "name": "other"}, kind="Gateway")],
            "RefNotPermitted",
            id="another name",
        ),
        pytest.param(
            https(namespace="far"),
            [secret("far"), grant("far", {"group": "", "kind": "Secret"}, kind="Gateway")],
            "ResolvedRefs",
            id="granted",
        ),
        pytest.param(https(), [secret()], "ResolvedRefs", id="its own namespace"),
    ],
)
def test_certificates(listener: Object, objects: list[Object], reason: str) -> None:
    """One that can't be used costs the listener, but routes attach to it all the same."""
    found = compiled(gateway(listener), *objects, route(rule("a")))
    good = reason == "ResolvedRefs"
    conditions = found.listeners[0].conditions
    assert condition(conditions, "ResolvedRefs") == (good, reason)
    assert condition(conditions, "Accepted") == (True, "Accepted")
    assert condition(conditions, "Programmed") == (good, "Programmed" if good else "Invalid")
    assert found.attached == {"https": 1}
    assert found.ports == ({443: "TLS"} if good else {})


@pytest.mark.parametrize(
    ("kinds", "supported", "reason"),
    [
        ([], ("HTTPRoute",), "ResolvedRefs"),
        (["HTTPRoute"], ("HTTPRoute",), "ResolvedRefs"),
        (["Cake"], (), "InvalidRouteKinds"),
        (["Cake", "HTTPRoute"], ("HTTPRoute",), "InvalidRouteKinds"),
    ],
)
def test_kinds_of_routes(kinds: list[str], supported: tuple[str, ...], reason: str) -> None:
    """What the protocol can't take is told; what it can, is served."""
    allowed = {"allowedRoutes": {"kinds": [{"kind": kind} for kind in kinds]}} if kinds else {}
    listener = compiled(gateway({**HTTP, **allowed})).listeners[0]
    assert listener.kinds[: len(supported)] == supported
    assert condition(listener.conditions, "ResolvedRefs") == (reason == "ResolvedRefs", reason)
    assert listener.serves is bool(supported)


def named(name: str, port: int, protocol: str, hostname: str = "") -> Object:
    found = {"name": name, "port": port, "protocol": protocol}
    if protocol in ("HTTPS", "TLS"):
        found["tls"] = {"certificateRefs": [{"name": "crt"}]}
    return {**found, "hostname": hostname} if hostname else found


@pytest.mark.parametrize(
    ("listeners", "reasons"),
    [
        pytest.param(
            [named("a", 80, "HTTP", "a.test"), named("b", 80, "HTTP", "b.test"), named("c", 8080, "HTTP", "a.test")],
            ["NoConflicts"] * 3,
            id="hostnames or ports tell them apart",
        ),
        pytest.param(
            [named("a", 80, "HTTP"), named("b", 80, "HTTPS"), named("c", 81, "HTTP")],
            ["ProtocolConflict", "ProtocolConflict", "NoConflicts"],
            id="two protocols",
        ),
    ],
)
def test_listeners_that_cannot_be_told_apart(listeners: list[Object], reasons: list[str]) -> None:
    """All of them lose, none wins; the others are served, and the Gateway says so."""
    found = compiled(gateway(*listeners), secret(), route(rule("a")))
    assert [condition(each.conditions, "Conflicted")[1] for each in found.listeners] == reasons
    for listener, reason in zip(found.listeners, reasons, strict=True):
        assert listener.serves is (reason == "NoConflicts")
        assert found.attached[listener.name] == int(reason == "NoConflicts")
    conflict = "ProtocolConflict" in reasons
    assert found.accepted[1:3] == (True, "ListenersNotValid" if conflict else "Accepted")


def test_an_unknown_protocol_is_not_accepted() -> None:
    """Alone, the Gateway isn't either."""
    found = compiled(gateway(named("x", 9, "example.com/quack")))
    assert condition(found.listeners[0].conditions, "Accepted") == (False, "UnsupportedProtocol")
    assert found.accepted[1:3] == (False, "ListenersNotValid")
    assert "x (UnsupportedProtocol)" in found.accepted.message


def test_addresses_of_another_type_are_refused() -> None:
    """UnsupportedAddress, as the suite wants it for what can't be had by its type."""
    found = compiled(gateway(addresses=[{"type": "Hostname", "value": "a.test"}, {"value": "10.0.0.1"}]))
    assert found.accepted[1:3] == (False, "UnsupportedAddress")
