"""What pods cost that run `while true; do sleep 1; done`: their start, their memory, and the CPU they take at rest.

Run: pytest -m benchmark -s tests/benchmarks/test_shell_benchmark.py. Prints; asserts no time.
"""

import asyncio
import os
import resource
import statistics
import time
from typing import Any

import pytest

from minikube_py import Cluster
from minikube_py.images import shell
from minikube_py.images.container import Container, PodInfo

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

LOOP = ["sh", "-c", "while true; do sleep 1; done"]


def _deployment(command: list[str]) -> dict[str, Any]:
    labels = {"app": "loop"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "loop"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "c", "image": "busybox:1.36", "command": command}],
                },
            },
        },
    }


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident() -> int:
    """Return the memory of this process, in KB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.parametrize("command", [["sleep", "infinity"], LOOP], ids=["sleep", "loop"])
def test_many_loops(command: list[str]) -> None:
    """200 pods of one Deployment: until all are ready, at rest for five seconds, until all are gone."""
    pods, seconds = 200, 5.0
    with Cluster(_deployment(command)) as cluster:
        time.sleep(1)
        begun = _cpu()
        time.sleep(seconds)
        empty = (_cpu() - begun) / seconds
        before, begun = _resident(), time.perf_counter()
        cluster.scale("deployment/loop", pods)
        cluster.wait("deployment/loop", ready=pods, timeout=120)
        ready = time.perf_counter() - begun
        memory = (_resident() - before) / pods
        time.sleep(1)
        begun = _cpu()
        time.sleep(seconds)
        idle = (_cpu() - begun) / seconds
        begun = time.perf_counter()
        cluster.scale("deployment/loop", 0)
        cluster.wait("deployment/loop", ready=0, timeout=120)
        gone = time.perf_counter() - begun
    print(
        f"\n{pods} pods of {' '.join(command)}: ready in {ready:.2f} s, {memory:.0f} KB each, gone in {gone:.2f} s; "
        f"CPU at rest {100 * idle:.1f} % of a core (without pods {100 * empty:.1f} %)"
    )


async def test_a_command_of_a_session() -> None:
    """What an exec costs inside the process: the first one, and the median of the next."""
    pod = PodInfo("default", "box", "uid", "10.244.1.5", "box", "worker", "172.18.0.3")
    lines: list[str] = []
    container = Container(name="box", image="busybox", pod=pod, write=lines.append, env={}, files={})
    for script in ("true", "for i in 1 2 3; do echo $i | grep -c 2; done"):
        times = []
        for _ in range(51):
            begun = time.perf_counter()
            await shell.run(container, ["sh", "-c", script], main=False)
            times.append((time.perf_counter() - begun) * 1e3)
        print(f"\nsh -c {script!r}: first {times[0]:.2f} ms, then {statistics.median(times[1:]):.2f} ms")


async def test_rounds_of_a_busy_loop() -> None:
    """How many rounds a second an arithmetic loop makes while the event loop goes on."""
    pod = PodInfo("default", "box", "uid", "10.244.1.5", "box", "worker", "172.18.0.3")
    container = Container(name="box", image="busybox", pod=pod, write=lambda text: None, env={}, files={})
    rounds = 5000
    begun = time.perf_counter()
    running = asyncio.ensure_future(
        shell.run(container, ["sh", "-c", f"i=0; while [ $i -lt {rounds} ]; do i=$((i+1)); done"], main=False)
    )
    slowest = 0.0
    while not running.done():
        turn = time.perf_counter()
        await asyncio.sleep(0)
        slowest = max(slowest, time.perf_counter() - turn)
    speed = rounds / (time.perf_counter() - begun)
    print(f"\nbusy loop: {speed:.0f} rounds/s, others wait {slowest * 1e3:.2f} ms at most")
