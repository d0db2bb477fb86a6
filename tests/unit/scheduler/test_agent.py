"""The scheduler against the real operations."""

import time
from typing import Any

import pytest

Object = dict[str, Any]


async def test_binds(world: Any) -> None:
    """A pod is bound with its condition in one write, and an event tells where."""
    world.node("worker")
    before = world.api.revision
    world.pod("web")
    await world.settle()
    assert world.place("web") == "worker"
    assert world.condition("web")["status"] == "True"
    assert world.events() == ["Scheduled: Successfully assigned default/web to worker"]
    assert world.api.revision == before + 3


async def test_waits_for_a_node(world: Any) -> None:
    """A pod without a node is told why, and placed as soon as a node fits."""
    world.node("worker", taints=[{"key": "broken", "effect": "NoSchedule"}])
    world.pod("web")
    await world.settle()
    assert world.place("web") is None
    assert world.condition("web")["reason"] == "Unschedulable"
    assert world.condition("web")["message"].startswith(
        "0/1 nodes are available: 1 node(s) had untolerated taint {broken: }."
    )
    world.node("worker2")
    await world.settle()
    assert world.place("web") == "worker2"


async def test_leaves_others_alone(world: Any) -> None:
    """Gated pods, pods of other schedulers and pods with a node are not placed."""
    world.node("worker")
    world.pod("gated", schedulingGates=[{"name": "wait"}])
    world.pod("foreign", schedulerName="mine")
    world.pod("given", nodeName="elsewhere")
    await world.settle()
    assert (world.place("gated"), world.place("foreign"), world.place("given")) == (None, None, "elsewhere")
    assert world.condition("gated")["reason"] == "SchedulingGated"


async def test_claim_must_exist(world: Any) -> None:
    """A pod whose claim is missing waits for it, and its message names the claim."""
    world.node("worker")
    world.pod("db", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}])
    await world.settle()
    assert world.condition("db")["message"].startswith(
        '0/1 nodes are available: persistentvolumeclaim "data" not found.'
    )


async def test_frees_what_finished_pods_held(world: Any) -> None:
    """A pod that has finished takes no room."""
    world.node("worker", allocatable={"pods": "1"})
    world.pod("one")
    world.pod("two")
    await world.settle()
    assert (world.place("one"), world.place("two")) == ("worker", None)
    assert "1 Too many pods" in world.condition("two")["message"]
    world.api.modify("pods", "one", "default", lambda p: p["status"].update(phase="Succeeded"), subresource="status")
    await world.settle()
    assert world.place("two") == "worker"


@pytest.mark.slow
async def test_a_thousand_pods(world: Any) -> None:
    """A thousand pods are placed well under half a second, evenly."""
    for name in ("a", "b", "c", "d"):
        world.node(name)
    for index in range(1000):
        world.pod(f"p{index}")
    started = time.process_time()
    await world.settle()
    elapsed = time.process_time() - started
    places = [world.place(f"p{index}") for index in range(1000)]
    assert {name: places.count(name) for name in "abcd"} == dict.fromkeys("abcd", 250)
    print(f"1,000 pods scheduled in {elapsed:.3f} s of cpu")
    assert elapsed < 2.0
