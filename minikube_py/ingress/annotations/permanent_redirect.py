"""`permanent-redirect` (301) and `permanent-redirect-code`: every request of the Ingress goes elsewhere."""

from dataclasses import dataclass
from typing import ClassVar

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase
from minikube_py.ingress.urls import expand, location

NAMES = ("permanent-redirect", "permanent-redirect-code")
PHASE = Phase.REDIRECT


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answers with a fixed URL, in which nginx variables such as `$request_uri` are replaced."""

    phase: ClassVar[Phase] = Phase.REDIRECT
    url: str
    status: int
    annotation: str
    relative: bool = False

    def request(self, call: Call) -> Answer:
        url = expand(self.url, call)
        if url.startswith("/") and not self.relative:  # nginx: absolute_redirect on
            url = location(call, uri=url)
        return Answer(self.status, f"annotation {self.annotation}", (("Location", url),))


def apply(draft: Draft) -> None:
    if url := draft.text("permanent-redirect"):
        code = draft.number("permanent-redirect-code") or 301
        if not 300 <= code <= 308:
            draft.problem("permanent-redirect-code", "must be from 300 to 308; 301 is used")
            code = 301
        draft.filters.append(Redirect(url, code, "permanent-redirect", draft.relative_redirects))
