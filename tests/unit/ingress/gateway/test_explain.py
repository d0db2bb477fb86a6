"""The walk of a URL through a Gateway."""

from urllib.parse import urlsplit

import pytest

from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.explain import Walk
from minikube_py.ingress.gateway.explain import explain

from ..support import endpoints
from .support import HTTP, gateway, made, prefix, route, rule, sources
from .test_listeners import secret

DOOR = gateway({**HTTP, "hostname": "*.shop.test"}, {**HTTP, "name": "broken", "port": 9, "protocol": "x.test/quack"})
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}
ROUTE = route(
    {
        "matches": [prefix("/menu", method="GET")],
        "backendRefs": [{"name": "a", "port": 80, "weight": 3}, {"name": "b", "port": 80}],
    },
    {"matches": [prefix("/old")], "filters": [REDIRECT]},
    rule("gone", prefix("/gone")),
    hostnames=["tea.shop.test"],
)


def walked(url: str, *objects: Object, port: int = 80) -> Walk:
    slices = [endpoints(name, [f"127.244.1.{ord(name)}"]) for name in ("a", "b")]
    return explain(sources(DOOR, ROUTE, *slices, *objects), DOOR, urlsplit(url), port)


@pytest.mark.parametrize(
    ("url", "port", "status", "text"),
    [
        ("http://tea.shop.test/old/x", 80, 302, "302 to https://tea.shop.test/old/x: filter RequestRedirect"),
        ("http://tea.shop.test/gone", 80, 500, "Service default/gone does not exist"),
        ("http://tea.shop.test/none", 80, 404, "this host's paths: /menu (PathPrefix)"),
        ("http://shop.test/", 80, 404, "no listener of port 80 has this host; theirs: *.shop.test"),
        ("http://milk.shop.test/", 80, 404, "no route has this host; known: tea.shop.test"),
        ("http://tea.shop.test/", 81, None, "has no listener on port 81 (its ports: 80)"),
    ],
)
def test_what_else_comes(url: str, port: int, status: int | None, text: str) -> None:
    """A filter's answer, a broken backend, no rule, no host, no listener."""
    walk = walked(url, port=port)
    assert walk.status == status
    assert text in walk.steps[-1].text


def test_a_host_that_is_near_is_named() -> None:
    """And routes that did not attach."""
    walk = walked("http://tee.shop.test/", route(rule("a"), name="lost", hostnames=["x.test"]))
    assert walk.fix == ("did you mean http://tea.shop.test?",)
    assert "not attached: HTTPRoute default/lost: NoMatchingListenerHostname" in walk.steps[-1].details[0]


def test_tls_is_told() -> None:
    """Whose certificate is shown; a name that is passed through; a port that knows no TLS."""
    tls = {"certificateRefs": [{"name": "crt"}]}
    door = gateway(
        HTTP,
        {"name": "web", "port": 443, "protocol": "HTTPS", "hostname": "*.shop.test", "tls": tls},
        {"name": "raw", "port": 443, "protocol": "TLS", "hostname": "raw.test", "tls": {"mode": "Passthrough"}},
    )
    raw = made(
        "TLSRoute", "raw", {"parentRefs": [{"name": "door"}], "rules": [{"backendRefs": [{"name": "a", "port": 80}]}]}
    )
    found = sources(door, ROUTE, raw, secret(), endpoints("a", ["127.244.1.7"]))

    def steps(url: str, port: int) -> list[str]:
        return [step.text for step in explain(found, door, urlsplit(url), port).steps]

    assert "certificate of Secret default/crt" in steps("https://tea.shop.test/menu", 443)
    passed = steps("https://raw.test/", 443)
    assert "passed through" in passed[1]
    assert passed[-1] == "127.244.1.7:8080"
    assert steps("https://tea.shop.test/", 80)[-1] == "port 80 has no TLS: use http://"
