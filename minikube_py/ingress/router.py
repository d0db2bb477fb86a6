"""Which Location answers a request: the pure core of the ingress controller, with the rules of the Ingress API.

    host:   exact  >  wildcard (one label)  >  no host                 one dict look-up each
    path:   the longest matching path wins; on equal length Exact > Prefix > ImplementationSpecific

A host's server owns all its requests, as an nginx `server` block does: a path that none of its rules matches goes to
the default backend, not to the rules of a wildcard. Cost is that of the path's elements, never of the number of rules;
only hosts with regular expressions (`use-regex`, `rewrite-target`) are tried one by one, as in nginx.
Sources: https://kubernetes.io/docs/concepts/services-networking/ingress/#path-types and
https://kubernetes.github.io/ingress-nginx/user-guide/ingress-path-matching/
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, TypeAlias, final
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.options import DEFAULTS, Call, Options

__all__ = [
    "BackendKey",
    "Canary",
    "Endpoint",
    "Location",
    "Match",
    "NoMatch",
    "PathType",
    "Paths",
    "RoutingTable",
    "Upstream",
    "climbs",
    "normalize_host",
    "normalize_path",
]

_EMPTY: Mapping[str, str] = {}


class PathType(Enum):
    """How a path is compared; the values are the API's."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    IMPLEMENTATION_SPECIFIC = "ImplementationSpecific"
    DEFAULT = "Default"
    """Not of the API: the location of a default backend."""


class Endpoint(NamedTuple):
    """Where a connection goes."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


class BackendKey(NamedTuple):
    """A Service's port as an Ingress names it."""

    namespace: str
    service: str
    port: str
    """The port's name or number, as text; "" means the Service's only port."""
    by_service: bool = False
    """The ClusterIP instead of the endpoints (annotation service-upstream)."""

    def __str__(self) -> str:
        return f"{self.namespace}-{self.service}-{self.port}"


_NOWHERE = BackendKey("", "", "")


@dataclass(frozen=True, slots=True)
class Upstream:
    """What a backend is now: its ready endpoints, or why there are none."""

    key: BackendKey
    endpoints: tuple[Endpoint, ...] = ()
    reason: str = ""
    """Why `endpoints` is empty, in one sentence."""
    status: int = 503
    """What a request gets while there are none."""


@dataclass(frozen=True, slots=True)
class Canary:
    """Another backend for a part of a location's requests (annotations canary-*)."""

    ingress: Key
    backend: BackendKey
    header: str = ""
    header_value: str = ""
    header_pattern: re.Pattern[str] | None = None
    cookie: str = ""
    weight: int = 0
    weight_total: int = 100

    def takes(self, headers: Mapping[str, str], chance: float) -> bool:
        """Decide header, then cookie, then weight; `chance` is in [0, 1)."""
        if self.header and (value := headers.get(self.header)) is not None:
            if self.header_value:
                if value == self.header_value:
                    return True
            elif self.header_pattern is not None:
                if self.header_pattern.search(value):
                    return True
            elif value == "always":
                return True
            elif value == "never":
                return False
        if self.cookie:
            match cookie(headers, self.cookie):
                case "always":
                    return True
                case "never":
                    return False
        return chance * self.weight_total < self.weight


