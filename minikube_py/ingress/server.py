"""The ingress controller's program: what runs in its pod. Stands for ingress-nginx's controller image.

    watch ─► Sources ─► Rules ─► RoutingTable        (compiled when it is next asked for, then swapped)
    :80  ─► Caller ─► pods,  or what is not simple: aiohttp.web.Server ─► Proxy ─► pods
    :443 ─► the same, TLS by SNI

The pod's address comes by itself: the program runs in the pod's context, so listening on "all" addresses binds the
pod's own, and what it opens comes from the pod's IP.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from minikube_py.aiokit.clock import Clock
from minikube_py.aiokit.tasks import TaskScope
from minikube_py.apimachinery.meta import Key
from minikube_py.client import API, Event
from minikube_py.images.container import Container, Main
from minikube_py.ingress.flavors.flavor import Flavor
from minikube_py.ingress.flavors.nginx import FLAVOR as NGINX
from minikube_py.ingress.options import DEFAULTS, Options
from minikube_py.ingress.router import BackendKey, Endpoint, RoutingTable, Upstream
from minikube_py.ingress.rules.backends import compile_backends, compile_table
from minikube_py.ingress.rules.incremental import Incremental
from minikube_py.ingress.rules.rules import Rules
from minikube_py.ingress.rules.sources import RESOURCES, SECRETS, SERVICES, SLICES, Sources
from minikube_py.ingress.tls.certificates import CertificateAuthority

__all__ = ["CONTROLLER", "GRACE", "KEEP_ALIVE", "Listen", "Tables", "program"]

logger = logging.getLogger(__name__)

CONTROLLER = "k8s.io/ingress-nginx"
KEEP_ALIVE = 75.0
"""Seconds an idle caller may stay (ingress-nginx: keep-alive 75); also the longest a request's headers may take."""
_LONG = 0.005
"""Seconds; a table that took longer to compile isn't compiled after every change."""
GRACE = 10.0
"""Seconds that running requests have after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the program listens; None is the pod's own address."""

    host: str | None = None
    http: int = 80
    https: int = 443


