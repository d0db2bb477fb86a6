"""Routes of custom resources, beside those of Ingresses. Pure.

    host ─► its routes in order, each a predicate ─► weighted backends;   none: the Ingresses' paths

A controller's compile function fills a `Custom`; `rules.compile` makes one table of it and the Ingresses.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.options import Options
from minikube_py.ingress.router import (
    BackendKey,
    Location,
    Match,
    NoMatch,
    PathType,
    RoutingTable,
    Upstream,
    normalize_host,
    normalize_path,
)
from minikube_py.ingress.rules.sources import Sources
from minikube_py.ingress.tls.sni import by_host

__all__ = ["Asked", "Custom", "Route", "RoutesTable", "age", "shares"]

_NOWHERE = BackendKey("", "", "")


class Asked(NamedTuple):
    """What a request asks for."""

    host: str
    """Without its port, in lower case."""
    path: str
    """Decoded, without dot segments."""
    method: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    secure: bool


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One route of one custom resource."""

    location: Location
    """Its settings, and where the last share of its requests goes."""
    takes: Callable[[Asked], bool]
    order: tuple[Any, ...]
    """Precedence among a host's routes; the least one wins."""
    hosts: tuple[str, ...] = ()
    """Names and `*.names`; none: any."""
    choices: tuple[tuple[float, Location], ...] = ()
    """(end of its share of [0, 1), backend) of weighted backends."""

    def backend(self, chance: float) -> Location:
        return next((location for end, location in self.choices if chance < end), self.location)


def _ahead(route: Route, location: Location) -> bool:
    return True


@dataclass(frozen=True, slots=True, eq=False)
class RoutesTable(RoutingTable):
    """The routes of custom resources, and the rules of Ingresses behind them."""

    routes: Mapping[str, tuple[Route, ...]] = field(default_factory=dict)
    """Host → its routes, those for any host among them; "" for hosts that have none of their own."""
    ahead: Callable[[Route, Location], bool] = _ahead
    """Whether a route goes before the Ingress's location that takes the same request."""

    def route(
        self,
        host: str,
        path: str,
        headers: Mapping[str, str] = {},  # read only
        chance: float = 0.999_999,
        *,
        method: str = "",
        query: str = "",
        secure: bool = False,
    ) -> Match | NoMatch:
        """Decide where a request goes; without its method only hosts that have no routes are decided."""
        name = normalize_host(host)
        routes = by_host(self.routes, name) or ()
        if routes and not method:
            return NoMatch("it depends on the whole request")  # the fast path, which then leaves it to the other
        found = RoutingTable.route(self, host, path, headers, chance, method=method, query=query, secure=secure)
        given = dict(reversed(parse_qsl(query, keep_blank_values=True))) if query else {}
        asked = Asked(name, normalize_path(path), method, headers, given, secure)
        for each in routes:
            if not each.takes(asked):
                continue
            if isinstance(found, Match) and found.location is not self.default and not self.ahead(each, found.location):
                return found
            location = each.backend(chance)
            if location.backend is None:
                return Match(location, Upstream(_NOWHERE, (), location.refused))
            return Match(location, self.upstream(location.backend))
        return found

    def known_hosts(self, limit: int = 8) -> str:
        if not self.hosts and not self.wildcards and self.catch_all is None:
            return ", ".join(host or "* (any host)" for host in list(self.routes)[:limit] if host or self.routes[""])
        return RoutingTable.known_hosts(self, limit)


class Custom:
    """What custom resources come to, in the making."""

    def __init__(self, sources: Sources, options: Options) -> None:
        self.sources = sources
        self.options = options
        self.routes: list[Route] = []
        self.ahead: Callable[[Route, Location], bool] = _ahead
        self.problems: dict[tuple[str, Key], list[str]] = {}
        """(resource, object) → what is wrong with it, or has no effect."""
        self.references: set[tuple[str, Key]] = set()
        self.used: dict[Key, dict[BackendKey, None]] = {}
        self.certificates: dict[str, tuple[Key, Key]] = {}
        """Host → (who asks for it, its Secret)."""

    def problem(self, resource: str, obj: Object | Key, message: str) -> None:
        key = obj if isinstance(obj, Key) else meta.key(obj)
        found = self.problems.setdefault((resource, key), [])
        if message not in found:
            found.append(message)

    def each(self, resource: str, compile_one: Callable[[Object], None]) -> None:
        """Compile every object of a kind, oldest first; a malformed one must not take the others down."""
        for obj in sorted(self.sources.all(resource).values(), key=age):
            if meta.terminating(obj):
                continue
            try:
                compile_one(obj)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                self.problem(resource, obj, f"it is malformed and left out: {type(error).__name__}: {error}")

    def unknown(self, resource: str, obj: Object, at: str, spec: Mapping[str, Any], known: Iterable[str]) -> None:
        """Report the fields that have no effect here."""
        for name in sorted(set(spec) - set(known)):
            self.problem(resource, obj, f"{at}{name} is not emulated and has no effect")

    def draft(self, obj: Object) -> Draft:
        """Return what the settings of one object's routes are written into; `settle` takes it back."""
        return Draft(obj, self.sources, self.options, prefix="\0")

    def settle(self, resource: str, obj: Object, draft: Draft) -> Options:
        """Return the settings, and report what went wrong with them."""
        self.references |= draft.references
        for message in (*draft.problems, *draft.unknown):
            self.problem(resource, obj, message)
        return draft.options()

    def backend(self, owner: Object, namespace: str, service: str, port: object = "") -> BackendKey:
        """Name a backend; the owner's requests need it."""
        key = BackendKey(namespace, service, str(port or ""))
        self.used.setdefault(meta.key(owner), {})[key] = None
        return key

    def table(self) -> dict[str, tuple[Route, ...]]:
        """Return the routes by host."""
        anywhere = [route for route in self.routes if not route.hosts]
        found: dict[str, list[Route]] = {"": []}
        for route in self.routes:
            for host in route.hosts:
                found.setdefault(host, []).append(route)
        return {host: tuple(sorted((*own, *anywhere), key=lambda route: route.order)) for host, own in found.items()}


def shares(locations: list[tuple[Location, int]]) -> tuple[Location | None, tuple[tuple[float, Location], ...]]:
    """Return (where the last share goes, the shares before it) of weighted locations; weight 0 gets nothing."""
    weighted = [each for each in locations if each[1] > 0]
    if not weighted:
        return None, ()
    total = sum(weight for _, weight in weighted)
    ends: list[tuple[float, Location]] = []
    so_far = 0
    for location, weight in weighted[:-1]:
        so_far += weight
        ends.append((so_far / total, location))
    return weighted[-1][0], tuple(ends)


def age(obj: Object) -> tuple[str, str, str]:
    """Return what orders objects: the oldest first, then by name."""
    return obj["metadata"].get("creationTimestamp") or "", meta.namespace(obj), meta.name(obj)


def location(owner: Object, host: str, path: str, options: Options, backend: BackendKey | None, why: str) -> Location:
    """Return a route's location; without a backend its requests are refused with 503 and `why`."""
    kind = str(owner.get("kind"))
    return Location(meta.key(owner), host, path, PathType.IMPLEMENTATION_SPECIFIC, backend, why, options, kind=kind)
