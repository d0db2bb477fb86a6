"""The filters of HTTPRoute rules and their backends as settings of a location. Pure.

RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect, URLRewrite, RequestMirror (without bodies), CORS.
Left out: ExtensionRef, whose requests are answered 500, as the API demands.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

from minikube_py.ingress.options import Answer, Call, Filter, Headers, Mirror, Options, Phase, ResponseFilter
from minikube_py.ingress.router import BackendKey

__all__ = ["read_filters"]

_Spec = Mapping[str, Any]

_OURS = frozenset({"host", "connection", "content-length", "te", "trailer", "transfer-encoding", "upgrade"})
"""What the connections themselves need: a filter that could set these would let bodies pass for requests."""


def _path(spec: _Spec, call: Call) -> str:
    """Return the request's path after a ReplaceFullPath or ReplacePrefixMatch."""
    if spec.get("type") == "ReplaceFullPath":
        return str(spec.get("replaceFullPath") or "/")
    if spec.get("type") == "ReplacePrefixMatch":
        path = call.path
        if call.normalized not in ("", path):  # encoded, or with dot segments that would lead out of the new prefix
            path = quote(call.normalized, safe="/:@!$&'()*+,;=~", errors="surrogateescape")
        rest = path[len(call.rule_path.rstrip("/")) :]
        return str(spec.get("replacePrefixMatch") or "").rstrip("/") + rest or "/"
    return call.path


class RequestHeaders:
    """RequestHeaderModifier."""

    phase: ClassVar[Phase] = Phase.UPSTREAM
    stateless: ClassVar[bool] = True

    def __init__(self, spec: _Spec) -> None:
        self._set = _pairs(spec.get("set"))
        self._add = _pairs(spec.get("add"))
        self._remove = tuple(name for name in spec.get("remove") or () if name.lower() not in _OURS)

    def request(self, call: Call) -> Answer | None:
        given = call.request_headers
        names = {name.lower(): name for name in given}  # what an earlier filter has set

        def put(name: str, value: str) -> None:
            given[names.setdefault(name.lower(), name)] = value

        for name, value in self._set:
            put(name, value)
        for name, value in self._add:
            known = names.get(name.lower())
            before = given[known] if known is not None else call.headers.get(name)
            put(name, f"{before},{value}" if before else value)
        for name in self._remove:
            put(name, "")
        return None


class ResponseHeaders:
    """ResponseHeaderModifier."""

    def __init__(self, spec: _Spec) -> None:
        self._new = (*_pairs(spec.get("set")), *_pairs(spec.get("add")))
        gone = {str(name).lower() for name in spec.get("remove") or ()} - _OURS
        self._gone = gone | {name.lower() for name, _ in _pairs(spec.get("set"))}

    def response(self, call: Call, status: int, headers: Headers) -> None:
        headers[:] = [each for each in headers if each[0].lower() not in self._gone]
        headers += self._new


def _pairs(specs: Iterable[_Spec] | None) -> tuple[tuple[str, str], ...]:
    return tuple((each["name"], str(each["value"])) for each in specs or () if each["name"].lower() not in _OURS)


class Redirect:
    """RequestRedirect.

    The port is the filter's, else that of the new scheme, else the listener's. A caller from outside who came by a port
    that was moved up (80 → 20080, where ordinary users can't bind 80) is sent to ports that are moved as much.
    """

    phase: ClassVar[Phase] = Phase.REDIRECT
    stateless: ClassVar[bool] = True

    def __init__(self, spec: _Spec) -> None:
        self._spec = spec

    def request(self, call: Call) -> Answer | None:
        spec = self._spec
        name, colon, came = call.host.rpartition(":")
        name, came = (name, came) if colon and came.isdigit() else (call.host, "")
        usual = {"http": 80, "https": 443}
        scheme = str(spec.get("scheme") or call.scheme)
        port = int(spec.get("port") or (usual[scheme] if spec.get("scheme") else call.port or usual[scheme]))
        moved = call.https_port - 443
        if moved and came == str(call.port + moved) and port < 1024:
            port += moved
        at = "" if port == usual[scheme] else f":{port}"
        query = f"?{call.query}" if call.query else ""
        url = f"{scheme}://{spec.get('hostname') or name}{at}{_path(spec.get('path') or {}, call)}{query}"
        return Answer(int(spec.get("statusCode") or 302), "filter RequestRedirect", (("Location", url),))


