"""The walk of a URL through the rules."""

from urllib.parse import urlsplit

import pytest

from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.explain import Walk, explain
from minikube_py.ingress.flavors import flavor
from minikube_py.ingress.rules.sources import Sources

from .support import endpoints, ingress, path, service, sources

RULE = ingress("shop", {"shop.test": [path("web", "/menu")]})
WEB = (service("web"), endpoints("web", ["127.244.1.5"]))


def walked(url: str, *objects: Object, controllers: tuple[str, ...] = ("nginx",)) -> Walk:
    return explain(sources(*objects), [flavor(name) for name in controllers], urlsplit(url))


def test_the_way_to_a_pod() -> None:
    """Class, rule, backend, pod; nothing is answered on the way."""
    walk = walked("http://shop.test/menu/1", RULE, *WEB)
    assert [(step.name, step.ok) for step in walk.steps] == [
        ("class", True),
        ("rule", True),
        ("backend", True),
        ("pod", True),
    ]
    assert "Ingress default/shop: host shop.test path /menu (Prefix)" in walk.steps[1].text
    assert walk.steps[-1].text == "127.244.1.5:8080"
    assert (walk.status, walk.served, walk.service) == (0, True, ("ingress-nginx", "ingress-nginx-controller"))


def test_why_there_is_none() -> None:
    """No rule: 404 with what is known and what is near; no endpoints: 503; no controller at all."""
    walk = walked("http://shpo.test/", RULE)
    assert (walk.steps[-1].name, walk.steps[-1].ok, walk.status) == ("rule", False, 404)
    assert "known hosts: shop.test" in walk.steps[-1].text
    assert walk.fix == ("did you mean http://shop.test?",)
    other_path = walked("http://shop.test/nothing", RULE)
    assert (other_path.status, other_path.fix) == (404, ())
    not_served = walked("http://shpo.test/", RULE, ingress("i", {"shpo.test": [path("web")]}, class_name="nobody"))
    assert "not served: Ingress default/i" in not_served.steps[-1].text
    assert not_served.fix == ()
    no_pod = walked("http://shop.test/menu", RULE, service("web"))
    assert no_pod.status == 503
    assert "no pod matches its selector app=web" in no_pod.steps[-1].text
    nobody = walked("http://shop.test/menu", RULE, controllers=())
    assert "no ingress controller runs" in nobody.steps[-1].text
    assert (nobody.status, nobody.service) == (None, None)


def test_the_controller_that_has_the_rule_explains() -> None:
    """Several controllers: the one that serves it."""
    kong = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "kong"},
        "spec": {"controller": flavor("kong").controller},
    }
    rule = ingress("k", {"k.test": [path("web")]}, class_name="kong")
    assert walked("http://k.test/", rule, kong, controllers=("nginx", "kong")).controller == "kong"


TLS = [{"hosts": ["shop.test"], "secretName": "crt"}]


@pytest.mark.parametrize(
    ("url", "annotations", "status", "text"),
    [
        pytest.param("http://shop.test/a?q=1", {}, 308, "308 to https://shop.test/a?q=1: ", id="redirect to HTTPS"),
        pytest.param("https://shop.test/", {}, 0, "127.244.1.5:8080", id="HTTPS needs none"),
        pytest.param(
            "https://shop.test/", {"denylist-source-range": "127.0.0.0/8"}, 403, "denylist-source-range", id="denied"
        ),
        pytest.param(
            "https://shop.test/", {"permanent-redirect": "https://new.test"}, 301, "301 to https://new.test", id="moved"
        ),
        pytest.param(
            "https://shop.test/",
            {"auth-url": "http://auth.test/check"},
            None,
            "asks http://auth.test/check first",
            id="another decides",
        ),
        pytest.param(
            "https://shop.test/",
            {"auth-type": "basic", "auth-secret": "none"},
            503,
            "auth",
            id="a login without its Secret",
        ),
    ],
)
def test_annotations_that_answer(url: str, annotations: dict[str, str], status: int | None, text: str) -> None:
    """What the proxy's filters would answer is foretold."""
    walk = walked(url, ingress("i", {"shop.test": [path("web")]}, annotations=annotations, tls=TLS), *WEB)
    assert walk.status == status
    assert text in walk.steps[-1].text


def test_certificates_are_named() -> None:
    """That of the Secret, or one made here."""
    rule = ingress("i", {"shop.test": [path("web")], "open.test": [path("web")]}, tls=TLS)
    for host, text in (("shop.test", "Secret default/crt"), ("open.test", "made by the cluster's CA")):
        step = walked(f"https://{host}/", rule, *WEB).steps[1]
        assert (step.name, text in step.text) == ("tls", True)


def test_tls_that_is_passed_through() -> None:
    """The pod's own certificate, and the pods; what they answer can't be told."""
    walk = walked("https://shop.test/", ingress("i", {"shop.test": [path("web")]},
                                                annotations={"ssl-passthrough": "true"}), *WEB)  # fmt: skip
    assert "passed through" in walk.steps[1].text
    assert (walk.steps[-1].text, walk.status) == ("127.244.1.5:8080", None)


def test_who_else_may_answer() -> None:
    """A canary's pods beside the main ones; the default backend where no rule matches."""
    canary = {"canary": "true", "canary-weight": "20"}
    walk = walked(
        "http://shop.test/menu",
        RULE,
        ingress("try", {"shop.test": [path("new", "/menu")]}, annotations=canary, age=1),
        *WEB,
        service("new"),
        endpoints("new", ["127.244.1.6"]),
    )
    assert [str(each) for each in walk.endpoints] == ["127.244.1.5:8080", "127.244.1.6:8080"]
    assert walk.steps[-2].details == ("canary of default/try (20 of 100): default/new:80",)
    default = walked("http://any.test/", ingress("d", default="web"), *WEB)
    assert default.steps[1].text == "no rule matches: the default backend of Ingress default/d"


def test_a_custom_resource_explains_itself() -> None:
    """A route of a controller's own kind is named as that."""
    route = {
        "kind": "IngressRoute",
        "metadata": {"name": "api", "namespace": "default"},
        "spec": {"routes": [{"match": "Host(`api.test`)", "services": [{"name": "web", "port": 80}]}]},
    }
    objects = Sources(
        [
            ("ingressroutes.traefik.io", route),
            ("services", service("web")),
            ("endpointslices.discovery.k8s.io", endpoints("web", ["127.244.1.5"])),
        ]
    )
    walk = explain(objects, [flavor("traefik")], urlsplit("http://api.test/x"))
    assert walk.served
    assert walk.steps[0].text == "controller traefik (ingresses: 0, ingressroutes: 1)"
    assert walk.steps[1].text.startswith("IngressRoute default/api: host api.test path /")
