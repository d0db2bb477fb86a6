"""`custom-headers`: a ConfigMap (`namespace/name`) of headers that every answer gets."""

import re
from dataclasses import dataclass

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Call, Headers, Phase

NAMES = ("custom-headers",)
PHASE = Phase.RESPONSE
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class SetHeaders:
    """Sets headers, replacing the backend's."""

    headers: tuple[tuple[str, str], ...]

    def response(self, call: Call, status: int, headers: Headers) -> None:
        names = {name.lower() for name, _ in self.headers}
        headers[:] = [each for each in headers if each[0].lower() not in names]
        headers += self.headers


def apply(draft: Draft) -> None:
    reference = draft.text("custom-headers")
    if reference is None or (found := draft.object("configmaps", "custom-headers", reference)) is None:
        return
    good = []
    for name, value in (found.get("data") or {}).items():
        if _NAME.fullmatch(name) and value.isprintable():
            good.append((name, value))
        else:
            draft.problems.append(f'custom-headers: "{name}: {value!r}" is no HTTP header')
    draft.response_filters.append(SetHeaders(tuple(good)))
