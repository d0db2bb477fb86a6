"""`backend-protocol`: HTTP, HTTPS, GRPC or GRPCS to the pods (certificates are not verified, as in ingress-nginx).

gRPC is HTTP/2, so its callers come over TLS: there is none on port 80, as in ingress-nginx.
Left out: FCGI; it is reported.
"""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("backend-protocol",)
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    value = (draft.text("backend-protocol") or "").upper()
    if value in ("HTTP", "HTTPS", "GRPC", "GRPCS"):
        draft.set(protocol=value)
    elif value == "AUTO_HTTP":
        draft.set(protocol="HTTP")
    else:
        draft.problem("backend-protocol", "is not supported here (HTTP, HTTPS, GRPC and GRPCS are)")
