"""Traefik's rule expressions."""

import re

import pytest

from minikube_py.ingress.resources.routes import Asked
from minikube_py.ingress.resources.traefikrule import parse

HEADERS = {"X-Env": "canary-7"}
ASKED = Asked("eu.shop.test", "/menu/tea", "GET", HEADERS, {"page": "2"}, False)


@pytest.mark.parametrize(
    ("rule", "takes"),
    [
        ("Host(`eu.shop.test`)", True),
        ("Host(`a.test`, `eu.shop.test`)", True),
        ('Host("eu.shop.test")', True),
        ("HostRegexp(`^[a-z]+\\.shop\\.test$`)", True),
        ("Path(`/menu`)", False),
        ("Path(`/menu/tea`)", True),
        ("PathPrefix(`/men`)", True),
        ("PathPrefix(`/order`,`/menu`)", True),
        ("PathRegexp(`^/menu/(tea|coffee)$`)", True),
        ("Method(`get`)", True),
        ("Header(`X-Env`, `canary`)", False),
        ("HeaderRegexp(`X-Env`, `^canary-\\d+$`)", True),
        ("Headers(`X-Env`,`canary-7`)", True),
        ("Query(`page`, `2`)", True),
        ("Query(`size`, `2`)", False),
        ("Host(`eu.shop.test`) && PathPrefix(`/order`)", False),
        ("Path(`/x`) || Host(`eu.shop.test`) && Method(`GET`)", True),
        ("(Path(`/x`) || Host(`eu.shop.test`)) && Method(`POST`)", False),
        ("!Method(`POST`)&&!Path(`/x`)", True),
        ("!(Method(`GET`) || Path(`/x`))", False),
    ],
)
def test_what_a_rule_takes(rule: str, takes: bool) -> None:
    """GET http://eu.shop.test/menu/tea?page=2 with a header."""
    assert parse(rule).takes(ASKED) is takes


@pytest.mark.parametrize(
    ("rule", "hosts"),
    [
        ("Host(`b.test`, `A.test`)", ("a.test", "b.test")),
        ("Host(`a.test`) && Path(`/`)", ("a.test",)),
        ("Host(`a.test`) || Host(`b.test`)", ("a.test", "b.test")),
        ("Host(`a.test`) || Path(`/`)", ()),
        ("!Host(`a.test`)", ()),
        ("HostRegexp(`a`)", ()),
    ],
)
def test_the_hosts_it_is_kept_for(rule: str, hosts: tuple[str, ...]) -> None:
    """Those that alone can match; none where any could."""
    assert parse(rule).hosts == hosts


@pytest.mark.parametrize(
    "rule", ["", "Host(`a`", "Host(a)", "Nonsense(`a`)", "Host(`a`) &&", "Path(`/`) Path(`/`)", "PathRegexp(`(`)"]
)
def test_what_is_no_rule(rule: str) -> None:
    """Is refused."""
    with pytest.raises((ValueError, re.error)):
        parse(rule)
