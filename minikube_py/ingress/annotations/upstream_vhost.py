"""`upstream-vhost`: the Host header that the backend sees."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("upstream-vhost",)
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    if vhost := draft.text("upstream-vhost"):
        draft.set(vhost=vhost)
