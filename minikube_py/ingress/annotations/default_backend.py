"""`default-backend`: a Service of the same namespace that answers while the backend has no endpoint."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase
from minikube_py.ingress.router import BackendKey

NAMES = ("default-backend",)
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    if name := draft.text("default-backend"):
        draft.default_backend = BackendKey(draft.key.namespace, name, "")
