"""Speed of the ingress: beside nginx before the same pod, and what rules cost. Run with `-m benchmark -s`.

The controller and the pod are pods of one cluster's network, in this process, with sockets, logs and counters as in
life; nginx (one worker) proxies to that pod. Rates say what callers get while everybody shares this machine's cores;
CPU per request says what a server costs, whoever else is at work: ours has the pod in it, which `pod` tells apart.
"""

import asyncio
import os
import re
import statistics
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from minikube_py.aiokit.clock import LoopClock
from minikube_py.aiokit.linelog import LineLog
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apiserver.certificates import Authority
from minikube_py.apiserver.operations import Operations
from minikube_py.cni.addresses import lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.podloop import new_event_loop
from minikube_py.cni.types import OpenGate
from minikube_py.images.container import Container, PodInfo
from minikube_py.ingress.router import BackendKey, Location, Paths, PathType, RoutingTable
from minikube_py.ingress.server import Tables, program

from .peers import nginx_http
from .wrk import Load, Measured, measure

pytestmark = [pytest.mark.benchmark, pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS = 3
SECONDS = 1
SMALL = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/plain\r\n\r\ncoffee"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + bytes(1 << 20)
PREFIX = "nginx.ingress.kubernetes.io/"
ANNOTATED: dict[str, dict[str, str]] = {
    "shop.test": {"proxy-read-timeout": "60"},
    "rewritten.test": {"rewrite-target": "/"},
    "cors.test": {"enable-cors": "true", "cors-allow-origin": "https://shop.test"},
    "body.test": {"proxy-body-size": "8m"},
}
LOADS = [
    Load("keep-alive"),
    Load("keep-alive, 100 callers", callers=100),
    Load("new connections", anew=True),
    Load("1 MB answers", "/large"),
    Load("POST, 1 KB", body=1024),
    Load("POST, 1 MB", host="body.test", body=1 << 20),
    Load("HTTPS, keep-alive", secure=True),
    Load("HTTPS, new connections", secure=True, anew=True),
    Load("rewrite-target", host="rewritten.test"),
    Load("enable-cors", host="cors.test"),
    Load("canary, 20 %", host="canary.test"),
]


class Pod(asyncio.Protocol):
    """The cheapest HTTP server there is: it must not be what is measured. It counts bodies and looks at nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._left = 0

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        else:
            head, _, rest = data.partition(b"\r\n\r\n")
            self._large = head.startswith(b"GET /large")
            if head.startswith(b"POST"):
                self._left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(rest)
        if not self._left:
            self._transport.write(LARGE if self._large else SMALL)


def rule(name: str, host: str, annotations: dict[str, str]) -> Object:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": {PREFIX + key: value for key, value in annotations.items()}},
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        },
    }


class _Issuer:
    """The cluster's CA, as the ingress wants it."""

    def __init__(self) -> None:
        self._authority = Authority.create()

    def issue(self, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        pair = self._authority.issue(hosts)
        return pair.cert_pem, pair.key_pem


class _NoNames:
    async def resolve(self, host: str) -> list[str]:
        raise OSError(f"{host}: this network has no DNS")


class Bench:
    """A pod behind an ingress controller, both on a network of their own."""

    def __init__(self) -> None:
        addresses, self._lock = lease_slice()
        self.fabric = Fabric(gate=OpenGate(), addresses=addresses)
        self.pod_ip, self.ip = (str(addresses.pod_cidr(1)[number]) for number in (5, 6))
        self.authority = _Issuer()
        self._log = LineLog()
        clock = LoopClock()
        self._api = api = Operations(clock, addresses=addresses)
        self.container = Container(
            "controller", "i", PodInfo("ingress-nginx", "c", "u", self.ip, "h", "n", "127.0.0.1"),
            lambda text: self._log.write(text, clock.now()),
        )  # fmt: skip
        api.create(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "IngressClass",
                "metadata": {"name": "nginx"},
                "spec": {"controller": "k8s.io/ingress-nginx"},
            }
        )
        api.create(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web"},
                "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]},
            }
        )
        api.create(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "ports": [{"name": "", "port": 8080}],
                "endpoints": [{"addresses": [self.pod_ip], "conditions": {"ready": True}}],
            }
        )
        for host, annotations in ANNOTATED.items():
            api.create(rule(host.partition(".")[0], host, annotations))
        api.create(rule("main", "canary.test", {}))
        api.create(rule("canary", "canary.test", {"canary": "true", "canary-weight": "20"}))
        self._main = program(api, clock, certificate_authority=self.authority)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        namespaces = [
            self.fabric.namespace(ip, hostname="h", name=f"default/{ip}", resolver=_NoNames())
            for ip in (self.pod_ip, self.ip)
        ]

        async def pod() -> None:
            await loop.create_server(Pod, None, 8080)

        await loop.create_task(pod(), context=namespaces[0].context)
        self._running = loop.create_task(self._main(self.container), context=namespaces[1].context)  # type: ignore[arg-type]
        await self.container.ready.wait()

    def port(self, secure: bool) -> int:
        return self.fabric.real_port(443 if secure else 80)

    async def close(self) -> None:
        self.container.terminated.set()
        await self._running
        await self.fabric.close()
        self._lock.close()


@asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.start()
    try:
        yield bench
    finally:
        await bench.close()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(scenario)


def middle(rounds: Sequence[Measured], what: str) -> float:
    return statistics.median(getattr(each, what) for each in rounds)


