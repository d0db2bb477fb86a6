"""Which addresses work from this machine, for Services, Ingresses and HTTPRoutes: pure, from a view."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View
from minikube_py.cluster.ingress_problems import backends, unserved
from minikube_py.kinds.ingress import class_of

__all__ = [
    "SYSTEM_NAMESPACES",
    "Door",
    "Doors",
    "RouteHost",
    "example_path",
    "ingress_hosts",
    "route_hosts",
    "scheme",
    "service_addresses",
    "urls",
]

SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "ingress-nginx")

_PLAIN_TCP = {
    5432: "postgresql",
    6379: "redis",
    3306: "mysql",
    27017: "mongodb",
    5672: "amqp",
    9092: "kafka",
    53: "dns",
}


@dataclass(frozen=True, slots=True)
class Door:
    """Where an ingress controller is reached from this machine."""

    ip: str
    http: int
    https: int

    def url(self, scheme_: str) -> str:
        return _authority(scheme_, self.ip, self.http if scheme_ == "http" else self.https)


@dataclass(frozen=True, slots=True)
class Doors:
    """The doors of a cluster's ingress controllers."""

    first: Door
    """Of the first one: on 127.0.0.1."""
    address: str
    """Of the first one's own Service."""
    offset: int
    """What is added to ports below 1024 elsewhere."""

    @classmethod
    def known(cls, facts: Mapping[str, Any]) -> "Doors | None":
        """Read them from a cluster's facts (`LocalCluster.facts`); None without an ingress controller."""
        given = facts["ingress"]
        if not given["http"]:
            return None
        ports = [urlsplit(given[each]).port or usual for each, usual in (("http", 80), ("https", 443))]
        return cls(Door("127.0.0.1", *ports), given["address"], facts["low_port_offset"])

    def of(self, ingress: Object) -> Door:
        """Return where an Ingress is reached: at the address in its status.

        The first controller's has a door, which also stands in as long as no controller has written a status.
        """
        for entry in (meta.status(ingress).get("loadBalancer") or {}).get("ingress") or ():
            ip = entry.get("ip")
            if ip and ip != self.address:
                return Door(ip, real(80, self.offset), real(443, self.offset))
        return self.first


def scheme(port: Mapping[str, Any]) -> str:
    """Guess a Service port's URL scheme from appProtocol, name and number, as `kubectl cluster-info` does for https."""
    hint = str(port.get("appProtocol") or port.get("name") or "").lower()
    if hint.startswith("https") or port["port"] in (443, 8443):
        return "https"
    if port["port"] in _PLAIN_TCP and not hint.startswith("http"):
        return "tcp"
    return "http"


def real(port: int, offset: int) -> int:
    """Return the port that is really bound: ports below 1024 move up by `offset` where they can't be had."""
    return port + offset if port < 1024 else port


def _authority(scheme_: str, address: str, port: int) -> str:
    usual = {"http": 80, "https": 443}.get(scheme_)
    return f"{scheme_}://{address}" if port == usual else f"{scheme_}://{address}:{port}"


