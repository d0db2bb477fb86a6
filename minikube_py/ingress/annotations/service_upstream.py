"""`service-upstream`: go to the Service's ClusterIP instead of its endpoints."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("service-upstream",)
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    draft.service_upstream = bool(draft.flag("service-upstream"))
