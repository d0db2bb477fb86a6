"""Speed of the ingress: routing against the number of rules, and requests per second against direct and nginx.

Run with `-m benchmark -s`. The load comes from `wrk` where it is installed, else from a small client here; nginx (one
worker, the same pod behind it) is measured where it is installed. Caller, ingress and pod share this machine's cores.
"""

import asyncio
import shutil
import socket
import time
from pathlib import Path

import pytest
import uvloop

from minikube_py.aiokit.clock import LoopClock
from minikube_py.apimachinery.meta import Key
from minikube_py.apiserver.operations import Operations
from minikube_py.cni.addresses import lease_slice
from minikube_py.images.container import Container, PodInfo
from minikube_py.ingress.router import BackendKey, Location, Paths, PathType, RoutingTable
from minikube_py.ingress.server import Listen, program

pytestmark = [pytest.mark.benchmark, pytest.mark.slow, pytest.mark.timeout(300)]

SMALL = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/plain\r\n\r\ncoffee"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + bytes(1 << 20)


class Pod(asyncio.Protocol):
    """The cheapest HTTP server there is: it must not be what is measured."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self._transport.write(LARGE if data.startswith(b"GET /large") else SMALL)


def table(rules: int) -> tuple[RoutingTable, list[tuple[str, str]]]:
    hosts: dict[str, Paths] = {}
    for number in range(rules // 10):
        host = f"host-{number}.test"
        hosts[host] = Paths(
            Location(Key("d", "i"), host, f"/a/{each}", PathType.PREFIX, BackendKey("d", "s", "80"))
            for each in range(10)
        )
    asked = [(f"host-{number % len(hosts)}.test", f"/a/{number % 10}/b/c") for number in range(1000)]
    return RoutingTable(hosts), asked


def test_routing_cost_does_not_grow_with_rules() -> None:
    """10 and 10,000 rules cost the same within 1.2x (best of many, the same requests' shape)."""
    (small, few), (large, many) = table(10), table(10_000)

    def best(routes: RoutingTable, asked: list[tuple[str, str]]) -> float:
        started = time.perf_counter()
        for host, path in asked:
            routes.route(host, path)
        return (time.perf_counter() - started) / len(asked)

    least_small = least_large = 1.0
    for _ in range(60):  # in turns, so that a noisy neighbour hits both
        least_small = min(least_small, best(small, few))
        least_large = min(least_large, best(large, many[:100] * 10))
    print(
        f"\nroute: 10 rules {least_small * 1e6:.2f} us, 10,000 rules {least_large * 1e6:.2f} us, "
        f"ratio {least_large / least_small:.2f}"
    )
    assert least_large < least_small * 1.2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def measure(host: str, port: int, path: str, *, close: bool = False, seconds: int = 3) -> tuple[float, str]:
    """Return (requests/s, latencies) of 32 callers."""
    wrk = shutil.which("wrk")
    url = f"http://{host}:{port}{path}"
    if wrk is None:
        return await measure_here(host, port, path, close=close, seconds=seconds), ""
    extra = ["-H", "Connection: close"] if close else []
    process = await asyncio.create_subprocess_exec(
        wrk,
        "-t1",
        "-c32",
        f"-d{seconds}s",
        "--latency",
        "-H",
        "Host: shop.test",
        *extra,
        url,
        stdout=asyncio.subprocess.PIPE,
    )
    text = (await process.communicate())[0].decode()
    rate, latency = 0.0, []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["Requests/sec:"]:
            rate = float(words[1])
        if words[:1] in (["50%"], ["99%"]):
            latency.append(words[1])
        if "Socket errors" in line or "Non-2xx" in line:
            latency.append(line.strip())
    return rate, "/".join(latency)


async def measure_here(host: str, port: int, path: str, *, close: bool, seconds: int) -> float:
    request = f"GET {path} HTTP/1.1\r\nHost: shop.test\r\n{'Connection: close' if close else 'A: b'}\r\n\r\n".encode()
    until = time.perf_counter() + seconds

    async def caller() -> int:
        done = 0
        reader, writer = await asyncio.open_connection(host, port)
        while time.perf_counter() < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            done += 1
            if close:
                writer.close()
                reader, writer = await asyncio.open_connection(host, port)
        writer.close()
        return done

    return sum(await asyncio.gather(*(caller() for _ in range(32)))) / seconds


async def proxied(folder: Path) -> dict[str, dict[str, tuple[float, str]]]:
    loop = asyncio.get_running_loop()
    addresses, lock = lease_slice()
    pod_ip = str(addresses.pod_cidr(1)[5])
    pod = await loop.create_server(Pod, pod_ip, 0)
    pod_port = pod.sockets[0].getsockname()[1]
    api = Operations(LoopClock())
    for kind, group, name, body in (
        ("IngressClass", "networking.k8s.io/v1", "nginx", {"spec": {"controller": "k8s.io/ingress-nginx"}}),
        ("Service", "v1", "web", {"spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}),
    ):
        api.create({"apiVersion": group, "kind": kind, "metadata": {"name": name}, **body})
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": "shop.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    api.create(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "web"},
            "spec": {"ingressClassName": "nginx", "rules": [rule]},
        }
    )
    api.create(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": pod_port}],
            "endpoints": [{"addresses": [pod_ip], "conditions": {"ready": True}}],
        }
    )
    container = Container("c", "i", PodInfo("n", "p", "u", "127.0.0.1", "h", "n", "127.0.0.1"), lambda text: None)
    running = asyncio.ensure_future(program(api, LoopClock(), listen=Listen("127.0.0.1", 0, 0))(container))
    await container.ready.wait()
    ports = {"direct": pod_port, "ingress": int(container.extra["http_port"])}
    hosts = {"direct": pod_ip}
    nginx = None
    if binary := shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin"):
        ports["nginx"] = free_port()
        config = folder / "nginx.conf"
        config.write_text(
            f"worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
            "events { worker_connections 1024; }\n"
            "http { access_log off; keepalive_requests 1000000;\n"
            f"upstream u {{ server {pod_ip}:{pod_port}; keepalive 64; keepalive_requests 1000000; }}\n"
            f"server {{ listen 127.0.0.1:{ports['nginx']};\n"
            'location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";\n'
            "proxy_set_header Host $host; proxy_buffering on; } } }\n"
        )
        nginx = await asyncio.create_subprocess_exec(binary, "-c", str(config), stderr=asyncio.subprocess.DEVNULL)
        while True:
            try:
                (await loop.create_connection(asyncio.Protocol, "127.0.0.1", ports["nginx"]))[0].close()
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)  # nginx gives no other sign of being up
    found: dict[str, dict[str, tuple[float, str]]] = {}
    try:
        for title, path, close in (
            ("small GET", "/", False),
            ("new connections", "/", True),
            ("1 MB", "/large", False),
        ):
            found[title] = {}
            for name, port in ports.items():
                if close and name == "direct":
                    continue  # this pod ignores Connection: close
                found[title][name] = await measure(hosts.get(name, "127.0.0.1"), port, path, close=close)
    finally:
        if nginx is not None:
            nginx.terminate()
            await nginx.wait()
        container.terminated.set()
        await running
        pod.close()
        lock.close()
    return found


def test_requests_per_second(tmp_path: Path) -> None:
    """Prints requests/s and p50/p99 through the ingress, as ratios to direct and to nginx."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(proxied(tmp_path))
    print()
    for title, rates in found.items():
        ours = rates["ingress"][0]
        line = ", ".join(f"{name} {rate:.0f}/s ({latency})" for name, (rate, latency) in rates.items())
        ratios = ", ".join(
            f"{ours / rate:.2f} of {name}" for name, (rate, _) in rates.items() if name != "ingress" and rate
        )
        print(f"{title}: {line} -> {ratios}")
        assert ours > 0
