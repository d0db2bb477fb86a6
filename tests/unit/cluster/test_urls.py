"""The addresses that `up` and `status` print."""

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations
from minikube_py.cluster.urls import Door, Doors, example_path, urls

_DOORS = Doors(Door("127.0.0.1", 8080, 8443), "127.1.2.3", 8000)


def _cluster(class_: str, service: str, path: str = "/") -> Operations:
    operations = Operations(VirtualClock())
    backend = {"service": {"name": service, "port": {"number": 80}}}
    paths = [{"path": path, "pathType": "ImplementationSpecific", "backend": backend}]
    objects: list[Object] = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "nginx"},
            "spec": {"controller": "k8s.io/ingress-nginx"},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "kube-public"},
            "spec": {"ports": [{"port": 80}]},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "shop", "namespace": "kube-public"},
            "spec": {"ingressClassName": class_, "rules": [{"host": "shop.example", "http": {"paths": paths}}]},
        },
    ]
    for obj in objects:
        operations.create(obj)
    return operations


@pytest.mark.parametrize(
    ("class_", "service", "about"),
    [
        ("nginx", "web", "ingress/shop   curl -H 'Host: shop.example' http://127.0.0.1:8080/"),
        ("other", "web", "ingress/shop   ! 404: no controller serves class other"),
        ("nginx", "wbe", "ingress/shop   ! 503: Service wbe does not exist"),
    ],
)
def test_an_address_that_answers_with_an_error_is_marked(class_: str, service: str, about: str) -> None:
    """Nobody should have to call it to learn that."""
    [row] = [row for row in urls(_cluster(class_, service), _DOORS, real_port_offset=0) if "ingress" in row["about"]]
    assert row["about"] == about


@pytest.mark.parametrize(
    ("path", "called"),
    [("/api(/|$)(.*)", "/api"), ("/v[12]/x", "/v"), ("/.*", "/"), ("/plain-path.html", "/plain-path.html")],
)
def test_the_example_of_a_regular_expression_is_a_path_for_a_shell(path: str, called: str) -> None:
    """What stands before the expression is caught by it, as a rule; the name of the row is the rule's own text."""
    assert example_path(path) == called
    [row] = [row for row in urls(_cluster("nginx", "web", path), _DOORS, real_port_offset=0) if "curl" in row["about"]]
    assert row["url"] == f"http://127.0.0.1:8080{called}"
    assert row["name"] == f"shop.example{path}"
