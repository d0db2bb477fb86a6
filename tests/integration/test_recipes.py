"""The recipes of configs/real-*.yaml: this machine's redis-server, PostgreSQL and nginx behind unmodified manifests."""

import os
import shutil
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import yaml
from aiohttp import web
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from minikube_py import Cluster

from .manifests import Object, workload

CONFIGS = Path(__file__).parents[2] / "configs"


def _needs(program: str, *, at: str = "") -> None:
    """Skip without the program; in CI that is a failure."""
    if shutil.which(program) or [*Path("/").glob(at)] * bool(at):
        return
    message = f"{program} is not installed here"
    pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def _ready_workload(name: str, image: str, port: int, **options: Any) -> list[Object]:
    """A workload that is ready once its port is open."""
    return workload(name, image, port, readinessProbe={"tcpSocket": {"port": port}, "periodSeconds": 1}, **options)


def _recipe(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((CONFIGS / f"real-{name}.yaml").read_text()))


async def client() -> web.Application:
    """Make the app that asks redis and PostgreSQL by their Services' names."""

    async def redis(request: web.Request) -> web.Response:
        async with Redis(host="cache", retry=Retry(NoBackoff(), 0)) as connection:
            await connection.set("order", "flat white", ex=60)
            return web.Response(text=(await connection.get("order")).decode())

    async def postgres(request: web.Request) -> web.Response:
        connection = await asyncpg.connect(host="db", user="shop", password="it's beans", database="orders")
        try:
            await connection.execute("CREATE TABLE IF NOT EXISTS orders (what text)")
            await connection.execute("INSERT INTO orders VALUES ($1)", "mocha")
            rows = await connection.fetch("SELECT what, inet_client_addr()::text AS caller FROM orders")
            return web.Response(text=f"{rows[0]['what']} {rows[0]['caller'].partition('/')[0]}")
        finally:
            await connection.close()

    app = web.Application()
    app.router.add_get("/redis", redis)
    app.router.add_get("/postgres", postgres)
    return app


IMAGES = {"acme/client": {"aiohttp": client}}
CLIENT = _ready_workload("client", "acme/client", 8080)


def _get(cluster: Cluster, path: str) -> str:
    return httpx.get(f"{cluster.url('service/client')}{path}", timeout=20, trust_env=False).raise_for_status().text


def test_redis() -> None:
    """A redis client in one pod sets and gets in the real redis-server of another, by its Service's name."""
    _needs("redis-server")
    manifests = _ready_workload("cache", "redis:7", 6379, args=["--maxmemory", "32mb"])
    with Cluster(*manifests, *CLIENT, config=_recipe("redis"), images=IMAGES) as cluster:
        assert _get(cluster, "/redis") == "flat white"
        log = "\n".join(cluster.logs("deployment/cache").splitlines())
        assert "Ready to accept connections" in log


def test_redis_keeps_to_policies() -> None:
    """A NetworkPolicy shuts a client out of the real server, too: the splice asks as the proxy does."""
    _needs("redis-server")
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "nobody"},
        "spec": {"podSelector": {"matchLabels": {"app": "cache"}}, "policyTypes": ["Ingress"]},
    }
    config = {**_recipe("redis"), "networking": {"deny": "reset"}}
    with Cluster(*_ready_workload("cache", "redis:7", 6379), *CLIENT, policy, config=config, images=IMAGES) as cluster:
        answer = httpx.get(f"{cluster.url('service/client')}/redis", timeout=20, trust_env=False)
        assert answer.status_code == 500
        assert "onnection" in cluster.logs("deployment/client")


def test_postgres() -> None:
    """asyncpg in one pod creates, inserts and selects in the real PostgreSQL, which sees the pod's own address."""
    _needs("postgres", at="usr/lib/postgresql/*/bin/postgres")
    env = {"POSTGRES_USER": "shop", "POSTGRES_PASSWORD": "it's beans", "POSTGRES_DB": "orders"}
    manifests = _ready_workload("db", "postgres:16", 5432, env=[{"name": k, "value": v} for k, v in env.items()])
    with Cluster(*manifests, *CLIENT, config=_recipe("postgres"), images=IMAGES) as cluster:
        caller = cluster.get("pods", selector="app=client")[0]["status"]["podIP"]
        assert _get(cluster, "/postgres") == f"mocha {caller}"


def test_nginx() -> None:
    """The real nginx serves a ConfigMap's pages and configuration at the paths where they are mounted."""
    _needs("nginx")
    conf = "server {\n  listen 80;\n  root /usr/share/nginx/html;\n  location /health { return 200 'fine'; }\n}\n"
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web"},
        "data": {"default.conf": conf, "index.html": "the menu"},
    }
    manifests = _ready_workload(
        "web",
        "nginx:1.25",
        80,
        volumes=[{"name": "web", "configMap": {"name": "web"}}],
        volumeMounts=[
            {"name": "web", "mountPath": "/etc/nginx/conf.d/default.conf", "subPath": "default.conf"},
            {"name": "web", "mountPath": "/usr/share/nginx/html/index.html", "subPath": "index.html"},
        ],
    )
    with Cluster(config_map, *manifests, config=_recipe("nginx")) as cluster:
        url = cluster.url("service/web")
        answer = httpx.get(url, trust_env=False)
        assert (answer.text, answer.headers["Server"].startswith("nginx/")) == ("the menu", True)
        assert httpx.get(f"{url}/health", trust_env=False).text == "fine"
