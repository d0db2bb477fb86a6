"""`proxy-connect-timeout`, `proxy-read-timeout`, `proxy-send-timeout`: seconds, else 504."""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("proxy-connect-timeout", "proxy-read-timeout", "proxy-send-timeout")
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    for name in NAMES:
        if value := draft.seconds(name):
            draft.set(**{name.removeprefix("proxy-").replace("-", "_"): value})
