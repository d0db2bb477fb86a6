"""DNS queries per second, over an echo server's and (where installed) dnsmasq's. Run with -m benchmark -s.

Only ratios mean something: absolute figures drift with the machine. Servers run in processes of their own; each figure
is the median of interleaved rounds over the same 2,000 names. Debian's `dnsmasq-base` adds the peer, its `dnsperf` the
load generator (the one in Python is the bottleneck).
"""

import asyncio
import getpass
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from minikube_py.aiokit.clock import LoopClock
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations
from minikube_py.cni.addresses import lease_slice
from minikube_py.cni.dnswire import header, query
from minikube_py.coredns.agent import ZoneAgent
from minikube_py.coredns.corefile import parse
from minikube_py.coredns.engine import Engine, Finished
from minikube_py.coredns.plugins import Context, build
from minikube_py.coredns.server import program
from minikube_py.coredns.zone import Zone, compile_service
from minikube_py.images.container import Container, PodInfo

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

NAMES = 2000
QUERIES = 40_000
WINDOW = 64
ROUNDS = 3
POD = "kubectl get pods -n kube-system -l k8s-app=kube-dns -o jsonpath='{.items[0].status.podIP}'"
COREFILE = """.:15453 {
    errors
    LOG
    kubernetes cluster.local in-addr.arpa
    loadbalance
}
"""


def service(i: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"s{i}", "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80}], "selector": {"app": f"s{i}"}},
    }


# -- the servers, each in a process of its own ------------------------------------------------------------------------


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.transport.sendto(data[:2] + b"\x80" + data[3:], addr)  # type: ignore[attr-defined]  # a reply, says QR


async def serve_echo(ip: str) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(_Echo, local_addr=(ip, 15453))
    print("ready", flush=True)
    await asyncio.Event().wait()


async def serve_coredns(ip: str, log: str) -> None:
    clock = LoopClock()
    api = Operations(clock)
    for i in range(NAMES):
        api.create(service(i))
    text = COREFILE.replace("LOG", "log" if log else "")
    meta = {"name": "coredns", "namespace": "kube-system"}
    api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": text}})
    pod = PodInfo("kube-system", "coredns", "u", ip, "coredns", "n", "127.0.0.1")
    container = Container(name="coredns", image="coredns", pod=pod, write=lambda line: None)
    serving = asyncio.ensure_future(program(api, clock, host=ip, upstreams=())(container))
    await container.ready.wait()
    print("ready", flush=True)
    await serving


# -- the client --------------------------------------------------------------------------------------------------------


def rate(address: tuple[str, int], *, edns: int = 1232, mixed: bool = False) -> float:
    """Return replies per second with a window of queries in flight."""
    chance = random.Random(1)
    names = [f"s{i}.default.svc.cluster.local." for i in range(NAMES)]
    if mixed:
        names = ["".join(chance.choice((c.lower(), c.upper())) for c in name) for name in names]
    questions = [query(chance.getrandbits(16), name, 1, edns=edns) for name in names]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.settimeout(2.0)
        for warm in questions:
            sock.send(warm)
            sock.recv(2048)
        started = time.perf_counter()
        for i in range(WINDOW):
            sock.send(questions[i % NAMES])
        send, receive = sock.send, sock.recv
        for i in range(WINDOW, QUERIES):
            receive(2048)
            send(questions[i % NAMES])
        for _ in range(WINDOW):
            reply = receive(2048)
        seconds = time.perf_counter() - started
        assert header(reply).rcode == 0
        return QUERIES / seconds