def service_addresses(service: Object, offset: int, node_ips: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (URL, what it is) for each way into a Service from this machine."""
    spec = meta.spec(service)
    for port in spec.get("ports") or ():
        if port.get("protocol", "TCP") != "TCP":
            continue
        how = scheme(port)
        for entry in (meta.status(service).get("loadBalancer") or {}).get("ingress") or ():
            if entry.get("ip"):
                yield _authority(how, entry["ip"], real(port["port"], offset)), "LoadBalancer"
        if port.get("nodePort") and node_ips:
            yield _authority(how, node_ips[0], port["nodePort"]), "NodePort, on every node"
        if spec.get("clusterIP") not in (None, "", "None"):
            yield _authority(how, spec["clusterIP"], real(port["port"], offset)), "ClusterIP"


def ingress_hosts(view: View) -> Iterator[tuple[Object, str, str]]:
    """Yield (Ingress, host, path) for each rule; host is "" for a rule without one."""
    for ingress in view.list("ingresses.networking.k8s.io"):
        for rule in meta.spec(ingress).get("rules") or ():
            paths: Sequence[Mapping[str, Any]] = (rule.get("http") or {}).get("paths") or ({},)
            for path in paths:
                yield ingress, rule.get("host", ""), path.get("path", "/")
        if not meta.spec(ingress).get("rules") and meta.spec(ingress).get("defaultBackend"):
            yield ingress, "", "/"


def _paths(rule: Mapping[str, Any]) -> Iterator[str]:
    for match in rule.get("matches") or ():
        yield (match.get("path") or {}).get("value") or "/"


@dataclass(frozen=True, slots=True)
class RouteHost:
    """One host and path of an HTTPRoute, at one listener of a Gateway."""

    route: Object
    host: str
    """"" for any."""
    path: str
    scheme: str
    address: str
    port: int
    """The listener's, inside the cluster."""


def route_hosts(view: View) -> Iterator[RouteHost]:
    """Yield the hosts and paths of the HTTPRoutes that a Gateway with an address has accepted."""
    gateways = {meta.key(each): each for each in view.list("gateways.gateway.networking.k8s.io")}
    if not gateways:
        return
    from minikube_py.ingress.gateway.listeners import intersect  # only where there is a Gateway

    for route in view.list("httproutes.gateway.networking.k8s.io"):
        hostnames: Sequence[str] = meta.spec(route).get("hostnames") or ("",)
        rules: Sequence[Mapping[str, Any]] = meta.spec(route).get("rules") or ()
        paths = dict.fromkeys(path for rule in rules for path in _paths(rule))
        for address, listener in _accepting(route, gateways):
            if (scheme_ := _SCHEMES.get(listener["protocol"])) is None:
                continue
            for hostname in hostnames:
                if (host := intersect(listener.get("hostname") or "", hostname)) is not None:
                    for path in paths:
                        yield RouteHost(route, host, path, scheme_, address, listener["port"])


_SCHEMES = {"HTTP": "http", "HTTPS": "https"}
"""Of listeners' protocols, those that URLs lead to."""


def _accepting(route: Object, gateways: Mapping[meta.Key, Object]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the listeners that have accepted a route, each with its Gateway's address."""
    for parent in meta.status(route).get("parents") or ():
        ref = parent["parentRef"]
        gateway = gateways.get(meta.Key(ref.get("namespace") or meta.namespace(route), ref["name"]))
        addresses = meta.status(gateway).get("addresses") if gateway else None
        accepted = any(each["type"] == "Accepted" and each["status"] == "True" for each in parent["conditions"])
        if gateway is None or not addresses or not accepted:
            continue
        for listener in meta.spec(gateway)["listeners"]:
            meant = ref.get("sectionName") or listener["name"], ref.get("port") or listener["port"]
            if meant == (listener["name"], listener["port"]):
                yield addresses[0]["value"], listener


def example_path(path: str) -> str:
    """Return a path that a rule's catches, fit for a shell: what comes before its first regular expression."""
    return re.split(r"\.?[(*\[^$|?+\\{]", path)[0] or "/"


def _ingress_urls(view: View, doors: Doors) -> Iterator[dict[str, str]]:
    for ingress, host, path in ingress_hosts(view):
        door = doors.of(ingress)
        about = f"ingress/{meta.name(ingress)}"
        called, at = host.replace("*", "any"), example_path(path)
        if host and any(host in (each.get("hosts") or ()) for each in meta.spec(ingress).get("tls") or ()):
            url, how = door.url("https") + at, f"mkpy curl https://{called}{at}"
        elif door is doors.first and host.endswith(".localhost"):
            url, how = door.url("http").replace("127.0.0.1", host) + at, ""
        else:
            url = door.url("http") + at
            how = f"curl -H 'Host: {called}' {url}" if host else ""
        if wrong := _wrong(view, ingress, host, path):
            how = f"! {wrong}"
        yield {"name": (host or "*") + path, "url": url, "about": f"{about}   {how}" if how else about}


def _wrong(view: View, ingress: Object, host: str, path: str) -> str:
    """Say why a row's address answers with an error; "" if nothing is known against it."""
    if unserved(view, ingress):
        class_ = class_of(ingress)
        return f"404: no controller serves class {class_}" if class_ else "404: it has no class"
    for service in backends(ingress, host, path):
        if view.get("services", service["name"], meta.namespace(ingress)) is None:
            return f"503: Service {service['name']} does not exist"
    return ""


def urls(view: View, doors: Doors | None, *, real_port_offset: int) -> list[dict[str, str]]:
    """Return what `up` prints: `{name, url, about}` for rules of Ingresses and HTTPRoutes and the user's Services."""
    found = list(_ingress_urls(view, doors)) if doors else []
    for each in route_hosts(view):
        url = _authority(each.scheme, each.address, real(each.port, real_port_offset)) + each.path
        how = f"httproute/{meta.name(each.route)}"
        if each.host:
            how += f"   curl -H 'Host: {each.host.replace('*', 'any')}' {url}"
        found.append({"name": (each.host or "*") + each.path, "url": url, "about": how})
    nodes = [
        address["address"]
        for node in view.list("nodes")
        for address in meta.status(node).get("addresses") or ()
        if address["type"] == "InternalIP"
    ]
    for service in view.list("services"):
        if meta.namespace(service) in SYSTEM_NAMESPACES or meta.name(service) == "kubernetes":
            continue
        name = meta.name(service)
        if meta.namespace(service) != "default":
            name += f".{meta.namespace(service)}"
        found.extend(
            {"name": name, "url": url, "about": f"service/{meta.name(service)}   {what}"}
            for url, what in service_addresses(service, real_port_offset, nodes)
        )
    return found
