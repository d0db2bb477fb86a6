"""A pod's network namespace: its address, its names, its sockets, and the context in which its code runs.

Stands for the kernel's network namespace with what a CNI plugin puts into it. All containers of a pod share one.

**Localhost.** In a pod, `127.0.0.1`, `localhost` and `::1` mean the pod's own address: two containers of a pod meet
there, and two pods may use the same port. A server bound to `127.0.0.1` listens on the pod's address too, but admits
the pod alone: others are refused, as they would be if it were bound to a loopback interface of the pod's own.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

from msgspec import Struct

from minikube_py.cni.accept import Address, TrackedSocket, listening_socket
from minikube_py.cni.addresses import is_ipv4
from minikube_py.cni.live import Closed, Live
from minikube_py.cni.server import PodServer
from minikube_py.cni.types import Flow, Resolver
from minikube_py.cni.udp_endpoint import Endpoint

if TYPE_CHECKING:
    from minikube_py.cni.fabric import Fabric

__all__ = ["NetworkNamespace", "Stats", "current"]

current: ContextVar[NetworkNamespace | None] = ContextVar("minikube_py.cni.current", default=None)
"""The pod whose code is running; None outside of pods. It follows tasks, callbacks and executor calls."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "ip6-localhost", "localhost."})
ANY = frozenset({"", "0.0.0.0", "::", "*"})


class Stats(Struct, frozen=True):
    """What went in and out of a pod through its servers and datagram sockets."""

    connections: int = 0
    """TCP connections accepted so far."""
    open: int = 0
    received: int = 0
    """Bytes."""
    sent: int = 0
    requests: int = 0
    """Of TCP clients, counted by the kernel; see `TcpInfo.exchanges`."""