def dnsperf(program: str, address: tuple[str, int], names: Path) -> tuple[float, float]:
    """Return replies per second, and the share of queries that were lost."""
    done = subprocess.run(
        [
            program,
            "-s",
            address[0],
            "-p",
            str(address[1]),
            "-d",
            str(names),
            "-l",
            "2",
            "-c",
            "8",
            "-q",
            "200",
            "-t",
            "1",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    found = dict(re.findall(r"(Queries per second|Queries sent|Queries lost):\s+([\d.]+)", done.stdout))
    return float(found["Queries per second"]), float(found["Queries lost"]) / float(found["Queries sent"])


@contextmanager
def process(*command: str, ready: str = "ready", env: dict[str, str] | None = None) -> Iterator[str]:
    """Run a server; yield the line by which it says that it is ready."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=env) as child:
        assert child.stdin
        assert child.stdout
        try:
            yield next((line for line in child.stdout if line.startswith(ready)), "") if ready else ""
        finally:
            if env is None:
                child.kill()
            child.stdin.close()  # which ends a cluster's command, and with it the cluster


def test_queries_per_second(tmp_path: Path) -> None:
    """Our CoreDNS answers at a rate near the echo server's, which only bounces datagrams."""
    addresses, lock = lease_slice()
    me = str(Path(__file__))
    names = ("echo", "coredns", "coredns, log", "dnsmasq")
    servers = {name: (str(addresses.nodes[60 + i]), 15453) for i, name in enumerate(names)}
    manifest = tmp_path / "services.yaml"
    manifest.write_text("\n---\n".join(json.dumps(service(i)) for i in range(NAMES)))
    with ExitStack() as stack:
        stack.callback(lock.close)
        up = (sys.executable, "-m", "minikube_py", "up", "--nodes", "1", "--name", "dns-benchmark", "-f", str(manifest))
        told = stack.enter_context(
            process(*up, "--", "sh", "-c", f"echo ready $MKPY_DNS $MKPY_DNS_PORT $({POD}); cat", env=dict(os.environ))
        )
        _, ip, port, *pod = told.split()
        servers["kube-dns, log"] = (ip, int(port))
        if pod:
            servers["its pod, log"] = (pod[0], int(port))
        stack.enter_context(process(sys.executable, me, "echo", servers["echo"][0]))
        stack.enter_context(process(sys.executable, me, "coredns", servers["coredns"][0], ""))
        stack.enter_context(process(sys.executable, me, "coredns", servers["coredns, log"][0], "log"))
        if dnsmasq := shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin"):
            hosts = tmp_path / "hosts"
            lines = (f"127.96.{i // 250}.{i % 250 + 1} s{i}.default.svc.cluster.local\n" for i in range(NAMES))
            hosts.write_text("".join(lines))
            options = ("-k", "-C", "/dev/null", "-R", "-h", "-z", "-p", "15453", "-u", getpass.getuser(), "--pid-file=")
            stack.enter_context(
                process(dnsmasq, *options, f"--addn-hosts={hosts}", "-a", servers["dnsmasq"][0], ready="")
            )
            time.sleep(0.5)  # it has no way to say that it is ready
        else:
            del servers["dnsmasq"]
        rounds: dict[str, list[float]] = {name: [] for name in servers}
        program = shutil.which("dnsperf")
        asked = tmp_path / "names"
        asked.write_text("".join(f"s{i}.default.svc.cluster.local A\n" for i in range(NAMES)))
        for _ in range(ROUNDS):
            for name, address in servers.items():
                if program:
                    figure, lost = dnsperf(program, address, asked)
                    assert lost < 0.01, name
                else:
                    figure = rate(address, mixed=name != "echo")
                rounds[name].append(figure)
    median = {name: statistics.median(figures) for name, figures in rounds.items()}
    print()
    for name, figure in median.items():
        ratios = ", ".join(
            f"{statistics.median(a / b for a, b in zip(rounds[name], rounds[floor], strict=True)):.2f} of {floor}"
            for floor in ("echo", "dnsmasq")
            if floor in rounds and floor != name
        )
        print(f"{name:14} {figure:9,.0f} queries/s  {ratios}")
    assert median["coredns"] / median["echo"] > 0.5


@pytest.mark.parametrize("services", [10, 100, 1000, 10_000])
def test_cost_of_size(services: int) -> None:
    """Compiling the zone, and the change of one Service in it, for growing clusters."""
    objects = [
        {**service(i), "spec": {"clusterIP": f"127.96.{i // 250}.{i % 250 + 1}", "ports": [{"port": 80}]}}
        for i in range(services)
    ]
    started = time.perf_counter()
    zone = Zone.compile(objects, [], [{"metadata": {"name": "default"}}])
    compiled = time.perf_counter() - started
    started = time.perf_counter()
    for i in range(20):
        objects[0]["spec"]["clusterIP"] = f"127.97.0.{i}"
        entry = compile_service(objects[0])
        zone = zone.with_changes(services={entry.key: entry})
    change = (time.perf_counter() - started) / 20
    print(f"\n{services:6} Services: compiled in {compiled * 1e3:.1f} ms, one change {change * 1e6:.0f} us")


def headless(i: int, addresses: list[str]) -> tuple[Object, Object]:
    """Return a headless Service and its slice."""
    bare = service(i)
    bare["spec"]["clusterIP"] = "None"
    return bare, {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"s{i}-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": f"s{i}"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": 80}],
    }


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


@pytest.mark.parametrize("services", [10, 1000, 10_000])
async def test_last_wrong_answer(services: int) -> None:
    """An endpoint leaves its slice: how long DNS still gives its address, at 10 endpoints a Service; and queries/s."""
    clock = LoopClock()
    api = Operations(clock)
    for i in range(services):
        addresses = [f"127.244.{i % 200 + 1}.{k + 2}" for k in range(10)]
        for made in headless(i, addresses):
            api.create(made)
    agent = ZoneAgent(api, clock)
    agent.open()
    context = Context((), lambda path: None, ())
    engine = Engine(agent, [build(block, context) for block in parse(COREFILE.replace("LOG", ""), {})], lambda entry: 0)
    while not agent.zone.synced:
        await asyncio.sleep(0)

    def answered(i: int) -> bytes:
        done = engine.slow(query(1, f"s{i}.default.svc.cluster.local.", 1, edns=4096), "127.0.0.1", tcp=False)
        assert isinstance(done, Finished)
        return done.reply

    took = []
    for i in range(100):
        kept = api.get("endpointslices.discovery.k8s.io", f"s{i % services}-1", "default")
        gone = socket.inet_aton(kept["endpoints"][0]["addresses"][0])
        changed = json.loads(json.dumps(kept))
        del changed["endpoints"][0]
        if not changed["endpoints"]:
            break
        assert gone in answered(i % services)
        began = time.perf_counter()
        api.update(changed)
        while gone in answered(i % services):
            await asyncio.sleep(0)
        took.append((time.perf_counter() - began) * 1e3)
    received = [
        (query(i, f"s{i % services}.default.svc.cluster.local.", 1, edns=4096), ("127.0.0.1", 1)) for i in range(64)
    ]
    for data, _ in received:
        engine.slow(data, "127.0.0.1", tcp=False)
    began = time.perf_counter()
    for _ in range(200):
        engine.fast_all(received)
    per_query = (time.perf_counter() - began) / 200 / 64
    agent.close()
    cuts = statistics.quantiles(took, n=100)
    resident = resident_mb()
    print(
        f"\n{services:6} Services x 10: last wrong answer p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms;"
        f" {per_query * 1e6:.2f} us in the engine per query; {resident:.0f} MB resident with the API's store"
    )
    assert cuts[98] < 20 or services > 1000


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    asyncio.run({"echo": serve_echo, "coredns": serve_coredns}[kind](*rest))  # type: ignore[operator]
