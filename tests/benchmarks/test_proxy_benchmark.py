"""What the Service proxy costs: over calls to the pod itself, and beside C proxies. Run with -m benchmark -s.

Only ratios mean something: absolute figures drift with the machine. Each is the median of interleaved rounds; the
load comes from a process of its own (`load.py`). haproxy and nginx are used where they are installed (`peers.py`).
"""

import asyncio
import random
import resource
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from minikube_py.aiokit.clock import LoopClock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery.labels import Selector
from minikube_py.apiserver.operations import Operations
from minikube_py.client.reconcile import Agent
from minikube_py.cni.addresses import lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.podloop import new_event_loop
from minikube_py.cni.types import OpenGate
from minikube_py.controllers.deployment import DeploymentController
from minikube_py.controllers.endpointslice import EndpointSliceController
from minikube_py.controllers.replicaset import ReplicaSetController
from minikube_py.kube_proxy.server import KubeProxy

from .peers import haproxy, nginx

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

ROUNDS = 5
LOAD = Path(__file__).parent / "load.py"
Address = tuple[str, int]

_SENDER = """
import socket, sys, threading
server = socket.create_server((sys.argv[1], 8090))
print("listening", flush=True)
block = bytes(1 << 20)
def send(connection):
    with connection:
        for _ in range(int.from_bytes(connection.recv(4), "big")):
            connection.sendall(block)
while True:
    threading.Thread(target=send, args=(server.accept()[0],), daemon=True).start()
"""


class _NoNames:
    async def resolve(self, host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


class Bench:
    """A proxy with its API and network."""

    def __init__(self) -> None:
        self.addresses, self.lock = lease_slice()
        self.clock = LoopClock()
        self.api = Operations(self.clock, addresses=self.addresses)
        self.fabric = Fabric(gate=OpenGate(), addresses=self.addresses)
        self.proxy = KubeProxy(self.api, self.fabric, self.clock)

    def pod_ip(self, number: int) -> str:
        return str(self.addresses.pod_cidr(1)[2 + number])

    def expose(self, name: str, ips: list[str], port: int, protocol: str = "TCP") -> Address:
        """Create a Service and its slice; return its address."""
        spec = {"ports": [{"port": 8000, "targetPort": port, "protocol": protocol}]}
        made = self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {**spec, "selector": {"app": name}},
            }
        )
        self.api.create(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{name}-1",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "ports": [{"name": "", "port": port, "protocol": protocol}],
                "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in ips],
            }
        )
        return made["spec"]["clusterIP"], 8000


@asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    bench = Bench()
    try:
        yield bench
    finally:
        bench.proxy.stop()
        await bench.fabric.close()
        bench.lock.close()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(scenario)


