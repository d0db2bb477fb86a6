"""One Gateway and the routes that attach to it become a routing table and what their statuses say. Pure.

    listeners ─► routes that each lets in ─► rules by port, listener and hostname ─► GatewayTable

Left out: UDPRoute (its protocol is refused: UnsupportedProtocol), TLSRoute on a listener that ends TLS.
Source: https://gateway-api.sigs.k8s.io/reference/spec/
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.gateway.listeners import Listener, intersect, read_listeners
from minikube_py.ingress.gateway.references import ACCEPTED, GROUP, Condition
from minikube_py.ingress.gateway.routes import RouteRules, age, read_route
from minikube_py.ingress.gateway.table import GatewayTable, HostRules, Rule, Shares
from minikube_py.ingress.router import BackendKey, Upstream
from minikube_py.ingress.rules.rules import Rules, TLSHost
from minikube_py.ingress.rules.sources import GATEWAY_ROUTES, GATEWAYS, SECRETS, Sources
from minikube_py.ingress.tls.certificates import pair_of

__all__ = ["Compiled", "Parent", "RouteKey", "compile_gateway", "parent_of", "route_key"]

Parent = tuple[Mapping[str, Any], tuple[Condition, ...]]
"""A parentRef and what became of it."""
RouteKey = tuple[str, Key]
"""Kind and name of a route."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a Gateway comes to."""

    rules: Rules
    accepted: Condition = ACCEPTED
    listeners: tuple[Listener, ...] = ()
    attached: Mapping[str, int] = field(default_factory=dict)
    """Listener → how many routes it has."""
    routes: Mapping[RouteKey, tuple[Parent, ...]] = field(default_factory=dict)
    """Route → its parents of this Gateway."""

    @property
    def ports(self) -> Mapping[int, str]:
        """Port → how it is served: HTTP, TLS or TCP; only where a listener serves."""
        return _ports(self.listeners)


def _ports(listeners: Iterable[Listener]) -> dict[int, str]:
    how = {"HTTPS": "TLS"}
    return dict(sorted((each.port, how.get(each.protocol, each.protocol)) for each in listeners if each.serves))


def parent_of(route: Object, ref: Mapping[str, Any]) -> Key | None:
    """Return the Gateway that a parentRef means; None if it means something else (a Service: GAMMA)."""
    if (ref.get("group") or GROUP, ref.get("kind") or "Gateway") != (GROUP, "Gateway"):
        return None
    return Key(ref.get("namespace") or meta.namespace(route), str(ref.get("name")))


def route_key(route: Object) -> RouteKey:
    return str(route.get("kind")), meta.key(route)


def compile_gateway(sources: Sources, key: Key) -> Compiled:
    """Compile one Gateway; a missing one has no rules."""
    gateway = sources.get(GATEWAYS, key)
    return Compiled(Rules(GatewayTable())) if gateway is None else _Compiler(sources, gateway).run()


