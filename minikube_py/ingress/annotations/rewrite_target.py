"""`rewrite-target`: the URI that the backend gets; `$1`… are the path's groups.

As in nginx it turns every path of the host into a case-insensitive regular expression, and without a group the whole
URI becomes the target (`/app/x` with target `/` → `/`). A target with a scheme is a redirect.
"""

import re
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase
from minikube_py.ingress.urls import expand

NAMES = ("rewrite-target",)
PHASE = Phase.REWRITE
_GROUP = re.compile(r"\$(\d)")


@dataclass(frozen=True, slots=True)
class Rewrite:
    """nginx's `rewrite "(?i)path" target break`."""

    phase: ClassVar[Phase] = Phase.REWRITE
    stateless: ClassVar[bool] = True
    target: str

    def request(self, call: Call) -> Answer | None:
        if call.pattern is None or (match := call.pattern.match(call.normalized)) is None:
            return None
        groups = match.groups()

        def group(found: re.Match[str]) -> str:
            index = int(found[1])
            return (groups[index - 1] or "") if 0 < index <= len(groups) else ""

        target = expand(_GROUP.sub(group, self.target), call)
        path, mark, query = target.partition("?")
        if call.query and not (mark and not query):  # a final "?" drops the arguments, as in nginx
            query = f"{query}&{call.query}" if query else call.query
        if path.startswith(("http://", "https://")):
            return Answer(302, "annotation rewrite-target", (("Location", f"{path}?{query}" if query else path),))
        path = quote(path, safe="/:@!$&'()*+,;=~-._", errors="surrogateescape")
        if not path.startswith("/"):
            path = "/" + path
        call.target = f"{path}?{query}" if query else path
        return None


def apply(draft: Draft) -> None:
    if target := draft.text("rewrite-target"):
        draft.regex = True
        draft.filters.append(Rewrite(target))
