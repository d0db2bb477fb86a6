"""`ssl-redirect`: HTTP answers 308 to HTTPS where the host has TLS; "false" serves HTTP too. On by default."""

from typing import ClassVar

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase
from minikube_py.ingress.urls import location

NAMES = ("ssl-redirect",)
PHASE = Phase.REDIRECT


class SSLRedirect:
    """Sends HTTP requests to the same URI over HTTPS."""

    phase: ClassVar[Phase] = Phase.REDIRECT
    only_http: ClassVar[bool] = True
    __slots__ = ()

    def request(self, call: Call) -> Answer | None:
        if call.scheme == "https":
            return None
        return Answer(308, "the host has TLS", (("Location", location(call, scheme="https")),))


def apply(draft: Draft) -> None:
    if draft.flag("ssl-redirect") is False:
        draft.ssl_redirect = False
