"""What a folder of manifests is meant to come to: the table of what is wired to what. Pure.

    workloads   how many pods are ready, of how many
    services    how many endpoints, of how many pods that the selector finds
    edges       a container's environment or command line names a Service: where it would call
    ingress     one row for each rule's path: where a request to it should arrive

A row is a plan until `cluster.wirecheck` has tried it; what was seen then decides whether it is a finding.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client.api import View
from minikube_py.cluster.targets import is_ready
from minikube_py.cluster.urls import SYSTEM_NAMESPACES, example_path

__all__ = ["GRPC_HEADERS", "Edge", "Route", "Row", "ServicePlan", "Wiring", "edges", "routes", "services", "workloads"]

_TITLES = {"workloads": "WORKLOAD", "services": "SERVICE", "edges": "EDGE", "ingress": "INGRESS"}
SECTIONS = tuple(_TITLES)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    section: str
    namespace: str
    name: str
    ok: bool
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """The whole table."""

    rows: Sequence[Row]

    @property
    def findings(self) -> list[Row]:
        """The rows that are not as the manifests mean them."""
        return [row for row in self.rows if not row.ok]

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {section: [] for section in SECTIONS}
        for row in self.rows:
            entry = {"namespace": row.namespace, "name": row.name, "ok": row.ok, "text": row.text, **row.facts}
            found[row.section].append(entry)
        return {**found, "findings": len(self.findings), "text": str(self)}

    def __str__(self) -> str:
        several = len({row.namespace for row in self.rows}) > 1
        parts = []
        for section, title in _TITLES.items():
            rows = [("", title, "")] + [
                ("✓" if row.ok else "✗", f"{row.namespace}/{row.name}" if several else row.name, row.text)
                for row in self.rows
                if row.section == section
            ]
            width = max(len(name) for _, name, _ in rows)
            if len(rows) > 1:
                parts.append("\n".join(f"{mark:1}   {name:{width}}   {text}".rstrip() for mark, name, text in rows))
        count = len(self.findings)
        parts.append(f"{count} finding{'s'[: count > 1]}" if count else "everything is wired as the manifests say")
        return "\n\n".join(parts)


def _mine(obj: Object) -> bool:
    return meta.namespace(obj) not in SYSTEM_NAMESPACES


# Workloads

_REPLICATED = {
    "deployments.apps": "readyReplicas",
    "statefulsets.apps": "readyReplicas",
    "replicasets.apps": "readyReplicas",
    "replicationcontrollers": "readyReplicas",
    "daemonsets.apps": "numberReady",
}


def workloads(view: View) -> Iterator[Row]:
    """Yield a row for each workload that nobody else owns, and for each bare pod."""
    for resource, counter in _REPLICATED.items():
        for obj in view.list(resource):
            if meta.controller_of(obj) or not _mine(obj):
                continue
            status = meta.status(obj)
            daemons = resource == "daemonsets.apps"
            wanted = status.get("desiredNumberScheduled", 0) if daemons else int(meta.spec(obj).get("replicas", 1))
            ready = int(status.get(counter, 0))
            text = f"{ready}/{wanted} ready"
            yield _workload(obj, ready >= wanted, text, ready=ready, wanted=wanted)
    for job in view.list("jobs.batch"):
        if meta.controller_of(job) or not _mine(job):
            continue
        true = {c["type"] for c in meta.status(job).get("conditions") or () if c["status"] == "True"}
        state = next((word for word in ("Complete", "Failed", "Suspended") if word in true), "Running")
        yield _workload(job, state != "Failed", state, state=state)
    for cron in view.list("cronjobs.batch"):
        if _mine(cron):
            yield _workload(cron, True, f"scheduled {meta.spec(cron).get('schedule')}")
    for pod in view.list("pods"):
        if meta.controller_of(pod) or not _mine(pod):
            continue
        phase = meta.status(pod).get("phase", "Pending")
        ready_ = is_ready(pod)
        yield _workload(pod, ready_ or phase == "Succeeded", "Ready" if ready_ else phase, phase=phase)


def _workload(obj: Object, ok: bool, text: str, **facts: Any) -> Row:
    return Row("workloads", meta.namespace(obj), f"{obj['kind']}/{meta.name(obj)}", ok, text, facts)


# Services


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """A Service, the pods that it selects, and the endpoints that it has."""

    service: Object
    selected: int
    """Pods that its selector finds and that have not ended; -1 without a selector."""
    endpoints: Mapping[str, tuple[tuple[str, int], ...]]
    """Address → (protocol, port) of what is ready there."""

    @property
    def headless(self) -> bool:
        return meta.spec(self.service).get("clusterIP") == "None"

    @property
    def external_name(self) -> str:
        spec = meta.spec(self.service)
        return str(spec.get("externalName")) if spec.get("type") == "ExternalName" else ""


def services(view: View) -> Iterator[ServicePlan]:
    """Yield a plan for each of the user's Services."""
    slices: dict[Key, list[Object]] = {}
    for each in view.list("endpointslices.discovery.k8s.io"):
        if name := meta.labels(each).get("kubernetes.io/service-name"):
            slices.setdefault(Key(meta.namespace(each), name), []).append(each)
    for service in view.list("services"):
        if not _mine(service) or meta.key(service) == Key("default", "kubernetes"):
            continue
        selector = meta.spec(service).get("selector")
        selected = -1
        if selector:
            pods = view.list("pods", meta.namespace(service), Selector.from_map(selector))
            ended = ("Succeeded", "Failed")
            selected = sum(not meta.terminating(p) and meta.status(p).get("phase") not in ended for p in pods)
        yield ServicePlan(service, selected, _endpoints(slices.get(meta.key(service), ())))


