"""`from-to-www-redirect`: `www.x` answers 308 to `x`, or `x` to `www.x`, whichever has no rules of its own."""

from dataclasses import dataclass
from typing import ClassVar

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase
from minikube_py.ingress.urls import location

NAMES = ("from-to-www-redirect",)
PHASE = Phase.SERVER


@dataclass(frozen=True, slots=True)
class RedirectHost:
    """Sends every request to the same URI of another host."""

    phase: ClassVar[Phase] = Phase.REDIRECT
    host: str
    status: int

    def request(self, call: Call) -> Answer:
        return Answer(
            self.status,
            "annotation from-to-www-redirect",
            (("Location", location(call, host=self.host, scheme="https" if call.tls else call.scheme)),),
        )


def apply(draft: Draft) -> None:
    if draft.flag("from-to-www-redirect"):
        draft.www_redirect = 308
