"""`backend-protocol`: HTTP or HTTPS to the pods (certificates are not verified, as in ingress-nginx).

Left out: GRPC, GRPCS (they need HTTP/2) and FCGI; they are reported.
"""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("backend-protocol",)
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    value = (draft.text("backend-protocol") or "").upper()
    if value in ("HTTP", "HTTPS"):
        draft.set(protocol=value)
    elif value == "AUTO_HTTP":
        draft.set(protocol="HTTP")
    else:
        draft.problem("backend-protocol", "is not supported here (HTTP and HTTPS are)")
