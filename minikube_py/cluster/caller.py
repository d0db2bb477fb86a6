"""Being a pod from outside the process' loop: how curl, dig and test clients find what a pod would find.

A caller has the pod's source address, asks the cluster's DNS with the pod's search path, and knows which ports below
1024 were moved. The outside caller (no pod) reaches Ingress hosts through the ingress controller's host address.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View
from minikube_py.cluster.urls import Doors, ingress_hosts, real, route_hosts
from minikube_py.cni.addresses import within
from minikube_py.cni.resolvconf import ResolvConf, hosts_text, parse_hosts, pod_names, pod_resolv_conf
from minikube_py.cni.resolver import StubResolver

__all__ = ["Caller", "outside", "pod_caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a pod, or the outside (`ip` is "")."""

    ip: str
    name: str
    namespace: str
    resolver: StubResolver | None
    ranges: tuple[IPv4Network, ...]
    low_port_offset: int
    doors: Mapping[str, Mapping[int, tuple[str, int]]] = field(default_factory=dict)
    """Outside: host of an Ingress or HTTPRoute (`*.x` for wildcards) → port in a URL → address and port that work."""

    def locate(self, host: str, port: int) -> tuple[str, int]:
        """Return the address and port at which `host:port` is really reached.

        Error handling: `socket.gaierror` as a pod's libc raises it.
        """
        if self.resolver is not None:
            host = self.resolver.resolve_blocking(host)[0]
        elif door := self.door(host).get(port):
            return door
        return host, self.real_port(host, port)

    def door(self, host: str) -> Mapping[int, tuple[str, int]]:
        """Return where a host of Ingresses or HTTPRoutes is reached from outside, by the URL's port; {} if nowhere."""
        parent = f"*.{host.partition('.')[2]}"
        return self.doors.get(host) or self.doors.get(parent) or {}

    def real_port(self, address: str, port: int) -> int:
        """Return the port that is really bound for a port of one of the cluster's addresses."""
        if port >= 1024 or not self.low_port_offset:
            return port
        return port + self.low_port_offset if self.inside(address) else port

    def inside(self, address: str) -> bool:
        """Tell whether an address is one of the cluster's."""
        return within(address, *self.ranges)


def _ranges(facts: Mapping[str, Any]) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(text) for text in facts["ranges"].values())


def pod_caller(pod: Object, facts: Mapping[str, Any]) -> Caller:
    """Return the caller that is this pod; `facts` are those of `LocalCluster.facts`."""
    ranges, offset = _ranges(facts), facts["low_port_offset"]
    dns = facts["dns"]
    spec = meta.spec(pod)
    conf = pod_resolv_conf(
        spec, meta.namespace(pod), cluster_dns=dns["address"], cluster_domain=dns["domain"], host=_host_conf()
    )
    ip = meta.status(pod).get("podIP") or ""
    caller = Caller(ip, meta.name(pod), meta.namespace(pod), None, ranges, offset)
    own = pod_names(
        spec, meta.name(pod), meta.namespace(pod), node=spec.get("nodeName", ""), cluster_domain=dns["domain"]
    )
    hosts = {**parse_hosts(hosts_text(ip, *own, spec.get("hostAliases") or ())), "localhost": (ip,)}
    resolver = StubResolver(conf, hosts, source=ip, real_port=caller.real_port, types=("A",))
    return Caller(ip, caller.name, caller.namespace, resolver, ranges, offset)


def _host_conf() -> ResolvConf:
    try:
        with open("/etc/resolv.conf") as file:
            return ResolvConf(ResolvConf.parse(file.read()).nameservers)
    except OSError:
        return ResolvConf()


def outside(view: View, facts: Mapping[str, Any]) -> Caller:
    """Return the caller outside the cluster: 127.0.0.1; hosts of Ingresses and HTTPRoutes are where they are served."""
    doors: dict[str, Mapping[int, tuple[str, int]]] = {}
    if known := Doors.known(facts):
        for ingress, host, _ in ingress_hosts(view):
            if host and host not in doors:
                door = known.of(ingress)
                doors[host] = {80: (door.ip, door.http), 443: (door.ip, door.https)}
    offset = facts["low_port_offset"]
    gateways: dict[str, dict[int, tuple[str, int]]] = {}
    for each in route_hosts(view):
        if each.host and each.host not in doors:
            gateways.setdefault(each.host, {}).setdefault(each.port, (each.address, real(each.port, offset)))
    return Caller("", "outside", "", None, _ranges(facts), offset, {**doors, **gateways})
