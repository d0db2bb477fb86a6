"""Traefik v3 with its Kubernetes Ingress provider, as its Helm chart installs it.

It differs: no redirect to HTTPS by itself, plain-text pages, X-Forwarded-Server, and Prefix is the beginning of the
text (strictPrefixMatching is off by default). Middleware and IngressRoute are in `ingress.resources`.
Source: https://doc.traefik.io/traefik/routing/providers/kubernetes-ingress/
"""

import re

from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.annotations.affinity import Stick, stick
from minikube_py.ingress.flavors.flavor import Flavor, OnlyScheme, ignore, literal
from minikube_py.ingress.options import Options
from minikube_py.ingress.proxy.pages import Style
from minikube_py.ingress.resources import ingressroute, middleware
from minikube_py.ingress.router import PathType
from minikube_py.ingress.rules.sources import Sources
from minikube_py.kinds.controllerkinds import definitions

_PAGES = {404: "404 page not found", 503: "no available server", 502: "Bad Gateway", 504: "Gateway Timeout"}
_KNOWN = (
    "router.entrypoints",
    "router.middlewares",
    "router.pathmatcher",
    "router.tls",
    "router.tls.*",
    "router.priority",
    "service.sticky.cookie*",
    "service.serversscheme",
    "service.nativelb",
)


def read(ingress: Object, sources: Sources, defaults: Options) -> Draft:
    draft = Draft(ingress, sources, defaults, prefix="traefik.ingress.kubernetes.io/")
    draft.ssl_redirect = False
    points = draft.words("router.entrypoints")
    if points and "web" not in points:
        draft.filters.append(OnlyScheme("https", f"router.entrypoints is {', '.join(points)}"))
    elif points and "websecure" not in points:
        draft.filters.append(OnlyScheme("http", f"router.entrypoints is {', '.join(points)}"))
    if draft.flag("service.sticky.cookie"):
        stick(
            draft,
            Stick(
                name=draft.text("service.sticky.cookie.name") or "_traefik_sticky",
                path="/",
                secure=bool(draft.flag("service.sticky.cookie.secure")),
                http_only=bool(draft.flag("service.sticky.cookie.httponly")),
                same_site=(draft.text("service.sticky.cookie.samesite") or "").title(),
                max_age=draft.number("service.sticky.cookie.maxage") or None,
            ),
        )
    if (scheme := draft.text("service.serversscheme")) is not None:
        draft.set(protocol="GRPC" if scheme.lower() == "h2c" else scheme.upper())
    draft.service_upstream = bool(draft.flag("service.nativelb"))
    _middlewares(draft)
    ignore(draft, _KNOWN)
    return draft


def _middlewares(draft: Draft) -> None:
    """Find each `namespace-name@kubernetescrd` of the list; both parts may have dashes."""
    by_name = {f"{key.namespace}-{key.name}": key for key in draft.sources.all(middleware.RESOURCE)}
    for word in draft.words("router.middlewares"):
        name, _, provider = word.partition("@")
        if provider != "kubernetescrd":
            draft.problem("router.middlewares", f"names {word}: only namespace-name@kubernetescrd are there")
            continue
        missing = Key(draft.key.namespace, name.removeprefix(f"{draft.key.namespace}-"))
        middleware.apply(draft, by_name.get(name) or missing)


def paths(path: str, draft: Draft) -> tuple[PathType, str] | re.Pattern[str]:
    match draft.text("router.pathmatcher"):
        case "Path":
            return PathType.EXACT, path
        case "PathRegexp":
            return re.compile(path)
        case _:
            return literal(path, draft)


FLAVOR = Flavor(
    name="traefik",
    controller="traefik.io/ingress-controller",
    namespace="traefik",
    workload="traefik",
    service="traefik",
    image="docker.io/traefik:v3.3.4",
    args=(
        "--providers.kubernetesingress",
        "--providers.kubernetescrd",
        "--entryPoints.web.address=:80",
        "--entryPoints.websecure.address=:443",
    ),
    labels={"app.kubernetes.io/name": "traefik", "app.kubernetes.io/instance": "traefik-traefik"},
    style=Style(
        server="",
        hsts=False,
        forwarded=("X-Real-Ip", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto"),
        extra=(("X-Forwarded-Server", "traefik"),),
        body=lambda status, because: ("text/plain; charset=utf-8", _PAGES.get(status, "") and _PAGES[status] + "\n"),
    ),
    read=read,
    paths=paths,
    container="traefik",
    definitions=definitions("traefik"),
    routes=ingressroute.compile_routes,
    prefixes_are_text=True,
)
