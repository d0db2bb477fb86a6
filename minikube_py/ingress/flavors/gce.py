"""GKE's Ingress for external Application Load Balancers (ingress-gce).

It differs: ImplementationSpecific is exact, or a prefix with `/*`; no redirect by itself; X-Forwarded-For is appended
to; Via says google. FrontendConfig and BackendConfig (CRDs) are left out.
Source: https://cloud.google.com/kubernetes-engine/docs/concepts/ingress-xlb
"""

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.flavors.flavor import Flavor, OnlyScheme, SetHeaders
from minikube_py.ingress.options import Options
from minikube_py.ingress.pages import Style
from minikube_py.ingress.router import PathType
from minikube_py.ingress.sources import Sources

_NOT_EMULATED = ("networking.gke.io/v1beta1.FrontendConfig", "networking.gke.io/managed-certificates")


def read(ingress: Object, sources: Sources, defaults: Options) -> Draft:
    draft = Draft(ingress, sources, defaults, prefix="kubernetes.io/ingress.")
    draft.ssl_redirect = False
    if draft.flag("allow-http") is False:
        draft.filters.append(OnlyScheme("https", 'annotation kubernetes.io/ingress.allow-http: "false"'))
    given = meta.annotations(ingress)
    draft.unknown += (f"{name} is not emulated and has no effect" for name in _NOT_EMULATED if name in given)
    return draft


def paths(path: str, draft: Draft) -> tuple[PathType, str]:
    if path.endswith("/*"):
        return PathType.IMPLEMENTATION_SPECIFIC, path[:-1]
    return (PathType.IMPLEMENTATION_SPECIFIC, "/") if path in ("", "/") else (PathType.EXACT, path)


FLAVOR = Flavor(
    name="gce",
    controller="k8s.io/ingress-gce",
    namespace="gke-system",
    workload="l7-lb-controller",
    service="l7-lb",
    image="k8s.gcr.io/ingress-gce-glbc-amd64:v1.30.0",
    labels={"k8s-app": "glbc"},
    style=Style(
        server="",
        hsts=False,
        appends=True,
        forwarded=("X-Forwarded-For", "X-Forwarded-Proto"),
        extra=(("Via", "1.1 google"),),
        trace="X-Cloud-Trace-Context",
        body=lambda status, because: (
            "text/plain; charset=utf-8",
            "response 404 (backend NotFound), service rules for the path non-existent" if status == 404 else because,
        ),
    ),
    options=Options(response_filters=(SetHeaders(("Via", "1.1 google")),), read_timeout=30.0, body_size=0),
    read=read,
    paths=paths,
)
