"""`limit-connections`: requests of one client address that are in progress at once, else 503."""

from dataclasses import dataclass
from typing import ClassVar

from minikube_py.apimachinery.meta import Key
from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase

NAMES = ("limit-connections",)
PHASE = Phase.PREACCESS


@dataclass(frozen=True, slots=True)
class LimitConnections:
    """Counts what is in progress."""

    phase: ClassVar[Phase] = Phase.PREACCESS
    ingress: Key
    limit: int
    status: int = 503
    because: str = "annotation limit-connections"

    def request(self, call: Call) -> Answer | None:
        active: dict[str, int] = call.state.setdefault(("limit-connections", self.ingress), {})
        if active.get(call.remote, 0) >= self.limit:
            return Answer(self.status, f"{self.because}: {self.limit} are in progress for {call.remote}")
        active[call.remote] = active.get(call.remote, 0) + 1

        def ended() -> None:
            active[call.remote] -= 1
            if not active[call.remote]:
                del active[call.remote]

        call.closing.append(ended)
        return None


def apply(draft: Draft) -> None:
    if limit := draft.number("limit-connections"):
        draft.filters.append(LimitConnections(draft.key, limit))
