"""Contour with its Envoys.

It differs: Envoy's pages, no redirect unless `force-ssl-redirect` asks for it, ImplementationSpecific is a prefix of
the text or, with special characters, a regular expression. HTTPProxy is in
`ingress.resources.httpproxy`.
Source: https://projectcontour.io/docs/main/config/annotations/
"""

import re

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.flavors.flavor import (
    Flavor,
    HTTPSRedirect,
    Latency,
    OnlyScheme,
    SetHeaders,
    envoy_page,
    ignore,
    literal,
)
from minikube_py.ingress.options import Options
from minikube_py.ingress.proxy.pages import Style
from minikube_py.ingress.resources import httpproxy
from minikube_py.ingress.router import PathType
from minikube_py.ingress.rules.sources import Sources
from minikube_py.kinds.controllerkinds import definitions

_KNOWN = (
    "response-timeout",
    "num-retries",
    "retry-on",
    "per-try-timeout",
    "websocket-routes",
    "tls-*",
    "ingress.class",
)


def read(ingress: Object, sources: Sources, defaults: Options) -> Draft:
    draft = Draft(ingress, sources, defaults, prefix="projectcontour.io/")
    draft.ssl_redirect = False
    given = meta.annotations(ingress)
    if draft.has_tls and given.get("ingress.kubernetes.io/force-ssl-redirect") == "true":
        draft.filters.append(HTTPSRedirect(301, "annotation ingress.kubernetes.io/force-ssl-redirect"))
    if given.get("kubernetes.io/ingress.allow-http") == "false":
        draft.filters.append(OnlyScheme("https", 'annotation kubernetes.io/ingress.allow-http: "false"'))
    timeout = draft.text("response-timeout")
    if timeout == "infinity":
        draft.set(read_timeout=86400.0)
    elif timeout is not None and (match := re.fullmatch(r"(\d+)(ms|s|m)", timeout)):
        draft.set(read_timeout=int(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[match[2]])
    elif timeout is not None:
        draft.problem("response-timeout", "must be a duration such as 60s")
    if (retries := draft.number("num-retries")) is not None:
        draft.set(tries=retries + 1)
    ignore(draft, _KNOWN)
    return draft


def paths(path: str, draft: Draft) -> tuple[PathType, str] | re.Pattern[str]:
    return re.compile(path) if re.search(r"[\^+*\[\]%()$|]", path) else literal(path, draft)


FLAVOR = Flavor(
    name="contour",
    controller="projectcontour.io/ingress-controller",
    namespace="projectcontour",
    workload="envoy",
    service="envoy",
    image="docker.io/envoyproxy/envoy:v1.33.1",
    labels={"app": "envoy"},
    style=Style(
        server="envoy",
        hsts=False,
        appends=True,
        forwarded=("X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id"),
        body=envoy_page,
    ),
    options=Options(
        response_filters=(SetHeaders(("server", "envoy")), Latency("x-envoy-upstream-service-time")),
        read_timeout=15.0,
        body_size=0,
    ),
    read=read,
    paths=paths,
    container="envoy",
    definitions=definitions("contour"),
    routes=httpproxy.compile_routes,
    statuses={httpproxy.RESOURCE: httpproxy.status_of},
)
