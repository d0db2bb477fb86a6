"""One route as rules of the routing table, and what is wrong with its references. Pure.

An HTTPRoute and a GRPCRoute become rules (a call is a POST to `/service/method`), a TLSRoute and a TCPRoute shares of
the backends of their only rule.

What the API asks for on a broken rule: a backend that can't be used answers its share of requests with 500, a rule
that can't be read is dropped and told (PartiallyInvalid), and the others are served.
Source: https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.gateway.filters import read_filters
from minikube_py.ingress.gateway.references import ACCEPTED, RESOLVED, Backend, Condition, backend_of
from minikube_py.ingress.gateway.table import TYPES, Rule, Shares, Wanted
from minikube_py.ingress.options import Options
from minikube_py.ingress.router import BackendKey, Location, PathType, Upstream
from minikube_py.ingress.rules.sources import Sources
from minikube_py.kinds.gateway.httproute import seconds

__all__ = ["RouteRules", "age", "read_route"]

_DEFAULTS = Options(body_size=0, next_upstream=frozenset({"error"}))
_FOREVER = 86_400.0
"""Seconds; what `0s` (no timeout) comes to, and one attempt where only the whole is limited."""
_TYPES = {name: type_ for type_, name in TYPES.items()}
_ORDER = tuple(TYPES)
_PROTOCOLS = {
    "HTTPRoute": {"https": "HTTPS", "kubernetes.io/wss": "HTTPS", "kubernetes.io/h2c": "GRPC"},
    "GRPCRoute": {"": "GRPC", "https": "GRPCS"},
}
"""Kind of route → appProtocol → how the gateway speaks to the pods ("" for any other)."""
_SERVICE = 1 << 11
"""More than a method's length: a longer service goes before a longer method."""


@dataclass(frozen=True, slots=True)
class RouteRules:
    """What a route comes to, whatever it is attached to."""

    rules: tuple[Rule, ...] = ()
    accepted: Condition = ACCEPTED
    """False if no rule of it can be served."""
    others: tuple[Condition, ...] = (RESOLVED,)
    """ResolvedRefs, and PartiallyInvalid where rules were dropped."""
    used: tuple[BackendKey, ...] = ()
    invalid: tuple[Upstream, ...] = ()
    shares: Shares = ()
    """Of the connections, for routes that know no requests."""


def age(obj: Object) -> tuple[str, str, str]:
    """Return what orders objects: the oldest first, then by namespace and name."""
    return obj["metadata"].get("creationTimestamp") or "", meta.namespace(obj), meta.name(obj)


def read_route(sources: Sources, route: Object) -> RouteRules:
    """Compile the rules of one route."""
    return _Reader(sources, route).read()


class _Dropped(Exception):
    """A rule that can't be served; the others can."""


