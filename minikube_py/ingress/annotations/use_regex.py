"""`use-regex`: paths are case-insensitive regular expressions; holds for every path of the host, as in nginx."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("use-regex",)
PHASE = Phase.SERVER


def apply(draft: Draft) -> None:
    if draft.flag("use-regex"):
        draft.regex = True
