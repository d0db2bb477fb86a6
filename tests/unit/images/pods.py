"""Running an image's program in a real namespace, without a kubelet."""

import asyncio
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from minikube_py.client.runtime import Streams
from minikube_py.cni.addresses import lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.ipam import Pool
from minikube_py.cni.resolvconf import ResolvConf
from minikube_py.cni.resolver import StubResolver
from minikube_py.cni.types import OpenGate
from minikube_py.images import exec as images_exec
from minikube_py.images.catalog import Catalog
from minikube_py.images.container import Container, PodInfo


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


class Running:
    """One container that runs."""

    def __init__(
        self, pods: "Pods", container: Container, task: asyncio.Task[Any], log: list[str], context: Context
    ) -> None:
        self._context = context
        self.container = container
        self.task = task
        self._pods = pods
        self._log = log

    @property
    def ip(self) -> str:
        return self.container.pod.ip

    @property
    def log(self) -> str:
        return "".join(self._log)

    async def get(self, path: str = "/", port: int = 80, method: str = "GET", **more: Any) -> httpx.Response:
        """Make a request to the pod as the outside world."""
        host, real = self._pods.fabric.real_address(self.ip, port)
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.request(method, f"http://{host}:{real}{path}", **more)

    async def talk(self, data: bytes, port: int, *, eof: bool = True) -> bytes:
        """Send bytes, end the sending side if `eof`, return all that comes back."""
        reader, writer = await asyncio.open_connection(*self._pods.fabric.real_address(self.ip, port))
        writer.write(data)
        if eof:
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer

    async def exec(self, *argv: str) -> Result:
        """Run a command in the container, as kubectl exec does."""
        out, err = bytearray(), bytearray()

        async def to_out(data: bytes) -> None:
            out.extend(data)

        async def to_err(data: bytes) -> None:
            err.extend(data)

        code = await asyncio.get_running_loop().create_task(
            images_exec.execute(self.container, argv, Streams(None, to_out, to_err)), context=self._context.copy()
        )
        return Result(code, out.decode(), err.decode())

    async def end(self) -> int:
        """Send SIGTERM; return the exit code."""
        self.container.terminated.set()
        return int(await asyncio.wait_for(self.task, 5) or 0)


class Pods:
    """A network of its own; `close()` ends what still runs."""

    def __init__(self) -> None:
        self.addresses, self._lock = lease_slice()
        self.fabric = Fabric(gate=OpenGate(), addresses=self.addresses)
        self._pool = Pool(self.addresses.pod_cidr(1))
        self._running: list[tuple[Any, Running]] = []

    async def run(
        self,
        image: str,
        *,
        args: tuple[str, ...] = (),
        command: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        ports: tuple[int, ...] = (),
        udp_ports: tuple[int, ...] = (),
        files: Mapping[str, Path] | None = None,
        catalog: Catalog | None = None,
        name: str = "pod-0",
        ends: bool = False,
    ) -> Running:
        """Start an image and wait until it is up or has ended."""
        ip = self._pool.lease(name)
        namespace = self.fabric.namespace(
            ip, hostname=name, name=f"default/{name}", resolver=StubResolver(ResolvConf(), {}, source=ip)
        )
        log: list[str] = []
        container = Container(
            name="main",
            image=image,
            pod=PodInfo("default", name, "uid", ip, name, "worker", self.addresses.node_ip(1)),
            write=log.append,
            command=command,
            args=args,
            env=env or {},
            ports=ports,
            udp_ports=udp_ports,
            files=files or {},
            ends=ends,
        )
        main = (catalog or Catalog()).resolve(image, command=command, args=args)
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(
            main(container), name=image, context=namespace.context.copy()
        )
        up = asyncio.create_task(container.ready.wait())
        await asyncio.wait((task, up), return_when=asyncio.FIRST_COMPLETED, timeout=10)
        up.cancel()
        if task.done() and task.exception():
            raise task.exception()  # type: ignore[misc]
        running = Running(self, container, task, log, namespace.context)
        self._running.append((namespace, running))
        return running

    async def close(self) -> None:
        for namespace, running in self._running:
            running.container.terminated.set()
            await namespace.close(0.0)
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)
        await self.fabric.close()
        self._lock.close()
