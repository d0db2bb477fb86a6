"""Traefik's Middleware: what happens to requests and answers between router and service, in the order of the list.

addPrefix, basicAuth, buffering (maxRequestBodyBytes), chain, forwardAuth, headers, inFlightReq, ipAllowList, rateLimit,
redirectRegex, redirectScheme, replacePath, replacePathRegex, retry, stripPrefix, stripPrefixRegex. Left out: the
others, which are reported; compress and contentType, which change nothing here, are taken silently.
Source: https://doc.traefik.io/traefik/v3.3/middlewares/http/overview/
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, ClassVar

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.annotations.auth_type import BasicAuth
from minikube_py.ingress.annotations.limit_connections import LimitConnections
from minikube_py.ingress.annotations.whitelist_source_range import AllowSources
from minikube_py.ingress.options import Answer, Call, Headers, Phase, Subrequest
from minikube_py.ingress.urls import location

__all__ = ["RESOURCE", "apply", "duration"]

RESOURCE = "middlewares.traefik.io"
_HARMLESS = ("compress", "contentType")
_Spec = Mapping[str, Any]
_CALLERS = 10_000
"""Addresses remembered per limit; the longest silent go first."""
_UNITS = {"": 1e-9, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _target(call: Call) -> tuple[str, str]:
    """Return path and query as the middlewares before have left them."""
    path, mark, query = (call.target or call.uri).partition("?")
    return path, mark + query


def _go(code: int, call: Call, url: str, because: str) -> Answer:
    """Redirect: methods other than GET keep theirs by 307 and 308."""
    kept = {301: 308, 302: 307}
    return Answer(code if call.method == "GET" else kept[code], because, (("Location", url),))


@dataclass(frozen=True, slots=True)
class RewritePath:
    """Changes the path by a function, and tells the service by a header what it was, or what was taken off."""

    phase: ClassVar[Phase] = Phase.ACCESS
    change: Callable[[str], tuple[str, str]]
    """Path → (new path, the header's value; "" for none)."""
    header: str = ""

    def request(self, call: Call) -> None:
        path, query = _target(call)
        new, told = self.change(path)
        if new != path:
            call.target = ("" if new.startswith("/") else "/") + new + query
            if told:
                call.request_headers[self.header] = told


@dataclass(frozen=True, slots=True)
class RedirectScheme:
    """Sends requests by another scheme to this one."""

    phase: ClassVar[Phase] = Phase.ACCESS
    scheme: str
    port: str
    permanent: bool

    def request(self, call: Call) -> Answer | None:
        if call.scheme == self.scheme:
            return None
        url = location(call, scheme=self.scheme)
        if self.port and self.port != {"http": "80", "https": "443"}.get(self.scheme):
            url = f"{self.scheme}://{call.host.partition(':')[0]}:{self.port}{call.uri}"
        return _go(301 if self.permanent else 302, call, url, "middleware redirectScheme")


@dataclass(frozen=True, slots=True)
class RedirectRegex:
    """Sends requests whose whole URL matches to another URL."""

    phase: ClassVar[Phase] = Phase.ACCESS
    pattern: re.Pattern[str]
    replacement: str
    permanent: bool

    def request(self, call: Call) -> Answer | None:
        url = f"{call.scheme}://{call.host}{call.uri}"
        new = self.pattern.sub(self.replacement, url)
        return None if new == url else _go(301 if self.permanent else 302, call, new, "middleware redirectRegex")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket of `burst` tokens for each caller, filled at `rate` a second."""

    phase: ClassVar[Phase] = Phase.ACCESS
    key: Key
    rate: float
    burst: int

    def request(self, call: Call) -> Answer | None:
        buckets: dict[str, tuple[float, float]] = call.state.setdefault(("middleware-rate", self.key), {})
        tokens, last = buckets.pop(call.remote, (float(self.burst), call.now))
        tokens = min(float(self.burst), tokens + (call.now - last) * self.rate)
        if tokens < 1:
            buckets[call.remote] = (tokens, call.now)
            wait = (1 - tokens) / self.rate
            headers = (("Retry-After", f"{wait:.0f}"), ("X-Retry-In", f"{wait:.3f}s"))
            return Answer(429, "middleware rateLimit", headers, ("text/plain; charset=utf-8", "Too Many Requests"))
        buckets[call.remote] = (tokens - 1, call.now)
        if len(buckets) > _CALLERS:
            del buckets[next(iter(buckets))]
        return None


@dataclass(frozen=True, slots=True)
class SetHeaders:
    """The headers middleware: an empty value removes."""

    phase: ClassVar[Phase] = Phase.ACCESS
    asked: Mapping[str, str]
    answered: Mapping[str, str]

    def request(self, call: Call) -> None:
        call.request_headers.update(self.asked)

    def response(self, call: Call, status: int, headers: Headers) -> None:
        gone = {name.lower() for name in self.answered}
        headers[:] = [each for each in headers if each[0].lower() not in gone]
        headers += ((name, value) for name, value in self.answered.items() if value)


@dataclass(frozen=True, slots=True)
class RemoveAuthorization:
    """basicAuth's removeHeader: the service doesn't see the password."""

    phase: ClassVar[Phase] = Phase.ACCESS

    def request(self, call: Call) -> None:
        call.request_headers["Authorization"] = ""


@dataclass(frozen=True, slots=True)
class ForwardAuth:
    """Asks another server; what it answers but 2xx is the caller's answer."""

    phase: ClassVar[Phase] = Phase.ACCESS
    address: str
    copied: tuple[str, ...]

    def request(self, call: Call) -> Subrequest:
        told = {
            "X-Forwarded-Method": call.method,
            "X-Forwarded-Proto": call.scheme,
            "X-Forwarded-Host": call.host,
            "X-Forwarded-Uri": call.uri,
            "X-Forwarded-For": call.remote,
        }
        skipped = {"host", "content-length", "transfer-encoding", "connection", *map(str.lower, told)}
        headers = [each for each in call.headers.items() if each[0].lower() not in skipped]

        def failed(status: int, answer: Mapping[str, str]) -> Answer:
            passed = [(name, answer[name]) for name in ("Location", "WWW-Authenticate") if name in answer]
            return Answer(status or 500, f"middleware forwardAuth: {self.address} says {status or 'nothing'}", passed)

        return Subrequest(self.address, [*headers, *told.items()], "GET", self.copied, failed)


class Missing:
    """A router whose middleware can't be built is not there at all."""

    phase: ClassVar[Phase] = Phase.SERVER

    def __init__(self, why: str) -> None:
        self._why = why

    def request(self, call: Call) -> Answer:
        return Answer(404, self._why)


# Reading


def apply(draft: Draft, key: Key, above: Sequence[Key] = ()) -> None:
    """Add a Middleware to what happens to a router's requests."""
    draft.references.add((RESOURCE, key))
    found = draft.sources.get(RESOURCE, key)
    why = ""
    if found is None:
        why = f'middleware "{key.namespace}-{key.name}@kubernetescrd" does not exist'
    elif key in above:
        why = f"middleware chain goes round in circles at {key}"
    if found is None or why:
        draft.problems.append(f"{why}: its router answers 404")
        draft.filters.append(Missing(why))
        return
    for name, spec in meta.spec(found).items():
        if name == "chain":
            for each in spec.get("middlewares") or ():
                apply(draft, Key(each.get("namespace") or key.namespace, str(each["name"])), (*above, key))
        elif (read := _READERS.get(name)) is not None:
            try:
                read(draft, key, spec)
            except (LookupError, TypeError, ValueError, re.error) as error:
                draft.problems.append(f"Middleware {key}: {name}: {error}; its router answers 404")
                draft.filters.append(Missing(f"middleware {key} is malformed"))
        elif name not in _HARMLESS:
            draft.unknown.append(f"Middleware {key}: {name} is not emulated and has no effect")


def _go_template(text: str) -> str:
    r"""Return Go's `$1` and `${name}` as Python's `\g<1>`."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: rf"\g<{m[1] or m[2]}>", text.replace("\\", r"\\"))


def duration(text: object) -> float:
    """Return seconds of a Go duration (`10s`, `1m30s`) or a number of nanoseconds; ValueError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", str(text))
    if not parts or "".join(map("".join, parts)) != str(text):
        raise ValueError(f"{text!r} is no duration")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _strip(draft: Draft, key: Key, spec: _Spec) -> None:
    prefixes = [str(each) for each in spec["prefixes"]]

    def change(path: str) -> tuple[str, str]:
        found = next((each for each in prefixes if path.startswith(each)), "")
        return path[len(found) :], found

    draft.filters.append(RewritePath(change, "X-Forwarded-Prefix"))


def _strip_regex(draft: Draft, key: Key, spec: _Spec) -> None:
    patterns = [re.compile(str(each)) for each in spec["regex"]]

    def change(path: str) -> tuple[str, str]:
        found = next((m[0] for each in patterns if (m := each.match(path))), "")
        return path[len(found) :], found

    draft.filters.append(RewritePath(change, "X-Forwarded-Prefix"))


def _add_prefix(draft: Draft, key: Key, spec: _Spec) -> None:
    prefix = str(spec["prefix"])
    draft.filters.append(RewritePath(lambda path: (prefix + path, "")))


def _replace_path(draft: Draft, key: Key, spec: _Spec) -> None:
    new = str(spec["path"])
    draft.filters.append(RewritePath(lambda path: (new, path), "X-Replaced-Path"))


def _replace_regex(draft: Draft, key: Key, spec: _Spec) -> None:
    pattern, new = re.compile(str(spec["regex"])), _go_template(str(spec.get("replacement") or ""))
    draft.filters.append(RewritePath(lambda path: (pattern.sub(new, path), path), "X-Replaced-Path"))


def _redirect_scheme(draft: Draft, key: Key, spec: _Spec) -> None:
    draft.filters.append(
        RedirectScheme(str(spec["scheme"]).lower(), str(spec.get("port") or ""), bool(spec.get("permanent")))
    )


def _redirect_regex(draft: Draft, key: Key, spec: _Spec) -> None:
    draft.filters.append(
        RedirectRegex(re.compile(spec["regex"]), _go_template(spec["replacement"]), bool(spec.get("permanent")))
    )


def _basic_auth(draft: Draft, key: Key, spec: _Spec) -> None:
    name = Key(key.namespace, str(spec["secret"]))
    draft.references.add(("secrets", name))
    found = draft.sources.get("secrets", name)
    if found is None:
        raise ValueError(f"Secret {name} does not exist")
    data = {k: base64.b64decode(v).decode() for k, v in (found.get("data") or {}).items()}
    if found.get("type") == "kubernetes.io/basic-auth":
        users = {data["username"]: "{PLAIN}" + data["password"]}
    else:
        lines = [line.strip().partition(":") for line in data["users"].splitlines()]
        users = {user: value for user, colon, value in lines if colon}
    draft.filters.append(BasicAuth(key, str(spec.get("realm") or "traefik"), users))
    if spec.get("removeHeader"):
        draft.filters.append(RemoveAuthorization())


def _allow(draft: Draft, key: Key, spec: _Spec) -> None:
    networks = tuple(ip_network(str(each), strict=False) for each in spec["sourceRange"])
    draft.filters.append(AllowSources("ipAllowList", networks))


def _rate(draft: Draft, key: Key, spec: _Spec) -> None:
    if average := float(spec.get("average") or 0):
        per_second = average / duration(spec.get("period") or "1s")
        draft.filters.append(RateLimit(key, per_second, int(spec.get("burst") or 1)))


def _in_flight(draft: Draft, key: Key, spec: _Spec) -> None:
    draft.filters.append(LimitConnections(key, int(spec["amount"]), 429, "middleware inFlightReq"))


def _headers(draft: Draft, key: Key, spec: _Spec) -> None:
    answered = {name: str(value) for name, value in (spec.get("customResponseHeaders") or {}).items()}
    for field, (name, value) in _SECURITY.items():
        if spec.get(field):
            answered[name] = value or str(spec[field])
    if seconds := spec.get("stsSeconds"):
        ends = (("stsIncludeSubdomains", "; includeSubDomains"), ("stsPreload", "; preload"))
        answered["Strict-Transport-Security"] = f"max-age={seconds}" + "".join(e for f, e in ends if spec.get(f))
    asked = {name: str(value) for name, value in (spec.get("customRequestHeaders") or {}).items()}
    made = SetHeaders(asked, answered)
    draft.filters.append(made)
    draft.response_filters.append(made)
    for field in spec:
        if field not in {"customRequestHeaders", "customResponseHeaders", *_SECURITY} and not field.startswith("sts"):
            draft.unknown.append(f"Middleware {key}: headers.{field} is not emulated and has no effect")


def _forward_auth(draft: Draft, key: Key, spec: _Spec) -> None:
    copied = tuple(str(each) for each in spec.get("authResponseHeaders") or ())
    draft.filters.append(ForwardAuth(str(spec["address"]), copied))


def _buffering(draft: Draft, key: Key, spec: _Spec) -> None:
    if limit := spec.get("maxRequestBodyBytes"):
        draft.set(body_size=int(limit))


def _retry(draft: Draft, key: Key, spec: _Spec) -> None:
    draft.set(tries=int(spec["attempts"]))


_SECURITY = {
    "frameDeny": ("X-Frame-Options", "DENY"),
    "customFrameOptionsValue": ("X-Frame-Options", ""),
    "contentTypeNosniff": ("X-Content-Type-Options", "nosniff"),
    "browserXssFilter": ("X-XSS-Protection", "1; mode=block"),
    "customBrowserXSSValue": ("X-XSS-Protection", ""),
    "contentSecurityPolicy": ("Content-Security-Policy", ""),
    "referrerPolicy": ("Referrer-Policy", ""),
    "permissionsPolicy": ("Permissions-Policy", ""),
}
"""Field → header and its value; "" is the field's own."""
_READERS: Mapping[str, Callable[[Draft, Key, _Spec], None]] = {
    "addPrefix": _add_prefix,
    "basicAuth": _basic_auth,
    "buffering": _buffering,
    "forwardAuth": _forward_auth,
    "headers": _headers,
    "inFlightReq": _in_flight,
    "ipAllowList": _allow,
    "ipWhiteList": _allow,
    "rateLimit": _rate,
    "redirectRegex": _redirect_regex,
    "redirectScheme": _redirect_scheme,
    "replacePath": _replace_path,
    "replacePathRegex": _replace_regex,
    "retry": _retry,
    "stripPrefix": _strip,
    "stripPrefixRegex": _strip_regex,
}
