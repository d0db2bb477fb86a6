"""A store, a network and one kubelet."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from minikube_py.aiokit.clock import Clock, LoopClock
from minikube_py.apiserver.operations import Operations
from minikube_py.client.runtime import Streams
from minikube_py.cni.addresses import lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.types import OpenGate
from minikube_py.images.catalog import Catalog
from minikube_py.kubelet.agent import Kubelet
from minikube_py.kubelet.node import Registration
from minikube_py.kubelet.runtime import KubeletRuntime


class Cluster:
    """One node; pods are bound to it by name, as the scheduler would."""

    def __init__(
        self, images: dict[str, Any] | None = None, *, state_dir: Path | None = None, clock: Clock | None = None
    ) -> None:
        self._folder = TemporaryDirectory(prefix="minikube-py-")
        self.state_dir = state_dir or Path(self._folder.name)
        self.addresses, self._lock = lease_slice()
        self.api = Operations(LoopClock(), seed=1)
        self.fabric = Fabric(gate=OpenGate(), addresses=self.addresses)
        self.published: list[str] = []
        self.catalog = Catalog(images)
        self.kubelet = Kubelet(
            self.api,
            clock or LoopClock(),
            Registration(name="worker"),
            index=1,
            addresses=self.addresses,
            fabric=self.fabric,
            catalog=self.catalog,
            published=self._published,
            state_dir=lambda: self.state_dir,
        )
        self.runtime = KubeletRuntime([self.kubelet])

    async def _published(self) -> None:
        self.published.append("published")

    async def start(self) -> None:
        await self.kubelet.start()

    async def close(self) -> None:
        await self.runtime.close()
        await self.kubelet.stop()
        await self.fabric.close()
        self._lock.close()
        self._folder.cleanup()

    def create(self, name: str, image: str = "traefik/whoami", *, spec: dict[str, Any] | None = None, **c: Any) -> None:
        """Create a pod with one container named `main`."""
        container = {"name": "main", "image": image, **c}
        self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
                "spec": {"nodeName": "worker", "containers": [container], **(spec or {})},
            }
        )

    def pod(self, name: str) -> dict[str, Any]:
        found = self.api.get("pods", name, "default")
        return found or {"status": {}}

    def main(self, name: str) -> dict[str, Any]:
        statuses = (self.pod(name).get("status") or {}).get("containerStatuses") or [{"state": {}}]
        return dict(statuses[0])

    def ready(self, name: str) -> bool:
        conditions = (self.pod(name).get("status") or {}).get("conditions") or ()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    async def soon(self, holds: Callable[[], object], timeout: float = 30.0) -> None:
        """Let the loop turn until something holds that no watcher sees, such as what the kernel has counted."""
        async with asyncio.timeout(timeout):
            while not holds():
                await asyncio.sleep(0)

    async def asked(self, name: str) -> None:
        """Wait until a request has come to a pod."""
        worker = self.kubelet.worker("default", name)
        assert worker is not None
        await self.soon(lambda: worker.namespace.stats.received)

    async def until(self, holds: Callable[[], object], timeout: float = 30.0) -> None:
        """Wait for what watchers would see."""
        changed = asyncio.Event()
        subscription = self.api.subscribe(("pods", "events"), lambda event: changed.set())
        try:
            async with asyncio.timeout(timeout):
                while not holds():
                    changed.clear()
                    await changed.wait()
        finally:
            subscription.cancel()

    async def get(self, name: str, path: str = "/", port: int = 80) -> httpx.Response:
        host, real = self.fabric.real_address(self.pod(name)["status"]["podIP"], port)
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"http://{host}:{real}{path}")

    def reasons(self, name: str) -> list[str]:
        return [e["reason"] for e in self.api.list("events") if e["involvedObject"]["name"] == name]

    async def run(self, name: str, *command: str) -> tuple[int, str, str]:
        """Exec; return exit code, stdout, stderr."""
        out, err = bytearray(), bytearray()

        async def stdout(data: bytes) -> None:
            out.extend(data)

        async def stderr(data: bytes) -> None:
            err.extend(data)

        code = await self.runtime.execute("default", name, "main", command, Streams(None, stdout, stderr))
        return code, out.decode(), err.decode()