class Rewrite:
    """URLRewrite's path; its hostname is `Options.vhost`."""

    phase: ClassVar[Phase] = Phase.REWRITE
    stateless: ClassVar[bool] = True

    def __init__(self, spec: _Spec) -> None:
        self._spec = spec

    def request(self, call: Call) -> Answer | None:
        call.target = _path(self._spec, call) + (f"?{call.query}" if call.query else "")
        return None


class CORS:
    """CORS: preflights are answered here, other answers get the headers. Source: https://fetch.spec.whatwg.org/#http-cors"""

    phase: ClassVar[Phase] = Phase.ACCESS
    stateless: ClassVar[bool] = True

    def __init__(self, spec: _Spec) -> None:
        origins = [str(each) for each in spec.get("allowOrigins") or ()]
        self._origins = re.compile("|".join(re.escape(each).replace(r"\*", ".*") for each in origins), re.IGNORECASE)
        self._credentials = bool(spec.get("allowCredentials"))
        self._methods = [str(each) for each in spec.get("allowMethods") or ()]
        self._headers = [str(each) for each in spec.get("allowHeaders") or ()]
        self._exposed = [str(each) for each in spec.get("exposeHeaders") or ()]
        self._age = int(spec.get("maxAge") or 5)

    def _common(self, call: Call) -> Headers:
        origin = call.headers.get("Origin", "")
        if not origin or self._origins.fullmatch(origin) is None:
            return []
        found = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        if self._credentials:
            found.append(("Access-Control-Allow-Credentials", "true"))
        if self._exposed:
            found.append(("Access-Control-Expose-Headers", ", ".join(self._exposed)))
        return found

    def request(self, call: Call) -> Answer | None:
        asked = call.headers.get("Access-Control-Request-Method")
        if call.method != "OPTIONS" or not asked or "Origin" not in call.headers:
            return None
        found: Headers = []
        if self._common(call):  # the answer's own half adds them
            found.append(("Access-Control-Allow-Methods", asked if "*" in self._methods else ", ".join(self._methods)))
            names = call.headers.get("Access-Control-Request-Headers", "") if "*" in self._headers else None
            if allowed := ", ".join(self._headers) if names is None else names:
                found.append(("Access-Control-Allow-Headers", allowed))
            found.append(("Access-Control-Max-Age", str(self._age)))
        return Answer(200, "filter CORS", found, ("text/plain", ""))

    def response(self, call: Call, status: int, headers: Headers) -> None:
        ours = self._common(call)
        names = {name.lower() for name, _ in ours if name != "Vary"}
        headers[:] = [each for each in headers if each[0].lower() not in names]
        headers += ours


class Unknown:
    """A filter that can't be applied: the API forbids to skip it."""

    phase: ClassVar[Phase] = Phase.SERVER
    stateless: ClassVar[bool] = True

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def request(self, call: Call) -> Answer | None:
        return Answer(500, f"filter {self._kind} is not supported")


def read_filters(specs: Iterable[_Spec], before: Options, backend: Callable[[_Spec], BackendKey | None]) -> Options:
    """Return the settings with these filters after those that are there; `backend` resolves a mirror's backendRef."""
    filters: list[Filter] = [*before.filters]
    answers: list[ResponseFilter] = [*before.response_filters]
    mirrors = [*before.mirrors]
    vhost = before.vhost
    for spec in specs:
        match spec.get("type"):
            case "RequestHeaderModifier":
                filters.append(RequestHeaders(spec.get("requestHeaderModifier") or {}))
            case "ResponseHeaderModifier":
                answers.append(ResponseHeaders(spec.get("responseHeaderModifier") or {}))
            case "RequestRedirect":
                filters.append(Redirect(spec.get("requestRedirect") or {}))
            case "URLRewrite":
                rewrite = spec.get("urlRewrite") or {}
                vhost = str(rewrite.get("hostname") or vhost)
                if rewrite.get("path"):
                    filters.append(Rewrite(rewrite["path"]))
            case "RequestMirror":
                mirror = spec.get("requestMirror") or {}
                if (key := backend(mirror.get("backendRef") or {})) is not None:
                    mirrors.append(Mirror(key, _share(mirror)))
            case "CORS":
                cors = CORS(spec.get("cors") or {})
                filters.append(cors)
                answers.append(cors)
            case kind:
                filters.append(Unknown(str(kind)))
    return replace(before, filters=tuple(filters), response_filters=tuple(answers), mirrors=tuple(mirrors), vhost=vhost)


def _share(mirror: _Spec) -> float:
    if (fraction := mirror.get("fraction")) is not None:
        return int(fraction["numerator"]) / int(fraction.get("denominator") or 100)
    percent = mirror.get("percent")
    return 1.0 if percent is None else int(percent) / 100
