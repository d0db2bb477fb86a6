"""The walk of a URL through the rules."""

from minikube_py.ingress.explain import explain
from minikube_py.ingress.flavors import flavor

from .support import endpoints, ingress, path, service, sources

RULE = ingress("shop", {"shop.test": [path("web", "/menu")]})


def test_the_way_to_a_pod() -> None:
    """Class, rule, backend, pod."""
    walk = explain(
        sources(RULE, service("web"), endpoints("web", ["127.244.1.5"])), [flavor("nginx")], "shop.test", "/menu/1"
    )
    assert [(step.name, step.ok) for step in walk.steps] == [
        ("class", True), ("rule", True), ("backend", True), ("pod", True),
    ]  # fmt: skip
    assert "Ingress default/shop: host shop.test path /menu (Prefix)" in walk.steps[1].text
    assert walk.steps[-1].text == "127.244.1.5:8080"


def test_why_there_is_none() -> None:
    """No rule: 404 with what is known; no endpoints: 503; no controller at all."""
    nginx = [flavor("nginx")]
    no_rule = explain(sources(RULE), nginx, "other.test", "/").steps[-1]
    assert (no_rule.name, no_rule.ok) == ("rule", False)
    assert "known hosts: shop.test" in no_rule.text
    no_pod = explain(sources(RULE, service("web")), nginx, "shop.test", "/menu").steps[-1]
    assert "no pod matches its selector app=web" in no_pod.text
    nobody = explain(sources(RULE), [], "shop.test", "/menu").steps[-1]
    assert "no ingress controller runs" in nobody.text


def test_the_controller_that_has_the_rule_explains() -> None:
    """Several controllers: the one that serves it."""
    found = explain(
        sources(ingress("k", {"k.test": [path("web")]}, class_name="kong"),
                {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "kong"},
                 "spec": {"controller": flavor("kong").controller}}),
        [flavor("nginx"), flavor("kong")], "k.test", "/",
    )  # fmt: skip
    assert found.controller == "kong"