def cookie(headers: Mapping[str, str], name: str) -> str | None:
    """Return the value of one cookie of a request."""
    for part in headers.get("Cookie", "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Location:
    """One path of one rule, with all that its Ingress says about it."""

    ingress: Key
    host: str
    path: str
    type: PathType
    backend: BackendKey | None
    refused: str = ""
    """Why the backend can't be used at all (a resource backend): answered 503."""
    options: Options = DEFAULTS
    pattern: re.Pattern[str] | None = None
    """Set on hosts with regular expressions."""
    canaries: tuple[Canary, ...] = ()
    fallback: BackendKey | None = None
    """Where requests go while the backend has no endpoint (annotation default-backend)."""
    tls: bool = False
    """The host has a TLS section."""
    kind: str = "Ingress"
    """Of the object named by `ingress`."""

    def __str__(self) -> str:
        return f"{self.ingress} {self.host or '*'}{self.path}"

    def call(
        self,
        method: str,
        host: str,
        path: str,
        query: str,
        remote: str,
        headers: Mapping[str, str],
        *,
        secure: bool,
        now: float,
        state: MutableMapping[Any, Any],
        https_port: int,
        port: int = 0,
        request_id: str = "",
    ) -> Call:
        """Return a request as the filters of this location see it."""
        return Call(
            method=method,
            scheme="https" if secure else "http",
            host=host,
            path=path,
            query=query,
            remote=remote,
            headers=headers,
            now=now,
            state=state,
            tls=self.tls,
            https_port=https_port,
            normalized=normalize_path(path),
            pattern=self.pattern,
            request_id=request_id,
            rule_path=self.path,
            port=port,
        )


@final
class Match(Struct, frozen=True, eq=False):
    """The location that answers and the backend that it means now."""

    location: Location
    upstream: Upstream
    canary: Canary | None = None


@final
class NoMatch(Struct, frozen=True):
    """Nothing answers; `reason` is for the caller's eyes."""

    reason: str


Routed: TypeAlias = Match | NoMatch


def normalize_host(host: str) -> str:
    """Return a Host header's name as rules write it: lower case, no port, no final dot."""
    if host.startswith("["):
        return host[: host.find("]") + 1].lower()
    colon = host.rfind(":")
    return (host[:colon] if colon >= 0 else host).rstrip(".").lower()


def normalize_path(path: str) -> str:
    """Return a request path as nginx compares it: percent-decoded, `//` merged, dot segments resolved.

    A path that climbs above the root stays at the root (who serves it has asked `climbs`).
    """
    if "%" in path:
        path = unquote_to_bytes(path).decode("utf-8", "surrogateescape")
    if "//" in path:
        path = re.sub("/{2,}", "/", path)
    if "/." in path:
        kept: list[str] = []
        segments = path.split("/")[1:]
        for segment in segments:
            if segment == "..":
                del kept[-1:]
            elif segment != ".":
                kept.append(segment)
        if segments and segments[-1] in (".", ".."):
            kept.append("")
        path = "/" + "/".join(kept)
    return path


def climbs(path: str) -> bool:
    """Tell whether a path leads above the root; nginx and Envoy refuse such a request."""
    if ".." not in path and "%2" not in path:
        return False
    depth = 0
    for segment in unquote_to_bytes(path).split(b"/"):
        if segment == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif segment not in (b"", b"."):
            depth += 1
    return False


class Paths:
    """The locations of one host. Build it once, then only `find`."""

    __slots__ = ("_default", "_exact", "_lengths", "_longest", "_patterns", "_prefix", "_strings", "locations")

    def __init__(self, locations: Iterable[Location], default: Location | None = None, *, regex: bool = False) -> None:
        self.locations = tuple(locations)
        self._default = default
        self._exact: dict[str, Location] = {}
        self._prefix: dict[str, Location] = {}
        self._strings: dict[str, Location] = {}
        self._patterns: list[tuple[re.Pattern[str], Location]] = []
        if regex:
            ordered = sorted(self.locations, key=lambda each: -len(each.path))
            self._patterns = [(each.pattern, each) for each in ordered if each.pattern is not None]
        else:
            for location in self.locations:
                match location.type:
                    case PathType.EXACT:
                        self._exact.setdefault(location.path, location)
                    case PathType.PREFIX:
                        # "/foo/" and "/foo" are one rule; "/" is the empty prefix
                        self._prefix.setdefault(location.path.rstrip("/"), location)
                    case _:
                        self._strings.setdefault(location.path, location)
        self._longest = max(map(len, self._prefix), default=0)
        self._lengths = tuple(sorted({len(each) for each in self._strings}, reverse=True))

    def find(self, path: str) -> Location | None:
        """Return the location of a normalized path, else the host's default."""
        if self._patterns:
            for pattern, location in self._patterns:
                if pattern.match(path):
                    return location
            return self._default
        if (exact := self._exact.get(path)) is not None:
            return exact
        found: Location | None = None
        if self._prefix:
            end = len(path)
            if end > self._longest:  # no longer prefix exists: start at the last element that could match
                end = self._longest if path[self._longest] == "/" else path.rfind("/", 0, self._longest + 1)
            while end >= 0:
                if (found := self._prefix.get(path[:end])) is not None:
                    break
                end = path.rfind("/", 0, end)
        if self._lengths:
            least = len(found.path) if found is not None else -1
            for length in self._lengths:
                if length <= least:
                    break
                if (other := self._strings.get(path[:length])) is not None and len(path) >= length:
                    return other
        return found if found is not None else self._default


@dataclass(frozen=True, slots=True, eq=False)
class RoutingTable:
    """An immutable snapshot: rules and backends. `rules.compile` builds it; the proxy swaps one for the next."""

    hosts: Mapping[str, Paths] = field(default_factory=dict)
    """Exact host → its locations."""
    wildcards: Mapping[str, Paths] = field(default_factory=dict)
    """`.example.com` → the locations of `*.example.com`."""
    catch_all: Paths | None = None
    """The locations of rules without a host."""
    default: Location | None = None
    """Where requests of unknown hosts go."""
    upstreams: Mapping[BackendKey, Upstream] = field(default_factory=dict)
    unserved: Sequence[str] = ()
    """One sentence for each Ingress that this controller leaves alone."""

    def known_hosts(self, limit: int = 8) -> str:
        """Return the hosts that have rules, for messages."""
        names = [*self.hosts, *("*" + suffix for suffix in self.wildcards)]
        if self.catch_all is not None:
            names.append("* (any host)")
        more = f", … ({len(names)} in all)" if len(names) > limit else ""
        return ", ".join(names[:limit]) + more if names else "none: no Ingress is served"

    def paths(self, host: str) -> Paths | None:
        """Return the locations responsible for a normalized host."""
        if (paths := self.hosts.get(host)) is not None:
            return paths
        if self.wildcards:
            dot = host.find(".")
            if dot > 0 and (paths := self.wildcards.get(host[dot:])) is not None:
                return paths
        return self.catch_all

    def route(
        self,
        host: str,
        path: str,
        headers: Mapping[str, str] = _EMPTY,
        chance: float = 0.999_999,
        *,
        method: str = "GET",
        query: str = "",
        secure: bool = False,
    ) -> Routed:
        """Decide where a request goes.

        `host` is the Host header, `path` the request's path without query, `chance` in [0, 1) decides canary weights;
        `method`, `query` and `secure` matter to routes of the Gateway API and of custom resources only.
        """
        if host not in self.hosts:
            host = normalize_host(host)
        if "%" in path or "//" in path or "/." in path:
            path = normalize_path(path)
        paths = self.paths(host)
        location = paths.find(path) if paths is not None else None
        if location is None and (location := self.default) is None:
            return self._unmatched(host, path, paths)
        canary = None
        key = location.backend
        for each in location.canaries:
            if each.takes(headers, chance):
                canary, key = each, each.backend
                break
        if key is None:
            return Match(location, Upstream(_NOWHERE, (), location.refused), canary)
        upstream = self.upstream(key)
        if not upstream.endpoints and location.fallback is not None:
            upstream = self.upstream(location.fallback)
        return Match(location, upstream, canary)

    def upstream(self, key: BackendKey) -> Upstream:
        """Return what a backend is now; an unknown one has no endpoints and says so."""
        if (upstream := self.upstreams.get(key)) is not None:
            return upstream
        return Upstream(key, (), f'Service "{key.namespace}/{key.service}" is not in the routing table')

    def _unmatched(self, host: str, path: str, paths: Paths | None) -> NoMatch:
        if paths is None:
            why = f"no Ingress rule for host {host or '(none)'} path {path}; known hosts: {self.known_hosts()}"
        else:
            known = ", ".join(f"{each.path} ({each.type.value})" for each in paths.locations[:8])
            why = f"no Ingress rule for host {host or '(none)'} path {path}; this host's paths: {known or 'none'}"
        if self.unserved:
            why += "; not served: " + "; ".join(self.unserved[:3])
        return NoMatch(why)
