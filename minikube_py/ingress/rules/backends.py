"""What a backend means now: Service and port → ready endpoints, straight from the EndpointSlices.

Pure. As ingress-nginx does, requests go to the endpoints, not to the ClusterIP, unless `service-upstream` asks for it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.router import BackendKey, Endpoint, RoutingTable, Upstream
from minikube_py.ingress.rules.rules import Rules
from minikube_py.ingress.rules.sources import SERVICES, Sources

__all__ = ["compile_backends", "compile_table", "resolve", "service_port"]


def service_port(service: Object, port: str) -> Mapping[str, Any] | None:
    """Return the entry of `spec.ports` that an Ingress means by a name or number."""
    ports: Sequence[Mapping[str, Any]] = meta.spec(service).get("ports") or ()
    if not port:
        return ports[0] if len(ports) == 1 else None
    for each in ports:
        if each.get("name") == port or str(each.get("port")) == port:
            return each
    return None


def _ports_of(service: Object) -> str:
    ports = meta.spec(service).get("ports") or ()
    return (
        ", ".join(f"{p.get('name')}={p.get('port')}" if p.get("name") else str(p.get("port")) for p in ports) or "none"
    )


def resolve(key: BackendKey, service: Object | None, slices: Iterable[Object]) -> Upstream:
    """Return the ready endpoints of a Service's port, or why there are none."""
    where = f"{key.namespace}/{key.service}"
    if service is None:
        return Upstream(key, (), f'Service "{where}" does not exist')
    spec = meta.spec(service)
    port = service_port(service, key.port)
    if spec.get("type") == "ExternalName":
        number = port.get("port") if port else (int(key.port) if key.port.isdigit() else None)
        if number is None:
            return Upstream(key, (), f'Service "{where}" (ExternalName) has no port "{key.port}"')
        return Upstream(key, (Endpoint(str(spec.get("externalName", "")), int(number)),))
    if port is None:
        return Upstream(key, (), f'Service "{where}" has no port "{key.port}" (its ports: {_ports_of(service)})')
    if (port.get("protocol") or "TCP") != "TCP":
        return Upstream(key, (), f'port "{key.port}" of Service "{where}" is {port["protocol"]}, HTTP needs TCP')
    if key.by_service:
        address = spec.get("clusterIP")
        if not address or address == "None":
            return Upstream(key, (), f'service-upstream: Service "{where}" has no ClusterIP')
        return Upstream(key, (Endpoint(address, int(port["port"])),))
    name = port.get("name") or ""
    found: dict[Endpoint, None] = {}
    known = 0
    for each in slices:
        if each.get("addressType", "IPv4") == "IPv6":
            continue
        for number in (p.get("port") for p in each.get("ports") or () if (p.get("name") or "") == name):
            for endpoint in each.get("endpoints") or ():
                known += 1
                if (endpoint.get("conditions") or {}).get("ready") is not False and number:
                    for address in endpoint.get("addresses") or ():
                        found[Endpoint(address, int(number))] = None
    if found:
        return Upstream(key, tuple(found))
    if known:
        return Upstream(key, (), f'Service "{where}" has no ready endpoint ({known} not ready)')
    if spec.get("selector"):
        wanted = ",".join(f"{k}={v}" for k, v in spec["selector"].items())
        return Upstream(key, (), f'Service "{where}" has no endpoints: no pod matches its selector {wanted}')
    return Upstream(key, (), f'Service "{where}" has no endpoints and no selector')


def _resolve(sources: Sources, service: Key, key: BackendKey) -> Upstream:
    return resolve(key, sources.get(SERVICES, service), sources.slices(service))


def compile_table(
    rules: Rules,
    sources: Sources,
    known: Mapping[BackendKey, Upstream] = {},  # read only
    changed: Collection[Key] = (),
) -> RoutingTable:
    """Return the table with all its backends; of the `known` ones only those of `changed` Services are looked up."""
    upstreams = dict(rules.table.upstreams)
    for service, keys in rules.keys.items():
        for key in keys:
            found = known.get(key) if service not in changed else None
            upstreams[key] = found or _resolve(sources, service, key)
    return replace(rules.table, upstreams=upstreams)


def compile_backends(rules: Rules, sources: Sources, changed: Iterable[Key], before: RoutingTable) -> RoutingTable:
    """Return the table `before`, with the backends of the `changed` Services looked up anew."""
    upstreams = dict(before.upstreams)
    for service in changed:
        for key in rules.keys.get(service, ()):
            upstreams[key] = _resolve(sources, service, key)
    return replace(before, upstreams=upstreams)
