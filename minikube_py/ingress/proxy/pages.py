"""What the controller answers by itself: nginx's pages, with a sentence that says why. Pure: values in, bytes out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from html import escape
from http import HTTPStatus

from msgspec import Struct

__all__ = ["NGINX", "Page", "Rejected", "Style", "http_date", "page", "phrase"]

_PHRASES = {302: "Moved Temporarily", 408: "Request Time-out", 413: "Request Entity Too Large", 504: "Gateway Time-out"}
"""Where nginx's words differ from the registry's."""
_WITHOUT_SENTENCE = frozenset({204, 304})


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a controller shows itself: its pages, and the headers that it gives to backends."""

    server: str | None = None
    """The Server header where the backend sends none; "" for none; None hides every one (server-tokens off)."""
    hsts: bool = True
    body: Callable[[int, str], tuple[str, str]] | None = None
    """`(status, because)` → (content type, text); None: nginx's page."""
    forwarded: tuple[str, ...] = ()
    """The X-Forwarded-* and their like that backends get; empty: ingress-nginx's."""
    appends: bool = False
    """What callers say in X-Forwarded-For is kept, and the caller's address appended."""
    extra: tuple[tuple[str, str], ...] = ()
    """More headers for backends."""
    trace: str = ""
    """Name of a header with the request's id."""


NGINX = Style()


class Page(Struct, frozen=True):
    """A whole answer of the controller's own."""

    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes, bytes]]
    """(lower-case name, name, value)"""
    body: bytes


class Rejected(Exception):
    """The request ends here, with a page."""

    def __init__(self, status: int, because: str) -> None:
        super().__init__(because)
        self.status = status
        self.because = because


def phrase(status: int) -> str:
    """Return nginx's words for a status."""
    if found := _PHRASES.get(status):
        return found
    try:
        names = {503: "Service Temporarily Unavailable"}
        return names.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def http_date(now: float) -> str:
    """Return `now` as RFC 9110 writes dates."""
    return _date(int(now))


def page(
    status: int,
    because: str,
    *,
    now: float,
    headers: Iterable[tuple[str, str]] = (),
    rule: str = "",
    style: Style = NGINX,
    content: tuple[str, str] | None = None,
) -> Page:
    """Return an answer.

    `rule` names the Ingress and path that decided; `content` (content type, text) stands in for the page.
    """
    title = f"{status} {phrase(status)}"
    body = b""
    kind = "text/html; charset=utf-8"
    if content is None and style.body is not None:
        content = style.body(status, because)
    if content is not None:
        kind, body = content[0], content[1].encode(errors="replace")
    elif status not in _WITHOUT_SENTENCE:
        sentence = f"<p>{escape(f'{title}: {because}', quote=False)}</p>\r\n" if because else ""
        comment = f"<!-- ingress: {escape(rule, quote=False).replace('--', '- -')} -->\r\n" if rule else ""
        body = (
            f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
            f"{sentence}<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n{comment}"
        ).encode(errors="replace")
    lines = [("Date", http_date(now))]
    if style.server:
        lines.append(("Server", style.server))
    if status not in _WITHOUT_SENTENCE:
        lines += [("Content-Type", kind), ("Content-Length", str(len(body)))]
    if because:
        lines.append(("X-Ingress-Reason", because))
    if rule:
        lines.append(("X-Ingress-Rule", rule))
    lines += headers
    fields = [(n.lower().encode("latin-1", "replace"), n.encode("latin-1", "replace"), _printable(v)) for n, v in lines]
    return Page(status, phrase(status).encode(), fields, body)


def _printable(text: str) -> bytes:
    """Return text that can stand in a header: what a caller sent must not make lines of its own."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:2000].encode()
