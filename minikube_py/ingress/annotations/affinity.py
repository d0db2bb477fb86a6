"""`affinity: cookie` and the `session-cookie-*` family: a client comes back to the same pod.

Left out: `affinity-mode: persistent` differs from `balanced` only in when a cookie is rewritten as pods are added.
"""

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Phase

NAMES = (
    "affinity",
    "affinity-mode",
    "affinity-canary-behavior",
    "session-cookie-name",
    "session-cookie-path",
    "session-cookie-domain",
    "session-cookie-expires",
    "session-cookie-max-age",
    "session-cookie-samesite",
    "session-cookie-secure",
    "session-cookie-change-on-failure",
    "session-cookie-conditional-samesite-none",
)
PHASE = Phase.UPSTREAM


def apply(draft: Draft) -> None:
    if "affinity" not in draft.values:
        return
    if draft.values["affinity"] != "cookie":
        draft.problem("affinity", 'must be "cookie"')
        return
    attributes = [f"Path={draft.text('session-cookie-path') or '/'}"]
    if domain := draft.text("session-cookie-domain"):
        attributes.append(f"Domain={domain}")
    if (age := draft.number("session-cookie-max-age")) is not None:
        attributes.append(f"Max-Age={age}")
    if same := draft.text("session-cookie-samesite"):
        attributes.append(f"SameSite={same}")
    if draft.flag("session-cookie-secure"):
        attributes.append("Secure")
    attributes.append("HttpOnly")
    draft.set(
        affinity_cookie=draft.text("session-cookie-name") or "INGRESSCOOKIE", affinity_attributes="; ".join(attributes)
    )
