"""The scheduler against the real operations, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apiserver.operations import Operations
from minikube_py.scheduler import Scheduler

Object = dict[str, Any]


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.api = Operations(self.clock, seed=1)
        self.scope = TaskScope("test")
        self.scheduler = Scheduler(self.api, self.clock)

    async def settle(self) -> None:
        await asyncio.sleep(0)
        while not self.scheduler.idle:
            await asyncio.sleep(0)

    def node(self, name: str, *, allocatable: Object | None = None, **spec: Any) -> None:
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name}}
        self.api.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec})
        if allocatable:
            status = {"allocatable": allocatable}
            self.api.modify("nodes", name, "", lambda node: node.update(status=status), subresource="status")

    def pod(self, name: str, *, cpu: str = "", **spec: Any) -> None:
        container: Object = {"name": "c", "image": "x"}
        if cpu:
            container["resources"] = {"requests": {"cpu": cpu}}
        metadata = {"name": name, "namespace": "default"}
        self.api.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}
        )

    def get(self, name: str) -> Object:
        pod = self.api.get("pods", name, "default")
        assert pod is not None
        return pod

    def place(self, name: str) -> str | None:
        found: str | None = self.get(name)["spec"].get("nodeName")
        return found

    def condition(self, name: str) -> Object:
        found: Object = next(c for c in self.get(name)["status"]["conditions"] if c["type"] == "PodScheduled")
        return found

    def events(self) -> list[str]:
        return [f"{e['reason']}: {e['message']}" for e in self.api.list("events", "default")]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.scheduler.start(world.scope)
    yield world
    world.scheduler.stop()
    await world.scope.close()