class NetworkNamespace:
    """One pod's network. Made by `Fabric.namespace`.

    Resource handling: `close()` ends every server, connection and socket that the pod's code opened through the
    event loop; blocking sockets are their threads' own.
    """

    def __init__(self, fabric: Fabric, ip: str, *, hostname: str, name: str, resolver: Resolver) -> None:
        self.fabric = fabric
        self.ip = ip
        self.hostname = hostname
        self.name = name
        """`namespace/name` of the pod, for logs and messages."""
        self.resolver = resolver
        self.context: contextvars.Context = fabric.context()
        """What the pod's code must run in: `loop.create_task(main(), context=namespace.context)`."""
        self.context.run(current.set, self)
        self.loop = asyncio.get_running_loop()
        self.connecting: set[asyncio.Task[None]] = set()
        self.closed = False
        self._local = frozenset({*LOOPBACK, hostname.lower(), ip})
        self._servers: dict[int, PodServer] = {}
        self._endpoints: dict[int, Endpoint] = {}
        self._sockets: set[Endpoint] = set()
        self._live: set[Live] = set()
        self._outgoing: dict[asyncio.WriteTransport, None] = {}
        self._connections = 0
        self._received = 0
        self._sent = 0
        self._requests = 0

    def __str__(self) -> str:
        return self.name

    # Names and addresses

    def known(self, host: str | bytes | None) -> str | None:
        """Return the address that `host` means without asking DNS: numbers, localhost, the pod's own name."""
        if isinstance(host, bytes):
            host = host.decode("ascii", "replace")
        if host is None or host.lower() in self._local or host in ANY:
            return self.ip
        return host if is_ipv4(host) else None

    async def resolve(self, host: str | bytes | None) -> Sequence[str]:
        """Return the IPv4 addresses of `host` as the pod's libc would; raise `socket.gaierror` as it does."""
        if (address := self.known(host)) is not None:
            return (address,)
        assert host is not None
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if ":" in name:
            raise socket.gaierror(socket.EAI_ADDRFAMILY, f"{name}: the cluster has IPv4 addresses only")
        return await self.resolver.resolve(name)

    def meant(self, ip: str, port: int) -> Address:
        """Return the cluster's address for what the pod's code says: localhost and 0.0.0.0 are the pod itself."""
        return (self.ip if ip in LOOPBACK or ip in ANY else ip), port

    def real_address(self, ip: str, port: int) -> Address:
        """Return the address of the kernel's for what the pod's code says."""
        return self.fabric.real_address(*self.meant(ip, port))

    def source_for(self, ip: str) -> str | None:
        """Return the address to call `ip` from; None for what lies beyond loopback (the machine's own is used)."""
        return self.ip if ip.startswith("127.") else None

    # Calls

    async def may_connect(self, ip: str, port: int) -> None:
        """Return once the pod's policies let it connect to an address.

        A Service's address is judged by the Service proxy, after it has chosen the endpoint.
        Error handling: OSError when the pod ends while it waits; ConnectionRefusedError if denials are resets here.
        """
        if self.closed:
            raise OSError(errno.ENETDOWN, f"the network of pod {self} is down: the pod has ended")
        if (flow := self.judged(ip, port)) is not None:
            await self.fabric.admit(flow, self)
        self.fabric.filters.settle(self.ip, self.meant(ip, port))

    def judged(self, ip: str, port: int, protocol: str = "TCP") -> Flow | None:
        """Return the flow that policy must judge before the pod may call an address; None if none must."""
        ip, port = self.meant(ip, port)
        if ip == self.ip or self.fabric.is_virtual(ip, port, protocol):
            return None
        return Flow(self.ip, ip, port, protocol)

    def called(self, transport: asyncio.WriteTransport) -> None:
        """Remember a connection that the pod's code opened, so that it ends with the pod."""
        if len(self._outgoing) >= 64 and len(self._outgoing) % 64 == 0:
            self._outgoing = {one: None for one in self._outgoing if not one.is_closing()}
        self._outgoing[transport] = None

    # Servers

    def serve(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        hosts: Sequence[str | bytes | None],
        port: int,
        *,
        sock: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
        handshake_timeout: float | None = None,
        shutdown_timeout: float | None = None,
        start: bool = True,
    ) -> PodServer:
        """Open a TCP port of the pod; port 0 chooses one.

        Error handling: OSError with one clear sentence when the port is taken or an address is not the pod's.
        """
        local_only = self._bindable(hosts, port)
        if sock is None:
            sock = self._bind(port)
        elif sock.getsockname()[0] not in (self.ip, "127.0.0.1"):
            raise OSError(errno.EADDRNOTAVAIL, f"pod {self} cannot serve on a socket bound to {sock.getsockname()[0]}")
        if port == 0:
            port = self.fabric.apparent_port(sock.getsockname()[1])
        server = PodServer(
            self,
            factory,
            sock,
            port,
            local_only=local_only,
            tls=tls,
            handshake_timeout=handshake_timeout,
            shutdown_timeout=shutdown_timeout,
            context=contextvars.copy_context(),
        )
        self._servers[port] = server
        self.fabric.add_server(server)
        if start:
            server.start()
        return server

    def _bindable(self, hosts: Sequence[str | bytes | None], port: int) -> bool:
        """Check that all hosts are the pod's; True if they are its localhost alone."""
        if self.closed:
            raise OSError(errno.ENETDOWN, f"pod {self} cannot listen on port {port}: the pod has ended")
        names = {host.decode() if isinstance(host, bytes) else host for host in hosts}
        for name in names:
            if name is not None and self.known(name) != self.ip:
                raise OSError(
                    errno.EADDRNOTAVAIL,
                    f"pod {self} cannot listen on {name}:{port}: its address is {self.ip} (bind that, or 0.0.0.0)",
                )
        return bool(names) and all(name is not None and name.lower() in LOOPBACK for name in names)

    def _bind(self, port: int) -> socket.socket:
        real = self.fabric.real_port(port)
        try:
            return listening_socket(self.ip, real)
        except OSError as error:
            raise OSError(error.errno, self._why_not(port, real, error, "TCP")) from None

    def _why_not(self, port: int, real: int, error: OSError, protocol: str) -> str:
        what = f"pod {self} cannot listen on {protocol} port {port} of {self.ip}"
        if error.errno == errno.EADDRINUSE:
            taken = {*self._servers} if protocol == "TCP" else {*self._endpoints}
            twin = real if real != port else self.fabric.apparent_port(real)
            if twin != port and twin in taken:
                low, high = sorted((port, twin))
                return (
                    f"{what}: this user may not bind ports below {self.fabric.lowest_port}, so port {low} is really "
                    f"{high}, and the pod listens on {twin} already; run as root or: "
                    "sysctl net.ipv4.ip_unprivileged_port_start=0"
                )
            if port in taken:
                return f"{what}: a container of this pod listens on it already"
            return f"{what}: another program of this machine does already"
        return f"{what}: {error.strerror}"

    def server(self, port: int) -> PodServer | None:
        return self._servers.get(port)

    def forget_server(self, server: PodServer) -> None:
        if self._servers.get(server.port) is server:
            del self._servers[server.port]
        self.fabric.remove_server(server)

    def admitted(self, sock: TrackedSocket, closed: Closed | None) -> Live:
        """Put an accepted connection on the books."""
        self._connections += 1

        def ended(live: Live) -> None:
            traffic = live.traffic
            self._received += traffic.received
            self._sent += traffic.sent
            self._requests += traffic.exchanges
            if closed:
                closed(traffic.received, traffic.sent)

        return Live(sock, self._live, ended)

    # Datagrams

    def datagram_socket(
        self, local: tuple[str | bytes | None, int] | None, remote: Address | None
    ) -> tuple[socket.socket, int]:
        """Return a datagram socket of the pod's, and its port as the pod sees it (0 for a client's).

        Error handling: OSError with one clear sentence when the port is taken or an address is not the pod's.
        """
        host, port = local or (None, 0)
        self._bindable([host] if local else [], port)
        real = self.fabric.real_port(port)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
        try:
            sock.setblocking(False)
            if remote is None or self.source_for(self.meant(*remote)[0]):
                try:
                    sock.bind((self.ip, real))
                except OSError as error:
                    raise OSError(error.errno, self._why_not(port, real, error, "UDP")) from None
            if remote is not None:
                sock.connect(self.real_address(*remote))
            elif port == 0 and local is not None:
                port = self.fabric.apparent_port(sock.getsockname()[1])
        except OSError:
            sock.close()
            raise
        return sock, port

    def add_endpoint(self, endpoint: Endpoint) -> None:
        self._sockets.add(endpoint)
        if endpoint.port:
            self._endpoints[endpoint.port] = endpoint
            self.fabric.add_endpoint(endpoint)

    def forget_endpoint(self, endpoint: Endpoint) -> None:
        self._sockets.discard(endpoint)
        if self._endpoints.get(endpoint.port) is endpoint:
            del self._endpoints[endpoint.port]
        self.fabric.remove_endpoint(endpoint)

    def count(self, *, received: int = 0, sent: int = 0) -> None:
        """Add datagram bytes to the books."""
        self._received += received
        self._sent += sent

    # The whole

    def listeners(self) -> list[tuple[str, int]]:
        """Return what the pod listens on: ("TCP", 80), ("UDP", 53), …"""
        tcp = [("TCP", port) for port, server in self._servers.items() if server.is_serving()]
        return [*tcp, *(("UDP", port) for port in self._endpoints)]

    @property
    def stats(self) -> Stats:
        """Counters so far, open connections included."""
        traffic = [live.traffic for live in self._live]
        return Stats(
            self._connections,
            len(self._live),
            self._received + sum(one.received for one in traffic),
            self._sent + sum(one.sent for one in traffic),
            self._requests + sum(one.exchanges for one in traffic),
        )

    async def first_bytes(self, wait_seconds: float) -> None:
        """Return once no connection younger than `wait_seconds` is still to bring its first byte.

        A pod that is to end is sent no more connections, but the last ones are only just open: their callers would
        find the door shut between connect and send, and no server can tell such a one from an idle keep-alive.
        """

        def silent(live: Live) -> bool:
            traffic = live.traffic
            return not traffic.received and not traffic.closed_by_peer and time.monotonic() - live.since < wait_seconds

        while any(map(silent, [*self._live])):
            await asyncio.sleep(0.005)  # the kernel tells nobody but the pod's own protocol
        await asyncio.sleep(0.005)  # what has just arrived must be read by the protocol, too

    def abort_connections(self) -> None:
        """Reset every connection that the pod's servers have accepted and not ended."""
        for live in [*self._live]:
            live.abort()

    async def end(self, owned: Callable[[contextvars.Context], bool]) -> None:
        """Close the servers and datagram sockets that code of such contexts has opened: its program has ended."""
        for server in [*self._servers.values()]:
            if owned(server.context):
                server.close()
        if sockets := [one for one in self._sockets if owned(one.context)]:
            await self._abort(sockets)

    async def _abort(self, sockets: Sequence[Endpoint]) -> None:
        for endpoint in sockets:
            if endpoint.transport:
                endpoint.transport.abort()
        for _ in range(20):  # transports say connection_lost in a later turn of the loop
            if self._sockets.isdisjoint(sockets):
                break
            await asyncio.sleep(0)

    async def close(self, drain: float = 0.0) -> None:
        """End the pod's network: stop accepting, give connections in flight `drain` seconds, then abort what is left.

        Idle keep-alive connections are closed at once. Whether one is idle is known for aiohttp and uvicorn servers;
        of others, one counts as idle when the pod spoke last and nothing has moved for 50 ms.
        """
        self.closed = True
        for server in [*self._servers.values()]:
            server.close()
        self.fabric.release_waiting(self)
        if drain > 0 and self._live:
            deadline = self.loop.time() + drain
            for live in [*self._live]:
                live.finish()
            while self._live and self.loop.time() < deadline:
                for live in [*self._live]:
                    if live.idle():
                        live.close()
                await asyncio.sleep(0.02)  # the kernel tells nobody that a connection has become idle
        for live in [*self._live]:
            live.abort()
        for transport in self._outgoing:
            if not transport.is_closing():
                transport.abort()
        self._outgoing.clear()
        for endpoint in [*self._sockets]:
            if endpoint.transport:
                endpoint.transport.abort()
        if self.connecting:
            await asyncio.gather(*self.connecting, return_exceptions=True)
        for _ in range(20):  # transports say connection_lost in a later turn of the loop
            if not self._live and not self._sockets:
                break
            await asyncio.sleep(0)
        self.fabric.forget_namespace(self)
