"""`custom-http-errors`: answers with these statuses are replaced by the default backend's.

That is the annotation `default-backend`'s, else the controller's own (`--default-backend-service`). It is asked for `/`
with X-Code, X-Format, X-Original-URI, X-Namespace, X-Ingress-Name, X-Service-Name and -Port, as ingress-nginx does.
"""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("custom-http-errors",)
PHASE = Phase.RESPONSE


def apply(draft: Draft) -> None:
    codes = draft.words("custom-http-errors")
    if not all(code.isdigit() and 300 <= int(code) <= 599 for code in codes):
        draft.problem("custom-http-errors", "must be comma-separated status codes from 300 to 599")
        return
    draft.set(error_codes=frozenset(map(int, codes)), error_backend=draft.default_backend)
