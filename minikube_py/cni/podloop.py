"""An event loop on which a pod's code has the pod's network, whatever asyncio library it uses.

In the context of a pod (`namespace.current`; tasks, callbacks and executor calls inherit it)

    getaddrinfo                       asks the pod's resolver; localhost and the pod's own name are the pod
    create_connection, sock_connect   come from the pod's address, may reach ports < 1024, wait for egress policy
    create_datagram_endpoint,
    sock_sendto                       likewise
    create_server                     binds the pod's address (host None, 0.0.0.0, localhost, the pod's name)
    run_in_executor                   carries the context, so `blocking` can do the same for blocking code

Outside of pods every method is the loop's own. What localhost means in a pod: `namespace.py`.

Left out: C libraries that connect by themselves (libpq under psycopg, grpc's core) keep the identity of the machine
(127.0.0.1, names from its own resolver), and so do threads that the code starts by hand, because Python gives
them no context.
"""

import asyncio
import contextvars
import importlib.util
import os
import socket
import ssl as tls
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minikube_py.cni import blocking
from minikube_py.cni.datagrams import BatchTransport
from minikube_py.cni.drop import DatagramFilter
from minikube_py.cni.namespace import NetworkNamespace, current
from minikube_py.cni.splice import IP_BIND_ADDRESS_NO_PORT
from minikube_py.cni.udp_endpoint import Endpoint

__all__ = ["PodLoop", "compose", "new_event_loop"]


if TYPE_CHECKING:
    _Loop: Any  # what stands behind the mixin differs from platform to platform
else:
    _Loop = object


