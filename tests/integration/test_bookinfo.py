"""Bookinfo, the microservices that Istio's tutorials deploy: pages made of calls between pods."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from minikube_py import Cluster


def _service(name: str, *versions: str) -> list[dict[str, Any]]:
    """Return a Service and one Deployment for each version, as in bookinfo.yaml."""
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 9080, "name": "http"}]},
        }
    ]
    for version in versions:
        image = f"docker.io/istio/examples-bookinfo-{name}-{version}:1.20.3"
        labels = {"app": name, "version": version}
        container = {"name": name, "image": image, "ports": [{"containerPort": 9080}]}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        objects.append(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": f"{name}-{version}"},
                "spec": {"selector": {"matchLabels": labels}, "template": template},
            }
        )
    return objects


@pytest.fixture(scope="module")
def bookinfo() -> Iterator[Cluster]:
    manifests = [*_service("details", "v1"), *_service("ratings", "v1"), *_service("reviews", "v1", "v2", "v3")]
    with Cluster(*manifests, *_service("productpage", "v1")) as cluster:
        yield cluster


def _page(cluster: Cluster) -> str:
    return httpx.get(f"{cluster.url('service/productpage')}/productpage", trust_env=False).text


def test_page_shows_each_version_of_the_reviews(bookinfo: Cluster) -> None:
    """Reload by reload the Service goes through no stars, black stars and red stars."""
    pages = [_page(bookinfo) for _ in range(6)]
    assert all("William Shakespeare" in page and "extremely entertaining" in page for page in pages)
    assert sum('color="black">★★★★★<' in page for page in pages) == 2
    assert sum('color="red">★★★★★<' in page for page in pages) == 2


def test_page_survives_without_ratings(bookinfo: Cluster) -> None:
    """A service that is gone costs its part of the page, and the caller's log says why."""
    bookinfo.delete("service/ratings")
    pages = [_page(bookinfo) for _ in range(3)]
    assert sum("Ratings service is currently unavailable" in page for page in pages) == 2
    assert "http://ratings:9080/ratings/0" in bookinfo.logs("deployment/reviews-v2")


def test_a_reader_logs_in_and_out(bookinfo: Cluster) -> None:
    """The page greets who has logged in, and the products are there as JSON, as the original's paths have it."""
    with httpx.Client(base_url=bookinfo.url("service/productpage"), trust_env=False, follow_redirects=True) as http:
        assert "jason" not in http.get("/productpage").text
        assert "jason (<a" in http.post("/login", data={"username": "jason"}).text
        assert "jason" not in http.get("/logout").text
        assert http.get("/login").status_code == 405
        assert [each["title"] for each in http.get("/api/v1/products").json()] == ["The Comedy of Errors"]


def test_an_ingress_of_another_class_is_reached_at_that_controllers_address() -> None:
    """Manifests that take Istio's gateway for installed get it, at an address of its own, beside ingress-nginx."""
    path: dict[str, Any] = {"path": "/productpage", "pathType": "Exact"}
    path |= {"backend": {"service": {"name": "productpage", "port": {"number": 9080}}}}
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "gateway", "annotations": {"kubernetes.io/ingress.class": "istio"}},
        "spec": {"rules": [{"host": "books.example", "http": {"paths": [path]}}]},
    }
    with Cluster(*_service("productpage", "v1"), ingress) as cluster:
        address = cluster.address("ingress/gateway")[0]
        gateway = cluster.get("service/istio-ingressgateway", namespace="istio-system")
        assert [each["ip"] for each in gateway["status"]["loadBalancer"]["ingress"]] == [address]
        with cluster.client() as http:
            assert "Simple Bookstore App" in http.get("http://books.example/productpage").text
        assert not [row for row in cluster.wiring().rows if row.section == "ingress" and not row.ok]
