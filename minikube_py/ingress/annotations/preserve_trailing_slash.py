"""`preserve-trailing-slash`: the redirect to HTTPS keeps a `/` at the end of the path, which it loses by default."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("preserve-trailing-slash",)
PHASE = Phase.REDIRECT


def apply(draft: Draft) -> None:
    draft.preserve_trailing_slash = bool(draft.flag("preserve-trailing-slash"))