@dataclass(slots=True)
class Tables:
    """The current routing table of one controller, compiled when asked for: never older than the last commit.

    Resource handling: `start()` subscribes, `stop()` ends it.
    """

    api: API
    controller: str = CONTROLLER
    flavor: Flavor = NGINX
    defaults: Options = DEFAULTS
    default_backend: BackendKey | None = None
    on_swap: Callable[[RoutingTable, Rules, Sources], None] | None = None
    compile: Callable[[Sources], Rules] | None = None
    """Instead of Ingresses (a Gateway)."""
    resources: tuple[str, ...] = RESOURCES
    sources: Sources = field(default_factory=Sources)
    rules: Rules = field(default_factory=lambda: Rules(RoutingTable()))
    swaps: int = 0
    _table: RoutingTable = field(default_factory=RoutingTable)
    _ingresses: Incremental = field(init=False)
    _stale_rules: bool = True
    _stale_services: set[Key] = field(default_factory=set)
    _subscription: Any = None
    _later: asyncio.Handle | None = None
    _took: float = 0.0

    def __post_init__(self) -> None:
        self._ingresses = Incremental(
            self.sources,
            controller=self.controller,
            defaults=self.defaults,
            default_backend=self.default_backend,
            flavor=self.flavor,
        )

    def start(self) -> None:
        self._subscription = self.api.subscribe((*self.resources, *self.flavor.resources), self._changed)

    def stop(self) -> None:
        if self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _changed(self, event: Event) -> None:
        self.sources_changed(event)
        if self._later is None and (self._stale_rules or self._stale_services):
            # where compiling takes long, changes that no request waits for have at most a tenth of the time
            delay = 10 * self._took if self._took > _LONG else 0.0
            self._later = asyncio.get_running_loop().call_later(delay, self._refresh)

    def sources_changed(self, event: Event) -> None:
        before = event.old
        service = self.sources.apply(event)
        if self.compile is None:
            self._ingresses.changed(event)
            self._stale_rules = self._ingresses.stale
        elif event.resource not in (SLICES, SECRETS) or (event.resource, event.key) in self.rules.references:
            self._stale_rules = True  # a Service, too: a route's backend that didn't exist is in nobody's keys
        if event.resource in (SERVICES, SLICES):
            if service is not None and service in self.rules.keys:
                self._stale_services.add(service)
            if before is not None and event.resource == SLICES:  # its label may have named another Service
                name = (before["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
                if (other := Key(event.key.namespace, name)) in self.rules.keys:
                    self._stale_services.add(other)

    def _refresh(self) -> None:
        self._later = None
        self.table()

    def table(self) -> RoutingTable:
        """Return the table of this moment."""
        started = perf_counter()
        if self._stale_rules:
            if self.compile is not None:
                self.rules = self.compile(self.sources)
                self._table = compile_table(self.rules, self.sources)
            else:
                self.rules = self._ingresses.rules()
                self._table = compile_table(self.rules, self.sources, self._table.upstreams, self._stale_services)
        elif self._stale_services:
            self._table = compile_backends(self.rules, self.sources, self._stale_services, self._table)
        else:
            return self._table
        self._stale_rules = False
        self._stale_services.clear()
        self.swaps += 1
        if self.on_swap is not None:
            self.on_swap(self._table, self.rules, self.sources)
        self._took = perf_counter() - started
        return self._table


def program(
    api: API,
    clock: Clock,
    *,
    flavor: Flavor = NGINX,
    certificate_authority: CertificateAuthority | None = None,
    https_port: Callable[[], int] = lambda: 443,
    listen: Listen = Listen(),
    defaults: Options | None = None,
    default_backend: BackendKey | None = None,
    chance: random.Random | None = None,
    relay: bool = True,
) -> Main:
    """Return the controller's program.

    `https_port()` is the port by which callers on this machine reach HTTPS (8443); `default_backend` answers what no
    rule matches; `defaults` are the ConfigMap's settings; without `relay` every request goes aiohttp's
    way. The container's own `--controller-class` and
    `--default-backend-service` win.
    The running program puts its `Tables` and `Proxy` into `container.extra` under "tables" and "proxy", and the bound
    ports under "http_port" and "https_port".
    """

    async def main(container: Container) -> int:
        flags = dict(each.lstrip("-").partition("=")[::2] for each in container.argv if each.startswith("--"))
        # here, not above: aiohttp is 60 ms that only a cluster with an ingress pays
        from aiohttp.web_server import Server

        from minikube_py.ingress import health
        from minikube_py.ingress.front import Front
        from minikube_py.ingress.proxy.proxy import Proxy
        from minikube_py.ingress.tls.certificates import Certificates
        from minikube_py.ingress.tls.passthrough import Door

        scope = TaskScope(f"ingress {container.pod.name}")
        backend = default_backend
        if named := flags.get("default-backend-service"):
            backend = BackendKey(*named.partition("/")[::2], "")
        tables = Tables(
            api, flags.get("controller-class") or flavor.controller, flavor, defaults or flavor.options, backend
        )
        proxy = Proxy(
            tables.table,
            clock=clock,
            scope=scope,
            write=container.write,
            https_port=https_port,
            chance=chance,
            style=flavor.style,
        )
        certificates = Certificates(certificate_authority)

        def swapped(table: RoutingTable, rules: Rules, sources: Sources) -> None:
            certificates.update(rules, sources)
            alive: set[Endpoint] = {each for upstream in table.upstreams.values() for each in upstream.endpoints}
            proxy.retain(alive)
            proxy.balancer.forget(table.upstreams.keys())
            proxy.forget(rules.served)

        passes = flags.get("enable-ssl-passthrough", "true") != "false"

        def passthrough() -> Mapping[str, BackendKey]:
            tables.table()
            return tables.rules.passthrough if passes else {}

        def backend_of(key: BackendKey) -> Upstream:
            return tables.table().upstream(key)

        tables.on_swap = swapped
        loop = asyncio.get_running_loop()
        fronts: list[tuple[Server, asyncio.AbstractServer]] = []
        tables.start()
        try:
            tables.table()
            for secure, port in ((False, listen.http), (True, listen.https)):
                front = Front(proxy, secure=secure, keepalive_timeout=KEEP_ALIVE, clock=clock, relay=relay)
                factory = partial(Door, front, certificates.context, passthrough, backend_of) if secure else front
                server = await loop.create_server(factory, listen.host, port, backlog=1024)
                fronts.append((front, server))
                sockets = getattr(server, "sockets", None)
                bound = sockets[0].getsockname()[1] if sockets else port
                container.extra["https_port" if secure else "http_port"] = bound
            if health.PORT in container.ports:
                own = Server(health.handler(proxy.requests), access_log=None)
                fronts.append((own, await loop.create_server(own, listen.host, health.PORT)))
            container.extra["tables"] = tables
            container.extra["proxy"] = proxy
            container.print(f"controller={tables.controller} ingresses={len(tables.rules.served)} listening=:80,:443")
            container.started()
            await container.terminated.wait()
            return 0
        finally:
            for _, listener in fronts:
                listener.close()
            for each, _ in fronts:
                each.pre_shutdown()  # idle callers go at once, running requests may end
            for each, _ in fronts:
                await each.shutdown(GRACE if container.terminated.is_set() else 0.0)
            tables.stop()
            proxy.close()
            await scope.close()

    return main