class _Reader:
    def __init__(self, sources: Sources, route: Object) -> None:
        self._sources = sources
        self._route = route
        self._kind = str(route.get("kind"))
        self._wrong: Condition | None = None
        self._used: dict[BackendKey, None] = {}
        self._invalid: dict[BackendKey, Upstream] = {}

    def read(self) -> RouteRules:
        made: list[Rule] = []
        shares: Shares = ()
        dropped: list[str] = []
        specs: Sequence[Mapping[str, Any]] = meta.spec(self._route).get("rules") or ({},)
        for number, spec in enumerate(specs):
            try:
                if self._kind in _PROTOCOLS:
                    made += self._rules(number, spec)
                elif not shares:  # the API leaves open what further rules of connections mean
                    shares = tuple(
                        (end, key) for end, key, _ in self._backends(spec.get("backendRefs") or (), _DEFAULTS)
                    )
            except _Dropped as reason:
                dropped.append(f"rule {number}: {reason}")
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                # stored before the schema was known, or under a definition without one
                dropped.append(f"rule {number} is malformed: {type(error).__name__}: {error}")
        resolved = self._wrong or RESOLVED
        found = RouteRules(tuple(made), others=(resolved,), used=tuple(self._used),
                           invalid=tuple(self._invalid.values()), shares=shares)  # fmt: skip
        if dropped:
            why = f"Dropped Rule(s): {'; '.join(dropped)}"
            if len(dropped) == len(specs):
                return replace(found, accepted=Condition("Accepted", False, "UnsupportedValue", why))
            return replace(found, others=(resolved, Condition("PartiallyInvalid", True, "UnsupportedValue", why)))
        return found

    def _rules(self, number: int, spec: Mapping[str, Any]) -> Iterable[Rule]:
        key = meta.key(self._route)
        defaults = _timed(_DEFAULTS, spec.get("timeouts") or {})
        options = read_filters(spec.get("filters") or (), defaults, self._mirror)
        self._extensions(spec)
        backends = self._backends(spec.get("backendRefs") or (), options)
        refused = "all backendRefs of the rule have weight 0" if spec.get("backendRefs") else "the rule has no backend"
        for place, match in enumerate(spec.get("matches") or ({},)):
            type_, text, length = self._path(match)
            headers, query = _wanted(match.get("headers") or ()), _wanted(match.get("queryParams") or ())
            pattern = _pattern(text) if type_ is PathType.IMPLEMENTATION_SPECIFIC else None
            location = Location(key, "", text, type_, None, refused, options, pattern, kind=self._kind)
            method = str(match.get("method") or "") if self._kind == "HTTPRoute" else ""
            order = (
                _ORDER.index(type_), -length, not method, -len(headers), -len(query), *age(self._route), number, place
            )  # fmt: skip
            choices = tuple(
                (end, replace(location, backend=backend, refused="", options=each)) for end, backend, each in backends
            )
            yield Rule(location, order, choices, method, headers, query)

    def _path(self, match: Mapping[str, Any]) -> tuple[PathType, str, int]:
        """Return how the path is compared, with what, and what counts as its length."""
        if self._kind == "GRPCRoute":
            return _call(match.get("method") or {})
        path = match.get("path") or {}
        text = str(path.get("value") or "/")
        type_ = _TYPES.get(str(path.get("type") or "PathPrefix"), PathType.PREFIX)
        return type_, text, len(text.rstrip("/") if type_ is PathType.PREFIX else text)

    def _backends(self, refs: Iterable[Mapping[str, Any]], options: Options) -> list[tuple[float, BackendKey, Options]]:
        """Return (end of its share of [0, 1), backend, settings with the backend's own filters)."""
        found: list[tuple[float, BackendKey, Options]] = []
        weighted = [(ref, 1 if ref.get("weight") is None else int(ref["weight"])) for ref in refs]
        total = sum(weight for _, weight in weighted)
        so_far = 0
        for ref, weight in weighted:
            backend = self._backend(ref)
            so_far += weight
            if weight:
                own = read_filters(ref.get("filters") or (), options, self._mirror)
                self._extensions(ref)
                protocols = _PROTOCOLS.get(self._kind, {})
                protocol = protocols.get(backend.protocol, protocols.get("", own.protocol))
                found.append((so_far / total, backend.key, replace(own, protocol=protocol)))
        return found

    def _backend(self, ref: Mapping[str, Any]) -> Backend:
        backend = backend_of(self._sources, self._route, ref)
        if backend.invalid is not None:
            self._wrong = self._wrong or backend.wrong
            self._invalid[backend.key] = backend.invalid
        else:
            self._used[backend.key] = None
        return backend

    def _mirror(self, ref: Mapping[str, Any]) -> BackendKey | None:
        backend = self._backend(ref)
        return None if backend.invalid is not None else backend.key

    def _extensions(self, spec: Mapping[str, Any]) -> None:
        for each in spec.get("filters") or ():
            if each.get("type") == "ExtensionRef":
                ref = each.get("extensionRef") or {}
                why = f"filter {ref.get('kind')} {ref.get('name')} is not known here: its requests are answered 500"
                self._wrong = self._wrong or Condition("ResolvedRefs", False, "InvalidKind", why)


def _call(method: Mapping[str, Any]) -> tuple[PathType, str, int]:
    """Return a GRPCRoute's match as a path; the longer service goes first, then the longer method."""
    service, name = str(method.get("service") or ""), str(method.get("method") or "")
    length = len(service) * _SERVICE + len(name)
    if not length:
        return PathType.PREFIX, "/", 0
    if method.get("type") == "RegularExpression":
        return PathType.IMPLEMENTATION_SPECIFIC, f"/{service or '[^/]+'}/{name or '[^/]+'}", length
    if service and name:
        return PathType.EXACT, f"/{service}/{name}", length
    parts = (re.escape(each) if each else "[^/]+" for each in (service, name))
    return PathType.IMPLEMENTATION_SPECIFIC, "/" + "/".join(parts), length


def _timed(options: Options, timeouts: Mapping[str, str]) -> Options:
    whole, one = timeouts.get("request"), timeouts.get("backendRequest")
    if whole is not None:
        options = replace(options, request_timeout=seconds(whole), read_timeout=_FOREVER)
    if one is not None:
        options = replace(options, read_timeout=seconds(one) or _FOREVER)
    return options


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise _Dropped(f'"{text}" is no regular expression: {error}') from None


def _wanted(specs: Iterable[Mapping[str, Any]]) -> Wanted:
    """Of entries with the same name the first counts; header names are compared as the request's mapping does."""
    found: dict[str, str | re.Pattern[str]] = {}
    for each in specs:
        value = str(each["value"])
        found.setdefault(str(each["name"]), _pattern(value) if each.get("type") == "RegularExpression" else value)
    return tuple(found.items())