async def compare(folder: Path) -> None:
    own = os.getpid()
    async with running() as bench:
        with ExitStack() as stack:
            nginx = stack.enter_context(nginx_http(folder, bench.pod_ip, 8080, bench.authority.issue(["shop.test"])))
            if nginx is None:
                print("\nnginx is not installed: no ratios (Debian: apt-get install nginx-light)")
            print(
                f"\n{'median of ' + str(ROUNDS):24}{'ingress: req/s':>15}{'p50 ms':>8}{'p99':>7}{'CPU us':>8}"
                f"{'nginx: req/s':>14}{'p50 ms':>8}{'p99':>7}{'CPU us':>8}{'pod':>6}   {'ratio: rate':>11}{'CPU':>6}"
            )
            for load in LOADS:
                ours: list[Measured] = []
                theirs: list[Measured] = []
                pods: list[float] = []
                for _ in range(ROUNDS):  # in turns, so that a noisy neighbour hits both
                    ours.append(
                        await measure(load, bench.ip, bench.port(load.secure), own, seconds=SECONDS, folder=folder)
                    )
                    if nginx is not None:
                        before, started = time.process_time(), time.perf_counter()
                        port = nginx[load.secure]
                        seen = await measure(load, "127.0.0.1", port, nginx[2], seconds=SECONDS, folder=folder)
                        took = time.perf_counter() - started
                        pods.append((time.process_time() - before) / (seen.rate * took) * 1e6)
                        theirs.append(seen)
                line = f"{load.title:24}{middle(ours, 'rate'):15,.0f}{_figures(ours)}"
                if theirs:
                    rate = middle(ours, "rate") / middle(theirs, "rate")
                    cpu = middle(theirs, "cpu") / middle(ours, "cpu")
                    line += f"{middle(theirs, 'rate'):14,.0f}{_figures(theirs)}{statistics.median(pods):6.0f}"
                    line += f"   {rate:11.2f}{cpu:6.2f}"
                print(line)
                failures = [text for each in (*ours, *theirs) for text in each.errors]
                assert not failures, failures


def _figures(rounds: Sequence[Measured]) -> str:
    p50, p99 = middle(rounds, "p50") / 1e3, middle(rounds, "p99") / 1e3
    return f"{p50:8.2f}{p99:7.2f}{middle(rounds, 'cpu'):8.0f}"


@pytest.mark.needs("wrk")
def test_requests_beside_nginx(tmp_path: Path) -> None:
    """Prints rates, p50/p99 and CPU per request of the ingress and of nginx; no request fails."""
    run(compare(tmp_path))


# What rules cost


def table(rules: int, kind: str) -> tuple[RoutingTable, list[tuple[str, str]]]:
    """Return a table of so many rules, ten to a host, and requests for hosts and paths of it."""
    names = [f"host-{number}.test" for number in range(rules // 10)]

    def paths(host: str) -> Paths:
        regex = kind == "regular expressions"
        return Paths(
            (
                Location(
                    Key("d", "i"), host, f"/a/{each}", PathType.PREFIX, BackendKey("d", "s", "80"),
                    pattern=re.compile(f"/a/{each}") if regex else None,
                )
                for each in range(10)
            ),
            regex=regex,
        )  # fmt: skip

    asked = [(names[number % len(names)], f"/a/{number % 10}/b/c") for number in range(1000)]
    if kind == "wildcard hosts":
        found = RoutingTable(wildcards={f".{name}": paths(name) for name in names})
        return found, [(f"any.{host}", path) for host, path in asked]
    return RoutingTable({name: paths(name) for name in names}), asked


@pytest.mark.parametrize("kind", ["exact hosts", "wildcard hosts", "regular expressions"])
def test_routing_cost_does_not_grow_with_rules(kind: str) -> None:
    """10 and 10,000 rules cost the same within 1.2x (best of many, the same requests' shape)."""
    (small, few), (large, many) = table(10, kind), table(10_000, kind)

    def seconds(routes: RoutingTable, asked: list[tuple[str, str]]) -> float:
        started = time.perf_counter()
        for host, path in asked:
            routes.route(host, path)
        return (time.perf_counter() - started) / len(asked)

    least_small = least_large = 1.0
    for _ in range(60):  # in turns, so that a noisy neighbour hits both
        least_small = min(least_small, seconds(small, few))
        least_large = min(least_large, seconds(large, many[:100] * 10))
    print(
        f"\nroute, {kind:20} 10 rules {least_small * 1e6:.2f} us, 10,000 rules {least_large * 1e6:.2f} us, "
        f"ratio {least_large / least_small:.2f}"
    )
    assert least_large < least_small * 1.2


@pytest.mark.parametrize("count", [100, 1000, 10_000])
async def test_what_a_change_costs(count: int) -> None:
    """Prints how long the table takes to follow a change, of a pod and of a rule, at that many Ingresses."""
    api = Operations(LoopClock())
    api.create(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "nginx"},
            "spec": {"controller": "k8s.io/ingress-nginx"},
        }
    )
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    service["spec"] = {"selector": {"a": "b"}, "ports": [{"port": 80}]}
    api.create(service)
    for number in range(count):
        api.create(rule(f"i-{number}", f"host-{number}.test", {}))
    tables = Tables(api)
    tables.start()
    tables.table()
    took: dict[str, list[float]] = {"a pod": [], "a rule": []}
    for number in range(5):
        for what, change in (
            ("a pod", {**service, "metadata": {"name": "web", "labels": {"turn": str(number)}}}),
            ("a rule", rule("i-1", f"other-{number}.test", {})),
        ):
            api.update(change)
            started = time.perf_counter()
            tables.table()
            took[what].append(time.perf_counter() - started)
    tables.stop()
    print(f"\n{count:6} Ingresses:", ", ".join(f"{what} {min(each) * 1e3:.2f} ms" for what, each in took.items()))
