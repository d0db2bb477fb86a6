"""`satisfy: any`: one of the source ranges, basic auth and auth-url is enough; by default (`all`) each must agree."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Filter, Phase, Subrequest

NAMES = ("satisfy",)
PHASE = Phase.ACCESS


@dataclass(frozen=True, slots=True)
class Any:
    """nginx's `satisfy any`: the first filter that agrees ends the access phase; of the refusals 401 is told."""

    phase: ClassVar[Phase] = Phase.ACCESS
    filters: tuple[Filter, ...]

    def request(self, call: Call) -> Answer | Subrequest | None:
        refused: Answer | None = None
        asked: Subrequest | None = None
        for each in self.filters:
            match each.request(call):
                case None:
                    return None
                case Subrequest() as outcome:
                    asked = outcome
                case Answer() as outcome:
                    refused = outcome if refused is None or outcome.status == 401 else refused
        if asked is None:
            return refused
        failed = asked.failed

        def both(status: int, headers: Mapping[str, str]) -> Answer:
            answer = failed(status, headers)
            return refused if refused is not None and refused.status == 401 and answer.status != 302 else answer

        return replace(asked, failed=both)


def gather(filters: list[Filter]) -> list[Filter]:
    """Put the filters of the access phase behind one `Any`."""
    access = tuple(each for each in filters if each.phase is Phase.ACCESS)
    return filters if len(access) < 2 else [*(each for each in filters if each not in access), Any(access)]


def apply(draft: Draft) -> None:
    match draft.text("satisfy"):
        case "any":
            draft.finish.append(gather)
        case "all":
            pass
        case _:
            draft.problem("satisfy", "must be any or all")
