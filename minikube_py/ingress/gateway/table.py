"""Which rule of a Gateway answers a request. Pure.

    port ─► listener (most specific hostname) ─► route hostname ─► path ─► method, headers, query ─► weighted backend

A request belongs to one listener only (listener isolation), and within it to the routes of the most specific hostname,
as with Envoy's virtual hosts. Precedence is the API's: exact path, regular expression, longest prefix; then method,
number of headers, number of query parameters, the older route, its name, the rule's place. The cost is that of the
path's elements and of the rules with that same path, not of the number of rules.
Source: https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

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
from minikube_py.ingress.rules.rules import TLSHost
from minikube_py.ingress.tls.sni import by_host

__all__ = ["TYPES", "GatewayTable", "HostRules", "Rule", "Shares", "Wanted"]

Shares = tuple[tuple[float, BackendKey], ...]
"""(end of its share of [0, 1), backend)."""
Wanted = tuple[tuple[str, str | re.Pattern[str]], ...]
"""(name, value or pattern) of headers or query parameters; header names in lower case."""
TYPES = {
    PathType.EXACT: "Exact",
    PathType.IMPLEMENTATION_SPECIFIC: "RegularExpression",
    PathType.PREFIX: "PathPrefix",
}
"""What the API calls them, in order of precedence."""
_NOWHERE = BackendKey("", "", "")


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One match of one rule of a route."""

    location: Location
    """Path, and what the rule answers by itself."""
    order: tuple[Any, ...]
    """Precedence; the least one wins."""
    choices: tuple[tuple[float, Location], ...] = ()
    """(end of its share of [0, 1), backend with its filters)."""
    method: str = ""
    headers: Wanted = ()
    query: Wanted = ()

    def takes(self, method: str, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Tell whether all but the path matches."""
        return self.method in ("", method) and _all(self.headers, headers.get) and _all(self.query, query.get)

    def backend(self, chance: float) -> Location:
        return next((location for end, location in self.choices if chance < end), self.location)


def _all(wanted: Wanted, get: Callable[[str], str | None]) -> bool:
    for name, value in wanted:
        found = get(name)
        if found is None or (found != value if isinstance(value, str) else value.fullmatch(found) is None):
            return False
    return True


class HostRules:
    """The rules of one hostname of one listener. Build it once, then only `find`."""

    __slots__ = ("_exact", "_longest", "_patterns", "_prefixes", "rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: rule.order))
        self._exact: dict[str, list[Rule]] = {}
        self._prefixes: dict[str, list[Rule]] = {}
        self._patterns: list[Rule] = []
        for rule in self.rules:
            location = rule.location
            if location.pattern is not None:
                self._patterns.append(rule)
            elif location.type is PathType.EXACT:
                self._exact.setdefault(location.path, []).append(rule)
            else:
                self._prefixes.setdefault(location.path.rstrip("/"), []).append(rule)
        self._longest = max(map(len, self._prefixes), default=-1)

    def find(self, path: str, method: str, headers: Mapping[str, str], query: Mapping[str, str]) -> Rule | None:
        """Return the rule that takes a request, by its normalized path."""
        for rule in self._exact.get(path, ()):
            if rule.takes(method, headers, query):
                return rule
        for rule in self._patterns:
            pattern = rule.location.pattern
            if pattern is not None and pattern.fullmatch(path) and rule.takes(method, headers, query):
                return rule
        end = len(path)
        while end >= 0:
            if end <= self._longest:
                for rule in self._prefixes.get(path[:end], ()):
                    if rule.takes(method, headers, query):
                        return rule
            end = path.rfind("/", 0, end)
        return None


@dataclass(frozen=True, slots=True, eq=False)
class GatewayTable(RoutingTable):
    """The rules of one Gateway; `port_table` is what a proxy takes."""

    listeners: Mapping[int, Mapping[str, Mapping[str, HostRules]]] = field(default_factory=dict)
    """Port → hostname of the listener → hostname of the routes → rules; hostnames may begin with `*.`, "" is any."""
    tls: Mapping[int, Mapping[str, TLSHost]] = field(default_factory=dict)
    """Port → hostname → certificate."""
    streams: Mapping[int, Mapping[str, Shares]] = field(default_factory=dict)
    """Port → server name ("" is any) → the backends of its connections: TLS passed through, TCP."""
    ports: Mapping[int, str] = field(default_factory=dict)
    """Port → how it is served: HTTP, TLS or TCP."""
    port: int = 0

    def port_table(self, port: int) -> "GatewayTable":
        return replace(self, port=port)

    def stream(self, shares: Shares, chance: float) -> Upstream | None:
        """Return where a connection goes."""
        key = next((key for end, key in shares if chance < end), None)
        return None if key is None else self.upstream(key)

    def route(
        self,
        host: str,
        path: str,
        headers: Mapping[str, str] = {},  # read only
        chance: float = 0.999_999,
        *,
        method: str = "GET",
        query: str = "",
        secure: bool = False,
    ) -> Match | NoMatch:
        found = self.find(normalize_host(host), normalize_path(path), headers, method, query)
        if isinstance(found, NoMatch):
            return found
        location = found.backend(chance)
        if location.backend is None:
            return Match(location, Upstream(_NOWHERE, (), location.refused, 500))
        return Match(location, self.upstream(location.backend))

    def find(self, host: str, path: str, headers: Mapping[str, str], method: str, query: str) -> Rule | NoMatch:
        """Return the rule that takes a request, by its normalized host and path."""
        what = f"{method} {host or '(no host)'}{path}"
        listeners = self.listeners.get(self.port) or {}
        if (routes := by_host(listeners, host)) is None:
            return NoMatch(f"{what}: no listener of port {self.port} has this host; theirs: {_names(listeners)}")
        if (rules := by_host(routes, host)) is None:
            return NoMatch(f"{what}: no route has this host; known: {_names(routes)}")
        given = dict(reversed(parse_qsl(query, keep_blank_values=True))) if query else {}
        if (rule := rules.find(path, method, headers, given)) is None:
            paths = dict.fromkeys(f"{each.location.path} ({TYPES[each.location.type]})" for each in rules.rules)
            return NoMatch(f"{what}: no rule of its routes matches; this host's paths: {', '.join([*paths][:8])}")
        return rule


def _names(found: Iterable[str]) -> str:
    return ", ".join(sorted(name or "* (any)" for name in found)) or "none"
