"""Istio's ingress gateway, serving Ingresses of class `istio`.

It differs: Envoy's empty pages, `server: istio-envoy` whatever the backend says, no annotations, no redirect;
ImplementationSpecific is exact, or with `.*` or `*` at its end a prefix. Gateway and VirtualService are in
`ingress.resources.virtualservice`.
Source: https://istio.io/latest/docs/tasks/traffic-management/ingress/kubernetes-ingress/
"""

from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.flavors.flavor import Flavor, Latency, SetHeaders, envoy_page
from minikube_py.ingress.options import Options
from minikube_py.ingress.proxy.pages import Style
from minikube_py.ingress.resources import virtualservice
from minikube_py.ingress.router import PathType
from minikube_py.ingress.rules.sources import Sources
from minikube_py.kinds.controllerkinds import definitions


def read(ingress: Object, sources: Sources, defaults: Options) -> Draft:
    draft = Draft(ingress, sources, defaults, prefix="ingress.istio.io/")
    draft.ssl_redirect = False
    return draft


def paths(path: str, draft: Draft) -> tuple[PathType, str]:
    for end in (".*", "*"):
        if path.endswith(end):
            return PathType.IMPLEMENTATION_SPECIFIC, path[: -len(end)]
    return PathType.EXACT, path


FLAVOR = Flavor(
    name="istio",
    controller="istio.io/ingress-controller",
    namespace="istio-system",
    workload="istio-ingressgateway",
    service="istio-ingressgateway",
    image="docker.io/istio/proxyv2:1.25.0",
    labels={"app": "istio-ingressgateway", "istio": "ingressgateway"},
    style=Style(
        server="istio-envoy",
        hsts=False,
        appends=True,
        forwarded=("X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id"),
        extra=(("X-Envoy-Internal", "true"),),
        body=envoy_page,
    ),
    options=Options(
        response_filters=(SetHeaders(("server", "istio-envoy")), Latency("x-envoy-upstream-service-time")), body_size=0
    ),
    read=read,
    paths=paths,
    container="istio-proxy",
    definitions=definitions("istio"),
    routes=virtualservice.compile_routes,
)
