"""Gateways, routes and grants for the tests of this folder, and what a compiled Gateway makes of a request."""

from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.gateway.compile import Compiled, compile_gateway
from minikube_py.ingress.gateway.references import Condition
from minikube_py.ingress.gateway.table import GatewayTable
from minikube_py.ingress.router import Match, NoMatch
from minikube_py.ingress.rules.sources import (
    GATEWAYS,
    GRANTS,
    GRPC_ROUTES,
    NAMESPACES,
    ROUTES,
    SECRETS,
    SERVICES,
    SLICES,
    TCP_ROUTES,
    TLS_ROUTES,
    UDP_ROUTES,
    Sources,
)
from minikube_py.kinds.registry import Registry

from ..support import service

GROUP = "gateway.networking.k8s.io"
HTTP: Object = {"name": "http", "port": 80, "protocol": "HTTP"}
DOOR = Key("default", "door")
_KINDS = Registry()
_RESOURCE = {
    "Gateway": GATEWAYS,
    "HTTPRoute": ROUTES,
    "GRPCRoute": GRPC_ROUTES,
    "TLSRoute": TLS_ROUTES,
    "TCPRoute": TCP_ROUTES,
    "UDPRoute": UDP_ROUTES,
    "ReferenceGrant": GRANTS,
    "Service": SERVICES,
    "EndpointSlice": SLICES,
    "Secret": SECRETS,
    "Namespace": NAMESPACES,
}


def made(kind: str, name: str, spec: Object, *, namespace: str = "default", age: int = 0) -> Object:
    """An object of the Gateway API as the API server stores it: defaults filled in, the schema and rules hold."""
    version = {"ReferenceGrant": "v1beta1", "TCPRoute": "v1alpha2", "UDPRoute": "v1alpha2"}.get(kind, "v1")
    obj: Object = {
        "apiVersion": f"{GROUP}/{version}",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": f"2024-01-01T00:00:{age:02d}Z"},
        "spec": meta.copy(spec),
    }
    found = _KINDS.by_gvk(obj["apiVersion"], kind)
    found.prepare(obj, None)
    found.default(obj)
    assert not (errors := found.validate(obj, None)), list(map(str, errors))
    return obj


def gateway(*listeners: Object, **spec: Any) -> Object:
    return made("Gateway", "door", {"gatewayClassName": "minikube-py", "listeners": list(listeners or (HTTP,)), **spec})


def route(*rules: Object, name: str = "r", namespace: str = "default", age: int = 0, **spec: Any) -> Object:
    parent = {"name": "door", "namespace": "default"}
    body = {"parentRefs": [parent], "rules": list(rules), **spec}
    return made("HTTPRoute", name, body, namespace=namespace, age=age)


def rule(backend: str, *matches: Object, **more: Any) -> Object:
    return {"backendRefs": [{"name": backend, "port": 80}], "matches": list(matches or ({},)), **more}


def prefix(value: str, **more: Any) -> Object:
    return {"path": {"type": "PathPrefix", "value": value}, **more}


def grant(namespace: str, *to: Object, group: str = GROUP, kind: str = "HTTPRoute", of: str = "default") -> Object:
    spec = {"from": [{"group": group, "kind": kind, "namespace": of}], "to": list(to)}
    return made("ReferenceGrant", "g", spec, namespace=namespace)


def sources(*objects: Object, services: tuple[str, ...] = ("a", "b", "c", "d")) -> Sources:
    return Sources((_RESOURCE[each["kind"]], each) for each in (*objects, *map(service, services)))


def compiled(*objects: Object) -> Compiled:
    return compile_gateway(sources(*objects), DOOR)


def routed(found: Compiled, host: str, path: str, port: int = 80, **how: Any) -> Match | NoMatch:
    table = found.rules.table
    assert isinstance(table, GatewayTable)
    return table.port_table(port).route(host, path, **how)


def backend(found: Compiled, host: str, path: str, port: int = 80, **how: Any) -> str | None:
    """The Service that answers; None for no rule."""
    match = routed(found, host, path, port, **how)
    return match.upstream.key.service if isinstance(match, Match) else None


def condition(conditions: tuple[Condition, ...], type_: str) -> tuple[bool, str]:
    return next((each.true, each.reason) for each in conditions if each.type == type_)


def parent_of(found: Compiled, namespace: str = "default", name: str = "r") -> tuple[Condition, ...]:
    ((_, conditions),) = found.routes["HTTPRoute", Key(namespace, name)]
    return conditions
