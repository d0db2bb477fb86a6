"""GKE's Ingress for external Application Load Balancers (ingress-gce).

It differs: ImplementationSpecific is exact, or a prefix with `/*`; no redirect by itself; X-Forwarded-For is appended
to; Via says google; FrontendConfig asks for HTTPS. Left out: BackendConfig, SSL policies; managed certificates are made
by the cluster's own authority.
Source: https://cloud.google.com/kubernetes-engine/docs/concepts/ingress-xlb
"""

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.ingress.annotations import Draft
from minikube_py.ingress.flavors.flavor import Flavor, HTTPSRedirect, OnlyScheme, SetHeaders
from minikube_py.ingress.options import Options
from minikube_py.ingress.proxy.pages import Style
from minikube_py.ingress.router import PathType
from minikube_py.ingress.rules.sources import Sources
from minikube_py.kinds.controllerkinds import definitions

_FRONTEND = "networking.gke.io/v1beta1.FrontendConfig"
_CONFIGS = "frontendconfigs.networking.gke.io"
_CODES = {
    "MOVED_PERMANENTLY_DEFAULT": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}


def read(ingress: Object, sources: Sources, defaults: Options) -> Draft:
    draft = Draft(ingress, sources, defaults, prefix="kubernetes.io/ingress.")
    draft.ssl_redirect = False
    if draft.flag("allow-http") is False:
        draft.filters.append(OnlyScheme("https", 'annotation kubernetes.io/ingress.allow-http: "false"'))
    if name := meta.annotations(ingress).get(_FRONTEND):
        _frontend(draft, Key(draft.key.namespace, name))
    return draft


def _frontend(draft: Draft, key: Key) -> None:
    draft.references.add((_CONFIGS, key))
    if (found := draft.sources.get(_CONFIGS, key)) is None:
        draft.problems.append(f"{_FRONTEND}: FrontendConfig {key} does not exist")
        return
    spec = meta.spec(found)
    redirect = spec.get("redirectToHttps") or {}
    if redirect.get("enabled"):
        code = _CODES.get(str(redirect.get("responseCodeName") or "MOVED_PERMANENTLY_DEFAULT"), 301)
        draft.filters.append(HTTPSRedirect(code, f"FrontendConfig {key}"))
    others = (field for field in spec if field != "redirectToHttps")
    draft.unknown += (f"FrontendConfig {key}: {each} is not emulated and has no effect" for each in others)


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
    definitions=definitions("gce"),
)
