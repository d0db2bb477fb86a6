"""`upstream-hash-by`: the endpoint, or a subset of them, is chosen by the hash of nginx variables (`$request_uri`)."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("upstream-hash-by", "upstream-hash-by-subset", "upstream-hash-by-subset-size")
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    if value := draft.text("upstream-hash-by"):
        draft.set(hash_by=value)
        if draft.flag("upstream-hash-by-subset"):
            draft.set(hash_subset=draft.number("upstream-hash-by-subset-size", 1) or 3)
