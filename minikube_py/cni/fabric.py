"""The fabric: every pod's namespace, every virtual address, and the Gate before each connection.

Stands for the node's kernel: routing, conntrack, DNAT and the policy filter, for one cluster. It is the only place
that opens pod and service sockets.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Literal

from msgspec import Struct

from minikube_py.aiokit.tasks import TaskScope
from minikube_py.cni import sockdiag, splice
from minikube_py.cni.accept import AcceptLoop, Address, TrackedSocket, listening_socket
from minikube_py.cni.addresses import Addresses
from minikube_py.cni.filters import PacketFilters, Target
from minikube_py.cni.held import HeldConnections
from minikube_py.cni.limits import lowest_bindable_port, raise_open_files
from minikube_py.cni.listener import Connection, Listener
from minikube_py.cni.live import Closed
from minikube_py.cni.mmsg import Batch
from minikube_py.cni.namespace import NetworkNamespace, current
from minikube_py.cni.server import PodServer
from minikube_py.cni.types import Flow, Gate, Resolver, Verdict
from minikube_py.cni.udp import UdpListener
from minikube_py.cni.udp_endpoint import Endpoint

__all__ = ["LOW_PORT_OFFSET", "Denial", "Fabric"]

LOW_PORT_OFFSET = 20000
"""Where this user may not bind port 80, it is really 20080 (DESIGN: ports below 1024)."""


class Denial(Struct, frozen=True):
    """One denied connection attempt or datagram flow."""

    flow: Flow
    verdict: Verdict
    at: float
    """Seconds since the epoch."""


class Fabric:
    """The network of one cluster, on the running event loop.

    `deny` says what a denied caller sees: `drop` (its SYN is not answered, where the kernel can do that; else as
    `hold`), `hold` (connected, but no answer) or `reset` (refused).
    Resource handling: `close()` ends all namespaces, listeners, held connections and splices.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        addresses: Addresses,
        deny: Literal["drop", "hold", "reset"] = "hold",
        lowest_port: int | None = None,
    ) -> None:
        raise_open_files()
        self.gate = gate
        self.addresses = addresses
        self.deny = deny
        self.lowest_port = lowest_bindable_port(str(addresses.nodes[1])) if lowest_port is None else lowest_port
        """Ports below this one are really 20000 higher; found out by trying."""
        self.held = HeldConnections()
        self.filters = PacketFilters(self, enabled=deny == "drop")
        self.denials: deque[Denial] = deque(maxlen=1000)
        self.denied_total = 0
        self.batch = Batch()
        """Receives and sends the datagrams of all Service sockets."""
        self.generation = 0
        """Rises whenever verdicts may have changed."""
        self._base = contextvars.copy_context()
        self._base.run(current.set, None)
        self._loop = asyncio.get_running_loop()
        self._namespaces: set[NetworkNamespace] = set()
        self._servers: dict[Address, PodServer] = {}
        self._endpoints: dict[Address, Endpoint] = {}
        self._listeners: dict[Address, Listener] = {}
        self._udp_listeners: dict[Address, UdpListener] = {}
        self._waiting: dict[asyncio.Future[None], NetworkNamespace] = {}
        self._scope = TaskScope("fabric")
        self._judging = False
        self._watching: list[Callable[[Address], object]] = []
        self._cancel = gate.on_change(self._verdicts_changed)

    def context(self) -> contextvars.Context:
        """Return a context that belongs to no pod."""
        return self._base.copy()

    # Ports and addresses

    def real_port(self, port: int) -> int:
        """Return the port of the kernel's that stands for `port`."""
        return port + LOW_PORT_OFFSET if 0 < port < self.lowest_port else port

    def apparent_port(self, real: int) -> int:
        """Return the port that a real one stands for."""
        port = real - LOW_PORT_OFFSET
        return port if 0 < port < self.lowest_port else real

    def real_address(self, ip: str, port: int) -> Address:
        """Translate an address of the cluster; others stay as they are."""
        if port < self.lowest_port and self.addresses.contains(ip):
            return ip, self.real_port(port)
        return ip, port

    def is_virtual(self, ip: str, port: int, protocol: str) -> bool:
        """Tell whether an address is a Service's: its connections are judged after an endpoint is chosen."""
        table = self._listeners if protocol == "TCP" else self._udp_listeners
        return (ip, port) in table or self.addresses.is_service(ip)

    # Pods

    def namespace(self, ip: str, *, hostname: str, name: str, resolver: Resolver) -> NetworkNamespace:
        """Make a pod's network; `name` is `namespace/name` for logs and messages."""
        namespace = NetworkNamespace(self, ip, hostname=hostname, name=name, resolver=resolver)
        self._namespaces.add(namespace)
        return namespace

    def find(self, ip: str) -> NetworkNamespace | None:
        """Return the namespace at an address."""
        return next((one for one in self._namespaces if one.ip == ip and not one.closed), None)

    @property
    def namespaces(self) -> frozenset[NetworkNamespace]:
        """The pods' networks that exist now."""
        return frozenset(self._namespaces)

    def forget_namespace(self, namespace: NetworkNamespace) -> None:
        self._namespaces.discard(namespace)

    def server(self, ip: str, port: int) -> PodServer | None:
        """Return the in-process server on a pod's port, if one listens."""
        server = self._servers.get((ip, port))
        return server if server is not None and server.is_serving() else None

    def add_server(self, server: PodServer) -> None:
        self._servers[server.namespace.ip, server.port] = server

    def remove_server(self, server: PodServer) -> None:
        address = server.namespace.ip, server.port
        if self._servers.get(address) is server:
            del self._servers[address]

    def serving(self, ip: str, port: int) -> None:
        """Tell who watches that a pod's port has begun to listen."""
        for callback in self._watching:
            callback((ip, port))

    def watch_servers(self, callback: Callable[[Address], object]) -> Callable[[], None]:
        """Call `callback(address)` whenever a pod of this process begins to listen; the result ends that."""
        self._watching.append(callback)
        return lambda: self._watching.remove(callback)

    def answers(self, ip: str, port: int) -> bool:
        """Tell whether somebody listens on an address, as far as can be known; beyond loopback it can't."""
        if (server := self.server(ip, port)) is not None:
            return not server.local_only
        return not ip.startswith("127.") or sockdiag.listens(*self.real_address(ip, port)) is not False

    def endpoint(self, ip: str, port: int) -> Endpoint | None:
        """Return the in-process datagram socket on a pod's port."""
        return self._endpoints.get((ip, port))

    def add_endpoint(self, endpoint: Endpoint) -> None:
        self._endpoints[endpoint.namespace.ip, endpoint.port] = endpoint

    def remove_endpoint(self, endpoint: Endpoint) -> None:
        address = endpoint.namespace.ip, endpoint.port
        if self._endpoints.get(address) is endpoint:
            del self._endpoints[address]

    # Virtual addresses

    def listen(
        self,
        ip: str,
        port: int,
        handler: Callable[[Connection], object],
        *,
        targets: Callable[[], Iterable[Target]] = tuple,
    ) -> Listener:
        """Open a virtual TCP address; each accepted connection is given to `handler`, which is to hand it off.

        `targets` says whom each caller may come to: who is denied by all of them is dropped before the handshake.
        Say so when it changes: `filters.touch(listener)`.
        Error handling: OSError with one clear sentence when the address is taken.
        """
        try:
            sock = listening_socket(ip, self.real_port(port))
        except OSError as error:
            raise OSError(error.errno, self._why_not(ip, port, "TCP", error)) from None
        accept = AcceptLoop(sock, lambda sock, source: listener.connected(sock, source), self._base)
        listener = Listener(self, (ip, port), accept, handler)
        self._listeners[ip, port] = listener
        accept.start()
        self.filters.add(listener, (ip, port), accept, targets)
        return listener

    def forget_listener(self, listener: Listener) -> None:
        if self._listeners.get(listener.address) is listener:
            del self._listeners[listener.address]

    def listen_udp(
        self,
        ip: str,
        port: int,
        pick: Callable[[Address], Address | None],
        closed: Callable[[Address, int, int], None] | None = None,
        *,
        seen_as: Callable[[], str] = str,
    ) -> UdpListener:
        """Open a virtual UDP address; `pick(client)` chooses the endpoint of each new flow; `seen_as` as in `Flow`.

        Error handling: OSError with one clear sentence when the address is taken.
        """
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
        try:
            sock.setblocking(False)
            sock.bind((ip, self.real_port(port)))
        except OSError as error:
            sock.close()
            raise OSError(error.errno, self._why_not(ip, port, "UDP", error)) from None
        listener = self._udp_listeners[ip, port] = UdpListener(self, sock, (ip, port), pick, closed, seen_as)
        return listener

    def forget_udp_listener(self, listener: UdpListener) -> None:
        if self._udp_listeners.get(listener.address) is listener:
            del self._udp_listeners[listener.address]

    def _why_not(self, ip: str, port: int, protocol: str, error: OSError) -> str:
        real = self.real_port(port)
        what = f"cannot listen on {protocol} {ip}:{port}" + (f" (really port {real})" if real != port else "")
        if error.errno == errno.EADDRINUSE:
            mine = self._listeners if protocol == "TCP" else self._udp_listeners
            if (ip, port) in mine:
                return f"{what}: it is a Service's address already"
            return f"{what}: another program of this machine does already (ss -ltnup shows which)"
        if error.errno == errno.EADDRNOTAVAIL:
            return f"{what}: it is not an address of this machine; the cluster's addresses are 127.x.x.x on loopback"
        return f"{what}: {error.strerror}"

    def splice(self, sock: TrackedSocket, caller: str, ip: str, port: int, closed: Closed | None) -> None:
        """Connect an accepted connection to an address that no pod of this process serves."""
        target = self.real_address(ip, port)

        async def carry() -> None:
            received = sent = 0
            try:
                received, sent = await splice.relay(sock, caller, target)
            finally:
                if closed:
                    closed(received, sent)

        self._scope.spawn(carry(), name=f"splice {caller} to {ip}:{port}", context=self.context())

    def run(self, program: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run what a node itself does on the network, until the fabric closes."""
        return self._scope.spawn(program, name=name, context=self.context())

    # Policy

    def denied(self, flow: Flow, verdict: Verdict) -> None:
        """Note a denied attempt: once for each, however often it is judged; the Gate logs it and counts it."""
        self.denials.append(Denial(flow, verdict, time.time()))
        self.denied_total += 1
        self.gate.record(flow, verdict)

    async def admit(self, flow: Flow, namespace: NetworkNamespace) -> None:
        """Return once policy allows `flow`; a denied connect does not finish before."""
        verdict = self.gate.check(flow)
        if not verdict.allowed:
            await self.wait_allowed(flow, verdict, namespace)

    async def wait_allowed(self, flow: Flow, verdict: Verdict, namespace: NetworkNamespace) -> None:
        """Note a denial; return once policy has changed its mind. Raises as `NetworkNamespace.may_connect`."""
        self.denied(flow, verdict)
        if self.deny == "reset":
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"connection to {flow.destination}:{flow.port} denied by policy: {verdict.because}"
            )
        while not verdict.allowed:
            changed: asyncio.Future[None] = self._loop.create_future()
            self._waiting[changed] = namespace
            try:
                await changed
            finally:
                self._waiting.pop(changed, None)
            verdict = self.gate.check(flow)

    def release_waiting(self, namespace: NetworkNamespace | None = None) -> None:
        """End the connects that policy holds: their pod (None: every pod) is going away."""
        for future, owner in [*self._waiting.items()]:
            if namespace in (None, owner) and not future.done():
                future.set_exception(OSError(errno.ENETDOWN, f"the network of pod {owner} is down: the pod has ended"))

    def _verdicts_changed(self) -> None:
        self.generation += 1
        self.filters.refresh()
        for endpoint in self._endpoints.values():
            if endpoint.filter is not None:
                endpoint.filter.clear()
        if not self._judging and (self._waiting or len(self.held)):
            self._judging = True
            self._loop.call_soon(self._judge, context=self.context())

    def _judge(self) -> None:
        self._judging = False
        for future in [*self._waiting]:
            if not future.done():
                future.set_result(None)
        self.held.judge()

    async def close(self) -> None:
        """End everything, in reverse order of dependence."""
        self._cancel()
        self.filters.close()
        for listener in [*self._listeners.values()]:
            listener.close()
        for udp_listener in [*self._udp_listeners.values()]:
            udp_listener.close()
        self.release_waiting()
        for namespace in [*self._namespaces]:
            await namespace.close()
        self.held.close()
        await self._scope.close()
