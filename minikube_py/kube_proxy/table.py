"""The service table: what a Service, its EndpointSlices and the Nodes come to. Pure.

Sources: https://kubernetes.io/docs/reference/networking/virtual-ips/ and KEP-1669 (terminating endpoints), KEP-2086
(internalTrafficPolicy). Topology hints are accepted and have no effect: one machine is one zone.

**The law of usable endpoints** (KEP-1669): the ready ones; only if there is none, those that are terminating but
still serving. It is applied after the traffic policy has chosen whose endpoints count.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple, TypeAlias

from msgspec import Struct, field

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.cni.addresses import is_ipv4

__all__ = [
    "Endpoint",
    "Frontend",
    "NodeInfo",
    "PortTable",
    "Reach",
    "ServicePort",
    "ServiceTable",
    "Slice",
    "compile_service",
    "node_info",
    "read_slice",
    "service_of",
    "usable",
]

PROXY_NAME = "service.kubernetes.io/service-proxy-name"
HEADLESS = "service.kubernetes.io/headless"
SERVICE_NAME = "kubernetes.io/service-name"


class Endpoint(NamedTuple):
    """One address and port behind a Service."""

    ip: str
    port: int
    node: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False

    @property
    def address(self) -> tuple[str, int]:
        return self.ip, self.port


class Reach(Enum):
    """How callers come to an address: traffic policies differ by it."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_IP = "ExternalIP"
    HEALTH_CHECK = "HealthCheck"
    """A node's healthCheckNodePort: answered by the proxy itself, with endpoints and without."""


class ServicePort(NamedTuple):
    """Identity of one port of a Service within it."""

    name: str
    protocol: str


Slice: TypeAlias = Mapping[ServicePort, Mapping[tuple[str, int], Endpoint]]
"""An EndpointSlice as the proxy reads it: port → address → endpoint, in order of address."""


class Frontend(Struct, frozen=True):
    """One address that a Service answers on."""

    ip: str
    port: int
    protocol: str
    service_port: ServicePort
    reach: Reach
    node: str = ""
    """The node whose address it is, for NodePorts."""


class NodeInfo(Struct, frozen=True):
    """What the proxy needs to know of a node."""

    name: str
    addresses: tuple[str, ...] = ()
    pods: tuple[IPv4Network, ...] = ()

    def hosts(self, ip: str) -> bool:
        """Tell whether `ip` is the node's own or one of its pods'."""
        return ip in self.addresses or any(IPv4Address(ip) in network for network in self.pods)


class PortTable(Struct, frozen=True):
    """One port of a Service with the endpoints that traffic policies leave to whom."""

    service_port: ServicePort
    port: int
    everywhere: tuple[Endpoint, ...]
    """Usable for callers whom no Local policy binds."""
    by_node: Mapping[str, tuple[Endpoint, ...]]
    """Usable on each node; filled in only if a policy is Local."""

    def on(self, node: str) -> tuple[Endpoint, ...]:
        return self.by_node.get(node, ())


class ServiceTable(Struct, frozen=True):
    """One Service as the proxy serves it."""

    key: Key
    ports: Mapping[ServicePort, PortTable]
    frontends: tuple[Frontend, ...]
    affinity: float = 0.0
    """Seconds for which a client stays with its endpoint; 0: no affinity."""
    internal_local: bool = False
    external_local: bool = False
    source_ranges: tuple[IPv4Network, ...] = ()
    """Who may call the load balancer's addresses; empty: everybody."""
    health_checks: tuple[Frontend, ...] = ()
    """The healthCheckNodePort of each node."""
    local_ready: Mapping[str, int] = field(default_factory=dict)
    """Node → how many ready endpoints it has, counted by address; filled in if there are health checks."""

    def admits(self, source: str) -> bool:
        """Tell whether `loadBalancerSourceRanges` let a caller in."""
        return not self.source_ranges or any(IPv4Address(source) in network for network in self.source_ranges)

    def candidates(
        self, frontend: Frontend, source: str, caller_node: str | None, *, from_pod: bool
    ) -> tuple[Endpoint, ...]:
        """Return the usable endpoints for one caller at one of the Service's addresses.

        1. ClusterIP with internalTrafficPolicy Local: those on the caller's node. A caller on no node is the machine
           that hosts the cluster, which a real cluster doesn't have: it gets them all.
        2. NodePort with externalTrafficPolicy Local: those on the node that was called. A load balancer calls only
           nodes that have some, so at its address all count. Pods are never bound by it: kube-proxy sends what comes
           from the cluster to an external address as if it had come to the ClusterIP.
        3. Otherwise all.
        """
        table = self.ports[frontend.service_port]
        if frontend.reach is Reach.CLUSTER_IP:
            if self.internal_local and caller_node is not None:
                return table.on(caller_node)
        elif self.external_local and frontend.reach is Reach.NODE_PORT and not from_pod:
            return table.on(frontend.node)
        return table.everywhere

    def silent(self, frontend: Frontend) -> bool:
        """Tell whether a caller for whom no endpoint counts is dropped rather than refused (a Local policy)."""
        table = self.ports[frontend.service_port]
        if frontend.reach is Reach.CLUSTER_IP:
            return self.internal_local and bool(table.everywhere)
        return self.external_local and bool(table.everywhere)


