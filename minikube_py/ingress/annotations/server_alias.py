"""`server-alias`: further host names with the same rules; a host with rules of its own wins."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("server-alias",)
PHASE = Phase.SERVER


def apply(draft: Draft) -> None:
    for alias in draft.words("server-alias"):
        if alias.startswith("~"):
            draft.problem("server-alias", "has a regular expression: only names and *.names are supported")
        else:
            draft.aliases.append(alias.lower())
