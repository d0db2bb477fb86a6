"""What NetworkPolicies cost: new connections over none, from apply to enforcement, verdicts. Run with -m benchmark -s.

Only ratios mean something: absolute figures drift with the machine. Each is the median of interleaved rounds; the
callers are a process of their own.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from minikube_py.aiokit.clock import LoopClock
from minikube_py.apiserver.operations import Operations
from minikube_py.cni.addresses import lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.podloop import new_event_loop
from minikube_py.cni.types import Flow
from minikube_py.networkpolicy.agent import PolicyGate
from minikube_py.networkpolicy.decide import decide

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

ROUNDS = 5
SECONDS = 0.4
POLICIES = "networkpolicies.networking.k8s.io"

_CALLER = """
import socket, sys, time
source, ip, port, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
def call():
    with socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((source, 0))
        sock.connect((ip, port))
        assert sock.recv(2) == b"hi"
for _ in range(20):
    call()
count, end = 0, time.perf_counter() + seconds
while time.perf_counter() < end:
    call()
    count += 1
print(count / seconds)
"""


class _Hi(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(b"hi")
        transport.close()


class _NoNames:
    async def resolve(self, host: str) -> list[str]:
        raise OSError(host)


def _pod(name: str, app: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": name, "labels": {"app": app}}
    spec = {"containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _policy(name: str, app: str | None, *callers: str) -> dict[str, Any]:
    peers = [{"podSelector": {"matchLabels": {"app": caller}}} for caller in callers]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "podSelector": {"matchLabels": {"app": app}} if app else {},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers}] if peers else [],
        },
    }


class _World:
    def __init__(self) -> None:
        self.addresses, self._lock = lease_slice()
        self.operations = Operations(LoopClock(), addresses=self.addresses)
        self.gate = PolicyGate(self.operations, self.addresses, LoopClock())
        self.gate.start()
        self.fabric = Fabric(gate=self.gate, addresses=self.addresses, deny="drop")
        self.ips: list[str] = []

    async def pods(self, count: int, *, listening: bool) -> None:
        """The first is the server, the second its caller; the others have one of ten labels."""
        hosts = iter(self.addresses.pods)
        for _ in range(300):
            next(hosts)
        for index in range(count):
            ip = str(next(hosts))
            self.ips.append(ip)
            app = ("server", "caller")[index] if index < 2 else f"app-{index % 10}"
            self.gate.announce(ip, _pod(f"pod-{index}", app))
            if index == 0 or listening:
                namespace = self.fabric.namespace(
                    ip, hostname=f"pod-{index}", name=f"default/pod-{index}", resolver=_NoNames()
                )
                namespace.context.run(namespace.serve, _Hi, [None], 8080)

    async def rate(self) -> float:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CALLER, self.ips[1], self.ips[0], "8080", str(SECONDS), stdout=subprocess.PIPE
        )
        out, _ = await process.communicate()
        return float(out)

    async def close(self) -> None:
        await self.fabric.close()
        self.gate.stop()
        self._lock.close()


@asynccontextmanager
async def world(pods: int, *, listening: bool) -> AsyncIterator[_World]:
    made = _World()
    try:
        await made.pods(pods, listening=listening)
        yield made
    finally:
        await made.close()


def _run(main: Callable[[], Any]) -> Any:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())


def test_connection_rate() -> None:
    """New connections per second to an isolated pod, by number of policies and pods, over none."""

    async def main() -> None:
        for pods, listening in ((20, False), (1000, True)):
            for policies in (1, 100, 1000):
                async with world(pods, listening=listening) as made:
                    with_, without = [], []
                    for _ in range(ROUNDS):
                        without.append(await made.rate())
                        for index in range(policies):
                            app = "server" if index % 10 == 0 else f"app-{index % 10}"
                            made.operations.create(_policy(f"p{index}", app, "caller", f"app-{index % 7}"))
                        while made.fabric.filters.busy:
                            await asyncio.sleep(0.001)
                        with_.append(await made.rate())
                        for index in range(policies):
                            made.operations.delete(POLICIES, f"p{index}", "default")
                        while made.fabric.filters.busy:
                            await asyncio.sleep(0.001)
                    ratio = statistics.median(a / b for a, b in zip(with_, without, strict=True))
                    print(
                        f"\n{pods} pods, {policies} policies: {ratio:.2f} of the rate without "
                        f"({statistics.median(without):.0f}/s)"
                    )
                    assert ratio > 0.8

    _run(main)


def test_apply_to_enforcement() -> None:
    """1,000 listening pods: until the verdict, until the callback's work is done, until every kernel program is in."""

    async def main() -> None:
        async with world(1000, listening=True) as made:
            flow = Flow(made.ips[1], made.ips[0], 8080)
            judged, first, every, turn = [], [], [], []
            for index in range(10):
                begun = time.perf_counter()
                made.operations.create(_policy("deny", None if index % 2 else "server"))
                assert not made.gate.check(flow).allowed
                judged.append(time.perf_counter() - begun)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                turn.append(time.perf_counter() - begun)
                while not made.fabric.filters.ranges(made.ips[0], 8080):
                    await asyncio.sleep(0)
                first.append(time.perf_counter() - begun)
                while made.fabric.filters.busy:
                    await asyncio.sleep(0)
                if index % 2:
                    every.append(time.perf_counter() - begun)
                made.operations.delete(POLICIES, "deny", "default")
                while made.fabric.filters.busy:
                    await asyncio.sleep(0)
            print(
                f"\napply -> verdict {statistics.median(judged) * 1e3:.2f} ms, -> loop free "
                f"{statistics.median(turn) * 1e3:.1f} ms, -> dropped {statistics.median(first) * 1e3:.1f} "
                f"ms, -> all 1,000 pods' programs {statistics.median(every) * 1e3:.0f} ms"
            )
            assert statistics.median(judged) < 0.01

    _run(main)


def test_verdicts_per_second() -> None:
    """decide() with 1,000 pods and 100 policies: asked again, and asked for the first time."""

    async def main() -> None:
        async with world(1000, listening=False) as made:
            for index in range(100):
                made.operations.create(_policy(f"p{index}", f"app-{index % 10}", f"app-{index % 7}"))
            policy_set = made.gate.policy_set
            flows = [Flow(a, b, 8080) for a in made.ips[:200] for b in made.ips[200:400]]
            for what in ("first", "again"):
                begun = time.perf_counter()
                for flow in flows:
                    decide(policy_set, flow)
                print(f"\ndecide(), {what}: {len(flows) / (time.perf_counter() - begun):,.0f}/s")

    _run(main)
