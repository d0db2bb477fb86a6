"""`relative-redirects`: permanent- and temporal-redirect to a path answer with that path, not with a whole URL."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("relative-redirects",)
PHASE = Phase.SERVER


def apply(draft: Draft) -> None:
    draft.relative_redirects = bool(draft.flag("relative-redirects"))
