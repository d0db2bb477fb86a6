"""`load-balance`: round_robin, or ewma, which is taken as round_robin (all pods are equally near here)."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("load-balance",)
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    value = draft.text("load-balance")
    if value not in ("round_robin", "ewma"):
        draft.problem("load-balance", "must be round_robin or ewma")
