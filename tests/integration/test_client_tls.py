"""HTTPS from tests: the clients of a cluster trust its authority, others are given its certificate."""

import ssl
from typing import Any

from minikube_py import AsyncCluster, Cluster

HOST = "shop.example"


def manifests() -> list[dict[str, Any]]:
    rule = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "traefik/whoami", "ports": [{"containerPort": 80}]}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "shop"},
            "spec": {"tls": [{"hosts": [HOST]}], "rules": [{"host": HOST, "http": {"paths": [rule]}}]},
        },
    ]


def test_the_client_trusts_the_clusters_authority() -> None:
    """https://HOST/ and the redirect that leads there need no options; the file is for other clients."""
    with Cluster(*manifests()) as cluster:
        with cluster.client() as http:
            assert http.get(f"https://{HOST}/").status_code == 200
            assert str(http.get(f"http://{HOST}/", follow_redirects=True).url) == f"https://{HOST}/"
        assert ssl.create_default_context(cafile=cluster.ca).cert_store_stats()["x509_ca"] == 1


async def test_the_async_client_does_too() -> None:
    """The same for httpx.AsyncClient."""
    async with AsyncCluster(*manifests()) as cluster:
        async with cluster.client() as http:
            assert (await http.get(f"https://{HOST}/")).status_code == 200
        assert ssl.create_default_context(cafile=await cluster.ca()).cert_store_stats()["x509_ca"] == 1
