"""`upstream-hash-by`: the endpoint is chosen by the hash of nginx variables, e.g. `$request_uri`."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("upstream-hash-by", "upstream-hash-by-subset", "upstream-hash-by-subset-size")
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    if value := draft.text("upstream-hash-by"):
        draft.set(hash_by=value)
    if draft.flag("upstream-hash-by-subset"):
        draft.problem("upstream-hash-by-subset", "is not supported here: the whole set is used")
