"""CPU and memory of programs that run as containers."""

import asyncio
import sys

from minikube_py.kubelet.processes import ProcessMeter, process_tree

from .nodes import Cluster

A = ("default", "a", "main")


def test_a_program_is_measured_with_its_descendants() -> None:
    """CPU seconds become cores over the time between two measurements; neighbours don't count."""
    table = {10: (1, 2.0, 1000), 11: (10, 3.0, 500), 12: (1, 99.0, 9000)}
    now = [0.0]
    meter = ProcessMeter(clock=lambda: now[0], processes=lambda: dict(table))
    assert process_tree(10, table) == (5.0, 1500)
    assert meter.measure({A: 10}) == {A: (0.0, 1500)}
    now[0], table[11] = 10.0, (10, 8.0, 600)
    assert meter.measure({A: 10}) == {A: (0.5, 1600)}
    now[0], table[11] = 10.5, (10, 18.0, 700)
    assert meter.measure({A: 10}) == {A: (0.5, 1600)}  # too early to say more


async def test_a_busy_program_is_seen() -> None:
    """A pod whose program computes shows up in `kubectl top`."""
    cluster = Cluster({"busy": {"command": [sys.executable, "-c", "while True: pass"]}})
    await cluster.start()
    try:
        cluster.create("burner", "busy")
        await cluster.until(lambda: cluster.ready("burner"))
        cluster.runtime.usage()
        await asyncio.sleep(1.05)  # the shortest time that is averaged over
        cores, size = cluster.runtime.usage()["default", "burner", "main"]
        assert cores > 0.05  # the machine has other things to do, too
        assert size > 1_000_000
    finally:
        await cluster.close()
