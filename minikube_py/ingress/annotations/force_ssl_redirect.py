"""`force-ssl-redirect`: HTTP answers 308 to HTTPS even where the Ingress has no TLS section."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("force-ssl-redirect",)
PHASE = Phase.REDIRECT


def apply(draft: Draft) -> None:
    draft.force_ssl_redirect = bool(draft.flag("force-ssl-redirect"))
