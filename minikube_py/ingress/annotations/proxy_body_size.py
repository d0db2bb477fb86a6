"""`proxy-body-size`: the largest request body (1m by default, 0 without limit), else 413."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("proxy-body-size",)
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    if (size := draft.size("proxy-body-size")) is not None:
        draft.set(body_size=size)
