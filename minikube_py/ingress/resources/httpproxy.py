"""Contour's HTTPProxy: a virtual host, its routes, and what it includes of other HTTPProxies.

Of a host's routes the exact path wins, then expressions, then the longest prefix (of the text), each with more headers
and arguments first. A host with TLS sends HTTP to HTTPS unless a route permits it. Left out: tcpproxy, TLS passthrough,
client certificates, external authentication, health checks, global rate limits, cookie rewriting; each is reported.
Source: https://projectcontour.io/docs/1.30/config/api/
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any, ClassVar

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.annotations.affinity import Stick, stick
from minikube_py.ingress.annotations.denylist_source_range import DenySources
from minikube_py.ingress.annotations.whitelist_source_range import AllowSources
from minikube_py.ingress.flavors.flavor import HTTPSRedirect
from minikube_py.ingress.gateway.filters import CORS, Redirect, RequestHeaders, ResponseHeaders
from minikube_py.ingress.options import Answer, Call, Filter, Mirror, Phase
from minikube_py.ingress.resources.middleware import RateLimit, duration
from minikube_py.ingress.resources.routes import Asked, Custom, Route, age, location, shares
from minikube_py.ingress.router import Location

__all__ = ["RESOURCE", "compile_routes", "status_of"]

RESOURCE = "httpproxies.projectcontour.io"
_Spec = Mapping[str, Any]
_ROUTE = (
    "conditions", "corsPolicy", "directResponsePolicy", "enableWebsockets", "ipAllowPolicy", "ipDenyPolicy",
    "loadBalancerPolicy", "pathRewritePolicy", "permitInsecure", "rateLimitPolicy", "requestHeadersPolicy",
    "requestRedirectPolicy", "responseHeadersPolicy", "retryPolicy", "services", "timeoutPolicy",
)  # fmt: skip
_HOST = ("corsPolicy", "fqdn", "ipAllowPolicy", "ipDenyPolicy", "rateLimitPolicy", "tls")
_SERVICE = ("mirror", "name", "port", "protocol", "requestHeadersPolicy", "responseHeadersPolicy", "weight")
_UNITS = {"second": 1, "minute": 60, "hour": 3600}


@dataclass(frozen=True, slots=True)
class ReplacePrefix:
    """pathRewritePolicy: the first of the prefixes that the path begins with is replaced."""

    phase: ClassVar[Phase] = Phase.REWRITE
    pairs: tuple[tuple[str, str], ...]

    def request(self, call: Call) -> None:
        for prefix, new in self.pairs:
            if call.path.startswith(prefix):
                rest = call.path[len(prefix) :]
                path = new.rstrip("/") + "/" + rest.lstrip("/") if rest.lstrip("/") else (new or "/")
                call.target = path + (f"?{call.query}" if call.query else "")
                return


@dataclass(frozen=True, slots=True)
class Respond:
    """directResponsePolicy."""

    phase: ClassVar[Phase] = Phase.REDIRECT
    status: int
    body: str

    def request(self, call: Call) -> Answer:
        return Answer(self.status, "HTTPProxy directResponsePolicy", content=("text/plain", self.body))


def compile_routes(custom: Custom) -> None:
    """Compile the HTTPProxies that have a virtual host, with all that they include."""
    by_host: dict[str, list[Key]] = {}
    for key, obj in custom.sources.all(RESOURCE).items():
        if fqdn := (meta.spec(obj).get("virtualhost") or {}).get("fqdn"):
            by_host.setdefault(str(fqdn).lower(), []).append(key)
    included: set[Key] = set()

    def compile_one(obj: Object) -> None:
        host = meta.spec(obj).get("virtualhost") or {}
        if not (fqdn := str(host.get("fqdn") or "").lower()):
            return
        if len(by_host[fqdn]) > 1:
            names = ", ".join(sorted(map(str, by_host[fqdn])))
            custom.problem(RESOURCE, obj, f'fqdn "{fqdn}" is used in multiple HTTPProxies: {names}')
            return
        _Host(custom, obj, fqdn, included).compile()

    custom.each(RESOURCE, compile_one)
    for key, obj in custom.sources.all(RESOURCE).items():
        if not meta.spec(obj).get("virtualhost") and key not in included:
            custom.problem(RESOURCE, obj, _ORPHAN)


_ORPHAN = "this HTTPProxy is not part of a delegation chain from a root HTTPProxy"


class _Host:
    """One virtual host in the making."""

    def __init__(self, custom: Custom, root: Object, fqdn: str, included: set[Key]) -> None:
        self.custom = custom
        self.root = root
        self.fqdn = fqdn
        self.spec: _Spec = meta.spec(root)["virtualhost"]
        self.included = included
        self.secured = False

    def compile(self) -> None:
        self.custom.unknown(RESOURCE, self.root, "spec.virtualhost.", self.spec, _HOST)
        tls = self.spec.get("tls") or {}
        self.secured = bool(tls.get("secretName"))
        if secret := tls.get("secretName"):
            namespace, _, name = str(secret).rpartition("/")
            key = Key(namespace or meta.namespace(self.root), name)
            self.custom.certificates.setdefault(self.fqdn, (meta.key(self.root), key))
        self.custom.unknown(RESOURCE, self.root, "spec.virtualhost.tls.", tls, ("minimumProtocolVersion", "secretName"))
        self._proxy(self.root, [], ())

    def _proxy(self, obj: Object, conditions: Sequence[_Spec], above: Sequence[Key]) -> None:
        spec = meta.spec(obj)
        key = meta.key(obj)
        self.custom.unknown(RESOURCE, obj, "spec.", spec, ("includes", "ingressClassName", "routes", "virtualhost"))
        if key in above:
            self.custom.problem(RESOURCE, self.root, f"include creates an include cycle at {key}")
            return
        for include in spec.get("includes") or ():
            target = Key(include.get("namespace") or key.namespace, str(include["name"]))
            child = self.custom.sources.get(RESOURCE, target)
            if child is None:
                self.custom.problem(RESOURCE, obj, f"include {target} not found")
            elif meta.spec(child).get("virtualhost"):
                self.custom.problem(RESOURCE, obj, f"root httpproxy cannot delegate to another root httpproxy {target}")
            else:
                self.included.add(target)
                self._proxy(child, [*conditions, *(include.get("conditions") or ())], (*above, key))
        for index, route in enumerate(spec.get("routes") or ()):
            self._route(obj, index, route, [*conditions, *(route.get("conditions") or ())])

    def _route(self, obj: Object, index: int, spec: _Spec, conditions: Sequence[_Spec]) -> None:
        at = f"spec.routes[{index}]."
        self.custom.unknown(RESOURCE, obj, at, spec, _ROUTE)
        matched = _read(conditions)
        draft = self.custom.draft(obj)
        if self.secured and not spec.get("permitInsecure"):
            draft.filters.append(HTTPSRedirect(301, "HTTPProxy with TLS"))
        _settings(self.custom, obj, {**self.spec, **spec}, draft)
        services = [each for each in spec.get("services") or () if not each.get("mirror")]
        for each in spec.get("services") or ():
            self.custom.unknown(RESOURCE, obj, f"{at}services.", each, _SERVICE)
            if each.get("protocol") in ("tls", "h2", "h2c"):
                draft.set(protocol={"tls": "HTTPS", "h2": "GRPCS", "h2c": "GRPC"}[each["protocol"]])
            if each.get("mirror"):
                draft.set(mirrors=(Mirror(self._backend(obj, each), float(each.get("weight") or 100) / 100),))
        options = self.custom.settle(RESOURCE, obj, draft)
        base = location(obj, self.fqdn, matched.path, options, None, "the route has no service")
        weighted = [(self._service(obj, each, base), int(each.get("weight") or 0)) for each in services]
        if not any(weight for _, weight in weighted):
            weighted = [(each, 1) for each, _ in weighted]
        main, choices = shares(weighted)
        order = (*matched.order, *age(obj), index)
        self.custom.routes.append(Route(main or base, matched.takes, order, (self.fqdn,), choices))

    def _backend(self, obj: Object, spec: _Spec) -> Any:
        name, port = str(spec["name"]), spec.get("port")
        if self.custom.sources.get("services", Key(meta.namespace(obj), name)) is None:
            where = f"{meta.namespace(obj)}/{name}"
            self.custom.problem(RESOURCE, obj, f'Spec.Routes unresolved service reference: service "{where}" not found')
        return self.custom.backend(obj, meta.namespace(obj), name, port)

    def _service(self, obj: Object, spec: _Spec, base: Location) -> Location:
        options = base.options
        if (policy := spec.get("requestHeadersPolicy")) is not None:
            options = replace(options, filters=(*options.filters, RequestHeaders(policy)))
        if (policy := spec.get("responseHeadersPolicy")) is not None:
            options = replace(options, response_filters=(*options.response_filters, ResponseHeaders(policy)))
        return replace(base, backend=self._backend(obj, spec), options=options, refused="")


def _settings(custom: Custom, obj: Object, spec: _Spec, draft: Draft) -> None:
    if (policy := spec.get("requestHeadersPolicy")) is not None:
        draft.filters.append(RequestHeaders(policy))
        for each in policy.get("set") or ():
            if str(each["name"]).lower() == "host":
                draft.set(vhost=str(each["value"]))
    if (policy := spec.get("responseHeadersPolicy")) is not None:
        draft.response_filters.append(ResponseHeaders(policy))
    if pairs := (spec.get("pathRewritePolicy") or {}).get("replacePrefix"):
        found = [(str(each.get("prefix") or ""), str(each["replacement"])) for each in pairs]
        draft.filters.append(ReplacePrefix(tuple(sorted(found, key=lambda pair: -len(pair[0])))))
    if (to := spec.get("requestRedirectPolicy")) is not None:
        draft.filters.append(Redirect({**to, "path": _redirect_path(to)}))
    if (direct := spec.get("directResponsePolicy")) is not None:
        draft.filters.append(Respond(int(direct["statusCode"]), str(direct.get("body") or "")))
    if (limit := (spec.get("rateLimitPolicy") or {}).get("local")) is not None:
        rate = int(limit["requests"]) / _UNITS[limit["unit"]]
        draft.filters.append(RateLimit(meta.key(obj), rate, int(limit["requests"]) + int(limit.get("burst") or 0)))
    for field, make in _ADDRESSES.items():
        if rules := spec.get(field):
            draft.filters.append(make(tuple(ip_network(str(each["cidr"]), strict=False) for each in rules)))
    if (response := (spec.get("timeoutPolicy") or {}).get("response")) is not None:
        draft.set(read_timeout=86400.0 if response in ("infinity", "infinite") else duration(response))
    if (retry := spec.get("retryPolicy")) is not None:
        draft.set(tries=int(retry.get("count") or 1) + 1)
    match (spec.get("loadBalancerPolicy") or {}).get("strategy"):
        case "Cookie":
            stick(draft, Stick(name="X-Contour-Session-Affinity", path="/", secure=False))
        case None | "RoundRobin" | "Random" | "WeightedLeastRequest":
            pass  # pods are asked in turn
        case other:
            custom.problem(RESOURCE, obj, f"loadBalancerPolicy.strategy {other} is not emulated and has no effect")
    if (cors := spec.get("corsPolicy")) is not None:
        age_ = int(duration(cors["maxAge"])) if cors.get("maxAge") else None
        made = CORS({**cors, "allowOrigins": cors.get("allowOrigin"), "maxAge": age_})
        draft.filters.append(made)
        draft.response_filters.append(made)


_ADDRESSES: Mapping[str, Callable[[Any], Filter]] = {
    "ipAllowPolicy": lambda networks: AllowSources("ipAllowPolicy", networks),
    "ipDenyPolicy": DenySources,
}


def _redirect_path(spec: _Spec) -> _Spec:
    if spec.get("path"):
        return {"type": "ReplaceFullPath", "replaceFullPath": spec["path"]}
    return {"type": "ReplacePrefixMatch", "replacePrefixMatch": spec["prefix"]} if spec.get("prefix") else {}


# Conditions


@dataclass(frozen=True, slots=True)
class _Matched:
    takes: Callable[[Asked], bool]
    path: str
    order: tuple[int, ...]


def _read(conditions: Sequence[_Spec]) -> _Matched:
    """Combine conditions: prefixes are put together, all others must hold."""
    prefix = "".join(str(each["prefix"]).rstrip("/") for each in conditions if each.get("prefix"))
    if not prefix or str([e["prefix"] for e in conditions if e.get("prefix")][-1]).endswith("/"):
        prefix += "/"
    exact = next((str(each["exact"]) for each in conditions if each.get("exact")), None)
    regex = next((re.compile(str(each["regex"])) for each in conditions if each.get("regex")), None)
    headers = [_value(each["header"]) for each in conditions if each.get("header")]
    arguments = [_value(each["queryParameter"]) for each in conditions if each.get("queryParameter")]

    def path_fits(path: str) -> bool:
        if exact is not None:
            return path == exact
        return regex.fullmatch(path) is not None if regex is not None else path.startswith(prefix)

    def takes(asked: Asked) -> bool:
        return (
            path_fits(asked.path)
            and all(fits(asked.headers.get(name)) for name, fits in headers)
            and all(fits(asked.query.get(name)) for name, fits in arguments)
        )

    path = exact or (regex.pattern if regex is not None else prefix)
    kind = 0 if exact is not None else 1 if regex is not None else 2
    return _Matched(takes, path, (kind, -len(path), -len(headers), -len(arguments)))


def _value(spec: _Spec) -> tuple[str, Callable[[str | None], bool]]:
    """Read the condition on one header or argument."""
    ignoring = bool(spec.get("ignoreCase"))

    def fold(text: object) -> str:
        return str(text).lower() if ignoring else str(text)

    tests: dict[str, Callable[[str, str], bool]] = {
        "exact": lambda text, wanted: text == wanted,
        "contains": lambda text, wanted: wanted in text,
        "prefix": lambda text, wanted: text.startswith(wanted),
        "suffix": lambda text, wanted: text.endswith(wanted),
        "regex": lambda text, wanted: re.fullmatch(wanted, text) is not None,
    }
    wanted = [(field, fold(value)) for field, value in spec.items() if field.removeprefix("not") in tests]

    def fits(found: str | None) -> bool:
        if spec.get("notpresent"):
            return found is None
        if found is None:  # what isn't there differs from anything, if that was asked for
            return bool(wanted) and all(field.startswith("not") for field, _ in wanted)
        return all(
            tests[field.removeprefix("not")](fold(found), value) is not field.startswith("not")
            for field, value in wanted
        )

    return str(spec["name"]), fits


# Status


def status_of(obj: Object, messages: Sequence[str], addresses: Sequence[str], now: float) -> Object:
    """Return an HTTPProxy's status: valid, invalid or orphaned, and where its host is reached."""
    wrong = [each for each in messages if not each.endswith("no effect")]
    state = "valid" if not wrong else "orphaned" if wrong == [_ORPHAN] else "invalid"
    description = wrong[0] if wrong else "Valid HTTPProxy"
    before: Object = next(iter(meta.status(obj).get("conditions") or ()), {})
    valid = "True" if state == "valid" else "False"
    changed = before.get("status") != valid
    condition: Object = {
        "type": "Valid",
        "status": valid,
        "reason": {"valid": "Valid", "orphaned": "Orphaned"}.get(state, "ErrorPresent"),
        "message": description if state == "valid" else "At least one error present, see Errors for details",
        "lastTransitionTime": rfc3339(now) if changed else before["lastTransitionTime"],
        "observedGeneration": obj["metadata"].get("generation", 1),
    }
    if wrong:
        condition["errors"] = [
            {"type": "SpecError", "status": "True", "reason": "Invalid", "message": each} for each in wrong
        ]
    status: Object = {"currentStatus": state, "description": description, "conditions": [condition]}
    if state == "valid" and addresses:
        points = [{"ip": each} if each[:1].isdigit() else {"hostname": each} for each in addresses]
        status["loadBalancer"] = {"ingress": points}
    return status