class _Compiler:
    def __init__(self, sources: Sources, gateway: Object) -> None:
        self._sources = sources
        self._gateway = gateway
        self._key = meta.key(gateway)
        self._listeners = read_listeners(sources, gateway)
        self._rules: dict[int, dict[str, dict[str, list[Rule]]]] = {}
        self._streams: dict[int, dict[str, Shares]] = {}
        self._attached: dict[str, set[RouteKey]] = {each.name: set() for each in self._listeners}
        for each in self._listeners:
            if each.serves and each.protocol in ("HTTP", "HTTPS"):
                self._rules.setdefault(each.port, {}).setdefault(each.hostname, {})

    def run(self) -> Compiled:
        routes: dict[RouteKey, tuple[Parent, ...]] = {}
        used: dict[BackendKey, None] = {}
        invalid: dict[BackendKey, Upstream] = {}
        every = (route for resource in GATEWAY_ROUTES for route in self._sources.all(resource).values())
        for route in sorted(every, key=age):
            refs = [each for each in meta.spec(route).get("parentRefs") or () if parent_of(route, each) == self._key]
            if not refs or meta.terminating(route):
                continue
            found = read_route(self._sources, route)
            used |= dict.fromkeys(found.used)
            invalid |= {each.key: each for each in found.invalid}
            routes[route_key(route)] = tuple((ref, (self._attach(route, ref, found), *found.others)) for ref in refs)
        keys: dict[Key, list[BackendKey]] = {}
        for backend in used:
            keys.setdefault(Key(backend.namespace, backend.service), []).append(backend)
        table = GatewayTable(
            upstreams=invalid,
            listeners={
                port: {
                    listener: {host: HostRules(rules) for host, rules in hosts.items()}
                    for listener, hosts in listeners.items()
                }
                for port, listeners in self._rules.items()
            },
            tls=self._tls(),
            streams=self._streams,
            ports=_ports(self._listeners),
        )
        secrets = {(SECRETS, key) for each in self._listeners for key in (*each.secrets, *each.unresolved)}
        rules = Rules(
            table,
            {service: tuple(each) for service, each in keys.items()},
            served=frozenset({self._key, *(key for _, key in routes)}),
            references=dict.fromkeys(secrets, frozenset((self._key,))),
            uses={self._key: tuple(used)},
        )
        attached = {name: len(found) for name, found in self._attached.items()}
        return Compiled(rules, self._accepted(), self._listeners, attached, routes)

    def _accepted(self) -> Condition:
        for each in meta.spec(self._gateway).get("addresses") or ():
            if (type_ := each.get("type") or "IPAddress") != "IPAddress":
                return Condition(
                    "Accepted", False, "UnsupportedAddress", f"addresses of type {type_} are not supported"
                )
        wrong = [f"{each.name} ({_why(each)})" for each in self._listeners if not each.serves]
        if not wrong:
            return Condition("Accepted", True, "Accepted", "the Gateway is accepted")
        valid = len(wrong) < len(self._listeners)
        return Condition("Accepted", valid, "ListenersNotValid", f"not valid: {', '.join(wrong)}")

    def _attach(self, route: Object, ref: Mapping[str, Any], found: RouteRules) -> Condition:
        """Attach a route by one parentRef; return its Accepted condition."""
        if not found.accepted.true:
            return found.accepted
        named = [
            each
            for each in self._listeners
            if ref.get("sectionName") in (None, each.name) and ref.get("port") in (None, each.port)
        ]
        if not named:
            names = ", ".join(f"{each.name} ({each.port})" for each in self._listeners)
            return Condition("Accepted", False, "NoMatchingParent", f"no such listener; there are {names}")
        allowed = [each for each in named if each.accepted.true and each.allows(self._sources, self._key, route)]
        if not allowed:
            what = f"{route.get('kind')}s of namespace {meta.namespace(route)}"
            why = f"no listener allows {what}: {', '.join(each.name for each in named)}"
            return Condition("Accepted", False, "NotAllowedByListeners", why)
        hostnames = [str(each).lower() for each in meta.spec(route).get("hostnames") or ("",)]
        taken = False
        for listener in allowed:
            common = {host for each in hostnames if (host := intersect(listener.hostname, each)) is not None}
            if common:
                taken = True
                self._take(route_key(route), listener, common, found)
        if taken:
            return found.accepted
        theirs = ", ".join(each.hostname or "*" for each in allowed)
        why = f"its hostnames ({', '.join(hostnames)}) match no listener's ({theirs})"
        return Condition("Accepted", False, "NoMatchingListenerHostname", why)

    def _take(self, route: RouteKey, listener: Listener, hosts: Iterable[str], found: RouteRules) -> None:
        attached = self._attached[listener.name]
        if route in attached:
            return  # by another parentRef
        attached.add(route)
        if not listener.serves:
            return
        for host in hosts:
            if listener.protocol in ("TLS", "TCP"):
                self._streams.setdefault(listener.port, {}).setdefault(host, found.shares)  # the oldest has it
            else:
                self._rules[listener.port][listener.hostname].setdefault(host, []).extend(found.rules)

    def _tls(self) -> dict[int, dict[str, TLSHost]]:
        found: dict[int, dict[str, TLSHost]] = {}
        for each in self._listeners:
            if each.serves and each.secrets:
                hosts = found.setdefault(each.port, {})
                hosts.setdefault(each.hostname, TLSHost(self._key, each.hostname, each.secrets[0]))
                if len(each.secrets) > 1:  # the caller's server name chooses among them
                    for secret in each.secrets:
                        for name in _names(self._sources, secret):
                            if intersect(each.hostname, name) is not None:
                                hosts.setdefault(name, TLSHost(self._key, name, secret))
        return found


def _why(listener: Listener) -> str:
    return next(each.reason for each in (listener.conflicted, listener.accepted, listener.resolved)
                if each.true is (each.type == "Conflicted"))  # fmt: skip


def _names(sources: Sources, secret: Key) -> list[str]:
    """Return the DNS names of a certificate."""
    from cryptography import x509  # 30 ms that only a listener with several certificates pays

    pair = pair_of(sources.get(SECRETS, secret))
    try:
        certificate = x509.load_pem_x509_certificate(pair[0] if isinstance(pair, tuple) else b"")
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound):
        return []
    return [name.lower() for name in names.value.get_values_for_type(x509.DNSName)]
