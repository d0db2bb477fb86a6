"""`proxy-cookie-domain` and `proxy-cookie-path`: `from to` rewrites that attribute of the backend's Set-Cookie.

As nginx compares: a domain as a whole without its leading dot, a path by its beginning, `~` starts a regular expression
(`~*` one that ignores case). Left out: several pairs in one annotation.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from minikube_py.ingress.annotations.draft import Draft
from minikube_py.ingress.options import Call, Headers, Phase

NAMES = ("proxy-cookie-domain", "proxy-cookie-path")
PHASE = Phase.RESPONSE


@dataclass(frozen=True, slots=True)
class RewriteCookies:
    """Rewrites one attribute of every Set-Cookie."""

    attribute: str
    """In lower case: `domain` or `path`."""
    changed: Callable[[str], str]

    def response(self, call: Call, status: int, headers: Headers) -> None:
        for index, (name, value) in enumerate(headers):
            if name.lower() == "set-cookie":
                first, *rest = value.split(";")
                headers[index] = (name, ";".join([first, *map(self._part, rest)]))

    def _part(self, part: str) -> str:
        key, equals, value = part.partition("=")
        return f"{key}={self.changed(value)}" if equals and key.strip().lower() == self.attribute else part


def _rule(attribute: str, wanted: str, target: str) -> Callable[[str], str]:
    if wanted.startswith("~"):
        flags = re.IGNORECASE if wanted.startswith("~*") or attribute == "domain" else 0
        pattern = re.compile(wanted.lstrip("~*"), flags)
        template = re.sub(r"\$(\d)", r"\\g<\1>", target)
        return lambda value: pattern.sub(template, value, count=1)
    if attribute == "domain":
        return lambda value: target if value.lstrip(".").lower() == wanted.lstrip(".").lower() else value
    return lambda value: target + value[len(wanted) :] if value.startswith(wanted) else value


def apply(draft: Draft) -> None:
    for name in NAMES:
        text = draft.text(name)
        if text is None or text == "off":
            continue
        words = text.split()
        attribute = name.rpartition("-")[2]
        try:
            wanted, target = words
            draft.response_filters.append(RewriteCookies(attribute, _rule(attribute, wanted, target)))
        except (ValueError, re.error):
            draft.problem(name, 'must be "off" or what to replace and by what, with a space between')
