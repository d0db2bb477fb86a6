"""What an Ingress's annotations make of its locations: plain settings, and filters in nginx's phase order.

A filter is pure: it looks at a `Call` and returns an `Answer` (and the request goes no further), a `Subrequest` that
the proxy is to make, or None. State that must outlive a routing table (rate limits) is in `Call.state`.
"""

import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Protocol, TypeAlias

from msgspec import Struct

__all__ = [
    "DEFAULTS",
    "Answer",
    "Call",
    "Filter",
    "Headers",
    "Mirror",
    "Options",
    "Phase",
    "ResponseFilter",
    "Subrequest",
]

Headers: TypeAlias = list[tuple[str, str]]


class Phase(IntEnum):
    """nginx's order: rewrite (returns first), preaccess (limits), access, then content and the answer's headers."""

    SERVER = 0
    """Settings of the whole host: aliases, regular expressions."""
    REDIRECT = 10
    REWRITE = 20
    PREACCESS = 30
    ACCESS = 40
    UPSTREAM = 50
    """Choice of and connection to the backend."""
    RESPONSE = 60


class Answer(Struct, frozen=True):
    """The controller answers by itself."""

    status: int
    because: str = ""
    """For the body: names what decided."""
    headers: Sequence[tuple[str, str]] = ()
    content: tuple[str, str] | None = None
    """(content type, text) in place of the page."""


@dataclass(frozen=True, slots=True)
class Subrequest:
    """Ask another server first (auth-url): 2xx goes on, anything else is `failed(status, headers)`."""

    url: str
    headers: Sequence[tuple[str, str]]
    method: str
    copy_headers: Sequence[str]
    """Headers of its answer that the backend gets."""
    failed: Callable[[int, Mapping[str, str]], Answer]


@dataclass(slots=True)
class Call:
    """One request as filters see it."""

    method: str
    scheme: str
    host: str
    """The Host header, with its port."""
    path: str
    """Percent-encoded, as sent."""
    query: str
    """Without `?`; "" for none."""
    remote: str
    """The caller's address."""
    headers: Mapping[str, str]
    now: float
    """When the request came: seconds since the epoch."""
    state: MutableMapping[Any, Any]
    tls: bool
    https_port: int
    """The port by which a caller outside reaches HTTPS."""
    normalized: str = ""
    """The path as it was compared: decoded, without dot segments."""
    pattern: re.Pattern[str] | None = None
    """The location's regular expression, on hosts that have them."""
    request_id: str = ""
    rule_path: str = ""
    """The path of the rule that matched."""
    target: str = ""
    """Path and query that the backend gets; "" leaves them as sent."""
    request_headers: dict[str, str] = field(default_factory=dict)
    """To set on the request to the backend; an empty value removes."""
    closing: list[Callable[[], None]] = field(default_factory=list)
    """Called when the request has ended."""
    port: int = 0
    """The listener's port inside the cluster (Gateways)."""

    endpoint: Any = None
    """The `router.Endpoint` that answered; None until then."""
    sent_at: float = 0.0
    """When the request went to that endpoint: seconds since the epoch."""
    answered_at: float = 0.0
    """When the head of its answer had come."""

    def tell(self, endpoint: Any, sent_at: float, answered_at: float) -> None:
        """Note who answered, and when, for the filters of the answer."""
        self.endpoint, self.sent_at, self.answered_at = endpoint, sent_at, answered_at

    @property
    def uri(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


class Filter(Protocol):
    """Looks at a request before it goes to the backend.

    One that has `stateless: ClassVar[bool] = True` keeps nothing and makes no subrequest: asked twice about a request
    it says the same, so the fast path may ask it. One with `only_http` lets requests over HTTPS pass.
    """

    phase: ClassVar[Phase]

    def request(self, call: Call) -> Answer | Subrequest | None: ...


class ResponseFilter(Protocol):
    """Changes the headers of an answer, in place."""

    def response(self, call: Call, status: int, headers: Headers) -> None: ...


class Mirror(Struct, frozen=True):
    """Another backend that gets a copy of requests (a Gateway's filter RequestMirror)."""

    backend: Any
    """A `router.BackendKey`."""
    share: float = 1.0
    """Of the requests, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a location; defaults are ingress-nginx's ConfigMap defaults."""

    connect_timeout: float = 5.0
    """Seconds (proxy-connect-timeout)."""
    read_timeout: float = 60.0
    """Seconds between two reads from the backend (proxy-read-timeout)."""
    send_timeout: float = 60.0
    """Seconds between two writes to the backend (proxy-send-timeout)."""
    body_size: int = 1 << 20
    """Bytes (proxy-body-size, 1m); 0 is without limit."""
    next_upstream: frozenset[str] = frozenset({"error", "timeout"})
    tries: int = 3
    protocol: str = "HTTP"
    """HTTP, HTTPS, GRPC or GRPCS (backend-protocol)."""
    vhost: str = ""
    hash_by: str = ""
    """upstream-hash-by, with nginx variables."""
    hash_subset: int = 0
    """Endpoints that share a hash and take turns; 0: one endpoint has it."""
    affinity_cookie: str = ""
    """Name of the cookie by which a caller's pod is found; "" is without affinity (`annotations.affinity`)."""
    error_codes: frozenset[int] = frozenset()
    """custom-http-errors: these statuses are answered by the default backend."""
    error_backend: Any = None
    """A `router.BackendKey` for them."""
    mirror: str = ""
    """URL that gets a copy of each request, with nginx variables."""
    mirror_host: str = ""
    mirrors: tuple[Mirror, ...] = ()
    request_timeout: float = 0.0
    """Seconds from the request to the end of its answer; 0 is without limit (a Gateway's timeouts.request)."""
    filters: tuple[Filter, ...] = ()
    response_filters: tuple[ResponseFilter, ...] = ()
    secure_filters: tuple[Filter, ...] = field(init=False, compare=False, default=())
    """Those that concern requests over HTTPS, too: no redirect to HTTPS."""
    simple: bool = field(init=False, compare=False, default=False)
    """The fast path may serve requests (`http1.caller`)."""

    def __post_init__(self) -> None:
        wanting = (
            self.hash_by
            or self.affinity_cookie
            or self.error_codes
            or self.mirror
            or self.mirrors
            or self.request_timeout
            or self.protocol != "HTTP"
        )
        stateless = all(getattr(each, "stateless", False) for each in self.filters)
        object.__setattr__(self, "simple", stateless and not wanting)
        secure = tuple(each for each in self.filters if not getattr(each, "only_http", False))
        object.__setattr__(self, "secure_filters", secure)


DEFAULTS = Options()