def _endpoints(slices: Iterable[Object]) -> dict[str, tuple[tuple[str, int], ...]]:
    found: dict[str, set[tuple[str, int]]] = {}
    for each in slices:
        ports = {
            (port.get("protocol", "TCP"), int(port["port"])) for port in each.get("ports") or () if port.get("port")
        }
        for endpoint in each.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                for address in endpoint["addresses"]:
                    found.setdefault(address, set()).update(ports)
    return {address: tuple(sorted(ports)) for address, ports in found.items()}


# Edges


@dataclass(frozen=True, slots=True)
class Edge:
    """A container that would call a Service, and where it is told so."""

    namespace: str
    workload: str
    """`Deployment/web`: who owns the pod, at the top."""
    pod: str
    container: str
    via: str
    """`env MYSQL_DB_HOST` or `args`."""
    value: str
    host: str
    """As the container says it."""
    service: Key
    port: int
    """Of the Service; 0 when it has none that fits."""


_TOKEN = re.compile(
    r"(?<![\w.-])(?P<url>[a-z][a-z0-9+.-]*://(?:[^\s/@]*@)?)?(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)"
    r"(?::(?P<port>\d{1,5}))?(?![\w-])"
)
_ADDRESS_WORDS = re.compile(
    r"(^|_)(HOST|HOSTS|HOSTNAME|ADDR|ADDRS|ADDRESS|URL|URI|SERVER|SERVERS|SERVICE|ENDPOINT|ENDPOINTS|BROKER|BROKERS|DSN|"
    r"UPSTREAM|BACKEND)($|_)"
)
_SCHEME_PORTS = {"http": 80, "https": 443, "redis": 6379, "postgres": 5432, "postgresql": 5432, "mysql": 3306,
                 "amqp": 5672, "mongodb": 27017}  # fmt: skip


