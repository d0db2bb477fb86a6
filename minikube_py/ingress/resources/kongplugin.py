"""Kong's plugins, named by `konghq.com/plugins`: KongPlugin, KongClusterPlugin, and KongConsumer where users count.

basic-auth, correlation-id, cors, ip-restriction, key-auth, rate-limiting, request-size-limiting, request-termination,
request-transformer, response-transformer. They run in the order of Kong's own priorities. Left out: the others, plugins
of Services and consumers, templates in transformers, limits that several controllers share; each is reported.
Source: https://developer.konghq.com/plugins/
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.options import Answer, Call, Filter, Headers, Phase, ResponseFilter

__all__ = ["apply"]

_PLUGINS = "kongplugins.configuration.konghq.com"
_CLUSTER_PLUGINS = "kongclusterplugins.configuration.konghq.com"
_CONSUMERS = "kongconsumers.configuration.konghq.com"
_CREDENTIAL = "konghq.com/credential"
_WINDOWS = 10_000
"""Remembered per plugin, of callers or paths; the longest silent go first."""
_PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": 2_592_000, "year": 31_536_000}
_Config = Mapping[str, Any]
_Both = tuple[Sequence[Filter], Sequence[ResponseFilter]]


def _refuse(status: int, message: str, why: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, why, headers, ("application/json; charset=utf-8", json.dumps({"message": message})))


def _pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Read `name:value`s."""
    return [(name, value) for name, _, value in (str(each).partition(":") for each in texts)]


def _list(config: _Config, part: str, what: str) -> list[str]:
    return [str(each) for each in (config.get(part) or {}).get(what) or ()]


def transform(headers: list[tuple[str, str]], config: _Config, what: str) -> list[tuple[str, str]]:
    """Return headers or arguments after remove, rename, replace, add and append, in this order."""
    gone = {name.lower() for name in _list(config, "remove", what)}
    names = {old.lower(): new for old, new in _pairs(_list(config, "rename", what))}
    found = [(names.get(n.lower(), n), v) for n, v in headers if n.lower() not in gone]
    for name, value in _pairs(_list(config, "replace", what)):
        if any(n.lower() == name.lower() for n, _ in found):
            found = [*((n, v) for n, v in found if n.lower() != name.lower()), (name, value)]
    for name, value in _pairs(_list(config, "add", what)):
        if all(n.lower() != name.lower() for n, _ in found):
            found.append((name, value))
    return [*found, *_pairs(_list(config, "append", what))]


@dataclass(frozen=True, slots=True)
class TransformRequest:
    """request-transformer: headers, arguments, method and path."""

    phase: ClassVar[Phase] = Phase.ACCESS
    config: _Config

    def request(self, call: Call) -> None:
        before = [*call.headers.items()]
        after = transform(before, self.config, "headers")
        kept = {name.lower() for name, _ in after}
        for name, value in after:
            if (name, value) not in before:
                call.request_headers[name] = value
        for name, _ in before:
            if name.lower() not in kept:
                call.request_headers[name] = ""
        path, _, query = (call.target or call.uri).partition("?")
        given = parse_qsl(query, keep_blank_values=True)
        changed = transform(given, self.config, "querystring")
        uri = (self.config.get("replace") or {}).get("uri")
        if changed != given or uri:
            text = urlencode(changed)
            call.target = (uri or path) + (f"?{text}" if text else "")


@dataclass(frozen=True, slots=True)
class TransformResponse:
    """response-transformer: headers."""

    config: _Config

    def response(self, call: Call, status: int, headers: Headers) -> None:
        headers[:] = transform(headers, self.config, "headers")