async def load(mode: str, address: Address, total: int, clients: int) -> tuple[float, float]:
    """Return (operations per second, median seconds of one)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(LOAD), mode, address[0], str(address[1]), str(total), str(clients),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    rate, median = out.split()
    return float(rate), float(median)


async def compare(what: str, mode: str, ways: dict[str, Address | None], total: int, clients: int) -> None:
    """Print the rate of each way over that of the first, as median of interleaved rounds."""
    known = {name: address for name, address in ways.items() if address is not None}
    rates: dict[str, list[float]] = {name: [] for name in known}
    times: dict[str, list[float]] = {name: [] for name in known}
    for number in range(ROUNDS + 1):
        for name, address in known.items():
            rate, median = await load(mode, address, total, clients)
            if number:  # the first round warms up
                rates[name].append(rate)
                times[name].append(median)
    first = next(iter(known))
    unit = " MB" if mode == "bulk" else ""
    for name in known:
        ratio = statistics.median(one / base for one, base in zip(rates[name], rates[first], strict=True))
        added = (statistics.median(times[name]) - statistics.median(times[first])) * 1e6
        late = f", p50 {statistics.median(times[name]) * 1e6:.0f} us ({added:+.0f})" if clients == 1 else ""
        print(f"{what:32} {name:10} {statistics.median(rates[name]):>9,.0f}{unit}/s  {ratio:5.2f} of {first}{late}")
    if missing := [name for name, address in ways.items() if address is None]:
        print(f"{what:32} not installed: {', '.join(missing)}")


async def _web_pod(bench: Bench) -> Any:
    from aiohttp import web

    pod = bench.fabric.namespace(bench.pod_ip(0), hostname="web", name="default/web", resolver=_NoNames())

    async def answer(request: Any) -> web.Response:
        return web.Response(text="ok")

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, None, 8080).start()
        return runner

    return await asyncio.get_running_loop().create_task(serve(), context=pod.context)


async def _tcp(folder: Path) -> None:
    async with running() as bench:
        bench.proxy.start()
        runner = await _web_pod(bench)
        pod = (bench.pod_ip(0), 8080)
        service = bench.expose("web", [pod[0]], 8080)
        print()
        with ExitStack() as stack:
            ways = {
                "direct": pod,
                "ClusterIP": service,
                "haproxy": stack.enter_context(haproxy(folder, *pod)),
                "nginx": stack.enter_context(nginx(folder, *pod)),
            }
            await compare("requests, 16 keep-alive", "requests", ways, 6000, 16)
            await compare("requests, one client", "requests", ways, 2000, 1)
            await compare("new connections, 16 at once", "connections", ways, 2500, 16)
            await compare("new connections, one by one", "connections", ways, 1000, 1)
        await runner.cleanup()


def test_requests_and_connections(tmp_path: Path) -> None:
    """Prints requests/s and new connections/s through a ClusterIP, haproxy and nginx over those to the pod."""
    run(_tcp(tmp_path))


async def _udp() -> None:
    async with running() as bench:
        bench.proxy.start()
        pod = bench.fabric.namespace(bench.pod_ip(0), hostname="echo", name="default/echo", resolver=_NoNames())

        async def serve() -> None:
            await asyncio.get_running_loop().create_datagram_endpoint(_Echo, ("", 8081))

        await asyncio.get_running_loop().create_task(serve(), context=pod.context)
        ways: dict[str, Address | None] = {"direct": (pod.ip, 8081)}
        ways["ClusterIP"] = bench.expose("echo", [pod.ip], 8081, "UDP")
        print()
        await compare("datagrams and answers, 16", "datagrams", ways, 20000, 16)


def test_datagrams() -> None:
    """Prints the datagrams/s of a UDP Service over those of the pod itself."""
    run(_udp())


async def _bulk(folder: Path) -> None:
    async with running() as bench:
        bench.proxy.start()
        ip = bench.pod_ip(9)
        sender = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _SENDER, ip, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert sender.stdout
        await sender.stdout.readline()
        try:
            print()
            with ExitStack() as stack:
                peer = stack.enter_context(haproxy(folder, ip, 8090))
                ways = {"haproxy": peer, "ClusterIP": bench.expose("bulk", [ip], 8090), "direct": (ip, 8090)}
                await compare("bulk from a program of its own", "bulk", ways, 400, 2)
        finally:
            sender.kill()
            await sender.wait()


def test_bulk_from_another_process(tmp_path: Path) -> None:
    """Prints the MB/s of a splice to a program of its own over haproxy's."""
    run(_bulk(tmp_path))


