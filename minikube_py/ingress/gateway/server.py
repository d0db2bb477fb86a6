"""A Gateway's data plane: what runs in the pods that `agent` makes for each Gateway.

`--gateway=namespace/name` says whose listeners these are, `--listen=PORT/HOW` (once for each port) where: HTTP, TLS
(HTTPS, and TLS passed through, by server name) or TCP.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from minikube_py.aiokit.clock import Clock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery.meta import Key
from minikube_py.client import API
from minikube_py.images.container import Container, Main
from minikube_py.ingress.compile import Rules
from minikube_py.ingress.pages import Style
from minikube_py.ingress.router import RoutingTable, Upstream
from minikube_py.ingress.server import GRACE, KEEP_ALIVE, Tables
from minikube_py.ingress.sources import GATEWAY_RESOURCES, Sources
from minikube_py.ingress.tls import CertificateAuthority

if TYPE_CHECKING:
    from minikube_py.ingress.gateway.table import GatewayTable, Shares

__all__ = ["program"]


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

    `https_port()` is where callers outside find a listener of port 443; without `relay` all requests go aiohttp's way.
    """

    async def main(container: Container) -> int:
        from minikube_py.ingress.front import Front
        from minikube_py.ingress.gateway.accept import Either, Wire
        from minikube_py.ingress.gateway.compile import compile_gateway
        from minikube_py.ingress.passthrough import Door
        from minikube_py.ingress.proxy import Proxy
        from minikube_py.ingress.tls import Certificates

        flags = [each.lstrip("-").partition("=")[::2] for each in container.argv]
        namespace, _, name = dict(flags)["gateway"].partition("/")
        listeners = [value.partition("/")[::2] for flag, value in flags if flag == "listen"]
        gateway = Key(namespace, name)
        tables = Tables(
            api, resources=GATEWAY_RESOURCES, compile=lambda sources: compile_gateway(sources, gateway).rules
        )
        certificates: dict[int, Certificates] = {}
        scope = TaskScope(f"gateway {container.pod.name}")
        ports: dict[int, GatewayTable] = {}
        proxies: list[Proxy] = []

        def swapped(table: RoutingTable, rules: Rules, sources: Sources) -> None:
            for port, each in certificates.items():
                each.update(replace(rules, tls=cast("GatewayTable", table).tls.get(port, {})), sources)
            ports.clear()
            alive = {endpoint for upstream in table.upstreams.values() for endpoint in upstream.endpoints}
            for proxy in proxies:
                proxy.retain(alive)
                proxy.balancer.forget(table.upstreams.keys())

        def table_of(port: int) -> RoutingTable:
            table = cast("GatewayTable", tables.table())
            if port not in ports:
                ports[port] = table.port_table(port)
            return ports[port]

        def streams(port: int) -> "Mapping[str, Shares]":
            found = cast("GatewayTable", tables.table())
            routes = found.streams.get(port, {})
            # whom no listener of the port knows by name is let down, not given a certificate that isn't theirs
            return routes if port in found.listeners else {"": (), **routes}

        def upstream(shares: "Shares") -> Upstream | None:
            return cast("GatewayTable", tables.table()).stream(shares, chance.random())

        tables.on_swap = swapped
        chance = random.Random()
        loop = asyncio.get_running_loop()
        fronts: list[tuple[Front, asyncio.AbstractServer]] = []
        bound: dict[int, int] = {}
        tables.start()
        try:
            certificates |= {int(text): Certificates(certificate_authority) for text, how in listeners if how == "TLS"}
            tables.table()
            for text, how in listeners:
                port, secure = int(text), how == "TLS"
                proxy = Proxy(
                    partial(table_of, port),
                    clock=clock,
                    scope=scope,
                    write=container.write,
                    https_port=https_port,
                    style=Style(hsts=False),
                    port=port,
                )
                proxies.append(proxy)
                front = Front(proxy, secure=secure, keepalive_timeout=KEEP_ALIVE, clock=clock, relay=relay)
                accept: Callable[[], asyncio.BaseProtocol] = partial(Either, front)
                if secure:
                    accept = partial(Door, front, certificates[port].context, partial(streams, port), upstream)
                elif how == "TCP":
                    accept = partial(Wire, front, partial(streams, port), upstream)
                server = await loop.create_server(accept, host, 0 if host is not None else port, backlog=1024)
                fronts.append((front, server))
                sockets = getattr(server, "sockets", None)
                bound[port] = sockets[0].getsockname()[1] if sockets else port
            container.extra["ports"] = bound
            container.print(f"gateway={gateway} listening={','.join(map(str, bound)) or 'nowhere'}")
            container.started()
            await container.terminated.wait()
            return 0
        finally:
            for _, listener in fronts:
                listener.close()
            for each, _ in fronts:
                each.pre_shutdown()
            for each, _ in fronts:
                await each.shutdown(GRACE if container.terminated.is_set() else 0.0)
            tables.stop()
            for proxy in proxies:
                proxy.close()
            await scope.close()

    return main
