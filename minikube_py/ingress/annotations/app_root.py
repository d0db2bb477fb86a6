"""`app-root`: a request for `/` answers 302 to another path."""

from dataclasses import dataclass
from typing import ClassVar

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase
from minikube_py.ingress.urls import location

NAMES = ("app-root",)
PHASE = Phase.REDIRECT


@dataclass(frozen=True, slots=True)
class AppRoot:
    """Redirects exactly `/`."""

    phase: ClassVar[Phase] = Phase.REDIRECT
    stateless: ClassVar[bool] = True
    path: str

    def request(self, call: Call) -> Answer | None:
        if call.path != "/":
            return None
        return Answer(302, "annotation app-root", (("Location", location(call, uri=self.path)),))


def apply(draft: Draft) -> None:
    path = draft.text("app-root")
    if path is None:
        return
    if not path.startswith("/"):
        draft.problem("app-root", "must be a path that starts with /")
        return
    draft.filters.append(AppRoot(path))
