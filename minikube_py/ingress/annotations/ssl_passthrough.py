"""`ssl-passthrough`: TLS for the Ingress's hosts goes to the pods behind `/` as it is; other annotations don't apply.

ingress-nginx needs --enable-ssl-passthrough for it, which is on here unless the controller is told otherwise.
"""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("ssl-passthrough",)
PHASE = Phase.SERVER


def apply(draft: Draft) -> None:
    draft.passthrough = bool(draft.flag("ssl-passthrough"))