def usable(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Return who may be picked, in the order given: ready ones, else those terminating that still serve."""
    found = [*endpoints]
    if ready := [endpoint for endpoint in found if endpoint.ready]:
        return tuple(ready)
    return tuple(endpoint for endpoint in found if endpoint.serving and endpoint.terminating)


def service_of(endpoint_slice: Mapping[str, Any]) -> Key | None:
    """Return the Service that a slice belongs to, or None."""
    name = meta.labels(endpoint_slice).get(SERVICE_NAME)
    return Key(meta.namespace(endpoint_slice), name) if name else None


def node_info(node: Object) -> NodeInfo:
    """Read a Node; one that has fallen silent answers at none of its addresses."""
    spec = meta.spec(node)
    silent = any(
        c.get("type") == "Ready" and c.get("status") == "Unknown" for c in meta.status(node).get("conditions") or ()
    )
    ranges = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    return NodeInfo(
        meta.name(node),
        tuple(
            entry["address"]
            for entry in meta.status(node).get("addresses") or ()
            if not silent and entry.get("type") == "InternalIP" and is_ipv4(entry.get("address") or "")
        ),
        tuple(_network(cidr) for cidr in ranges if "." in cidr),
    )


def compile_service(service: Object, slices: Collection[Slice], nodes: Iterable[NodeInfo]) -> ServiceTable | None:
    """Return the table of one Service; None if it isn't the proxy's (headless, ExternalName, another proxy's)."""
    spec = meta.spec(service)
    labels = meta.labels(service)
    addresses = _cluster_ips(spec)
    if spec.get("type") == "ExternalName" or not addresses or PROXY_NAME in labels or HEADLESS in labels:
        return None
    external = spec.get("externalTrafficPolicy") == "Local"
    internal = spec.get("internalTrafficPolicy") == "Local"
    nodes = tuple(nodes)
    ports: dict[ServicePort, PortTable] = {}
    frontends: list[Frontend] = []
    ready: dict[str, set[str]] = {}
    for port in spec.get("ports") or ():
        service_port = ServicePort(port.get("name") or "", port.get("protocol") or "TCP")
        if service_port.protocol not in ("TCP", "UDP"):
            continue  # SCTP is refused at creation; nothing here could carry it
        endpoints = _endpoints(slices, service_port)
        ports[service_port] = PortTable(
            service_port, port["port"], usable(endpoints), _by_node(endpoints) if external or internal else {}
        )
        frontends += _frontends(service, port, service_port, addresses, nodes)
        for endpoint in endpoints if external else ():
            if endpoint.ready:
                ready.setdefault(endpoint.node, set()).add(endpoint.ip)
    affinity = 0.0
    if spec.get("sessionAffinity") == "ClientIP":
        affinity = float(((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds", 10800))
    return ServiceTable(
        meta.key(service),
        ports,
        tuple(dict.fromkeys(frontends)),
        affinity,
        internal,
        external,
        tuple(
            IPv4Network(cidr.strip(), strict=False)
            for cidr in spec.get("loadBalancerSourceRanges") or ()
            if "." in cidr and spec.get("type") == "LoadBalancer"
        ),
        tuple(_health_checks(spec, nodes)) if external else (),
        {node: len(ips) for node, ips in ready.items()},
    )


def _cluster_ips(spec: Mapping[str, Any]) -> list[str]:
    found = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [ip for ip in found if is_ipv4(ip or "")]


_network = lru_cache(maxsize=1024)(IPv4Network)  # the heartbeats of all nodes tell them again and again


def _is_loopback(ip: str | None) -> bool:
    """Tell whether an address may be opened: nothing here is ever served to another machine."""
    return ip is not None and is_ipv4(ip) and ip.startswith("127.")


def _frontends(
    service: Object, port: Mapping[str, Any], of: ServicePort, cluster_ips: list[str], nodes: tuple[NodeInfo, ...]
) -> Iterable[Frontend]:
    spec = meta.spec(service)
    number, protocol = port["port"], of.protocol
    for ip in cluster_ips:
        yield Frontend(ip, number, protocol, of, Reach.CLUSTER_IP)
    for ip in spec.get("externalIPs") or ():
        if _is_loopback(ip):
            yield Frontend(ip, number, protocol, of, Reach.EXTERNAL_IP)
    if spec.get("type") == "LoadBalancer":
        for entry in (meta.status(service).get("loadBalancer") or {}).get("ingress") or ():
            # ipMode Proxy: the balancer terminates connections itself, so nodes don't capture its address (KEP-1860).
            if _is_loopback(entry.get("ip")) and entry.get("ipMode", "VIP") == "VIP":
                yield Frontend(entry["ip"], number, protocol, of, Reach.LOAD_BALANCER)
    if port.get("nodePort") and spec.get("type") in ("NodePort", "LoadBalancer"):
        for node in nodes:
            for ip in node.addresses:
                yield Frontend(ip, port["nodePort"], protocol, of, Reach.NODE_PORT, node.name)


def _health_checks(spec: Mapping[str, Any], nodes: tuple[NodeInfo, ...]) -> Iterable[Frontend]:
    if (port := spec.get("healthCheckNodePort")) and spec.get("type") == "LoadBalancer":
        for node in nodes:
            for ip in node.addresses:
                yield Frontend(ip, port, "TCP", ServicePort("", "TCP"), Reach.HEALTH_CHECK, node.name)


def read_slice(endpoint_slice: Mapping[str, Any]) -> Slice:
    """Read one EndpointSlice: each of its ports at each of its endpoints."""
    found: dict[ServicePort, dict[tuple[str, int], Endpoint]] = {}
    if endpoint_slice.get("addressType", "IPv4") == "IPv4":
        for port in endpoint_slice.get("ports") or ():
            if (number := port.get("port")) is not None:
                endpoints = found.setdefault(ServicePort(port.get("name") or "", port.get("protocol") or "TCP"), {})
                for entry in endpoint_slice.get("endpoints") or ():
                    if endpoint := _endpoint(entry, number):
                        endpoints[endpoint.address] = endpoint
    return {port: dict(sorted(endpoints.items())) for port, endpoints in found.items()}


def _endpoints(slices: Iterable[Slice], of: ServicePort) -> Collection[Endpoint]:
    """Collect a port's endpoints in order of address; one in two slices counts once, ready if either says so."""
    found: dict[tuple[str, int], Endpoint] = {}
    for one in slices:
        here = one.get(of, {})
        if not found.keys().isdisjoint(here):
            here = {address: each for address, each in here.items() if each.ready or address not in found}
        found.update(here)
    return [found[address] for address in sorted(found)]  # runs in order already, one for each slice: quick


def _endpoint(entry: Mapping[str, Any], port: int) -> Endpoint | None:
    addresses = entry.get("addresses") or ()
    if not addresses:
        return None
    conditions = entry.get("conditions") or {}
    # Absent means yes for ready and serving, no for terminating (discovery/v1 EndpointConditions).
    ready = conditions.get("ready") is not False
    serving = conditions["serving"] is not False if "serving" in conditions else ready
    return Endpoint(
        addresses[0], port, entry.get("nodeName") or "", ready, serving, conditions.get("terminating") is True
    )


def _by_node(endpoints: Iterable[Endpoint]) -> Mapping[str, tuple[Endpoint, ...]]:
    groups: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        groups.setdefault(endpoint.node, []).append(endpoint)
    return {node: chosen for node, group in groups.items() if (chosen := usable(group))}
