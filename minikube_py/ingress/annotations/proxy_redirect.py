"""`proxy-redirect-from` and `proxy-redirect-to`: the beginning of the backend's Location and Refresh is replaced.

`from` may be `~` and a regular expression, whose groups `to` may use. Left out: `default`, which has no effect here
(backends are asked for the public path, so that their relative redirects are right as they are).
"""

import re
from dataclasses import dataclass

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Call, Headers, Phase
from minikube_py.ingress.urls import expand

NAMES = ("proxy-redirect-from", "proxy-redirect-to")
PHASE = Phase.RESPONSE


@dataclass(frozen=True, slots=True)
class RewriteLocation:
    """nginx's `proxy_redirect`."""

    wanted: str | re.Pattern[str]
    target: str

    def response(self, call: Call, status: int, headers: Headers) -> None:
        for index, (name, value) in enumerate(headers):
            match name.lower():
                case "location":
                    headers[index] = (name, self._changed(value, call))
                case "refresh":
                    before, url, location = value.partition("url=")
                    headers[index] = (name, before + url + self._changed(location, call) if url else value)

    def _changed(self, url: str, call: Call) -> str:
        if isinstance(self.wanted, str):
            start = expand(self.wanted, call)
            return expand(self.target, call) + url[len(start) :] if url.startswith(start) else url
        if (match := self.wanted.search(url)) is None:
            return url
        filled = re.sub(r"\$(\d)", lambda group: _group(match, int(group[1])), self.target)
        return expand(filled, call)


def _group(match: re.Match[str], number: int) -> str:
    return (match[number] or "") if number <= (match.re.groups or 0) else ""


def apply(draft: Draft) -> None:
    wanted, target = draft.text("proxy-redirect-from"), draft.text("proxy-redirect-to")
    if wanted in (None, "off", "default"):
        return
    assert wanted is not None
    if target is None or " " in wanted + target:
        draft.problem("proxy-redirect-from", "needs proxy-redirect-to, both without spaces")
        return
    try:
        ignoring = re.IGNORECASE if wanted.startswith("~*") else 0
        pattern = re.compile(wanted.lstrip("~*"), ignoring) if wanted.startswith("~") else wanted
    except re.error as error:
        draft.problem("proxy-redirect-from", f"is no regular expression ({error})")
        return
    draft.response_filters.append(RewriteLocation(pattern, target))
