"""`affinity: cookie` and the `session-cookie-*` family: a client comes back to the same pod.

Left out: `affinity-mode: persistent` differs from `balanced` only in when a cookie is rewritten as pods are added;
`affinity-canary-behavior` (canaries are chosen before the cookie is looked at: `legacy`); a pod that fails is left for
another at once, as `session-cookie-change-on-failure: "true"` says.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Call, Headers, Phase
from minikube_py.ingress.proxy.balancer import cookie_value
from minikube_py.ingress.router import cookie

__all__ = ["NAMES", "PHASE", "Stick", "apply", "stick"]

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
    "session-cookie-partitioned",
    "session-cookie-change-on-failure",
    "session-cookie-conditional-samesite-none",
)
PHASE = Phase.RESPONSE
_REJECT_NONE = re.compile(
    r"iP.+; CPU .*OS 12[_\d]*.*AppleWebKit|Macintosh;.*Mac OS X 10_14.*AppleWebKit(?!.*Chrom)"
    r"|Chrom[^ /]+/(?:5[0-9]|6[0-6])\b|UCBrowser/(?:[0-9]|1[01])\.|UCBrowser/12\.(?:[0-9]|1[0-2])\."
)
"""Browsers that misread SameSite=None or drop the cookie: iOS 12, macOS 10.14, Chrome 50-66, old UC Browser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stick:
    """Tells the caller by a cookie which pod has answered, unless its request said so already."""

    name: str
    path: str = ""
    """"" is the rule's own."""
    domain: str = ""
    expires: int | None = None
    """Seconds from now."""
    max_age: int | None = None
    secure: bool | None = None
    """None: on answers over HTTPS."""
    http_only: bool = True
    same_site: str = ""
    careful: bool = False
    """Not SameSite=None to browsers that misunderstand it."""
    partitioned: bool = False

    def response(self, call: Call, status: int, headers: Headers) -> None:
        if call.endpoint is None or cookie(call.headers, self.name) == (value := cookie_value(call.endpoint)):
            return
        headers.append(("Set-Cookie", "; ".join((f"{self.name}={value}", *self._attributes(call)))))

    def _attributes(self, call: Call) -> Iterator[str]:
        if self.expires is not None:
            yield f"Expires={formatdate(call.now + self.expires, usegmt=True)}"
        if self.max_age is not None:
            yield f"Max-Age={self.max_age}"
        if self.domain:
            yield f"Domain={self.domain}"
        yield f"Path={self.path or call.rule_path or '/'}"
        if self.secure or (self.secure is None and call.scheme == "https"):
            yield "Secure"
        if self.http_only:
            yield "HttpOnly"
        if self.same_site and not (self.careful and _REJECT_NONE.search(call.headers.get("User-Agent", ""))):
            yield f"SameSite={self.same_site}"
        if self.partitioned:
            yield "Partitioned"


def stick(draft: Draft, cookie: Stick) -> None:
    """Let callers come back to their pod by this cookie."""
    draft.set(affinity_cookie=cookie.name)
    draft.response_filters.append(cookie)


def apply(draft: Draft) -> None:
    if "affinity" not in draft.values:
        return
    if draft.values["affinity"] != "cookie":
        draft.problem("affinity", 'must be "cookie"')
        return
    path = draft.text("session-cookie-path") or ""
    if not path and draft.flag("use-regex"):
        draft.problems.append(f"{draft.prefix}session-cookie-path: must be set with use-regex, a cookie's path is none")
    same = draft.text("session-cookie-samesite") or ""
    stick(
        draft,
        Stick(
            name=draft.text("session-cookie-name") or "INGRESSCOOKIE",
            path=path,
            domain=draft.text("session-cookie-domain") or "",
            expires=draft.number("session-cookie-expires"),
            max_age=draft.number("session-cookie-max-age"),
            secure=draft.flag("session-cookie-secure"),
            same_site=same,
            careful=same == "None" and bool(draft.flag("session-cookie-conditional-samesite-none")),
            partitioned=bool(draft.flag("session-cookie-partitioned")),
        ),
    )
