"""`canary` and its family: a second Ingress for the same host and path takes a part of the requests.

Precedence: canary-by-header, then canary-by-cookie, then canary-weight. Other annotations of a canary are ignored.
"""

import re

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase
from minikube_py.ingress.router import BackendKey, Canary

NAMES = (
    "canary",
    "canary-by-header",
    "canary-by-header-value",
    "canary-by-header-pattern",
    "canary-by-cookie",
    "canary-weight",
    "canary-weight-total",
)
PHASE = Phase.UPSTREAM
_NEVER = re.compile("(?!)")
"""In place of a pattern that can't be read: it matches nothing."""


def apply(draft: Draft) -> None:
    if not draft.flag("canary"):
        return
    value = draft.text("canary-by-header-value") or ""
    pattern = None
    if not value and "canary-by-header-pattern" in draft.values:
        pattern = draft.pattern("canary-by-header-pattern") or _NEVER
    total = draft.number("canary-weight-total", 1) or 100
    if "canary-weight-total" in draft.values and total < 100:
        draft.problems.append(f"{draft.prefix}canary-weight-total: {total} has no effect, it can only be more than 100")
    draft.canary = Canary(
        draft.key,
        BackendKey(draft.key.namespace, "", ""),  # compile puts each path's own backend here
        draft.text("canary-by-header") or "",
        value,
        pattern,
        draft.text("canary-by-cookie") or "",
        draft.number("canary-weight") or 0,
        max(total, 100),
    )
