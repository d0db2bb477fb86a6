"""Which HTTPRoute of a Gateway answers a URL, by which backend and pod, or why none: the walk of a GET. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import SplitResult

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.explain import Step, Walk, answered_here, nearest_hosts, to_the_pods
from minikube_py.ingress.gateway import provision
from minikube_py.ingress.gateway.compile import Compiled, RouteKey, compile_gateway
from minikube_py.ingress.gateway.table import TYPES, GatewayTable, Rule
from minikube_py.ingress.router import NoMatch, Upstream, normalize_host, normalize_path
from minikube_py.ingress.rules.backends import compile_table
from minikube_py.ingress.rules.sources import Sources
from minikube_py.ingress.tls.sni import by_host

__all__ = ["explain"]


def explain(sources: Sources, gateway: Object, url: SplitResult, port: int, *, https_port: int = 443) -> Walk:
    """Walk through one Gateway; `port` is its listener's."""
    compiled = compile_gateway(sources, meta.key(gateway))
    table = compile_table(compiled.rules, sources)
    assert isinstance(table, GatewayTable)
    table = table.port_table(port)
    host = normalize_host(url.netloc.rpartition("@")[2])
    steps = [_listener(gateway, compiled, table, host)]
    name = f"Gateway {meta.key(gateway)}"

    def ended(status: int | None, *more: Step, fix: tuple[str, ...] = ()) -> Walk:
        service = Key(meta.namespace(gateway), provision.name_of(gateway))
        return Walk(name, (*steps, *more), (), status, fix, service, tuple(provision.selector(gateway).items()))

    if not steps[0].ok:
        return ended(None)
    if url.scheme == "https" and compiled.ports[port] != "TLS":
        return ended(None, Step("tls", f"port {port} has no TLS: use http://", False))
    if url.scheme == "https" and (shares := by_host(table.streams.get(port, {}), host)) is not None:
        steps.append(Step("tls", "passed through, by the server name: the certificate is the pod's own", True))
        return _to_backends(ended, [(end, table.upstream(key)) for end, key in shares], None)
    if url.scheme == "https":
        steps.append(_certificate(table, host))
    found = table.find(host, normalize_path(url.path or "/"), {}, "GET", url.query)
    if isinstance(found, NoMatch):
        known = {each for hosts in (table.listeners.get(port) or {}).values() for each in hosts if each}
        routes = by_host(table.listeners.get(port) or {}, host)
        fix = () if routes and by_host(routes, host) else nearest_hosts(host, known)
        return ended(404, Step("rule", f"404: {found.reason}", False, _left(compiled)), fix=fix)
    steps.append(Step("rule", _rule(found), True, _wrong(compiled, (found.location.kind, found.location.ingress))))
    location = found.backend(0.0)
    answer = answered_here(location, url, https_port=https_port, port=port)
    if answer is not None:
        return ended(int(answer.text[:3]), answer)
    if location.backend is None:
        return ended(500, Step("backend", f"500: {location.refused}", False))
    upstreams = [(end, table.upstream(each.backend)) for end, each in found.choices if each.backend is not None]
    return _to_backends(ended, upstreams, 0)


def _to_backends(ended: Callable[..., Walk], upstreams: Sequence[tuple[float, Upstream]], status: int | None) -> Walk:
    """End with the backends by their shares; `status` is foretold if one of them has an endpoint."""
    if not upstreams:
        return ended(None, Step("backend", "the route has no backend", False))
    starts = (0.0, *(end for end, _ in upstreams))
    shares = [
        (f"{end - start:.0%} of the requests", each) for start, (end, each) in zip(starts, upstreams, strict=False)
    ]
    more, endpoints = to_the_pods(shares[0][1], shares[1:], shares[0][0] if shares[1:] else "")
    return replace(ended(status if endpoints else shares[0][1].status, *more), endpoints=endpoints)


def _certificate(table: GatewayTable, host: str) -> Step:
    found = by_host(table.tls.get(table.port, {}), host)
    if found is None:
        return Step("tls", "no listener has a certificate for this name: one made by the cluster's CA (mkpy ca)", True)
    return Step("tls", f"certificate of Secret {found.secret}", True)


def _listener(gateway: Object, compiled: Compiled, table: GatewayTable, host: str) -> Step:
    addresses = ", ".join(each.get("value", "") for each in meta.status(gateway).get("addresses") or ())
    at = f"Gateway {meta.key(gateway)}" + (f" at {addresses}" if addresses else "")
    wrong = tuple(
        f"listener {each.name}: {condition.reason}: {condition.message}"
        for each in compiled.listeners
        for condition in each.conditions[:2]
        if not condition.true
    )
    mine = {each.hostname: each for each in compiled.listeners if each.serves and each.port == table.port}
    if not mine:
        ports = ", ".join(map(str, compiled.ports)) or "none"
        return Step("gateway", f"{at} has no listener on port {table.port} (its ports: {ports})", False, wrong)
    if (listener := by_host(mine, host)) is None:
        return Step("gateway", f"{at}: {len(mine)} listeners on port {table.port}", True, wrong)
    what = f"listener {listener.name} ({listener.protocol} {listener.port}, host {listener.hostname or '*'})"
    return Step("gateway", f"{at}: {what}", True, wrong)


def _rule(rule: Rule) -> str:
    location = rule.location
    more = f" method {rule.method}" if rule.method else ""
    more += "".join(
        f" {kind} {name}" for kind, each in (("header", rule.headers), ("query", rule.query)) for name, _ in each
    )
    return f"{location.kind} {location.ingress}: path {location.path} ({TYPES[location.type]}){more}"


def _wrong(compiled: Compiled, route: RouteKey) -> tuple[str, ...]:
    return tuple(
        f"{each.reason}: {each.message}"
        for _, conditions in compiled.routes.get(route, ())
        for each in conditions
        if each.true is (each.type == "PartiallyInvalid")
    )


def _left(compiled: Compiled) -> tuple[str, ...]:
    return tuple(
        f"not attached: {kind} {route}: {conditions[0].reason}: {conditions[0].message}"
        for (kind, route), parents in compiled.routes.items()
        for _, conditions in parents
        if not conditions[0].true
    )[:5]