@dataclass(frozen=True, slots=True)
class RateLimiting:
    """rate-limiting: fixed windows for each caller, or for all of them."""

    phase: ClassVar[Phase] = Phase.ACCESS
    key: Key
    limits: tuple[tuple[str, int], ...]
    """(second, minute …, requests)"""
    by: str
    code: int
    message: str
    hidden: bool

    def _windows(self, call: Call) -> Iterator[tuple[str, int, tuple[str, str], int, int]]:
        """Return (period, limit, whose window, its start, requests in it so far)."""
        counts: dict[tuple[str, str], tuple[int, int]] = call.state.setdefault(("kong-rate", self.key), {})
        who = {"service": "", "path": call.path}.get(self.by, call.remote)
        for period, limit in self.limits:
            start = int(call.now) // _PERIODS[period]
            known, used = counts.get((who, period), (start, 0))
            yield period, limit, (who, period), start, used if known == start else 0

    def request(self, call: Call) -> Answer | None:
        windows = list(self._windows(call))
        if any(used >= limit for _, limit, _, _, used in windows):
            reset = max(self._reset(call, p) for p, limit, _, _, used in windows if used >= limit)
            headers: Headers = []
            self.response(call, self.code, headers)
            why = "plugin rate-limiting"
            return _refuse(self.code, self.message, why, *headers, ("Retry-After", str(reset)))
        counts = call.state["kong-rate", self.key]
        for _, _, whose, start, used in windows:
            counts.pop(whose, None)
            counts[whose] = (start, used + 1)
        while len(counts) > _WINDOWS:
            del counts[next(iter(counts))]
        return None

    @staticmethod
    def _reset(call: Call, period: str) -> int:
        return _PERIODS[period] - int(call.now) % _PERIODS[period]

    def response(self, call: Call, status: int, headers: Headers) -> None:
        if self.hidden or any(name == "RateLimit-Limit" for name, _ in headers):
            return
        windows = [(max(limit - used, 0), limit, period) for period, limit, _, _, used in self._windows(call)]
        for left, limit, period in windows:
            headers.append((f"X-RateLimit-Limit-{period.title()}", str(limit)))
            headers.append((f"X-RateLimit-Remaining-{period.title()}", str(left)))
        left, limit, period = min(windows)
        headers += (
            ("RateLimit-Limit", str(limit)),
            ("RateLimit-Remaining", str(left)),
            ("RateLimit-Reset", str(self._reset(call, period))),
        )


@dataclass(frozen=True, slots=True)
class RestrictAddresses:
    """ip-restriction."""

    phase: ClassVar[Phase] = Phase.ACCESS
    allow: tuple[IPv4Network | IPv6Network, ...]
    deny: tuple[IPv4Network | IPv6Network, ...]
    status: int
    message: str

    def request(self, call: Call) -> Answer | None:
        address = ip_address(call.remote)
        if any(address in each for each in self.deny) or (self.allow and not any(address in n for n in self.allow)):
            message = self.message or f"IP address not allowed: {call.remote}"
            return _refuse(self.status, message, "plugin ip-restriction")
        return None


@dataclass(frozen=True, slots=True)
class Terminate:
    """request-termination: an answer in the service's place."""

    phase: ClassVar[Phase] = Phase.ACCESS
    config: _Config

    def request(self, call: Call) -> Answer:
        config = self.config
        status = int(config.get("status_code") or 503)
        if (body := config.get("body")) is not None:
            kind = str(config.get("content_type") or "application/json; charset=utf-8")
            return Answer(status, "plugin request-termination", content=(kind, str(body)))
        words = {404: "Not found", 503: "Service unavailable"}.get(status, "Request terminated")
        return _refuse(status, str(config.get("message") or words), "plugin request-termination")


