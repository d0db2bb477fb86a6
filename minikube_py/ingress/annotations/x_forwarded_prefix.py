"""`x-forwarded-prefix`: tells the backend under which path it is published."""

from dataclasses import dataclass
from typing import ClassVar

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Call, Phase

NAMES = ("x-forwarded-prefix",)
PHASE = Phase.REWRITE


@dataclass(frozen=True, slots=True)
class ForwardedPrefix:
    """Sets one header."""

    phase: ClassVar[Phase] = Phase.REWRITE
    stateless: ClassVar[bool] = True
    prefix: str

    def request(self, call: Call) -> None:
        call.request_headers["X-Forwarded-Prefix"] = self.prefix


def apply(draft: Draft) -> None:
    if prefix := draft.text("x-forwarded-prefix"):
        draft.filters.append(ForwardedPrefix(prefix))
