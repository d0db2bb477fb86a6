"""The Gateway API, compiled: one Gateway and its HTTPRoutes become routing tables and statuses. Pure.

    listener ─► hostname ─► path ─► method, headers, query ─► filters ─► weighted backends

Each listener port has a `GatewayTable`; backends, endpoints and proxying are those of Ingresses. Precedence is the
API's: exact path, regular expression, longest prefix; then method, number of headers, number of query parameters, the
older route. Left out: GRPCRoute, TLS and TCP routes, TLS passthrough, session persistence, timeouts.
Source: https://gateway-api.sigs.k8s.io/reference/spec/
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.backends import service_port
from minikube_py.ingress.compile import Problem, Rules, TLSHost
from minikube_py.ingress.gatewayfilters import read_filters
from minikube_py.ingress.options import Options
from minikube_py.ingress.router import (
    BackendKey,
    Canary,
    Location,
    Match,
    NoMatch,
    PathType,
    RoutingTable,
    Upstream,
    normalize_host,
    normalize_path,
)
from minikube_py.ingress.sources import GATEWAYS, GRANTS, NAMESPACES, ROUTES, SECRETS, SERVICES, Sources
from minikube_py.ingress.tls import pair_of

__all__ = ["Compiled", "GatewayTable", "compile_gateway"]

_Condition = tuple[str, bool, str, str]
"""(type, status, reason, message)"""
_DEFAULTS = Options(body_size=0)
_TYPES = {"Exact": PathType.EXACT, "PathPrefix": PathType.PREFIX, "RegularExpression": PathType.IMPLEMENTATION_SPECIFIC}


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One match of one rule of an HTTPRoute."""

    location: Location
    order: tuple[Any, ...]
    method: str = ""
    headers: tuple[tuple[str, str | re.Pattern[str]], ...] = ()
    query: tuple[tuple[str, str | re.Pattern[str]], ...] = ()

    def takes(self, path: str, method: str, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        location = self.location
        if location.pattern is not None:
            fits = location.pattern.fullmatch(path) is not None
        elif location.type is PathType.EXACT:
            fits = path == location.path
        else:
            prefix = location.path.rstrip("/")
            fits = path == prefix or path.startswith(prefix + "/")
        return fits and self.method in ("", method) and _all(self.headers, headers.get) and _all(self.query, query.get)


def _all(wanted: Iterable[tuple[str, str | re.Pattern[str]]], get: Callable[[str], str | None]) -> bool:
    for name, value in wanted:
        found = get(name)
        if found is None or (found != value if isinstance(value, str) else value.fullmatch(found) is None):
            return False
    return True


@dataclass(frozen=True, slots=True, eq=False)
class GatewayTable(RoutingTable):
    """The rules of one Gateway: (port, hostname) → rules in order of precedence. `port_table` is what a proxy takes."""

    rules: Mapping[tuple[int, str], tuple[Rule, ...]] = field(default_factory=dict)
    port: int = 0

    def port_table(self, port: int) -> "GatewayTable":
        return replace(self, port=port)

    def route(
        self,
        host: str,
        path: str,
        headers: Mapping[str, str] = {},  # read only
        chance: float = 0.999_999,
        *,
        method: str = "GET",
        query: str = "",
    ) -> Match | NoMatch:
        host = normalize_host(host)
        path = normalize_path(path)
        rules = self._rules_of(host)
        given = dict(reversed(parse_qsl(query, keep_blank_values=True))) if query else {}
        for rule in rules or ():
            if rule.takes(path, method, headers, given):
                return self._matched(rule.location, headers, chance)
        known = ", ".join(sorted({name or "*" for port, name in self.rules if port == self.port})) or "none"
        why = "no rule of its HTTPRoutes matches" if rules else f"no HTTPRoute has this host; known: {known}"
        return NoMatch(f"{method} {host or '(no host)'}{path}: {why}")

    def _rules_of(self, host: str) -> tuple[Rule, ...] | None:
        if (found := self.rules.get((self.port, host))) is not None:
            return found
        dot = host.find(".")
        while dot >= 0:  # a wildcard of the Gateway API stands for one label or more
            if (found := self.rules.get((self.port, "*" + host[dot:]))) is not None:
                return found
            dot = host.find(".", dot + 1)
        return self.rules.get((self.port, ""))

    def _matched(self, location: Location, headers: Mapping[str, str], chance: float) -> Match:
        for each in location.canaries:
            if each.takes(headers, chance):
                return Match(location, self.upstream(each.backend), each)
        if location.backend is None:
            return Match(location, Upstream(BackendKey("", "", ""), (), location.refused, 500))
        return Match(location, self.upstream(location.backend))


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a Gateway comes to."""

    rules: Rules
    ports: tuple[tuple[int, bool], ...] = ()
    """(port, HTTPS) of the listeners that work."""
    conditions: tuple[_Condition, ...] = ()
    listeners: tuple[Mapping[str, Any], ...] = ()
    """name, supportedKinds, attachedRoutes, conditions: as the status has them, conditions as tuples."""
    routes: Mapping[Key, tuple[tuple[Mapping[str, Any], tuple[_Condition, ...]], ...]] = field(default_factory=dict)
    """HTTPRoute → its parents of this Gateway: (parentRef, conditions)."""


def granted(sources: Sources, kind: str, namespace: str, to_kind: str, to: Key, group: str = "") -> bool:
    """Tell whether a ReferenceGrant in the target's namespace allows a reference across namespaces."""
    for grant in sources.all(GRANTS).values():
        spec = meta.spec(grant)
        if meta.namespace(grant) != to.namespace:
            continue
        if any(
            each.get("kind") == kind and each.get("namespace") == namespace for each in spec.get("from") or ()
        ) and any(
            each.get("kind") == to_kind
            and (each.get("group") or "") == group
            and (not each.get("name") or each["name"] == to.name)
            for each in spec.get("to") or ()
        ):
            return True
    return False


def intersect(listener: str, route: str) -> str | None:
    """Return the hostname that both allow, the more specific one; None if they have none in common ("" is any)."""
    if not listener or not route or listener == route:
        return listener or route
    if listener.startswith("*."):
        if route.endswith(listener[1:]):
            return route
        if route.startswith("*.") and listener.endswith(route[1:]):
            return listener
    elif route.startswith("*.") and listener.endswith(route[1:]):
        return listener
    return None


class _Compiler:
    def __init__(self, sources: Sources, key: Key) -> None:
        self.sources = sources
        self.key = key
        self.rules: dict[tuple[int, str], list[Rule]] = {}
        self.tls: dict[str, TLSHost] = {}
        self.used: dict[BackendKey, None] = {}
        self.invalid: dict[BackendKey, Upstream] = {}
        self.references: set[tuple[str, Key]] = set()
        self.problems: dict[Key, list[Problem]] = {}

    def run(self) -> Compiled:
        gateway = self.sources.get(GATEWAYS, self.key)
        if gateway is None:
            return Compiled(Rules(GatewayTable()))
        listeners = [self._listener(gateway, each) for each in meta.spec(gateway).get("listeners") or ()]
        self._conflicts(listeners)
        routes: dict[Key, tuple[tuple[Mapping[str, Any], tuple[_Condition, ...]], ...]] = {}
        for route in sorted(self.sources.all(ROUTES).values(), key=_age):
            if meta.terminating(route):
                continue
            parents = [
                (ref, self._guarded(route, ref, listeners))
                for ref in meta.spec(route).get("parentRefs") or ()
                if (ref.get("kind") or "Gateway") == "Gateway"
                and (ref.get("namespace") or meta.namespace(route), ref.get("name")) == tuple(self.key)
            ]
            if parents:
                routes[meta.key(route)] = tuple(parents)
        for found in self.rules.values():
            found.sort(key=lambda rule: rule.order)
        keys: dict[Key, list[BackendKey]] = {}
        for backend in self.used:
            keys.setdefault(Key(backend.namespace, backend.service), []).append(backend)
        table = GatewayTable(upstreams=self.invalid, rules={where: tuple(found) for where, found in self.rules.items()})
        good = [each for each in listeners if each["ok"]]
        accepted = (
            ("Accepted", True, "Accepted", "the Gateway is accepted")
            if good or not listeners
            else ("Accepted", False, "ListenersNotValid", "no listener is valid")
        )
        return Compiled(
            Rules(
                table,
                {service: tuple(each) for service, each in keys.items()},
                self.tls,
                {},
                frozenset({self.key, *routes}),
                frozenset(self.references),
                {self.key: tuple(self.used)},
            ),
            tuple(sorted({(each["port"], each["protocol"] == "HTTPS") for each in good})),
            (accepted,),
            tuple(listeners),
            routes,
        )

    # Listeners

    def _listener(self, gateway: Object, spec: Mapping[str, Any]) -> dict[str, Any]:
        protocol = str(spec.get("protocol") or "")
        accepted: _Condition = ("Accepted", True, "Accepted", "")
        resolved: _Condition = ("ResolvedRefs", True, "ResolvedRefs", "")
        if protocol not in ("HTTP", "HTTPS"):
            why = f"protocol {protocol} is not supported: HTTP and HTTPS are"
            accepted = ("Accepted", False, "UnsupportedProtocol", why)
        elif protocol == "HTTPS" and ((spec.get("tls") or {}).get("mode") or "Terminate") != "Terminate":
            accepted = ("Accepted", False, "UnsupportedValue", "TLS passthrough is not supported")
        kinds = (spec.get("allowedRoutes") or {}).get("kinds") or ()
        if kinds and any(each.get("kind") != "HTTPRoute" for each in kinds):
            resolved = ("ResolvedRefs", False, "InvalidRouteKinds", "only HTTPRoutes can be attached")
        supported = [] if kinds and not any(each.get("kind") == "HTTPRoute" for each in kinds) else ["HTTPRoute"]
        hostname = str(spec.get("hostname") or "").lower()
        if protocol == "HTTPS" and resolved[1]:
            resolved = self._certificate(spec, hostname)
        ok = accepted[1] and resolved[1]
        return {
            "name": spec.get("name", ""),
            "port": int(spec.get("port") or 0),
            "protocol": protocol,
            "hostname": hostname,
            "allowed": (spec.get("allowedRoutes") or {}).get("namespaces") or {},
            "kinds": supported,
            "attached": 0,
            "ok": ok,
            "conditions": [
                accepted,
                resolved,
                ("Programmed", ok, "Programmed" if ok else "Invalid", ""),
                ("Conflicted", False, "NoConflicts", ""),
            ],
        }

    def _certificate(self, spec: Mapping[str, Any], hostname: str) -> _Condition:
        refs = (spec.get("tls") or {}).get("certificateRefs") or ()
        if not refs:
            return ("ResolvedRefs", False, "InvalidCertificateRef", "tls.certificateRefs is empty")
        for ref in refs:
            key = Key(ref.get("namespace") or self.key.namespace, str(ref.get("name")))
            if (ref.get("kind") or "Secret") != "Secret" or ref.get("group"):
                return ("ResolvedRefs", False, "InvalidCertificateRef", f"{ref.get('kind')} is no Secret")
            self.references.add((SECRETS, key))
            crossing = key.namespace != self.key.namespace
            if crossing and not granted(self.sources, "Gateway", self.key.namespace, "Secret", key):
                return ("ResolvedRefs", False, "RefNotPermitted", f"no ReferenceGrant allows Secret {key}")
            pair = pair_of(self.sources.get(SECRETS, key))
            if isinstance(pair, str):
                return ("ResolvedRefs", False, "InvalidCertificateRef", f"Secret {key}: {pair}")
            self.tls.setdefault(hostname, TLSHost(self.key, hostname, key))
        return ("ResolvedRefs", True, "ResolvedRefs", "")

    def _conflicts(self, listeners: list[dict[str, Any]]) -> None:
        for index, each in enumerate(listeners):
            for other in listeners[:index]:
                if each["port"] != other["port"]:
                    continue
                reason = ""
                if each["protocol"] != other["protocol"]:
                    reason = "ProtocolConflict"
                elif each["hostname"] == other["hostname"]:
                    reason = "HostnameConflict"
                if reason:
                    for one in (each, other):
                        one["ok"] = False
                        why = f"listeners {other['name']} and {each['name']} share port {each['port']}"
                        one["conditions"][2:] = [
                            ("Programmed", False, "Invalid", why),
                            ("Conflicted", True, reason, why),
                        ]

    # Routes

    def _guarded(
        self, route: Object, ref: Mapping[str, Any], listeners: list[dict[str, Any]]
    ) -> tuple[_Condition, ...]:
        """Attach a route; one that is not as the API has it must not take the others down."""
        try:
            return self._attach(route, ref, listeners)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            why = f"the route is malformed: {type(error).__name__}: {error}"
            return (("Accepted", False, "UnsupportedValue", why), ("ResolvedRefs", True, "ResolvedRefs", ""))

    def _attach(self, route: Object, ref: Mapping[str, Any], listeners: list[dict[str, Any]]) -> tuple[_Condition, ...]:
        spec = meta.spec(route)
        resolved, locations = self._locations(route)
        named = [
            each
            for each in listeners
            if ref.get("sectionName") in (None, each["name"]) and ref.get("port") in (None, each["port"])
        ]
        if not named:
            return (("Accepted", False, "NoMatchingParent", "no listener has this sectionName or port"), resolved)
        allowed = [each for each in named if self._allows(each, route)]
        if not allowed:
            return (
                ("Accepted", False, "NotAllowedByListeners", "no listener allows routes of this namespace"),
                resolved,
            )
        hostnames = [str(each).lower() for each in spec.get("hostnames") or ("",)]
        found = False
        for listener in allowed:
            common = {host for each in hostnames if (host := intersect(listener["hostname"], each)) is not None}
            if not common:
                continue
            found = True
            listener["attached"] += 1
            if listener["ok"]:
                for host in common:
                    self.rules.setdefault((listener["port"], host), []).extend(locations)
        if not found:
            why = f"its hostnames ({', '.join(hostnames)}) match no listener's"
            return (("Accepted", False, "NoMatchingListenerHostname", why), resolved)
        return (("Accepted", True, "Accepted", ""), resolved)

    def _allows(self, listener: Mapping[str, Any], route: Object) -> bool:
        if not listener["kinds"]:
            return False
        match listener["allowed"].get("from") or "Same":
            case "All":
                return True
            case "Selector":
                namespace = self.sources.get(NAMESPACES, Key("", meta.namespace(route)))
                selector = Selector.from_object(listener["allowed"].get("selector") or {})
                return namespace is not None and selector.matches(meta.labels(namespace))
            case _:
                return meta.namespace(route) == self.key.namespace

    def _locations(self, route: Object) -> tuple[_Condition, list[Rule]]:
        resolved: _Condition = ("ResolvedRefs", True, "ResolvedRefs", "")
        made: list[Rule] = []
        key = meta.key(route)
        for number, rule in enumerate(meta.spec(route).get("rules") or ({},)):
            backends: list[tuple[BackendKey, int]] = []
            for ref in rule.get("backendRefs") or ():
                backend, wrong = self._backend(route, ref)
                if wrong is not None:
                    resolved = wrong
                backends.append((backend, int(1 if ref.get("weight") is None else ref["weight"])))
            total = sum(weight for _, weight in backends)
            chosen = [each for each in backends if each[1]]
            canaries: list[Canary] = []
            so_far = 0
            for backend, weight in chosen[:-1]:
                so_far += weight
                canaries.append(Canary(key, backend, weight=so_far, weight_total=total))
            main = chosen[-1][0] if chosen else None
            matches: Iterable[Mapping[str, Any]] = rule.get("matches") or ({},)
            for match in matches:
                path = match.get("path") or {}
                text = str(path.get("value") or "/")
                type_ = _TYPES.get(str(path.get("type") or "PathPrefix"), PathType.PREFIX)
                options = read_filters(rule.get("filters") or (), _DEFAULTS, self._address(route))
                location = Location(
                    key, "", text, type_, main, "the rule has no backend", options, canaries=tuple(canaries)
                )
                try:
                    if type_ is PathType.IMPLEMENTATION_SPECIFIC:
                        location = replace(location, pattern=re.compile(text))
                    headers = _pairs(match.get("headers") or ())
                    query = _pairs(match.get("queryParams") or ())
                except re.error as error:
                    resolved = ("ResolvedRefs", False, "UnsupportedValue", f"no regular expression: {error}")
                    continue
                order = (
                    (PathType.EXACT, PathType.IMPLEMENTATION_SPECIFIC, PathType.PREFIX).index(type_),
                    -len(text.rstrip("/") if type_ is PathType.PREFIX else text),
                    not match.get("method"),
                    -len(headers),
                    -len(query),
                    *_age(route),
                    number,
                )
                made.append(Rule(location, order, match.get("method") or "", headers, query))
        return resolved, made

    def _backend(self, route: Object, ref: Mapping[str, Any]) -> tuple[BackendKey, _Condition | None]:
        target = Key(ref.get("namespace") or meta.namespace(route), str(ref.get("name")))
        port = str(ref.get("port") or "")
        reason = why = ""
        service = self.sources.get(SERVICES, target)
        if ref.get("group") or (ref.get("kind") or "Service") != "Service":
            reason, why = "InvalidKind", f"{ref.get('kind')} is no Service"
        elif target.namespace != meta.namespace(route) and not granted(
            self.sources, "HTTPRoute", meta.namespace(route), "Service", target
        ):
            reason, why = "RefNotPermitted", f"no ReferenceGrant in {target.namespace} allows Service {target}"
        elif service is None:
            reason, why = "BackendNotFound", f"Service {target} does not exist"
        elif service_port(service, port) is None:
            reason, why = "BackendNotFound", f"Service {target} has no port {port}"
        if reason:
            backend = BackendKey(target.namespace, target.name, f"{port} of {meta.key(route)}")
            self.invalid[backend] = Upstream(backend, (), why, 500)
            return backend, ("ResolvedRefs", False, reason, why)
        backend = BackendKey(target.namespace, target.name, port)
        self.used[backend] = None
        return backend, None

    def _address(self, route: Object) -> Callable[[Mapping[str, Any]], str]:
        """Return what finds a mirror's address."""

        def find(ref: Mapping[str, Any]) -> str:
            backend, wrong = self._backend(route, ref)
            if wrong is not None:
                return ""
            service = self.sources.get(SERVICES, Key(backend.namespace, backend.service)) or {}
            ip = meta.spec(service).get("clusterIP") or "None"  # the ClusterIP: endpoints change more often than rules
            return "" if ip == "None" else f"{ip}:{(service_port(service, backend.port) or {}).get('port', 80)}"

        return find


def _pairs(specs: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str | re.Pattern[str]], ...]:
    return tuple(
        (
            str(each["name"]),
            re.compile(each["value"]) if each.get("type") == "RegularExpression" else str(each["value"]),
        )
        for each in specs
    )


def _age(obj: Object) -> tuple[str, str, str]:
    return obj["metadata"].get("creationTimestamp") or "", meta.namespace(obj), meta.name(obj)


def compile_gateway(sources: Sources, key: Key) -> Compiled:
    """Compile one Gateway; a missing one has no rules."""
    return _Compiler(sources, key).run()
