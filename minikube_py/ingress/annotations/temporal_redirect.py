"""`temporal-redirect` (302) and `temporal-redirect-code`: wins over permanent-redirect, as in ingress-nginx."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.annotations.permanent_redirect import Redirect
from minikube_py.ingress.options import Phase

NAMES = ("temporal-redirect", "temporal-redirect-code")
PHASE = Phase.REDIRECT


def apply(draft: Draft) -> None:
    if url := draft.text("temporal-redirect"):
        code = draft.number("temporal-redirect-code") or 302
        if not 300 <= code <= 308:
            draft.problem("temporal-redirect-code", "must be from 300 to 308; 302 is used")
            code = 302
        draft.filters = [each for each in draft.filters if not isinstance(each, Redirect)]
        draft.filters.append(Redirect(url, code, "temporal-redirect", draft.relative_redirects))
