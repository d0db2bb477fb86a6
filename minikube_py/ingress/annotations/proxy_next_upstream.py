"""`proxy-next-upstream` and `-tries`: when another endpoint is tried.

Whatever it says, a request that is not idempotent is repeated only if nothing of it was sent, and never one whose
body has begun to flow. Left out: the http_5xx conditions and `-timeout`.
"""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = ("proxy-next-upstream", "proxy-next-upstream-tries", "proxy-next-upstream-timeout")
PHASE = Phase.UPSTREAM
_KNOWN = frozenset({"error", "timeout", "off", "non_idempotent", "invalid_header"})


def apply(draft: Draft) -> None:
    if value := draft.text("proxy-next-upstream"):
        words = frozenset(value.split())
        if unknown := words - _KNOWN:
            draft.problems.append(f"proxy-next-upstream: {', '.join(sorted(unknown))} has no effect here")
        draft.set(next_upstream=frozenset() if "off" in words else words & _KNOWN)
    if (tries := draft.number("proxy-next-upstream-tries")) is not None:
        draft.set(tries=tries or 1_000)  # nginx: 0 is without limit