def _memory() -> float:
    """Return the resident megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _open_pods(bench: Bench, stack: ExitStack, count: int = 10) -> list[str]:
    """Listen on as many pod addresses; the Services share them."""
    ips = [bench.pod_ip(number) for number in range(count)]
    for ip in ips:
        stack.enter_context(socket.create_server((ip, 8080)))
    return ips


async def _growth(count: int) -> None:
    async with running() as bench:
        with ExitStack() as stack:
            ips = _open_pods(bench, stack)
            for number in range(count):
                bench.expose(f"s{number}", ips, 8080)
            before = _memory()
            started = time.perf_counter()
            bench.proxy.start()
            opened = time.perf_counter() - started
            memory = _memory() - before
            picks = []
            for entry in [*bench.proxy._services.values()][:: max(1, count // 200)]:
                assert entry.table
                frontend = entry.table.frontends[0]
                started = time.perf_counter()
                candidates = bench.proxy._candidates(entry, frontend, "127.0.0.1")
                entry.ports[frontend.service_port].balancer.pick(candidates, "127.0.0.1", 0.0)
                picks.append(time.perf_counter() - started)
            changes = []
            for number in range(0, count, max(1, count // 200)):
                started = time.perf_counter()
                bench.api.modify(
                    "endpointslices.discovery.k8s.io", f"s{number}-1", "default", lambda obj: obj["endpoints"].pop()
                )
                changes.append(time.perf_counter() - started)
            print(
                f"\n{count:6} Services x 10: opened in {opened * 1000:6.0f} ms, {memory * 1e3 / count:5.1f} kB each, "
                f"a pick takes p50 {statistics.median(picks) * 1e6:.1f} us, "
                f"a change is in force after p50 {statistics.median(changes) * 1e6:.0f} us"
            )


@pytest.mark.parametrize("count", [10, 100, 1000, 10000])
def test_growth(count: int) -> None:
    """Prints what more Services cost: to open, to keep, to change one of them."""
    run(_growth(count))


async def _death(services: int, replicas: int) -> None:
    async with running() as bench:
        api, scope = bench.api, TaskScope("death")
        with ExitStack() as stack:
            ips = _open_pods(bench, stack, replicas)
            agent = Agent(EndpointSliceController(random.Random(1)), api, bench.clock)
            bench.proxy.start()
            for number in range(services):
                _service(api, f"s{number}")
                for index, ip in enumerate(ips):
                    _ready_pod(api, f"s{number}", index, ip)
            agent.start(scope)
            while not agent.idle or len(bench.proxy.endpoints("default", f"s{services - 1}", 8000)) < replicas:
                await asyncio.sleep(0.01)
            took = []
            for number in range(0, services, max(1, services // 300)):
                victim = ips[number % replicas]
                started = time.perf_counter()
                api.delete("pods", f"s{number}-{number % replicas}", "default", grace_period=0)
                while any(one.ip == victim for one in bench.proxy.endpoints("default", f"s{number}", 8000)):
                    await asyncio.sleep(0)
                took.append(time.perf_counter() - started)
            took.sort()
            print(
                f"\na pod's death to the last wrong pick, {services} Services x {replicas}: "
                f"p50 {statistics.median(took) * 1e3:.2f} ms, p99 {took[int(len(took) * 0.99)] * 1e3:.2f} ms (aim < 20)"
            )
            agent.stop()
            await scope.close()


async def _scale(services: int, replicas: int, deployments: int) -> None:
    async with running() as bench:
        api, scope = bench.api, TaskScope("scale")
        with ExitStack() as stack:
            ips = _open_pods(bench, stack, replicas)
            reconcilers = (DeploymentController(), ReplicaSetController(), EndpointSliceController(random.Random(1)))
            agents = [Agent(one, api, bench.clock) for one in reconcilers]
            bench.proxy.start()
            for agent in agents:
                agent.start(scope)
            for number in range(services):
                _service(api, f"s{number}")
                for index, ip in enumerate(ips if number >= deployments else ()):
                    _ready_pod(api, f"s{number}", index, ip)
                if number < deployments:
                    _deployment(api, f"s{number}", replicas)
            while len(api.list("pods", "default")) < services * replicas:
                await asyncio.sleep(0.01)
            for number in range(deployments):
                for ip, pod in zip(ips, api.list("pods", "default", Selector.parse(f"app=s{number}")), strict=True):
                    api.update({**pod, "status": _status(ip)}, subresource="status")
            while not all(len(bench.proxy.endpoints("default", f"s{n}", 8000)) == replicas for n in range(services)):
                await asyncio.sleep(0.01)
            took = []
            for number in range(deployments):
                started = time.perf_counter()
                api.modify("deployments.apps", f"s{number}", "default", lambda obj: obj["spec"].update(replicas=5))
                while len(bench.proxy.endpoints("default", f"s{number}", 8000)) > 5:
                    await asyncio.sleep(0)
                took.append(time.perf_counter() - started)
            took.sort()
            print(
                f"\nscaling {replicas} to 5 until the last wrong pick, {services} Services: p50 "
                f"{statistics.median(took) * 1e3:.2f} ms, p99 {took[int(len(took) * 0.99)] * 1e3:.2f} ms (aim < 20)"
            )
            for agent in agents:
                agent.stop()
            await scope.close()


def _service(api: Operations, name: str) -> None:
    spec = {"selector": {"app": name}, "ports": [{"port": 8000, "targetPort": 8080}]}
    metadata = {"name": name, "namespace": "default"}
    api.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})


def _deployment(api: Operations, name: str, replicas: int) -> None:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "web"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    metadata = {"name": name, "namespace": "default"}
    api.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})


def _status(ip: str) -> dict[str, Any]:
    return {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]}


def test_from_scaling_to_the_last_wrong_pick() -> None:
    """Prints how long removed pods are still picked after a Deployment's replicas are changed: three controllers."""
    run(_scale(1000, 10, 100))


def _ready_pod(api: Operations, app: str, index: int, ip: str) -> None:
    made = api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{app}-{index}", "namespace": "default", "labels": {"app": app}},
            "spec": {"nodeName": "worker", "containers": [{"name": "c", "image": "web"}]},
        }
    )
    api.update({**made, "status": _status(ip)}, subresource="status")


@pytest.mark.parametrize("services", [10, 1000])
def test_from_a_pods_death_to_the_last_wrong_pick(services: int) -> None:
    """Prints how long a dead pod is still picked: its deletion goes through the endpoint controller to the table."""
    run(_death(services, 10))
