"""A small network for tests of the data plane: a leased slice, a fabric, pods, and a gate that tests can close."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Literal

from minikube_py.cni.addresses import Addresses, lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.namespace import NetworkNamespace
from minikube_py.cni.types import ALLOWED, Flow, Verdict

__all__ = ["Names", "Network", "SwitchGate", "ask", "network", "until"]

DENIED = Verdict(False, "default-deny selects the pod; no rule admits the caller", ("default/default-deny",))


class SwitchGate:
    """Denies what `rule` says, and tells when that changes."""

    def __init__(self) -> None:
        self.rule: Callable[[Flow], bool] = lambda flow: False
        self.asked: list[Flow] = []
        self.recorded: list[Flow] = []
        self.sources: Callable[[str, int], Sequence[tuple[int, int]]] = lambda ip, port: ()
        """What `denied_sources` answers."""
        self._callbacks: list[Callable[[], None]] = []

    def check(self, flow: Flow) -> Verdict:
        self.asked.append(flow)
        return DENIED if self.rule(flow) else ALLOWED

    def record(self, flow: Flow, verdict: Verdict) -> None:
        self.recorded.append(flow)

    def denied_sources(self, ip: str, port: int, protocol: str, seen_as: str = "") -> Sequence[tuple[int, int]]:
        return self.sources(ip, port)

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def deny(self, rule: Callable[[Flow], bool]) -> None:
        self.rule = rule
        for callback in self._callbacks:
            callback()

    def open(self) -> None:
        self.deny(lambda flow: False)


class Names:
    """A resolver that knows what it is told."""

    def __init__(self) -> None:
        self.table: dict[str, list[str]] = {}

    async def resolve(self, host: str) -> Sequence[str]:
        try:
            return self.table[host]
        except KeyError:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None


class Network:
    """What a test needs of a cluster's network."""

    def __init__(self, addresses: Addresses, fabric: Fabric, gate: SwitchGate) -> None:
        self.addresses = addresses
        self.fabric = fabric
        self.gate = gate
        self.names = Names()
        self._pods = 0
        self._services = 99

    def pod(self, name: str = "") -> NetworkNamespace:
        self._pods += 1
        name = name or f"pod-{self._pods}"
        ip = str(self.addresses.pod_cidr(1)[self._pods + 1])
        return self.fabric.namespace(ip, hostname=name, name=f"default/{name}", resolver=self.names)

    def service_ip(self) -> str:
        self._services += 1
        return str(self.addresses.services[self._services])

    async def run(self, pod: NetworkNamespace, work: Coroutine[Any, Any, Any]) -> Any:
        """Run `work` as the pod's code."""
        return await asyncio.get_running_loop().create_task(work, context=pod.context)

    async def whoami(self, pod: NetworkNamespace, port: int = 8080, host: str | None = None) -> asyncio.AbstractServer:
        """Serve the pod's hostname and the caller's address, one line per line received."""

        async def serve() -> asyncio.AbstractServer:
            return await asyncio.start_server(_whoami, host, port)

        server: asyncio.AbstractServer = await self.run(pod, serve())
        return server


async def _whoami(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.CancelledError):
        while line := await reader.readline():
            caller = writer.get_extra_info("peername")[0]
            writer.write(f"{socket.gethostname()} {caller} {line.decode().strip()}\n".encode())
            await writer.drain()
    writer.close()


async def ask(host: str, port: int, text: str = "hello") -> str:
    """Send one line and return the answer; close."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(text.encode() + b"\n")
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


async def until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Let the loop run until `condition` holds; used where the kernel, not a clock, is waited for."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"{what} did not come true")


@contextlib.asynccontextmanager
async def network(
    *, deny: Literal["drop", "hold", "reset"] = "hold", lowest_port: int | None = None
) -> AsyncIterator[Network]:
    addresses, lock = lease_slice()
    gate = SwitchGate()
    fabric = Fabric(gate=gate, addresses=addresses, deny=deny, lowest_port=lowest_port)
    try:
        yield Network(addresses, fabric, gate)
    finally:
        await fabric.close()
        lock.close()
