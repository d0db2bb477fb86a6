"""The API server over HTTP: lists of a thousand pods, creations per second, fan-out to a hundred watchers.

The floor is the same aiohttp server with a handler that reads the body and answers as many bytes.
Run: pytest -m benchmark -s tests/benchmarks/test_api_benchmark.py. Prints; asserts no time.
"""

import asyncio
import json
import os
import shutil
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from minikube_py.aiokit.clock import LoopClock
from minikube_py.apiserver import kubeconfig
from minikube_py.apiserver.credentials import Credentials
from minikube_py.apiserver.operations import Operations
from minikube_py.apiserver.server import APIServer

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

PODS = 1000
CLIENTS = 16


def pod(number: int) -> dict[str, Any]:
    """A pod of ordinary size."""
    container = {
        "name": "app",
        "image": "ghcr.io/acme/api:1.4.2",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": f"SETTING_{i}", "value": "some value"} for i in range(8)],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
    }
    metadata = {"name": f"api-{number:05}", "namespace": "default", "labels": {"app": "api", "tier": "back"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


@pytest.fixture(scope="module")
def credentials() -> Credentials:
    return Credentials.create()


@pytest.fixture
async def server(credentials: Credentials) -> AsyncIterator[APIServer]:
    clock = LoopClock()
    server = APIServer(Operations(clock, seed=1), clock=clock, port=0, credentials=credentials)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def session(credentials: Credentials) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cadata=credentials.authority.cert_pem.decode())
    headers = {"Authorization": f"Bearer {credentials.token}"}
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield session


async def _all(work: Callable[[int], Awaitable[None]], count: int) -> float:
    """Do `work` for each number, CLIENTS at a time; return seconds."""
    numbers = iter(range(count))

    async def client() -> None:
        for number in numbers:
            await work(number)

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return time.perf_counter() - begun


async def test_creations(server: APIServer, session: aiohttp.ClientSession, credentials: Credentials) -> None:
    """Client and server share this process and a core: compare with the floor, not with other machines."""
    url = f"{server.url}/api/v1/namespaces/default/pods"
    size = 0

    async def create(number: int) -> None:
        nonlocal size
        async with session.post(url, json=pod(number)) as answer:
            size = len(await answer.read())
            assert answer.status == 201

    took = await _all(create, PODS)

    async def bare(request: web.BaseRequest) -> web.Response:
        json.loads(await request.read())
        return web.Response(body=b"x" * size)

    runner = web.ServerRunner(web.Server(bare))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=credentials.server_context())
    await site.start()
    address = f"https://127.0.0.1:{runner.addresses[0][1]}/"

    async def post(number: int) -> None:
        async with session.post(address, json=pod(number)) as answer:
            await answer.read()

    floor = await _all(post, PODS)
    await runner.cleanup()
    operations = Operations(LoopClock(), seed=1)
    begun = time.perf_counter()
    for number in range(PODS):
        operations.create(pod(number))
    inside = time.perf_counter() - begun
    print(
        f"\ncreate over HTTPS: {PODS / took:.0f}/s; bare aiohttp handler: {PODS / floor:.0f}/s; "
        f"ratio {took / floor:.2f}; without HTTP: {PODS / inside:.0f}/s"
    )


async def test_lists(
    server: APIServer, session: aiohttp.ClientSession, credentials: Credentials, tmp_path: Path
) -> None:
    """`kubectl get pods` with a thousand pods beside `kubectl get pods` with none."""
    kubectl = shutil.which("kubectl")
    assert kubectl
    kubeconfig.write(tmp_path / "kubeconfig", "bench", server.url, credentials)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "kubeconfig")}

    async def get() -> float:
        times = []
        for _ in range(6):
            begun = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                kubectl,
                "get",
                "pods",
                env=environment,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            assert await process.wait() == 0
            times.append(time.perf_counter() - begun)
        return statistics.median(times[1:])  # the first fills kubectl's cache

    floor = await get()
    for number in range(PODS):
        server.operations.create(pod(number))
    took = await get()
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    answers = {}
    for name, headers in (("table", table), ("JSON", {})):
        begun = time.perf_counter()
        async with session.get(f"{server.url}/api/v1/pods", headers=headers) as answer:
            body = await answer.read()
        answers[name] = f"{name} {1000 * (time.perf_counter() - begun):.0f} ms, {len(body) >> 10} KiB"
    print(
        f"\nkubectl get pods, {PODS} pods: {took:.3f} s; no pods: {floor:.3f} s; ratio {took / floor:.2f}; "
        f"one list: {'; '.join(answers.values())}"
    )


async def test_fan_out(server: APIServer, session: aiohttp.ClientSession) -> None:
    """A hundred watchers hear of 200 changes; the floor is one watcher."""
    server.operations.create(pod(0))
    changes = 200

    async def measure(watchers: int) -> float:
        url = f"{server.url}/api/v1/pods?watch=1&resourceVersion={server.operations.revision}"
        ready = 0

        async def watch() -> None:
            nonlocal ready
            async with session.get(url) as answer:
                ready += 1
                for _ in range(changes):
                    assert await answer.content.readline()

        tasks = [asyncio.create_task(watch()) for _ in range(watchers)]
        while ready < watchers:
            await asyncio.sleep(0.001)
        begun = time.perf_counter()
        for number in range(changes):
            server.operations.modify(
                "pods",
                "api-00000",
                "default",
                lambda obj, n=number: obj["metadata"]["labels"].update(n=f"{watchers}-{n}"),
            )
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return time.perf_counter() - begun

    one, hundred = await measure(1), await measure(100)
    print(
        f"\n{changes} changes to 100 watchers: {hundred:.3f} s, {100 * changes / hundred:.0f} events/s; "
        f"to one: {one:.3f} s; ratio {hundred / one:.1f}"
    )
