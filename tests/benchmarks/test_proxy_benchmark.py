"""What the Service proxy costs: calls through a ClusterIP over calls to the pod itself. Run with -m benchmark.

Only ratios mean something: absolute figures drift with the machine. Each is the median of interleaved rounds.
"""

import asyncio
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from minikube_py.aiokit.clock import LoopClock
from minikube_py.apiserver.operations import Operations
from minikube_py.cni.addresses import lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.podloop import new_event_loop
from minikube_py.cni.types import OpenGate
from minikube_py.kube_proxy.server import KubeProxy

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
ROUNDS = 9


class _NoNames:
    async def resolve(self, host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def _keep_alive(address: tuple[str, int], requests: int = 1500, clients: int = 16) -> float:
    """Return requests per second over connections that stay."""

    async def client() -> None:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(requests // clients):
            writer.write(REQUEST)
            await reader.readuntil(b"\r\n\r\nok")
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return requests / (time.perf_counter() - started)


async def _new_connections(address: tuple[str, int], connections: int = 800, clients: int = 16) -> float:
    """Return connections per second, one request each."""

    async def client() -> None:
        for _ in range(connections // clients):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(REQUEST)
            await reader.readuntil(b"\r\n\r\nok")
            writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return connections / (time.perf_counter() - started)


async def _compare(
    name: str, measure: Callable[[tuple[str, int]], Awaitable[float]], service: tuple[str, int], pod: tuple[str, int]
) -> None:
    await measure(service), await measure(pod)
    ratios, rates = [], []
    for _ in range(ROUNDS):
        direct, through = await measure(pod), await measure(service)
        ratios.append(through / direct)
        rates.append(through)
    print(
        f"\n{name}: through the ClusterIP {statistics.median(rates):,.0f}/s, "
        f"{statistics.median(ratios):.2f} of direct (aim ≥ 0.95)"
    )


async def _scenario() -> None:
    from aiohttp import web

    addresses, lock = lease_slice()
    api = Operations(LoopClock(), addresses=addresses)
    fabric = Fabric(gate=OpenGate(), addresses=addresses)
    proxy = KubeProxy(api, fabric, LoopClock())
    proxy.start()
    pod = fabric.namespace(str(addresses.pod_cidr(1)[9]), hostname="web", name="default/web", resolver=_NoNames())

    async def answer(request: Any) -> web.Response:
        return web.Response(text="ok")

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, None, 8080).start()
        return runner

    runner = await asyncio.get_running_loop().create_task(serve(), context=pod.context)
    service, endpoint_slice = _objects(pod.ip)
    ip = api.create(service)["spec"]["clusterIP"]
    api.create(endpoint_slice)
    try:
        for name, measure in (("requests", _keep_alive), ("new connections", _new_connections)):
            await _compare(name, measure, (ip, 80), (pod.ip, 8080))
    finally:
        await runner.cleanup()
        proxy.stop()
        await fabric.close()
        lock.close()


def _objects(pod_ip: str) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [pod_ip], "conditions": {"ready": True}}],
        },
    ]


def test_requests_and_connections_through_a_cluster_ip() -> None:
    """Prints requests/s and new connections/s through a ClusterIP over those to the pod directly."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_scenario())


async def _many_services(count: int) -> None:
    addresses, lock = lease_slice()
    api = Operations(LoopClock(), addresses=addresses)
    fabric = Fabric(gate=OpenGate(), addresses=addresses)
    proxy = KubeProxy(api, fabric, LoopClock())
    for number in range(count):
        service, endpoint_slice = _objects(str(addresses.pod_cidr(1)[9]))
        service["metadata"]["name"] = f"s{number}"
        endpoint_slice["metadata"] = {
            "name": f"s{number}-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": f"s{number}"},
        }
        endpoint_slice["endpoints"] = [
            {"addresses": [str(addresses.pod_cidr(1)[9 + n])], "conditions": {"ready": True}} for n in range(10)
        ]
        api.create(service), api.create(endpoint_slice)
    try:
        started = time.perf_counter()
        proxy.start()
        opened = time.perf_counter() - started
        changes = []
        for number in range(0, count, max(1, count // 200)):
            started = time.perf_counter()
            api.modify("endpointslices.discovery.k8s.io", f"s{number}-1", "default", lambda obj: obj["endpoints"].pop())
            changes.append(time.perf_counter() - started)
        changes.sort()
        print(
            f"\n{count} Services x 10 endpoints: opened in {opened * 1000:.0f} ms; an endpoint's removal is in force "
            f"after p50 {changes[len(changes) // 2] * 1e6:.0f} us, p99 {changes[int(len(changes) * 0.99)] * 1e6:.0f} us"
        )
    finally:
        proxy.stop()
        await fabric.close()
        lock.close()


@pytest.mark.parametrize("count", [10, 1000])
def test_cost_of_many_services(count: int) -> None:
    """Prints how long it takes to open Services, and until a removed endpoint is out of the table."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_many_services(count))
