"""`ssl-redirect`: HTTP answers 308 to HTTPS where the host has TLS; "false" serves HTTP too. On by default."""

from dataclasses import dataclass
from typing import ClassVar

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase
from minikube_py.ingress.urls import location

NAMES = ("ssl-redirect",)
PHASE = Phase.REDIRECT
_NOT_REDIRECTED = "/.well-known/acme-challenge"
"""ingress-nginx: no-tls-redirect-locations; a certificate is asked for before there is one."""


@dataclass(frozen=True, slots=True)
class SSLRedirect:
    """Sends HTTP requests to the same URI over HTTPS, without the `/` at its end unless it is to be kept."""

    phase: ClassVar[Phase] = Phase.REDIRECT
    only_http: ClassVar[bool] = True
    stateless: ClassVar[bool] = True
    keep_slash: bool = False

    def request(self, call: Call) -> Answer | None:
        if call.scheme == "https" or call.rule_path.startswith(_NOT_REDIRECTED):
            return None
        uri = call.uri
        if uri.endswith("/") and uri != "/" and not self.keep_slash:
            uri = uri[:-1]
        return Answer(308, "the host has TLS", (("Location", location(call, scheme="https", uri=uri)),))


def apply(draft: Draft) -> None:
    if draft.flag("ssl-redirect") is False:
        draft.ssl_redirect = False
