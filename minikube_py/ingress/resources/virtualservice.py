"""Istio's Gateway and VirtualService, as far as its ingress gateway is concerned.

    Gateway server (hosts, protocol, TLS) ─► VirtualServices that name it ─► http routes, in their order

Ports 80 and 8080 are the gateway's HTTP, 443 and 8443 its HTTPS (its Service's ports and its pods'). Left out: the mesh
(routing between pods, subsets and traffic policies of DestinationRules, ServiceEntries), TCP and TLS routes, mutual
TLS, delays and delegates; each is reported.
Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.flavors.flavor import HTTPSRedirect
from minikube_py.ingress.gateway.filters import CORS, RequestHeaders, ResponseHeaders
from minikube_py.ingress.gateway.listeners import intersect
from minikube_py.ingress.options import Answer, Call, Mirror, Phase
from minikube_py.ingress.resources.middleware import duration
from minikube_py.ingress.resources.routes import Asked, Custom, Route, age, location, shares
from minikube_py.ingress.router import BackendKey, Location

__all__ = ["GATEWAYS", "VIRTUAL_SERVICES", "compile_routes"]

GATEWAYS = "gateways.networking.istio.io"
VIRTUAL_SERVICES = "virtualservices.networking.istio.io"
_LABELS = {"app": "istio-ingressgateway", "istio": "ingressgateway"}
_NAMESPACE = "istio-system"
_PORTS = {80: False, 8080: False, 443: True, 8443: True}
"""Port of a Gateway's server → whether it is HTTPS."""
_Spec = Mapping[str, Any]
_ROUTE = (
    "corsPolicy", "directResponse", "fault", "headers", "match", "mirror", "mirrorPercentage", "name", "redirect",
    "retries", "rewrite", "route", "timeout",
)  # fmt: skip
_MATCH = (
    "authority", "headers", "ignoreUriCase", "method", "name", "port", "queryParams", "scheme", "uri", "withoutHeaders",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a Gateway."""

    hosts: tuple[str, ...]
    """"" is any."""
    secure: bool
    redirects: bool


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The path's beginning, all of it, or what an expression finds in it."""

    phase: ClassVar[Phase] = Phase.REWRITE
    change: Callable[[str], str]

    def request(self, call: Call) -> None:
        call.target = self.change(call.path) + (f"?{call.query}" if call.query else "")


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another URL, of which anything not given stays."""

    phase: ClassVar[Phase] = Phase.REDIRECT
    spec: _Spec

    def request(self, call: Call) -> Answer:
        spec = self.spec
        scheme = str(spec.get("scheme") or call.scheme)
        host = str(spec.get("authority") or (call.host.partition(":")[0] if spec.get("scheme") else call.host))
        port = f":{spec['port']}" if spec.get("port") else ""
        uri = str(spec.get("uri") or call.path) + (f"?{call.query}" if call.query else "")
        url = f"{scheme}://{host.partition(':')[0] if port else host}{port}{uri}"
        return Answer(int(spec.get("redirectCode") or 301), "VirtualService redirect", (("Location", url),))


@dataclass(frozen=True, slots=True)
class Respond:
    """directResponse, and fault.abort for a part of the requests."""

    phase: ClassVar[Phase] = Phase.ACCESS
    status: int
    body: str
    share: float = 1.0

    def request(self, call: Call) -> Answer | None:
        drawn = int(call.request_id[-8:] or "0", 16) / 2**32 if re.fullmatch(r"[0-9a-f-]+", call.request_id) else 0.0
        if drawn >= self.share:
            return None
        return Answer(self.status, "VirtualService: no service is asked", content=("text/plain", self.body))


def compile_routes(custom: Custom) -> None:
    """Compile all VirtualServices that belong to a Gateway of the ingress gateway."""
    servers: dict[Key, list[Server]] = {}
    custom.each(GATEWAYS, lambda obj: _gateway(custom, obj, servers))
    custom.each(VIRTUAL_SERVICES, lambda obj: _virtual_service(custom, obj, servers))


def _gateway(custom: Custom, obj: Object, found: dict[Key, list[Server]]) -> None:
    spec = meta.spec(obj)
    selector = spec.get("selector") or {}
    if any(_LABELS.get(name) != value for name, value in selector.items()):
        labels = ", ".join(f"{k}={v}" for k, v in selector.items())
        custom.problem(GATEWAYS, obj, f"no gateway's pods have the labels {labels}: it has no effect")
        return
    servers = found.setdefault(meta.key(obj), [])
    for index, server in enumerate(spec.get("servers") or ()):
        number = int((server.get("port") or {}).get("number") or 0)
        at = f"spec.servers[{index}]"
        if number not in _PORTS:
            custom.problem(GATEWAYS, obj, f"{at}: the gateway's Service has no port {number} (80 and 443): no effect")
            continue
        hosts = tuple(str(each).rpartition("/")[2].lower() for each in server.get("hosts") or ())
        tls = server.get("tls") or {}
        mode = tls.get("mode") or "SIMPLE"
        if _PORTS[number] and mode != "SIMPLE":
            custom.problem(GATEWAYS, obj, f"{at}.tls.mode {mode} is not emulated and has no effect")
        if secret := tls.get("credentialName"):
            for host in hosts:
                name = "" if host == "*" else host
                custom.certificates.setdefault(name, (meta.key(obj), Key(_NAMESPACE, secret)))
        redirects = bool(tls.get("httpsRedirect"))
        servers.append(Server(tuple("" if each == "*" else each for each in hosts), _PORTS[number], redirects))


def _virtual_service(custom: Custom, obj: Object, found: Mapping[Key, list[Server]]) -> None:
    spec = meta.spec(obj)
    custom.unknown(VIRTUAL_SERVICES, obj, "spec.", spec, ("exportTo", "gateways", "hosts", "http"))
    servers: list[Server] = []
    for each in spec.get("gateways") or ("mesh",):
        namespace, _, name = str(each).rpartition("/")
        key = Key(namespace or meta.namespace(obj), name)
        if each == "mesh":
            custom.problem(VIRTUAL_SERVICES, obj, "gateway mesh: routing between pods is not emulated: no effect there")
        elif key not in found:
            custom.problem(VIRTUAL_SERVICES, obj, f"Gateway {key} does not exist, or has no effect here")
        else:
            servers += found[key]
    wanted = ["" if each == "*" else str(each).lower() for each in spec.get("hosts") or ()]
    for server in servers:
        hosts = {common for one in server.hosts for other in wanted if (common := intersect(one, other)) is not None}
        for index, route in enumerate(spec.get("http") or ()):
            for host in hosts:
                _route(custom, obj, index, route, host, server)


def _route(custom: Custom, obj: Object, index: int, spec: _Spec, host: str, server: Server) -> None:
    at = f"spec.http[{index}]."
    custom.unknown(VIRTUAL_SERVICES, obj, at, spec, _ROUTE)
    for number, match in enumerate(spec.get("match") or ({},)):
        custom.unknown(VIRTUAL_SERVICES, obj, f"{at}match[{number}].", match, _MATCH)
        takes, path = _matcher(match, server.secure)
        draft = custom.draft(obj)
        if server.redirects:
            draft.filters.append(HTTPSRedirect(301, "Gateway: httpsRedirect"))
        _settings(custom, obj, at, spec, match, draft)
        options = custom.settle(VIRTUAL_SERVICES, obj, draft)
        base = location(obj, host, path, options, None, "the route has no destination")
        weighted = [(_destination(custom, obj, at, each, base), int(each.get("weight") or 0)) for each in _routes(spec)]
        if len(weighted) == 1:
            weighted = [(weighted[0][0], 1)]
        main, choices = shares(weighted)
        custom.routes.append(Route(main or base, takes, (*age(obj), index, number), (host,), choices))


def _routes(spec: _Spec) -> list[_Spec]:
    return list(spec.get("route") or ())


def _destination(custom: Custom, obj: Object, at: str, spec: _Spec, base: Location) -> Location:
    target = spec.get("destination") or {}
    if target.get("subset"):
        custom.problem(VIRTUAL_SERVICES, obj, f"{at}route: subsets are not emulated: any pod of the Service is asked")
    backend = _backend(custom, obj, target)
    options = base.options
    if headers := spec.get("headers"):
        options = replace(
            options,
            filters=(*options.filters, *_request_headers(headers)),
            response_filters=(*options.response_filters, *_response_headers(headers)),
        )
    return replace(base, backend=backend, options=options, refused="")


def _backend(custom: Custom, obj: Object, target: _Spec) -> BackendKey:
    """Return what a destination means: `name`, or `name.namespace.svc.…`."""
    name, _, rest = str(target["host"]).partition(".")
    namespace = rest.partition(".")[0] or meta.namespace(obj)
    return custom.backend(obj, namespace, name, (target.get("port") or {}).get("number"))


def _settings(custom: Custom, obj: Object, at: str, spec: _Spec, match: _Spec, draft: Draft) -> None:
    if rewrite := spec.get("rewrite"):
        draft.filters.append(Rewrite(_rewrite(rewrite, match)))
        if authority := rewrite.get("authority"):
            draft.set(vhost=str(authority))
    if redirect := spec.get("redirect"):
        draft.filters.append(Redirect(redirect))
    if direct := spec.get("directResponse"):
        draft.filters.append(Respond(int(direct["status"]), str((direct.get("body") or {}).get("string") or "")))
    if fault := spec.get("fault"):
        if "delay" in fault:
            custom.problem(VIRTUAL_SERVICES, obj, f"{at}fault.delay is not emulated and has no effect")
        if abort := fault.get("abort"):
            share = (abort.get("percentage") or {}).get("value", 100.0) / 100
            draft.filters.append(Respond(int(abort["httpStatus"]), "fault filter abort", share))
    if target := spec.get("mirror"):
        share = (spec.get("mirrorPercentage") or {}).get("value", 100.0) / 100
        draft.set(mirrors=(Mirror(_backend(custom, obj, target), share),))
    if timeout := spec.get("timeout"):
        draft.set(read_timeout=duration(timeout))
    if retries := spec.get("retries"):
        draft.set(tries=int(retries.get("attempts") or 0) + 1)
    if headers := spec.get("headers"):
        draft.filters += _request_headers(headers)
        draft.response_filters += _response_headers(headers)
    if cors := spec.get("corsPolicy"):
        origins = [each.get("exact") or each.get("prefix", "") + "*" for each in cors.get("allowOrigins") or ()]
        age = int(duration(cors["maxAge"])) if cors.get("maxAge") else None
        made = CORS({**cors, "allowOrigins": origins, "maxAge": age})
        draft.filters.append(made)
        draft.response_filters.append(made)


def _rewrite(spec: _Spec, match: _Spec) -> Callable[[str], str]:
    if (by := spec.get("uriRegexRewrite")) is not None:
        pattern = re.compile(str(by["match"]))
        return lambda path: pattern.sub(str(by["rewrite"]), path)
    new = spec.get("uri")
    prefix = (match.get("uri") or {}).get("prefix")
    if new is None:
        return lambda path: path
    if prefix is None and match.get("uri"):
        return lambda path: str(new)
    return lambda path: str(new) + path[len(prefix or "/") :]


def _request_headers(spec: _Spec) -> list[RequestHeaders]:
    return [RequestHeaders(_listed(spec["request"]))] if spec.get("request") else []


def _response_headers(spec: _Spec) -> list[ResponseHeaders]:
    return [ResponseHeaders(_listed(spec["response"]))] if spec.get("response") else []


def _listed(spec: _Spec) -> _Spec:
    """Return a map of headers as the Gateway API lists them."""
    return {
        **{kind: [{"name": n, "value": v} for n, v in (spec.get(kind) or {}).items()] for kind in ("set", "add")},
        "remove": spec.get("remove") or (),
    }


# Matching


def _text(spec: _Spec, *, ignore_case: bool = False) -> Callable[[str], bool]:
    """Read a StringMatch: exact, prefix or regex; an empty one takes anything that is there."""
    if "regex" in spec:
        pattern = re.compile(str(spec["regex"]), re.IGNORECASE if ignore_case else 0)
        return lambda text: pattern.fullmatch(text) is not None
    fold: Callable[[str], str] = str.lower if ignore_case else str
    if "exact" in spec:
        exact = fold(str(spec["exact"]))
        return lambda text: fold(text) == exact
    prefix = fold(str(spec.get("prefix") or ""))
    return lambda text: fold(text).startswith(prefix)


def _matcher(spec: _Spec, secure: bool) -> tuple[Callable[[Asked], bool], str]:
    """Return what decides whether a request fits one match, and the path that it names."""
    uri = spec.get("uri") or {}
    path_fits = _text(uri, ignore_case=bool(spec.get("ignoreUriCase")))
    method = _text(spec.get("method") or {})
    authority = _text(spec.get("authority") or {})
    scheme = _text(spec.get("scheme") or {})
    wanted = [(name, _text(each or {})) for name, each in (spec.get("headers") or {}).items()]
    unwanted = [(name, _text(each or {})) for name, each in (spec.get("withoutHeaders") or {}).items()]
    arguments = [(name, _text(each or {})) for name, each in (spec.get("queryParams") or {}).items()]

    def takes(asked: Asked) -> bool:
        return (
            asked.secure is secure
            and path_fits(asked.path)
            and method(asked.method)
            and authority(asked.host)
            and scheme("https" if asked.secure else "http")
            and all((found := asked.headers.get(name)) is not None and fits(found) for name, fits in wanted)
            and not any((found := asked.headers.get(name)) is not None and fits(found) for name, fits in unwanted)
            and all((found := asked.query.get(name)) is not None and fits(found) for name, fits in arguments)
        )

    return takes, str(uri.get("prefix") or uri.get("exact") or uri.get("regex") or "/")