class PodLoop(_Loop):  # type: ignore[misc]  # see above
    """The mixin: put it before a loop class."""

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        namespace = current.get()
        if namespace is None:
            return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        blocking.numeric_only(host, flags, namespace)
        return blocking.addrinfo(await namespace.resolve(host), host, port, family, type, proto, flags)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        namespace = current.get()
        if namespace is None or sock.family != socket.AF_INET:
            await super().sock_connect(sock, address)
            return
        host, port = address[:2]
        ip = (await namespace.resolve(host))[0]
        if sock.type == socket.SOCK_STREAM:
            await namespace.may_connect(ip, port)
        target = namespace.real_address(ip, port)
        bind_source(sock, namespace, target[0])
        await super().sock_connect(sock, target)

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | bytes | None = None,
        port: int | str | None = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: socket.socket | None = None,
        local_addr: Any = None,
        ssl: bool | tls.SSLContext | None = None,
        server_hostname: str | None = None,
        **options: Any,
    ) -> Any:
        namespace = current.get()
        if namespace is None:
            return await super().create_connection(
                protocol_factory,
                host,
                port,
                family=family,
                proto=proto,
                flags=flags,
                sock=sock,
                local_addr=local_addr,
                ssl=ssl,
                server_hostname=server_hostname,
                **options,
            )
        # happy_eyeballs_delay and interleave choose between address families; the cluster has one.
        options.pop("happy_eyeballs_delay", None)
        options.pop("interleave", None)
        opened = None
        if sock is None:
            if host is None and port is None:
                raise ValueError("host and port was not specified and no sock specified")
            sock = opened = await self._open(host, port, family, proto, flags, local_addr)
            if ssl and server_hostname is None and host:
                server_hostname = host.decode() if isinstance(host, bytes) else host
        elif host is not None or port is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        try:
            transport, protocol = await super().create_connection(
                protocol_factory, sock=sock, ssl=ssl, server_hostname=server_hostname, **options
            )
        except BaseException:
            if opened is not None:
                opened.close()
            raise
        namespace.called(transport)
        return transport, protocol

    async def _open(
        self, host: str | bytes | None, port: int | str | None, family: int, proto: int, flags: int, local_addr: Any
    ) -> socket.socket:
        """Connect to the first address of `host` that answers."""
        found = await self.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags)
        failures: list[OSError] = []
        for kind, type_, number, _, address in found:
            sock = socket.socket(kind, type_, number)
            try:
                sock.setblocking(False)
                if local_addr is not None:
                    sock.bind(local_addr)
                await self.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failures.append(error)
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        if len(failures) == 1:
            raise failures[0]
        raise OSError(f"Multiple exceptions: {', '.join(map(str, failures))}")

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | bytes | Sequence[str] | None = None,
        port: int | str | None = None,
        *,
        sock: socket.socket | None = None,
        ssl: tls.SSLContext | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        **options: Any,
    ) -> Any:
        namespace = current.get()
        if namespace is None or (sock is not None and sock.family != socket.AF_INET):
            return await super().create_server(
                protocol_factory,
                host,
                port,
                sock=sock,
                ssl=ssl,
                ssl_handshake_timeout=ssl_handshake_timeout,
                ssl_shutdown_timeout=ssl_shutdown_timeout,
                start_serving=start_serving,
                **options,
            )
        # family, backlog, reuse_address and reuse_port are the fabric's business: one accept loop fits all.
        if sock is not None and (host is not None or port is not None):
            raise ValueError("host/port and sock can not be specified at the same time")
        if sock is None and host is None and port is None:
            raise ValueError("Neither host/port nor sock were specified")
        hosts: Sequence[str | bytes | None] = [host] if host is None or isinstance(host, str | bytes) else host
        return namespace.serve(
            protocol_factory,
            hosts,
            blocking.port_number(port),
            sock=sock,
            tls=ssl,
            handshake_timeout=ssl_handshake_timeout,
            shutdown_timeout=ssl_shutdown_timeout,
            start=start_serving,
        )

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        local_addr: Any = None,
        remote_addr: Any = None,
        *,
        sock: socket.socket | None = None,
        allow_broadcast: bool | None = None,
        **options: Any,
    ) -> Any:
        namespace = current.get()
        if namespace is None or sock is not None or isinstance(local_addr, str):
            options |= {"sock": sock, "allow_broadcast": allow_broadcast}
            return await self._open_datagrams(protocol_factory, local_addr, remote_addr, **options)
        remote = None
        if remote_addr is not None:
            remote = (await namespace.resolve(remote_addr[0]))[0], int(remote_addr[1])
        local = None if local_addr is None else (local_addr[0], blocking.port_number(local_addr[1]))
        sock, port = namespace.datagram_socket(local, remote)
        inner = protocol_factory()
        endpoint = Endpoint(namespace, inner, port, remote)
        if port and remote is None and namespace.fabric.deny == "drop":
            endpoint.filter = DatagramFilter(sock)
        try:
            if endpoint.batched and remote is None:
                transport = BatchTransport(
                    sock, namespace.fabric.batch, endpoint, endpoint.datagrams, namespace.fabric.context()
                )
                endpoint.connection_made(transport)
            else:
                await self._open_datagrams(lambda: endpoint, sock=sock)
        except BaseException:
            sock.close()
            raise
        assert endpoint.transport
        if namespace.closed:
            endpoint.transport.abort()
        namespace.add_endpoint(endpoint)
        return endpoint.transport, inner

    async def _open_datagrams(self, factory: Callable[[], Any], *args: Any, **options: Any) -> Any:
        """Do what the loop's own create_datagram_endpoint does, and leave nothing open when the caller is cancelled."""
        opening = _Opening()

        def protocol() -> asyncio.DatagramProtocol:
            opening.protocol = factory()
            return opening

        try:
            transport, _ = await super().create_datagram_endpoint(protocol, *args, **options)
        except BaseException:
            opening.abandon()
            raise
        return transport, opening.protocol

    async def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> Any:
        namespace = current.get()
        if namespace is None or sock.family != socket.AF_INET:
            return await super().sock_sendto(sock, data, address)
        ip = (await namespace.resolve(address[0]))[0]
        if (flow := namespace.judged(ip, address[1], "UDP")) is not None:
            verdict = namespace.fabric.gate.check(flow)
            if not verdict.allowed:
                namespace.fabric.denied(flow, verdict)
                return len(data)  # dropped on the way, as UDP is
        target = namespace.real_address(ip, address[1])
        bind_source(sock, namespace, target[0])
        while True:  # uvloop has no sock_sendto
            try:
                return sock.sendto(data, target)
            except (BlockingIOError, InterruptedError):
                await self._writable(sock)

    async def _writable(self, sock: socket.socket) -> None:
        ready = asyncio.Event()
        self.add_writer(sock.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            self.remove_writer(sock.fileno())

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        if current.get() is not None:
            return super().run_in_executor(executor, contextvars.copy_context().run, func, *args)
        return super().run_in_executor(executor, func, *args)


class _Opening(asyncio.DatagramProtocol):
    """Stands in for a protocol until its socket is open, so that somebody closes it if nobody waits for it any more.

    uvloop opens a socket even when the caller of create_datagram_endpoint is cancelled, and then forgets it: its port
    would be taken for as long as the loop lives. asyncio's own loops close it.
    """

    def __init__(self) -> None:
        self.protocol: Any = None
        self._transport: asyncio.DatagramTransport | None = None
        self._abandoned = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self._abandoned:
            asyncio.get_running_loop().call_soon(transport.abort)  # uvloop begins to read when we return
            return
        transport.set_protocol(self.protocol)
        self.protocol.connection_made(transport)

    def abandon(self) -> None:
        self._abandoned = True
        if self._transport is not None:
            self._transport.abort()


def bind_source(sock: socket.socket, namespace: NetworkNamespace, target: str) -> None:
    """Give an unbound socket the pod's address, if its target can be reached from there."""
    if (source := namespace.source_for(target)) is None or sock.getsockname() != ("0.0.0.0", 0):
        return
    if sock.type == socket.SOCK_STREAM:
        try:
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        except OSError:
            pass  # not Linux: a port is chosen now
    sock.bind((source, 0))


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop for a cluster: uvloop's, or asyncio's where uvloop is missing or MKPY_LOOP=asyncio says so."""
    blocking.install()
    _resolve_through_the_loop()
    if os.environ.get("MKPY_LOOP") != "asyncio":
        try:
            import uvloop
        except ImportError:
            pass  # not on Windows
        else:
            return compose(uvloop.Loop)
    return compose(asyncio.SelectorEventLoop)


_loops: dict[type, type] = {}


def compose(base: Any) -> asyncio.AbstractEventLoop:
    """Return a loop of class `base` with the mixin before it."""
    if base not in _loops:
        _loops[base] = type(f"Pod{base.__name__}", (PodLoop, base), {})
    loop: asyncio.AbstractEventLoop = _loops[base]()
    return loop


def _resolve_through_the_loop() -> None:
    """With aiodns installed, aiohttp asks the machine's nameservers behind the loop's back: have it ask the loop."""
    if importlib.util.find_spec("aiodns") is None:
        return
    from aiohttp import ThreadedResolver, connector

    connector.DefaultResolver = ThreadedResolver  # type: ignore[attr-defined]  # not exported, but the only switch
