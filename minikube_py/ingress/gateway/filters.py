"""The filters of HTTPRoute rules as settings of a location. Pure.

RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect, URLRewrite, RequestMirror; ExtensionRef is left out.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from minikube_py.ingress.options import Answer, Call, Filter, Headers, Options, Phase, ResponseFilter

__all__ = ["read_filters"]

_Spec = Mapping[str, Any]


def _path(spec: _Spec, call: Call) -> str:
    """Return the request's path after a ReplaceFullPath or ReplacePrefixMatch."""
    if spec.get("type") == "ReplaceFullPath":
        return str(spec.get("replaceFullPath") or "/")
    if spec.get("type") == "ReplacePrefixMatch":
        rest = call.path[len(call.rule_path.rstrip("/")) :].lstrip("/")
        new = str(spec.get("replacePrefixMatch") or "").rstrip("/")
        return f"{new}/{rest}" if rest or not new else new
    return call.path


class RequestHeaders:
    """RequestHeaderModifier."""

    phase: ClassVar[Phase] = Phase.UPSTREAM

    def __init__(self, spec: _Spec) -> None:
        self._spec = spec

    def request(self, call: Call) -> Answer | None:
        for each in self._spec.get("set") or ():
            call.request_headers[each["name"]] = str(each["value"])
        for each in self._spec.get("add") or ():
            before = call.headers.get(each["name"])
            call.request_headers[each["name"]] = f"{before},{each['value']}" if before else str(each["value"])
        for name in self._spec.get("remove") or ():
            call.request_headers[name] = ""
        return None


class ResponseHeaders:
    """ResponseHeaderModifier."""

    def __init__(self, spec: _Spec) -> None:
        self._spec = spec

    def response(self, call: Call, status: int, headers: Headers) -> None:
        gone = {str(name).lower() for name in self._spec.get("remove") or ()}
        gone |= {each["name"].lower() for each in self._spec.get("set") or ()}
        headers[:] = [each for each in headers if each[0].lower() not in gone]
        for kind in ("set", "add"):
            headers += ((each["name"], str(each["value"])) for each in self._spec.get(kind) or ())


class Redirect:
    """RequestRedirect."""

    phase: ClassVar[Phase] = Phase.REDIRECT

    def __init__(self, spec: _Spec) -> None:
        self._spec = spec

    def request(self, call: Call) -> Answer | None:
        spec = self._spec
        name, colon, came = call.host.rpartition(":")
        name, came = (name, came) if colon and came.isdigit() else (call.host, "")
        scheme = spec.get("scheme") or call.scheme
        port = str(spec.get("port") or "")
        if not port:
            port = "" if spec.get("scheme") else came  # a scheme brings its own port
        if scheme == "https" and call.scheme == "http" and came and not spec.get("port"):
            port = str(call.https_port)
        at = f":{port}" if port and port != {"http": "80", "https": "443"}.get(scheme) else ""
        query = f"?{call.query}" if call.query else ""
        url = f"{scheme}://{spec.get('hostname') or name}{at}{_path(spec.get('path') or {}, call)}{query}"
        return Answer(int(spec.get("statusCode") or 302), "filter RequestRedirect", (("Location", url),))


class Rewrite:
    """URLRewrite's path; its hostname is `Options.vhost`."""

    phase: ClassVar[Phase] = Phase.REWRITE

    def __init__(self, spec: _Spec) -> None:
        self._spec = spec

    def request(self, call: Call) -> Answer | None:
        call.target = _path(self._spec, call) + (f"?{call.query}" if call.query else "")
        return None


class Unknown:
    """A filter that can't be applied: the API forbids to skip it."""

    phase: ClassVar[Phase] = Phase.SERVER

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def request(self, call: Call) -> Answer | None:
        return Answer(500, f"filter {self._kind} is not supported")


def read_filters(specs: Iterable[_Spec], defaults: Options, address: Callable[[_Spec], str]) -> Options:
    """Return the settings; `address` gives `ip:port` of a mirror's backendRef, or ""."""
    filters: list[Filter] = []
    answers: list[ResponseFilter] = []
    changes: dict[str, Any] = {}
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
                if rewrite.get("hostname"):
                    changes["vhost"] = str(rewrite["hostname"])
                if rewrite.get("path"):
                    filters.append(Rewrite(rewrite["path"]))
            case "RequestMirror":
                if found := address((spec.get("requestMirror") or {}).get("backendRef") or {}):
                    changes["mirror"] = f"http://{found}$request_uri"
            case kind:
                filters.append(Unknown(str(kind)))
    return replace(defaults, filters=tuple(filters), response_filters=tuple(answers), **changes)
