"""The Service proxy: opens an address for each Service and hands its connections to endpoints.

Stands for kube-proxy on every node at once. The table changes with the commit of the write that causes it, so no
connection accepted after an endpoint was removed goes there.

    commit of a Service, EndpointSlice or Node → compile that Service (table.py) → open and close addresses

A Service that keeps being answered keeps its addresses: it is compiled when somebody looks at its table, or at the end
of the loop's turn. Ten thousand pods behind one Service have a hundred slices, and many change in one turn.

No usable endpoint: the address is closed, so that the kernel refuses, as kube-proxy's REJECT rule does. So it is
while nothing listens behind any of them (a wrong targetPort): a node would pass the pod's refusal on, but a proxy
that accepts could only reset. Established connections outlive both: they end with their pod.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from msgspec import Struct

from minikube_py.aiokit.clock import Clock
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client.api import API, Change, Event, Subscription
from minikube_py.cni.accept import Address
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.filters import Target
from minikube_py.cni.listener import Connection, Listener, Outcome
from minikube_py.cni.udp import UdpListener
from minikube_py.kube_proxy import healthcheck, table
from minikube_py.kube_proxy.balancer import Mode
from minikube_py.kube_proxy.books import EndpointStats, PortBooks
from minikube_py.kube_proxy.mute import MuteEndpoints
from minikube_py.kube_proxy.table import (
    Endpoint,
    Frontend,
    NodeInfo,
    PortTable,
    Reach,
    ServicePort,
    ServiceTable,
    Slice,
)

__all__ = ["KubeProxy", "Published", "Route"]

logger = logging.getLogger(__name__)

SERVICES, SLICES, NODES = "services", "endpointslices.discovery.k8s.io", "nodes"


@dataclass(slots=True)
class _Service:
    """What is kept of one Service."""

    key: Key
    object: Object | None = None
    slices: dict[Key, Slice] = field(default_factory=dict)
    table: ServiceTable | None = None
    ports: dict[ServicePort, PortBooks] = field(default_factory=dict)
    listeners: dict[Frontend, Listener | UdpListener] = field(default_factory=dict)

    def keeps_answering(self, answers: Callable[[str, int], bool]) -> bool:
        """Tell whether each port was answered and still is, so that no address opens or closes.

        Not with datagrams: flows to who left are to be forgotten at once.
        """
        return self.table is not None and all(
            port.everywhere
            and of.protocol == "TCP"
            and any(
                one.ready and answers(one.ip, one.port)
                for each in self.slices.values()
                for one in each.get(of, {}).values()
            )
            for of, port in self.table.ports.items()
        )


class Route(Struct, frozen=True):
    """What happens to a call to one of a Service's addresses."""

    service: Key
    frontend: Frontend
    endpoints: tuple[Endpoint, ...]
    """To one of these; none: refused, or dropped if `silent`."""
    seen_as: str
    """As in `cni.types.Flow`."""
    silent: bool