def edges(view: View) -> list[Edge]:
    """Return what environments and command lines of pods say about Services, once for each workload."""
    known = {meta.key(service): service for service in view.list("services")}
    found: dict[tuple[str, str, str, str, Key, int], Edge] = {}
    for pod in view.list("pods"):
        if not _mine(pod) or meta.terminating(pod):
            continue
        owner = _top_owner(view, pod)
        for container in meta.spec(pod).get("containers") or ():
            environment = _environment(view, pod, container)
            for via, value, addressed in _texts(container, environment):
                for host, port, service in _named(value, addressed, meta.namespace(pod), known):
                    port = port or _sibling_port(via, environment)
                    edge = Edge(
                        meta.namespace(pod), owner, meta.name(pod), container["name"], via, value, host,
                        meta.key(service), _service_port(service, port)
                    )  # fmt: skip
                    identity = (edge.namespace, owner, edge.container, via, edge.service, edge.port)
                    found.setdefault(identity, edge)
    return list(found.values())


def _top_owner(view: View, obj: Object) -> str:
    """Return `Deployment/web` for a pod of a ReplicaSet of it."""
    while owner := meta.controller_of(obj):
        group = owner["apiVersion"].partition("/")[0] if "/" in owner["apiVersion"] else ""
        plural = owner["kind"].lower() + "s"
        above = view.get(f"{plural}.{group}" if group else plural, owner["name"], meta.namespace(obj))
        if above is None:
            return f"{owner['kind']}/{owner['name']}"
        obj = above
    return f"{obj['kind']}/{meta.name(obj)}"


