"""A Gateway's data plane: what runs in the pods that `agent` makes for each Gateway.

    watch ─► GatewayTable ─► listeners that come and go with it, by port: HTTP, TLS (HTTPS, passed through) or TCP

`--gateway=namespace/name` says whose listeners these are. A listener that changes costs the others nothing.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from minikube_py.aiokit.clock import Clock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery.meta import Key
from minikube_py.client import API
from minikube_py.images.container import Container, Main
from minikube_py.ingress.proxy.pages import Style
from minikube_py.ingress.router import RoutingTable, Upstream
from minikube_py.ingress.rules.rules import Rules
from minikube_py.ingress.rules.sources import GATEWAY_RESOURCES, Sources
from minikube_py.ingress.server import GRACE, KEEP_ALIVE, Tables
from minikube_py.ingress.tls.certificates import CertificateAuthority

if TYPE_CHECKING:
    from minikube_py.ingress.front import Front
    from minikube_py.ingress.gateway.table import GatewayTable, Shares
    from minikube_py.ingress.proxy.proxy import Proxy
    from minikube_py.ingress.tls.certificates import Certificates

__all__ = ["program"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Listener:
    """One port."""

    how: str
    """HTTP, TLS or TCP."""
    proxy: "Proxy"
    front: "Front"
    server: asyncio.AbstractServer
    certificates: "Certificates"

    def drain(self) -> None:
        """Take no new connections; idle callers go at once, running requests may end."""
        self.server.close()
        self.front.pre_shutdown()

    async def close(self, grace: float) -> None:
        await self.front.shutdown(grace)
        self.proxy.close()


class _Listeners:
    """The ports of one Gateway, as its table has them.

    Resource handling: `follow` is a task of the scope; `close` ends what listens.
    """

    def __init__(
        self, api: API, gateway: Key, container: Container, clock: Clock, authority: CertificateAuthority | None
    ) -> None:
        from minikube_py.ingress.gateway.compile import compile_gateway

        self.tables = Tables(
            api, resources=GATEWAY_RESOURCES, compile=lambda sources: compile_gateway(sources, gateway).rules
        )
        self.tables.on_swap = self._swapped
        self.scope = TaskScope(f"gateway {container.pod.name}")
        self.https_port: Callable[[], int] = lambda: 443
        self.host: str | None = None
        self.relay = True
        self.requests: dict[tuple[str, str], int] = {}
        """(rule, backend) → requests answered, of all listeners."""
        self._container = container
        self._clock = clock
        self._authority = authority
        self._chance = random.Random()
        self._changed = asyncio.Event()
        self._ports: dict[int, GatewayTable] = {}
        self._open: dict[int, _Listener] = {}

    @property
    def _table(self) -> "GatewayTable":
        return cast("GatewayTable", self.tables.table())

    def _swapped(self, table: RoutingTable, rules: Rules, sources: Sources) -> None:
        tls = cast("GatewayTable", table).tls
        alive = {endpoint for upstream in table.upstreams.values() for endpoint in upstream.endpoints}
        self._ports.clear()
        for port, each in self._open.items():
            each.certificates.update(replace(rules, tls=tls.get(port, {})), sources)
            each.proxy.retain(alive)
            each.proxy.balancer.forget(table.upstreams.keys())
        self._changed.set()

    def _of(self, port: int) -> RoutingTable:
        table = self._table
        if port not in self._ports:
            self._ports[port] = table.port_table(port)
        return self._ports[port]

    def _streams(self, port: int) -> "Mapping[str, Shares]":
        table = self._table
        routes = table.streams.get(port, {})
        # whom no listener of the port knows by name is let down, not given a certificate that isn't theirs
        return routes if port in table.listeners else {"": (), **routes}

    def _upstream(self, shares: "Shares") -> Upstream | None:
        return self._table.stream(shares, self._chance.random())

    async def adjust(self) -> None:
        """Listen where the table says, and nowhere else."""
        wanted = self._table.ports
        for port in [each for each, listener in self._open.items() if wanted.get(each) != listener.how]:
            listener = self._open.pop(port)
            listener.drain()
            self.scope.spawn(listener.close(GRACE), name=f"gateway-listener {port}")
        for port, how in wanted.items():
            if port not in self._open:
                try:
                    self._open[port] = await self._listen(port, how)
                except OSError as error:
                    logger.warning("gateway can't listen port=%s error=%s", port, error)
        bound = {port: _port(each.server, port) for port, each in self._open.items()}
        self._container.extra["ports"] = bound
        self._container.print(f"listening={','.join(map(str, bound)) or 'nowhere'}")

    async def follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()  # before looking: what changes meanwhile is looked at next
            if {port: each.how for port, each in self._open.items()} != dict(self._table.ports):
                await self.adjust()

    async def _listen(self, port: int, how: str) -> _Listener:
        from minikube_py.ingress.front import Front
        from minikube_py.ingress.gateway.accept import Either, Wire
        from minikube_py.ingress.proxy.proxy import Proxy
        from minikube_py.ingress.tls.certificates import Certificates
        from minikube_py.ingress.tls.passthrough import Door

        certificates = Certificates(self._authority)
        rules = replace(self.tables.rules, tls=self._table.tls.get(port, {}))
        certificates.update(rules, self.tables.sources)
        proxy = Proxy(
            partial(self._of, port),
            clock=self._clock,
            scope=self.scope,
            write=self._container.write,
            https_port=self.https_port,
            style=Style(server="", hsts=False),
            port=port,
        )
        proxy.requests = self.requests
        front = Front(proxy, secure=how == "TLS", keepalive_timeout=KEEP_ALIVE, clock=self._clock, relay=self.relay)
        accept: Callable[[], asyncio.BaseProtocol] = partial(Either, front)
        if how == "TLS":
            accept = partial(Door, front, certificates.context, partial(self._streams, port), self._upstream)
        elif how == "TCP":
            accept = partial(Wire, front, partial(self._streams, port), self._upstream)
        at = 0 if self.host is not None else port
        server = await asyncio.get_running_loop().create_server(accept, self.host, at, backlog=1024)
        return _Listener(how, proxy, front, server, certificates)

    async def close(self, grace: float) -> None:
        for each in self._open.values():
            each.drain()
        for each in self._open.values():
            await each.close(grace)
        self.tables.stop()
        await self.scope.close()


def _port(server: asyncio.AbstractServer, wanted: int) -> int:
    sockets = getattr(server, "sockets", None)
    return int(sockets[0].getsockname()[1]) if sockets else wanted


def program(
    api: API,
    clock: Clock,
    *,
    certificate_authority: CertificateAuthority | None = None,
    https_port: Callable[[], int] = lambda: 443,
    host: str | None = None,
    relay: bool = True,
) -> Main:
    """Return the program; bound ports are in `container.extra["ports"]`, wanted → real.

    `https_port()` is where callers outside find a listener of port 443; without `relay` all requests go aiohttp's way;
    with `host` ports are free-chosen there (tests).
    """

    async def main(container: Container) -> int:
        from aiohttp.web_server import Server  # here, not above: only a cluster with a Gateway pays for it

        from minikube_py.ingress import health

        flags = dict(each.lstrip("-").partition("=")[::2] for each in container.argv)
        namespace, _, name = flags["gateway"].partition("/")
        listeners = _Listeners(api, Key(namespace, name), container, clock, certificate_authority)
        listeners.https_port, listeners.host, listeners.relay = https_port, host, relay
        listeners.tables.start()
        own: asyncio.AbstractServer | None = None
        try:
            await listeners.adjust()
            if health.PORT in container.ports:
                handler = Server(health.handler(listeners.requests), access_log=None)
                own = await asyncio.get_running_loop().create_server(handler, host, health.PORT)
            listeners.scope.spawn(listeners.follow(), name="gateway-listeners")
            container.started()
            await container.terminated.wait()
            return 0
        finally:
            if own is not None:
                own.close()
                await handler.shutdown()
            await listeners.close(GRACE if container.terminated.is_set() else 0.0)

    return main
