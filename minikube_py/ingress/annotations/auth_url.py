"""`auth-url` and its family: another server decides; 2xx goes on, 401 may lead to `auth-signin`, else it is refused.

Left out: the cookies of its answer are not handed to the caller; answers are not remembered (`auth-cache-*`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Answer, Call, Phase, Subrequest
from minikube_py.ingress.urls import expand

NAMES = (
    "auth-url",
    "auth-method",
    "auth-signin",
    "auth-signin-redirect-param",
    "auth-response-headers",
    "auth-proxy-set-headers",
    "auth-request-redirect",
)
PHASE = Phase.ACCESS
_NOT_COPIED = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "te"})


@dataclass(frozen=True, slots=True)
class ExternalAuth:
    """nginx's `auth_request`."""

    phase: ClassVar[Phase] = Phase.ACCESS
    url: str
    method: str
    signin: str
    param: str
    copied: tuple[str, ...]
    added: tuple[tuple[str, str], ...] = ()
    """Headers that the authentication server gets (auth-proxy-set-headers), with nginx variables."""
    redirect: str = "$request_uri"

    def request(self, call: Call) -> Subrequest:
        here = f"{call.scheme}://{call.host}{call.uri}"
        own = {name.lower() for name, _ in self.added}
        headers = [
            (name, value)
            for name, value in call.headers.items()
            if name.lower() not in _NOT_COPIED and name.lower() not in own
        ]
        headers += [
            ("X-Original-URL", here),
            ("X-Original-Method", call.method),
            ("X-Sent-From", "nginx-ingress-controller"),
            ("X-Real-IP", call.remote),
            ("X-Forwarded-For", call.remote),
            ("X-Auth-Request-Redirect", expand(self.redirect, call)),
        ]
        headers += ((name, expand(value, call)) for name, value in self.added)

        def failed(status: int, answer: Mapping[str, str]) -> Answer:
            if status == 401 and self.signin:
                url = expand(self.signin, call)
                if f"{self.param}=" not in url:
                    at = f"{call.scheme}://{call.host}{quote(call.uri, safe='')}"  # as ingress-nginx escapes: the URI
                    url += f"{'&' if '?' in url else '?'}{self.param}={at}"
                return Answer(302, "annotation auth-signin", (("Location", url),))
            if status in (401, 403):
                challenge = [("WWW-Authenticate", answer["WWW-Authenticate"])] if "WWW-Authenticate" in answer else []
                return Answer(status, f"annotation auth-url: {self.url} says {status}", challenge)
            return Answer(500, f"annotation auth-url: {self.url} answered {status or 'nothing'}")

        return Subrequest(expand(self.url, call), headers, self.method, self.copied, failed)


def apply(draft: Draft) -> None:
    url = draft.text("auth-url")
    if url is None:
        return
    if not url.startswith(("http://", "https://")):
        draft.problem("auth-url", "must be an http:// or https:// URL")
        return
    draft.filters.append(
        ExternalAuth(
            url,
            draft.text("auth-method") or "GET",
            draft.text("auth-signin") or "",
            draft.text("auth-signin-redirect-param") or "rd",
            draft.words("auth-response-headers"),
            _added(draft),
            draft.text("auth-request-redirect") or "$request_uri",
        )
    )


def _added(draft: Draft) -> tuple[tuple[str, str], ...]:
    name = draft.text("auth-proxy-set-headers")
    found = draft.object("configmaps", "auth-proxy-set-headers", name) if name else None
    return tuple((found or {}).get("data", {}).items())
