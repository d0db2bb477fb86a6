"""The user's own apps as pods: aiohttp, ASGI and TCP, with unmodified client code in them."""

import importlib.util
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from minikube_py import Cluster

from .manifests import Object, workload

_SPEC = importlib.util.spec_from_file_location("user_apps", Path(__file__).parent / "apps.py")
assert _SPEC is not None
assert _SPEC.loader is not None
apps: Any = importlib.util.module_from_spec(_SPEC)
sys.modules["user_apps"] = apps
_SPEC.loader.exec_module(apps)


def _acme(name: str, port: int, replicas: int = 1) -> list[Object]:
    return workload(name, f"ghcr.io/acme/{name}:1.0", port, replicas=replicas, service_port=80)


@pytest.fixture(scope="module")
def minicluster_images() -> dict[str, Any]:
    return {
        "ghcr.io/acme/web:*": {"aiohttp": "user_apps:create_app"},
        "ghcr.io/acme/api:*": {"asgi": apps.create_api()},
        "ghcr.io/acme/shout:*": {"tcp": apps.shout},
    }


@pytest.fixture(scope="module")
def cluster(minicluster_images: dict[str, Any]) -> Any:
    manifests = [*_acme("web", 8080), *_acme("api", 8000, 2), *_acme("shout", 7000)]
    with Cluster(*manifests, images=minicluster_images) as running:
        yield running


@pytest.mark.parametrize("client", ["aiohttp", "httpx", "streams", "blocking"])
def test_client_code_in_a_pod_is_seen_with_the_pods_address(cluster: Cluster, client: str) -> None:
    """aiohttp, httpx, raw streams and blocking code resolve cluster names and come from the pod's own IP."""
    pod_ip = cluster.get("pods", selector="app=web")[0]["status"]["podIP"]
    with cluster.client() as http:
        answer = http.get(f"{cluster.url('service/web')}/call", params={"url": "http://api/", "with": client})
    body = answer.text[answer.text.index("{") :]
    assert json.loads(body) == {"client": pod_ip, "started": True}


def test_sync_endpoints_of_an_asgi_app_work(cluster: Cluster) -> None:
    """FastAPI runs plain `def` endpoints in its thread pool, there as here."""
    with cluster.client(from_pod="deployment/web") as http:
        assert http.get("http://api/sync").status_code == 200


def test_a_tcp_app_speaks_its_own_protocol(cluster: Cluster) -> None:
    """Bytes go in and out, through the Service."""
    with socket.create_connection(cluster.address("service/shout"), timeout=5) as sock:
        sock.sendall(b"coffee\n")
        assert sock.recv(100) == b"COFFEE\n"


def test_lifespan_shutdown_runs_at_the_end(no_leaks: None) -> None:
    """An ASGI app's shutdown handlers run when its pod ends."""
    apps.started.clear()
    with Cluster(*_acme("api", 8000), images={"ghcr.io/acme/api:*": {"asgi": apps.create_api}}):
        assert apps.started == ["up"]
    assert apps.started == ["up", "down"]


def test_an_application_object_serves_one_cluster_after_another() -> None:
    """Tests may share a module's aiohttp `app`, with start-up hooks, though each has a cluster of its own."""

    async def set_up(app: web.Application) -> None:
        app[_GREETING] = "hello"

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=request.app[_GREETING])

    inner = web.Application()
    inner.on_startup.append(set_up)
    inner.router.add_get("/", hello)
    app = web.Application()
    app.add_subapp("/in", inner)
    for _ in range(2):
        with (
            Cluster(*_acme("kiosk", 8000, 2), images={"ghcr.io/acme/kiosk": app}) as cluster,
            cluster.client(from_pod="deployment/kiosk") as http,
        ):
            assert http.get("http://kiosk/in/").text == "hello"


_GREETING = web.AppKey("greeting", str)
