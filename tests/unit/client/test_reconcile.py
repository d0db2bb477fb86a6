"""Agents: dirty keys, pacing, refusals, retries."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery.meta import Key
from minikube_py.apiserver.operations import Operations
from minikube_py.client import Action, Agent, Create, Event, Requeue, Soon, View


class Counting:
    """A reconciler that notes when it looks."""

    name = "counting"

    def __init__(self, to_key: Callable[[Event], Key | Soon], act: Callable[[Key], Sequence[Action]] = lambda key: ()):
        self.looks: list[float] = []
        self._to_key = to_key
        self._act = act

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"configmaps": lambda event, view: (self._to_key(event),)}

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        self.looks.append(now)
        return self._act(key)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


async def run(reconciler: Counting, play: Callable[[Operations, VirtualClock], Any]) -> Operations:
    clock = VirtualClock(1000.0)
    api = Operations(clock, seed=1)
    scope = TaskScope("test")
    agent = Agent(reconciler, api, clock)
    agent.start(scope)
    await play(api, clock)
    await clock.advance(0)
    agent.stop()
    await scope.close()
    return api


async def test_soon_looks_once_in_a_while() -> None:
    """A key that is dirty Soon is looked at at once after a quiet time, then at most once in the interval."""
    reconciler = Counting(lambda event: Soon(event.key, 0.5))

    async def play(api: Operations, clock: VirtualClock) -> None:
        api.create(config_map("a"))
        await clock.advance(0.1)
        for number in range(10):
            api.update(config_map("a", n=str(number)))
            await clock.advance(0.1)
        await clock.advance(2.0)

    await run(reconciler, play)
    assert reconciler.looks[0] == 1000.0
    assert len(reconciler.looks) == 4
    assert all(b - a >= 0.5 - 1e-6 for a, b in zip(reconciler.looks, reconciler.looks[1:], strict=False))


async def test_refused_creation_is_told_once() -> None:
    """A Create that is refused again and again tells its owner once, and is retried with back-off."""
    api_holder: list[Operations] = []
    bad = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "missing"}}

    def act(key: Key) -> Sequence[Action]:
        owner = api_holder[0].get("configmaps", key.name, key.namespace)
        assert owner is not None
        return [Create({**bad, "metadata": {"name": "No Name", "namespace": "default"}}, about=owner)]

    reconciler = Counting(lambda event: event.key, act)

    async def play(api: Operations, clock: VirtualClock) -> None:
        api_holder.append(api)
        api.create(config_map("owner"))
        await clock.advance(1.0)

    api = await run(reconciler, play)
    assert len(reconciler.looks) > 5
    (event,) = [e for e in api.list("events") if e["reason"] == "FailedCreate"]
    assert event["message"].startswith("Error creating: ")
    assert event["count"] == 1


async def test_requeue() -> None:
    """Requeue brings the key back after so many seconds."""
    reconciler = Counting(lambda event: event.key, lambda key: [Requeue(10.0)])

    async def play(api: Operations, clock: VirtualClock) -> None:
        api.create(config_map("a"))
        await clock.advance(25.0)

    await run(reconciler, play)
    assert reconciler.looks == [1000.0, 1010.0, 1020.0]


async def test_idle() -> None:
    """An agent is idle when no key is dirty; it is settled when none will be soon."""
    clock = VirtualClock(1000.0)
    api = Operations(clock, seed=1)
    scope = TaskScope("test")
    agent = Agent(Counting(lambda event: Soon(event.key, 0.5)), api, clock)
    agent.start(scope)
    api.create(config_map("a"))
    assert not agent.idle
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    api.update(config_map("a", n="1"))
    assert agent.idle
    assert not agent.settled
    await clock.advance(1.0)
    assert agent.settled
    agent.stop()
    await scope.close()