class Published:
    """A Service's port on an address of its own, beside those of its spec.

    Resource handling: `close()` frees the address. While the Service has no endpoint, callers are reset.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def close(self) -> None:
        self._listener.close()


class KubeProxy:
    """The proxy of one cluster.

    `mode`: roundrobin, random, leastconn or sourcehash (`balancer.py`); `chance` decides in random mode.
    Resource handling: `start()` subscribes; `stop()` unsubscribes and frees every address.
    Error handling: an address that can't be opened is logged and kept in `problems`, and tried again at the next
    change of its Service.
    """

    def __init__(
        self,
        api: API,
        fabric: Fabric,
        clock: Clock,
        *,
        mode: str = Mode.ROUND_ROBIN.value,
        chance: random.Random | None = None,
    ) -> None:
        self._api = api
        self._fabric = fabric
        self._clock = clock
        self._mode = Mode(mode)
        self._chance = chance or random.Random()
        self._services: dict[Key, _Service] = {}
        self._stale: dict[Key, None] = {}
        """The Services whose tables lag behind their slices."""
        self._due: asyncio.Handle | None = None
        self._slice_owner: dict[Key, Key] = {}
        self._nodes: dict[str, NodeInfo] = {}
        self._subscription: Subscription | None = None
        self._problems: dict[Address, tuple[Key, str]] = {}
        self._mute = MuteEndpoints(clock, fabric.answers, self._sync)
        self._unwatch: Callable[[], None] | None = None

    @property
    def problems(self) -> Mapping[Address, tuple[Key, str]]:
        """Address → the Service whose it is, and why it can't be opened, in one sentence."""
        self._catch_up()
        return MappingProxyType(self._problems)

    def start(self) -> None:
        self._unwatch = self._fabric.watch_servers(self._mute.serving)
        self._subscription = self._api.subscribe((NODES, SERVICES, SLICES), self._changed)

    def stop(self) -> None:
        if self._subscription:
            self._subscription.cancel()
            self._subscription = None
        if self._unwatch:
            self._unwatch()
            self._unwatch = None
        if self._due:
            self._due.cancel()
            self._due = None
        self._stale.clear()
        self._mute.close()
        for service in self._services.values():
            for listener in service.listeners.values():
                listener.close()
        self._services.clear()

    def statistics(self, namespace: str, name: str) -> Mapping[ServicePort, Mapping[Address, EndpointStats]]:
        """Return the books of a Service: port → endpoint → counters; also those of the last few thousand gone."""
        service = self._services.get(Key(namespace, name))
        return {port: dict(one.stats) for port, one in service.ports.items()} if service else {}

    def endpoints(self, namespace: str, name: str, port: str | int = "") -> tuple[Endpoint, ...]:
        """Return whom a connection to the Service may go to now, traffic policies aside."""
        service = self._services.get(Key(namespace, name))
        found = self._port(service, port) if service else None
        return found.everywhere if found else ()

    def route(self, ip: str, port: int, source: str, protocol: str = "TCP") -> Route | None:
        """Return what happens to a call from `source` to an address; None if it is no Service's."""
        for key, entry in self._services.items():
            table_ = self._table(entry)
            for frontend in table_.frontends if table_ else ():
                if (frontend.ip, frontend.port, frontend.protocol) != (ip, port, protocol) or table_ is None:
                    continue
                admitted = frontend.reach is not Reach.LOAD_BALANCER or table_.admits(source)
                return Route(
                    key,
                    frontend,
                    self._candidates(entry, frontend, source) if admitted else (),
                    self._seen_as(entry, frontend),
                    silent=not admitted or table_.silent(frontend),
                )
        return None

    def publish(self, ip: str, port: int, namespace: str, service: str, service_port: str | int) -> Published:
        """Open a TCP port of a Service (by name or number) on another address, such as the ingress on 127.0.0.1:8080.

        The Service need not exist yet. Raises OSError with one clear sentence when the address is taken.
        """
        key = Key(namespace, service)

        def connected(connection: Connection) -> None:
            entry = self._services.get(key)
            found = self._port(entry, service_port) if entry else None
            if entry is None or found is None or entry.table is None:
                connection.reset()
                return
            self._hand_over(connection, entry, found.service_port, found.everywhere, entry.table.affinity)

        return Published(self._fabric.listen(ip, port, connected))

    def _port(self, service: _Service, wanted: str | int) -> PortTable | None:
        table_ = self._table(service)
        for port in table_.ports.values() if table_ else ():
            if port.service_port.protocol == "TCP" and wanted in (port.service_port.name, port.port):
                return port
        return None

    # Changes

    def _changed(self, event: Event) -> None:
        match event.resource:
            case "services":
                entry = self._entry(event.key)
                entry.object = None if event.change is Change.DELETED else event.object
                self._sync(event.key)
            case "nodes":
                self._node_changed(event)
            case _:
                self._slice_changed(event)

    def _entry(self, key: Key) -> _Service:
        return self._services.setdefault(key, _Service(key))

    def _slice_changed(self, event: Event) -> None:
        before = self._slice_owner.pop(event.key, None)
        after = None if event.change is Change.DELETED else table.service_of(event.object)
        if before is not None and before != after:
            self._services[before].slices.pop(event.key, None)
            self._endpoints_moved(before)
        if after is not None:
            self._slice_owner[event.key] = after
            self._entry(after).slices[event.key] = table.read_slice(event.object)
            self._endpoints_moved(after)

    def _endpoints_moved(self, key: Key) -> None:
        if key in self._mute or not self._services[key].keeps_answering(self._fabric.answers):
            self._sync(key)
            return
        self._stale[key] = None
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._end_of_turn)

    def _end_of_turn(self) -> None:
        self._due = None
        self._catch_up()

    def _catch_up(self) -> None:
        for key in [*self._stale]:
            self._sync(key)

    def _table(self, entry: _Service) -> ServiceTable | None:
        """Return a Service's table as of now."""
        if entry.key in self._stale:
            self._sync(entry.key)
        return entry.table

    def _node_changed(self, event: Event) -> None:
        name = meta.name(event.object)
        info = None if event.change is Change.DELETED else table.node_info(event.object)
        if info == self._nodes.get(name):
            return  # a heartbeat
        if info is None:
            del self._nodes[name]
        else:
            self._nodes[name] = info
        for key, entry in [*self._services.items()]:
            if entry.object is not None and meta.spec(entry.object).get("type") in ("NodePort", "LoadBalancer"):
                self._sync(key)

    def _sync(self, key: Key) -> None:
        """Bring one Service's table and addresses up to date."""
        self._stale.pop(key, None)
        entry = self._services[key]
        old = entry.table
        new = entry.table = (
            table.compile_service(entry.object, entry.slices.values(), self._nodes.values())
            if entry.object is not None
            else None
        )
        open_ports, mute = self._answering(new) if new else (set(), [])
        self._mute.replace(key, mute)
        wanted = {one: None for one in new.frontends if one.service_port in open_ports} if new else {}
        wanted.update(dict.fromkeys(new.health_checks) if new else {})
        for frontend in [one for one in entry.listeners if one not in wanted]:
            entry.listeners.pop(frontend).close()
        if self._problems:
            needed = {(one.ip, one.port) for one in wanted}
            for address in [one for one, (owner, _) in self._problems.items() if owner == key and one not in needed]:
                del self._problems[address]
        if new is not None:
            for service_port in new.ports:
                if service_port not in entry.ports:
                    entry.ports[service_port] = PortBooks(self._mode, self._chance)
            for frontend in wanted:
                self._open(entry, frontend)
        if old is not None and new is not None and old.ports != new.ports:
            self._endpoints_changed(entry, old, new)
        if entry.object is None and not entry.slices:
            del self._services[key]

    def _answering(self, service: ServiceTable) -> tuple[set[ServicePort], list[Address]]:
        """Return the ports with a usable endpoint on which somebody listens, and the endpoints of the others."""
        found: set[ServicePort] = set()
        mute: list[Address] = []
        for service_port, port in service.ports.items():
            if service_port.protocol != "TCP":
                if port.everywhere:
                    found.add(service_port)
            elif any(self._fabric.answers(one.ip, one.port) for one in port.everywhere):
                found.add(service_port)
            else:
                mute += [one.address for one in port.everywhere]
        return found, mute

    def _endpoints_changed(self, entry: _Service, old: ServiceTable, new: ServiceTable) -> None:
        """Forget datagram flows to endpoints that left; let callers who were dropped for want of one try again."""
        for frontend, listener in [*entry.listeners.items()]:
            if isinstance(listener, Listener):
                self._fabric.filters.touch(listener)
                self._fabric.held.judge(listener)
                continue
            before, after = (known.ports.get(frontend.service_port) for known in (old, new))
            gone = {one.address for one in before.everywhere} if before else set()
            gone -= {one.address for one in after.everywhere} if after else set()
            for ip, port in gone:
                listener.forget(ip, port)

    def _open(self, entry: _Service, frontend: Frontend) -> None:
        if (listener := entry.listeners.get(frontend)) is not None and not listener.closed:
            return
        address = frontend.ip, frontend.port
        try:
            if frontend.protocol == "UDP":
                entry.listeners[frontend] = self._fabric.listen_udp(
                    *address,
                    self._picker(entry, frontend),
                    self._flow_ended(entry, frontend.service_port),
                    seen_as=lambda: self._seen_as(entry, frontend),
                )
            else:
                entry.listeners[frontend] = self._fabric.listen(
                    *address, self._handler(entry, frontend), targets=self._targets(entry, frontend)
                )
        except OSError as error:
            assert entry.object
            problem = error.strerror or str(error)
            if self._problems.get(address) != (found := (meta.key(entry.object), problem)):
                self._problems[address] = found
                logger.warning("service address not open service=%s reason=%s", meta.describe(entry.object), problem)
        else:
            self._problems.pop(address, None)

    # Connections

    def _seen_as(self, entry: _Service, frontend: Frontend) -> str:
        """Return whom a pod sees instead of a caller from outside: the node that was called, if it masquerades.

        With externalTrafficPolicy Cluster, kube-proxy gives what comes to a node port, a balancer's or an external
        address the node's own address as its source, so that policies judge the node (and let in the endpoint's own).
        With Local the source is kept, and what comes to the ClusterIP keeps it in any case.
        https://kubernetes.io/docs/tutorials/services/source-ip/
        """
        if frontend.reach is Reach.CLUSTER_IP or (entry.table is not None and entry.table.external_local):
            return ""
        if frontend.node:
            return frontend.ip
        return next((ip for info in self._nodes.values() for ip in info.addresses), "")

    def _targets(self, entry: _Service, frontend: Frontend) -> Callable[[], Iterable[Target]]:
        """Return whom all callers of an address may come to; nobody where that depends on the caller."""

        def targets() -> Iterable[Target]:
            service = self._table(entry)
            if service is None or frontend.service_port not in service.ports:
                return ()
            if service.external_local and frontend.reach is Reach.NODE_PORT:
                return ()
            if service.internal_local and frontend.reach is Reach.CLUSTER_IP:
                return ()
            seen_as = self._seen_as(entry, frontend)
            return (Target(one.ip, one.port, seen_as) for one in service.ports[frontend.service_port].everywhere)

        return targets

    def _candidates(self, entry: _Service, frontend: Frontend, source: str) -> tuple[Endpoint, ...]:
        service = self._table(entry)
        if service is None or frontend.service_port not in service.ports:
            return ()
        if not (service.internal_local or service.external_local):
            return service.ports[frontend.service_port].everywhere
        node = next((info.name for info in self._nodes.values() if info.hosts(source)), None)
        return service.candidates(frontend, source, node, from_pod=self._fabric.addresses.is_pod(source))

    def _handler(self, entry: _Service, frontend: Frontend) -> Callable[[Connection], None]:
        if frontend.reach is Reach.HEALTH_CHECK:
            return self._health_check(entry, frontend)
        balanced = frontend.reach is Reach.LOAD_BALANCER

        def connected(connection: Connection) -> None:
            service = self._table(entry)
            source = connection.source[0]
            candidates = self._candidates(entry, frontend, source)
            if service is None:
                connection.reset()
            elif (balanced and not service.admits(source)) or (not candidates and service.silent(frontend)):
                connection.hold()
            else:
                seen_as = self._seen_as(entry, frontend)
                self._hand_over(connection, entry, frontend.service_port, candidates, service.affinity, seen_as)

        return connected

    def _health_check(self, entry: _Service, frontend: Frontend) -> Callable[[Connection], None]:
        def connected(connection: Connection) -> None:
            if (service := self._table(entry)) is None:
                connection.reset()
                return
            whole = healthcheck.answer(service.key, service.local_ready.get(frontend.node, 0), self._clock.now())
            connection.serve(lambda sock: healthcheck.serve(sock, whole))

        return connected

    def _hand_over(
        self,
        connection: Connection,
        entry: _Service,
        service_port: ServicePort,
        candidates: tuple[Endpoint, ...],
        affinity: float,
        seen_as: str = "",
    ) -> None:
        port = entry.ports[service_port]
        endpoint = port.pick(candidates, connection.source[0], self._clock.now() if affinity else 0.0, affinity)
        if endpoint is None:
            connection.reset()
            return
        stats = port.of(endpoint)
        outcome = connection.hand_off(endpoint.ip, endpoint.port, seen_as=seen_as, closed=stats.ended)
        if outcome in (Outcome.HANDED, Outcome.SPLICED):
            stats.connections += 1
        else:
            stats.denied += 1

    def _picker(self, entry: _Service, frontend: Frontend) -> Callable[[Address], Address | None]:
        balanced = frontend.reach is Reach.LOAD_BALANCER

        def pick(client: Address) -> Address | None:
            service = self._table(entry)
            if service is None or (balanced and not service.admits(client[0])):
                return None
            port = entry.ports[frontend.service_port]
            endpoint = port.pick(
                self._candidates(entry, frontend, client[0]),
                client[0],
                self._clock.now() if service.affinity else 0.0,
                service.affinity,
            )
            if endpoint is None:
                return None
            port.of(endpoint).connections += 1
            return endpoint.address

        return pick

    def _flow_ended(self, entry: _Service, service_port: ServicePort) -> Callable[[Address, int, int], None]:
        def ended(target: Address, received: int, sent: int) -> None:
            if stats := entry.ports[service_port].stats.get(target):
                stats.ended(received, sent)

        return ended
