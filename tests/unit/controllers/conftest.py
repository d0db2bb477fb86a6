"""A cluster of controllers without network: the real operations and agents, virtual time, and a tiny kubelet."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

import pytest

from minikube_py.aiokit.clock import VirtualClock, rfc3339
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apiserver.operations import Operations
from minikube_py.client import Action, Agent, Delete, Event, Soon, UpdateStatus, View
from minikube_py.cni.ipam import Pool
from minikube_py.controllers.start import reconcilers
from minikube_py.scheduler import Scheduler


class TinyKubelet:
    """Runs every pod that has a node: ready at once, gone as soon as it is deleted.

    `hold(pod)` True keeps a pod from becoming ready; `ends` says with which exit code a pod's containers end.
    """

    name = "tiny-kubelet"

    def __init__(self) -> None:
        self.hold: Callable[[Object], bool] = lambda pod: False
        self.ends: Callable[[Object], int | None] = lambda pod: None
        self.linger: Callable[[Object], bool] = lambda pod: False
        self._addresses = iter(IPv4Network("10.244.0.0/16").hosts())

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"pods": lambda event, view: (event.key,)}

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        pod = view.get("pods", key.name, key.namespace)
        if pod is None or not meta.spec(pod).get("nodeName"):
            return ()
        if meta.terminating(pod):
            return () if self.linger(pod) else [Delete("pods", key, uid=meta.uid(pod), grace_period=0)]
        status: Object = dict(meta.status(pod))
        if status.get("phase") in ("Succeeded", "Failed"):
            return ()
        node = view.get("nodes", pod["spec"]["nodeName"])
        if node is not None and node.get("status", {}).get("lost"):
            return ()
        others = [c for c in status.get("conditions") or () if c["type"] != "Ready"]
        before = [c for c in status.get("conditions") or () if c["type"] == "Ready"]
        code = self.ends(pod)
        ready = "False" if code is not None or self.hold(pod) else "True"
        since = before[0]["lastTransitionTime"] if before and before[0]["status"] == ready else rfc3339(now)
        status["conditions"] = [*others, {"type": "Ready", "status": ready, "lastTransitionTime": since}]
        status["phase"] = "Running" if code is None else "Succeeded" if code == 0 else "Failed"
        if not status.get("podIP"):
            status["podIP"] = str(next(self._addresses))
        if code is not None:
            ended = {"exitCode": code, "finishedAt": rfc3339(now)}
            name = pod["spec"]["containers"][0]["name"]
            status["containerStatuses"] = [{"name": name, "state": {"terminated": ended}, "restartCount": 0}]
        return [UpdateStatus({**pod, "status": status})] if status != meta.status(pod) else ()


class World:
    """`await settle()` lets everything happen that happens within a moment."""

    def __init__(self, *, nodes: int = 2, load_balancers: bool = True, metrics: Any = None) -> None:
        self.clock = VirtualClock()
        self.api = Operations(self.clock, seed=1)
        self.scope = TaskScope("test")
        self.kubelet = TinyKubelet()
        self.metrics: dict[str, dict[str, float]] = {}
        self.pool = Pool(IPv4Network("127.200.0.0/29"))
        self.agents: list[Any] = [Scheduler(self.api, self.clock)]
        all_ = reconcilers(
            chance=random.Random(1),
            load_balancers=self.pool if load_balancers else None,
            metrics=lambda namespace, pod: self.metrics.get(pod),
        )
        for reconciler in (*all_, self.kubelet):
            self.agents.append(Agent(reconciler, self.api, self.clock))
        for index in range(nodes):
            self.node(f"node-{index}")
        for agent in self.agents:
            agent.start(self.scope)

    async def close(self) -> None:
        for agent in self.agents:
            agent.stop()
        await self.scope.close()

    async def settle(self, seconds: float = 0.1) -> None:
        for _ in range(10):
            await self._idle()
            await self.clock.advance(seconds / 10)
        await self._idle()

    async def _idle(self) -> None:
        await asyncio.sleep(0)
        for _ in range(10_000):
            if all(agent.idle for agent in self.agents):
                return
            await asyncio.sleep(0)
        raise AssertionError(f"never idle: {[agent.name for agent in self.agents if not agent.idle]}")

    # Writing

    def node(self, name: str, **spec: Any) -> None:
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        labels = {"kubernetes.io/hostname": name}
        self.api.create(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}
        )
        self.api.modify("nodes", name, "", lambda node: node.update(status=status), subresource="status")

    def create(self, api_version: str, kind: str, name: str, spec: Any = None, **more: Any) -> Object:
        metadata = {"name": name, "namespace": "default", **more.pop("metadata", {})}
        obj: Object = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}
        if spec is not None:
            obj["spec"] = spec
        return self.api.create(obj)

    def edit(self, resource: str, name: str, change: Callable[[Object], object], namespace: str = "default") -> None:
        assert self.api.modify(resource, name, namespace, change) is not None

    def status(self, resource: str, name: str, namespace: str = "default") -> Object:
        obj = self.api.get(resource, name, namespace)
        assert obj is not None, f"{resource} {name}"
        found: Object = obj.get("status") or {}
        return found

    # Reading

    def pods(self, **labels: str) -> list[Object]:
        return [p for p in self.api.list("pods", "default") if labels.items() <= meta.labels(p).items()]

    def names(self, resource: str, namespace: str | None = "default") -> list[str]:
        return [meta.name(obj) for obj in self.api.list(resource, namespace)]

    def events(self, reason: str) -> list[str]:
        return [e["message"] for e in self.api.list("events") if e["reason"] == reason]

    # What is written often

    @staticmethod
    def template(app: str = "web", image: str = "nginx:1", **spec: Any) -> Object:
        """A pod template with the label app=…"""
        return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}], **spec}}

    def workload(self, replicas: int | None = None, app: str = "web", image: str = "nginx:1", **more: Any) -> Object:
        """The spec of a Deployment, ReplicaSet, StatefulSet or DaemonSet."""
        template = self.template(app, image, **more.pop("pod", {}))
        spec: Object = {"selector": {"matchLabels": {"app": app}}, "template": template, **more}
        if replicas is not None:
            spec["replicas"] = replicas
        return spec

    @staticmethod
    def set_image(image: str) -> Callable[[Object], None]:
        """A change of a workload's first container."""

        def change(obj: Object) -> None:
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = image

        return change


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Two nodes and all controllers."""
    world = World()
    yield world
    await world.close()


@pytest.fixture
async def worlds() -> AsyncIterator[Callable[..., World]]:
    """A maker of worlds with other settings."""
    made: list[World] = []

    def make(**settings: Any) -> World:
        made.append(World(**settings))
        return made[-1]

    yield make
    for world in made:
        await world.close()