def _environment(view: View, pod: Object, container: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables whose values can be read: literal ones and those of ConfigMaps. Secrets stay secret."""
    namespace = meta.namespace(pod)

    def data(name: str) -> Mapping[str, str]:
        found = view.get("configmaps", name, namespace)
        return (found.get("data") or {}) if found else {}

    variables: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        if reference := source.get("configMapRef"):
            prefix = source.get("prefix") or ""
            variables |= {prefix + key: value for key, value in data(reference["name"]).items()}
    for entry in container.get("env") or ():
        reference = (entry.get("valueFrom") or {}).get("configMapKeyRef")
        value = data(reference["name"]).get(reference["key"]) if reference else entry.get("value")
        if value is not None:
            expanded = re.sub(r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", lambda m: variables.get(m[1], m[0]), str(value))
            variables[entry["name"]] = expanded
    return variables


def _texts(container: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[tuple[str, str, bool]]:
    """Yield (where it stands, the text, whether a bare word in it may be a host)."""
    for name, value in environment.items():
        yield f"env {name}", value, bool(_ADDRESS_WORDS.search(name.upper().replace("-", "_").replace(".", "_")))
    for place in ("command", "args"):
        for word in container.get(place) or ():
            yield place, str(word), False


def _named(
    text: str, addressed: bool, namespace: str, known: Mapping[Key, Object]
) -> Iterator[tuple[str, int, Object]]:
    """Yield (host, port or 0, Service) for what in `text` is the name of a Service.

    A bare word is one only where a host is expected: in a variable called so, before `:port`, or after `scheme://`.
    """
    for match in _TOKEN.finditer(text):
        host, port, scheme = match["host"], int(match["port"] or 0), (match["url"] or "").partition("://")[0]
        labels = host.split(".")
        service = known.get(Key(labels[1] if len(labels) > 1 else namespace, labels[0]))
        if service is None or (len(labels) > 2 and labels[2] != "svc"):
            continue
        whole = addressed and text.strip() in (host, f"{host}:{port}")
        if not (
            whole or scheme or port or len(labels) > 2 or (addressed and re.search(rf"[,;\s]{host}|{host}[,;]", text))
        ):
            continue
        yield host, port or _SCHEME_PORTS.get(scheme, 0), service


def _sibling_port(via: str, environment: Mapping[str, str]) -> int:
    """Return the value of DB_PORT for what DB_HOST says; 0 if there is none."""
    kind, _, name = via.partition(" ")
    if kind == "env":
        sibling = environment.get(_ADDRESS_WORDS.sub(r"\1PORT\3", name, count=1), "")
        if sibling.isdigit():
            return int(sibling)
    return 0


def _service_port(service: Object, port: int) -> int:
    """Return the Service's port that is meant: the one that was said, or the only (else the first) one."""
    ports = [int(p["port"]) for p in meta.spec(service).get("ports") or () if p.get("protocol", "TCP") == "TCP"]
    if port in ports:
        return port
    return ports[0] if ports and (not port or port in _SCHEME_PORTS.values()) else 0


# Ingress

GRPC_HEADERS = {"Content-Type": "application/grpc", "TE": "trailers", "Content-Length": "0"}
"""A call without a message: servers answer it with 200 and a grpc-status, a GET they break off."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path of an Ingress, and a request that it should catch."""

    ingress: Object
    host: str
    """As the rule says it; "" for every host."""
    path: str
    service: str
    port: str
    tls: bool
    headers: Mapping[str, str] = field(default_factory=dict)
    """What a request needs beside host and path: a canary's header or cookie."""
    share: str = ""
    """Where no request can be sent that surely arrives: what decides."""
    also: tuple[str, ...] = ()
    """Canaries of the same host and path: their Services may answer in its place."""

    @property
    def grpc(self) -> bool:
        return meta.annotations(self.ingress).get(f"{_NGINX}backend-protocol", "").upper() in ("GRPC", "GRPCS")

    @property
    def canary(self) -> bool:
        return meta.annotations(self.ingress).get(f"{_NGINX}canary") == "true"

    @property
    def called_host(self) -> str:
        return self.host.replace("*", "any", 1) or "anything.example"

    @property
    def called_path(self) -> str:
        return example_path(self.path)


def routes(view: View) -> Iterator[Route]:
    """Yield a route for each path of each Ingress, and for default backends."""
    plain = list(_routes(view))
    canaries: dict[tuple[str, str], list[str]] = {}
    for route in plain:
        if route.canary:
            canaries.setdefault((route.host, route.path), []).append(route.service)
    for route in plain:
        also = () if route.canary else tuple(canaries.get((route.host, route.path), ()))
        yield replace(route, also=also, **(_asked(route) if route.canary else {}))


def _routes(view: View) -> Iterator[Route]:
    for ingress in view.list("ingresses.networking.k8s.io"):
        spec = meta.spec(ingress)
        secure = {host for entry in spec.get("tls") or () for host in entry.get("hosts") or ()}
        for rule in spec.get("rules") or ():
            for path in (rule.get("http") or {}).get("paths") or ():
                host = rule.get("host") or ""
                service, port = _backend(path.get("backend"))
                yield Route(ingress, host, path.get("path") or "/", service, port, host in secure)
        if not spec.get("rules") and spec.get("defaultBackend"):
            service, port = _backend(spec["defaultBackend"])
            yield Route(ingress, "", "/", service, port, False)


_NGINX = "nginx.ingress.kubernetes.io/"


def _asked(route: Route) -> dict[str, Any]:
    """Return what a request to a canary needs, or that its weight decides (by header before cookie before weight)."""
    said = meta.annotations(route.ingress)
    header, cookie = said.get(f"{_NGINX}canary-by-header"), said.get(f"{_NGINX}canary-by-cookie")
    value, pattern = (said.get(f"{_NGINX}canary-by-header-{word}") for word in ("value", "pattern"))
    if header and (value or not pattern):
        return {"headers": {header: value or "always"}}
    if cookie:
        return {"headers": {"Cookie": f"{cookie}=always"}}
    if header:
        return {"share": f"requests whose {header} matches {pattern}"}
    return {"share": f"weight {said.get(f'{_NGINX}canary-weight', '0')}"}


def _backend(backend: Mapping[str, Any] | None) -> tuple[str, str]:
    service = (backend or {}).get("service") or {}
    port = service.get("port") or {}
    return service.get("name") or "", str(port.get("name") or port.get("number") or "")
