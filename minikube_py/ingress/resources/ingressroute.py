"""Traefik's IngressRoute: routers with their rule, middlewares and weighted services.

Of two routers that take a request the one with the larger priority has it, by default the longer rule; Ingresses take
part with the rules that Traefik makes of them. Left out: mirroring, serversTransport, tls.options and
certResolver (certificates come from the Secret, or are made here).
Source: https://doc.traefik.io/traefik/v3.3/routing/providers/kubernetes-crd/
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.annotations.affinity import Stick, stick
from minikube_py.ingress.flavors.flavor import OnlyScheme
from minikube_py.ingress.resources import middleware, traefikrule
from minikube_py.ingress.resources.routes import Asked, Custom, Route, location, shares
from minikube_py.ingress.router import Location, PathType

__all__ = ["RESOURCE", "compile_routes"]

RESOURCE = "ingressroutes.traefik.io"
TRAEFIK_SERVICES = "traefikservices.traefik.io"
_SHARES = 1_000_000
"""Of one unit of weight: so finely a TraefikService divides its own."""
_SERVICE = ("kind", "name", "namespace", "nativeLB", "passHostHeader", "port", "scheme", "sticky", "strategy", "weight")
_SCHEMES = {"web": "http", "websecure": "https"}


def compile_routes(custom: Custom) -> None:
    """Compile all IngressRoutes."""
    custom.ahead = _ahead
    custom.each(RESOURCE, lambda obj: _compile(custom, obj))


def _ahead(route: Route, found: Location) -> bool:
    """Compare the route with the router that Traefik makes of an Ingress's path."""
    path = f"{'Path' if found.type is PathType.EXACT else 'PathPrefix'}(`{found.path}`)"
    rule = f"Host(`{found.host}`) && {path}" if found.host else path
    return bool(-route.order[0] >= len(rule))


def _compile(custom: Custom, obj: Object) -> None:
    spec = meta.spec(obj)
    custom.unknown(RESOURCE, obj, "spec.", spec, ("entryPoints", "routes", "tls"))
    points = spec.get("entryPoints") or list(_SCHEMES)
    schemes = {_SCHEMES[each] for each in points if each in _SCHEMES}
    for each in points:
        if each not in _SCHEMES:
            custom.problem(RESOURCE, obj, f'EntryPoint doesn\'t exist: "{each}" (web and websecure do)')
    if spec.get("tls") is not None:
        schemes &= {"https"}  # a router with TLS takes nothing else
    for index, each in enumerate(spec.get("routes") or ()):
        at = f"spec.routes[{index}]"
        try:
            rule = traefikrule.parse(str(each["match"]))
        except (ValueError, re.error) as error:
            custom.problem(RESOURCE, obj, f"{at}.match: {error}: the route is left out")
            continue
        _route(custom, obj, at, each, rule, schemes)
        if secret := (spec.get("tls") or {}).get("secretName"):
            for host in rule.hosts:
                custom.certificates.setdefault(host, (meta.key(obj), Key(meta.namespace(obj), secret)))


def _route(
    custom: Custom, obj: Object, at: str, spec: Mapping[str, Any], rule: traefikrule.Rule, schemes: set[str]
) -> None:
    custom.unknown(RESOURCE, obj, f"{at}.", spec, ("kind", "match", "middlewares", "priority", "services", "syntax"))
    namespace = meta.namespace(obj)
    draft = custom.draft(obj)
    if not schemes:
        draft.filters.append(OnlyScheme("none", "no entry point of the route is served"))
    for each in spec.get("middlewares") or ():
        middleware.apply(draft, Key(each.get("namespace") or namespace, str(each["name"])))
    services = spec.get("services") or ()
    for each in services:
        custom.unknown(RESOURCE, obj, f"{at}.services.", each, _SERVICE)
        if (scheme := str(each.get("scheme") or "").lower()) in ("https", "h2c"):
            draft.set(protocol="GRPC" if scheme == "h2c" else "HTTPS")
        if cookie := (each.get("sticky") or {}).get("cookie"):
            stick(
                draft,
                Stick(
                    name=str(cookie.get("name") or "_traefik_sticky"),
                    path=str(cookie.get("path") or "/"),
                    secure=bool(cookie.get("secure")),
                    http_only=bool(cookie.get("httpOnly")),
                    same_site=str(cookie.get("sameSite") or "").title(),
                    max_age=int(cookie.get("maxAge") or 0) or None,
                ),
            )
    options = custom.settle(RESOURCE, obj, draft)
    host = rule.hosts[0] if rule.hosts else ""
    weighted = [
        (location(obj, host, rule.path, options, custom.backend(obj, *found), ""), weight)
        for found, weight in _services(custom, obj, namespace, services)
    ]
    main, choices = shares(weighted)
    main = main or location(obj, host, rule.path, options, None, "the route has no service")
    priority = int(spec.get("priority") or len(str(spec["match"])))
    custom.routes.append(Route(main, _takes(rule, schemes), (-priority, str(spec["match"])), rule.hosts, choices))


def _services(
    custom: Custom, obj: Object, namespace: str, specs: Iterable[Mapping[str, Any]], above: tuple[Key, ...] = ()
) -> Iterator[tuple[tuple[str, str, object], int]]:
    """Return ((namespace, Service, port), weight) of services; a TraefikService's shares stand in its place."""
    for each in specs:
        weight = 1 if each.get("weight") is None else int(each["weight"])
        where = Key(each.get("namespace") or namespace, str(each["name"]))
        if (each.get("kind") or "Service") == "Service":
            yield (where.namespace, where.name, each.get("port")), weight * _SHARES
            continue
        found = custom.sources.get(TRAEFIK_SERVICES, where)
        parts = (meta.spec(found).get("weighted") or {}).get("services") if found else None
        if not parts or where in above:
            custom.problem(
                RESOURCE, obj, f"TraefikService {where} is missing, or not one of weighted services: left out"
            )
            continue
        inner = list(_services(custom, obj, where.namespace, parts, (*above, where)))
        total = sum(share for _, share in inner) or 1
        for target, share in inner:
            yield target, weight * _SHARES * share // total


def _takes(rule: traefikrule.Rule, schemes: set[str]) -> traefikrule.Takes:
    if len(schemes) != 1:
        return rule.takes
    secure = "https" in schemes

    def takes(asked: Asked) -> bool:
        return asked.secure is secure and rule.takes(asked)

    return takes