@dataclass(frozen=True, slots=True)
class CORS:
    """cors: preflights are answered here, other answers get the headers."""

    phase: ClassVar[Phase] = Phase.ACCESS
    config: _Config

    def _origin(self, call: Call) -> Headers:
        origins = [str(each) for each in self.config.get("origins") or ("*",)]
        credentials = bool(self.config.get("credentials"))
        origin = call.headers.get("Origin", "")
        if "*" in origins and not credentials:
            found = [("Access-Control-Allow-Origin", "*")]
        elif origin and any(each in ("*", origin) or re.fullmatch(each, origin) for each in origins):
            found = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        else:
            return []
        return [*found, ("Access-Control-Allow-Credentials", "true")] if credentials else found

    def request(self, call: Call) -> Answer | None:
        asked = call.headers.get("Access-Control-Request-Method")
        if call.method != "OPTIONS" or "Origin" not in call.headers or asked is None:
            return None
        if self.config.get("preflight_continue"):
            return None
        methods = ",".join(self.config.get("methods") or ("GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT",))
        wanted = ",".join(self.config.get("headers") or ()) or call.headers.get("Access-Control-Request-Headers", "")
        headers = [("Access-Control-Allow-Methods", methods)]
        if wanted:
            headers.append(("Access-Control-Allow-Headers", wanted))
        if (age := self.config.get("max_age")) is not None:
            headers.append(("Access-Control-Max-Age", str(age)))
        return Answer(200, "plugin cors", headers, ("text/plain", ""))

    def response(self, call: Call, status: int, headers: Headers) -> None:
        ours = self._origin(call)
        if exposed := self.config.get("exposed_headers"):
            ours.append(("Access-Control-Expose-Headers", ",".join(exposed)))
        names = {name.lower() for name, _ in ours} - {"vary"}
        headers[:] = [*(each for each in headers if each[0].lower() not in names), *ours]


@dataclass(frozen=True, slots=True)
class Correlate:
    """correlation-id: one header to the service, and back if wanted."""

    phase: ClassVar[Phase] = Phase.ACCESS
    name: str
    echo: bool

    def _id(self, call: Call) -> str:
        return call.headers.get(self.name) or call.request_id

    def request(self, call: Call) -> None:
        call.request_headers[self.name] = self._id(call)

    def response(self, call: Call, status: int, headers: Headers) -> None:
        if self.echo:
            headers.append((self.name, self._id(call)))


@dataclass(frozen=True, slots=True)
class Authenticate:
    """key-auth and basic-auth: a consumer's credential, or 401."""

    phase: ClassVar[Phase] = Phase.ACCESS
    plugin: str
    consumers: Mapping[str, str]
    """Key, or `user:password` → username of the consumer."""
    names: tuple[str, ...] = ("apikey",)
    hide: bool = False

    def request(self, call: Call) -> Answer | None:
        if self.plugin == "key-auth":
            given = dict(reversed(parse_qsl(call.query)))
            found = next((v for n in self.names if (v := call.headers.get(n) or given.get(n))), None)
            challenge, none = "Key", "No API key found in request"
        else:
            scheme, _, token = call.headers.get("Authorization", "").partition(" ")
            found = None
            if scheme.lower() == "basic":
                try:
                    found = base64.b64decode(token).decode()
                except ValueError:
                    found = ""
            challenge, none = 'Basic realm="service"', "Unauthorized"
        if found is None or (consumer := self.consumers.get(found)) is None:
            message = none if found is None else "Unauthorized"
            return _refuse(401, message, f"plugin {self.plugin}", ("WWW-Authenticate", challenge))
        call.request_headers["X-Consumer-Username"] = consumer
        for name in (self.names if self.plugin == "key-auth" else ("Authorization",)) if self.hide else ():
            call.request_headers[name] = ""
        return None


# Reading


def apply(draft: Draft, names: Sequence[str]) -> None:
    """Add the named plugins to what happens to an Ingress's requests."""
    found: list[tuple[int, _Both]] = []
    for name in names:
        key = Key(draft.key.namespace, name)
        cluster = Key("", name)
        draft.references |= {(_PLUGINS, key), (_CLUSTER_PLUGINS, cluster)}
        obj = draft.sources.get(_PLUGINS, key) or draft.sources.get(_CLUSTER_PLUGINS, cluster)
        if obj is None:
            draft.problems.append(f"konghq.com/plugins: KongPlugin {key} does not exist")
        elif not obj.get("disabled"):
            kind = str(obj.get("plugin"))
            priority, read = _READERS.get(kind, (0, None))
            if read is None:
                draft.unknown.append(f"KongPlugin {key}: plugin {kind} is not emulated and has no effect")
                continue
            try:
                found.append((priority, read(draft, obj, obj.get("config") or {})))
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                draft.problems.append(f"KongPlugin {key}: {kind}: {type(error).__name__}: {error}: it has no effect")
    for _, (filters, answers) in sorted(found, key=lambda each: -each[0]):
        draft.filters += filters
        draft.response_filters += answers


