"""How long a start takes: `mkpy up` to the first answer, a second cluster in a process, a thousand pods.

Run: pytest -m benchmark -s tests/benchmarks/test_startup_benchmark.py. Prints; asserts no time.
"""

import gc
import http.client
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py import Cluster
from minikube_py.cli.serve import _GARBAGE

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

SHOP = Path(__file__).parents[2] / "configs" / "coffee-shop.yaml"


def _floor() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import aiohttp.web, click, cryptography.x509, yaml"], check=True)
    return time.perf_counter() - begun


def _first_answer(folder: Path) -> float:
    """Return seconds from the spawn of `mkpy up` to 200 through Ingress → Service → pod."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    config = folder / "cluster.yaml"
    config.write_text("apiVersion: minikube-py/v1alpha1\nkind: Cluster\ningress: {httpPort: 28080, httpsPort: 28443}\n")
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "minikube_py", "up", "--config", str(config), "-f", str(SHOP)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", 28080, timeout=5)
            try:
                connection.request("GET", "/order", headers={"Host": "coffee.com"})
                with connection.getresponse() as answer:
                    if answer.status == 200:
                        return time.perf_counter() - begun
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def test_first_answer(tmp_path: Path) -> None:
    """Cold: from the shell's fork to the first answer; the floor is Python importing the same libraries."""
    _first_answer(tmp_path)  # bytecode
    floor = statistics.median(_floor() for _ in range(5))
    took = statistics.median(_first_answer(tmp_path) for _ in range(5))
    print(
        f"\nmkpy up to first answer: {took:.3f} s; imports of its libraries alone: {floor:.3f} s; "
        f"ratio {took / floor:.2f}"
    )


def test_second_cluster() -> None:
    """A cluster in a process that has had one: start and stop, with CoreDNS and the ingress controller ready."""
    with Cluster():
        pass
    starts, stops = [], []
    for _ in range(20):
        begun = time.perf_counter()
        cluster = Cluster().start()
        starts.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        cluster.stop()
        stops.append(time.perf_counter() - begun)
    print(
        f"\nsecond cluster: start {statistics.median(starts) * 1e3:.1f} ms, "
        f"stop {statistics.median(stops) * 1e3:.1f} ms, "
        f"{60 * len(starts) / (sum(starts) + sum(stops)):.0f} clusters a minute"
    )


@pytest.fixture
def collector() -> Iterator[None]:
    """The garbage collector as `mkpy up` sets it for its own process."""
    before = gc.get_threshold()
    gc.set_threshold(*_GARBAGE)
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(
    ("deployments", "pods"),
    [(1, 1000), (1, 10_000), (100, 10_000)],
    ids=["1,000", "10,000", "100 Deployments of 100"],
)
def test_many_pods(deployments: int, pods: int, collector: None) -> None:
    """Many pods behind one Service: from apply to all ready, the memory of each, and until the last is gone."""
    each = pods // deployments
    names = [f"many-{number}" for number in range(deployments)]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "many"},
        "spec": {"selector": {"group": "many"}, "ports": [{"port": 80, "targetPort": 5678}]},
    }
    config = {"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "nodes": 2 + max(2, pods // 240)}
    with Cluster(service, config=config) as cluster:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun, cpu = time.perf_counter(), time.process_time()
        cluster.apply(*(_deployment(name, each) for name in names))
        for name in names:
            cluster.wait(f"deployment/{name}", ready=each, timeout=120)
        ready, ready_cpu = time.perf_counter() - begun, time.process_time() - cpu
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun, cpu = time.perf_counter(), time.process_time()
        for name in names:
            cluster.scale(f"deployment/{name}", 0)
        while len(cluster.get("pods")):
            time.sleep(0.25)  # listing ten thousand is work of the same loop
        gone, gone_cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(
        f"\n{deployments} Deployments, {pods} pods: ready in {ready:.2f} s ({ready_cpu:.2f} s of CPU), "
        f"{(after - before) / pods:.1f} KB each, gone in {gone:.2f} s ({gone_cpu:.2f} s of CPU)"
    )


def _deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name, "group": "many"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "hashicorp/http-echo", "args": ["-text=x"]}]},
            },
        },
    }


def _bare_exchange(times: int) -> float:
    """Return the CPU seconds of one HTTP exchange by bare socket calls, both ends of it: no loop, no server."""
    request, answer = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.process_time()
        for _ in range(times):
            with socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
                client.sendall(request)
                accepted.recv(4096)
                accepted.sendall(answer)
                client.recv(4096)
        return (time.process_time() - begun) / times


@pytest.mark.parametrize("handler", ["httpGet", "tcpSocket"])
def test_idle_cpu(handler: str) -> None:
    """A thousand pods with a probe every 10 s, when nobody calls; the floor is the socket calls alone."""
    pods, period = 1000, 10
    probe = {handler: {"port": 5678}, "periodSeconds": period}
    container = {"name": "c", "image": "hashicorp/http-echo", "args": ["-text=x"], "readinessProbe": probe}
    labels = {"app": "idle"}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "idle"},
        "spec": {
            "replicas": pods,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    config = {"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "nodes": 6}
    with Cluster(manifest, config=config, wait=60):
        time.sleep(5)
        cpu, begun = time.process_time(), time.perf_counter()
        time.sleep(2 * period)
        share = (time.process_time() - cpu) / (time.perf_counter() - begun)
    floor = _bare_exchange(2000) * pods / period
    print(
        f"\n{pods} idle pods, {handler} every {period} s: {share:.1%} of a core; "
        f"the same exchanges by bare socket calls: {floor:.1%}"
    )