def _credentials(draft: Draft, kind: str) -> Mapping[str, str]:
    """Return what proves to be which consumer."""
    found: dict[str, str] = {}
    for consumer in draft.sources.all(_CONSUMERS).values():
        for name in consumer.get("credentials") or ():
            key = Key(meta.namespace(consumer), str(name))
            draft.references.add(("secrets", key))
            secret = draft.sources.get("secrets", key)
            data = {k: base64.b64decode(v).decode() for k, v in ((secret or {}).get("data") or {}).items()}
            of = meta.labels(secret).get(_CREDENTIAL) or data.get("kongCredType") if secret else None
            if of == kind:
                proof = data["key"] if kind == "key-auth" else f"{data['username']}:{data['password']}"
                found[proof] = str(consumer.get("username") or meta.name(consumer))
    return found


def _rate(draft: Draft, obj: Object, config: _Config) -> _Both:
    limits = tuple((period, int(config[period])) for period in _PERIODS if config.get(period))
    if not limits:
        raise ValueError("needs a limit: second, minute, hour, day, month or year")
    by = str(config.get("limit_by") or "consumer")  # without a consumer: the caller's address
    code, message = int(config.get("error_code") or 429), str(config.get("error_message") or "API rate limit exceeded")
    made = RateLimiting(meta.key(obj), limits, by, code, message, bool(config.get("hide_client_headers")))
    return (made,), (made,)


def _addresses(draft: Draft, obj: Object, config: _Config) -> _Both:
    allow, deny = (
        tuple(ip_network(str(each), strict=False) for each in config.get(name) or ()) for name in ("allow", "deny")
    )
    return (RestrictAddresses(allow, deny, int(config.get("status") or 403), str(config.get("message") or "")),), ()


def _cors(draft: Draft, obj: Object, config: _Config) -> _Both:
    made = CORS(config)
    return (made,), (made,)


def _correlate(draft: Draft, obj: Object, config: _Config) -> _Both:
    made = Correlate(str(config.get("header_name") or "Kong-Request-ID"), bool(config.get("echo_downstream")))
    return (made,), (made,)


def _key_auth(draft: Draft, obj: Object, config: _Config) -> _Both:
    names = tuple(str(each) for each in config.get("key_names") or ("apikey",))
    return (Authenticate("key-auth", _credentials(draft, "key-auth"), names, bool(config.get("hide_credentials"))),), ()


def _basic_auth(draft: Draft, obj: Object, config: _Config) -> _Both:
    users = _credentials(draft, "basic-auth")
    return (Authenticate("basic-auth", users, hide=bool(config.get("hide_credentials"))),), ()


def _size(draft: Draft, obj: Object, config: _Config) -> _Both:
    units = {"megabytes": 1 << 20, "kilobytes": 1 << 10, "bytes": 1}
    draft.set(body_size=int(config.get("allowed_payload_size") or 128) * units[config.get("size_unit") or "megabytes"])
    return (), ()


_READERS: Mapping[str, tuple[int, Callable[[Draft, Object, _Config], _Both]]] = {
    "cors": (2000, _cors),
    "key-auth": (1250, _key_auth),
    "basic-auth": (1100, _basic_auth),
    "ip-restriction": (990, _addresses),
    "request-size-limiting": (951, _size),
    "rate-limiting": (910, _rate),
    "request-transformer": (801, lambda draft, obj, config: ((TransformRequest(config),), ())),
    "response-transformer": (800, lambda draft, obj, config: ((), (TransformResponse(config),))),
    "request-termination": (2, lambda draft, obj, config: ((Terminate(config),), ())),
    "correlation-id": (1, _correlate),
}
"""Plugin → Kong's priority, reader."""
