"""What a proxy changes in the heads that pass it: requests on their way to a pod, answers on their way back. Pure.

Sources: RFC 9110 §7.6.1 (hop-by-hop headers) and ingress-nginx's template (X-Forwarded-*, X-Request-ID, X-Scheme).
The functions that the fast path calls for every request remember what they made of the same bytes: a caller and a pod
send the same headers again and again.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from multidict import CIMultiDict, CIMultiDictProxy

from minikube_py.ingress.http1.messages import Head
from minikube_py.ingress.options import Call, ResponseFilter
from minikube_py.ingress.proxy.pages import Style

__all__ = [
    "HOST",
    "NOT_FORWARDED",
    "SimpleFields",
    "answer_head",
    "beginning",
    "filtered_head",
    "preamble",
    "returned",
    "simple_fields",
    "simple_line",
    "styled_preamble",
]

NOT_FORWARDED = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"host",
        b"content-length",
        b"x-request-id",
        b"x-real-ip",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-scheme",
        b"x-scheme",
        b"x-original-forwarded-for",
        b"proxy",
    }
)
"""Hop by hop (RFC 9110 §7.6.1), or set by us: a caller's own X-Forwarded-* are not believed, as in ingress-nginx."""
_NOT_RETURNED = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_NOT_SHOWN = _NOT_RETURNED | {b"server"}
HOST = re.compile(r"(?:[A-Za-z0-9._\-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[!-\"$-~]*) HTTP/1\.1\r\n")
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n")
_NOT_SIMPLE = frozenset({b"transfer-encoding", b"upgrade", b"expect", b"x-request-id"})
_BEGINNING = re.compile(rb"[\r\n]*[A-Z-]{0,20}(?: |\Z)")
_BARE_FEED = re.compile(rb"(?<!\r)\n|\r[^\n]")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_MAX_FIELDS = 100


def preamble(method: str, target: str, host: str, vhost: str, request_id: str, remote: str, *, secure: bool) -> str:
    """Return the request line and the headers that the proxy itself sets."""
    scheme = "https" if secure else "http"
    port = host.rpartition(":")[2] if ":" in host and not host.endswith("]") else ("443" if secure else "80")
    return (
        f"{method} {target} HTTP/1.1\r\n"
        f"Host: {vhost or host}\r\n"
        f"X-Request-ID: {request_id}\r\nX-Real-IP: {remote}\r\nX-Forwarded-For: {remote}\r\n"
        f"X-Forwarded-Host: {host}\r\nX-Forwarded-Port: {port}\r\n"
        f"X-Forwarded-Proto: {scheme}\r\nX-Forwarded-Scheme: {scheme}\r\nX-Scheme: {scheme}\r\n"
    )


def styled_preamble(
    style: Style, method: str, target: str, host: str, request_id: str, remote: str, received: str, *, secure: bool
) -> str:
    """Return what `preamble` returns, in another controller's way; `received` is the caller's X-Forwarded-For."""
    scheme = "https" if secure else "http"
    port = "443" if secure else "80"
    if ":" in host and not host.endswith("]"):
        port = host.rpartition(":")[2]
    values = {
        "x-real-ip": remote,
        "x-forwarded-for": f"{received}, {remote}" if style.appends and received else remote,
        "x-forwarded-host": host,
        "x-forwarded-port": port,
        "x-forwarded-proto": scheme,
        "x-forwarded-path": target.partition("?")[0],
        "x-request-id": request_id,
    }
    text = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"
    text += "".join(f"{each}: {values[each.lower()]}\r\n" for each in style.forwarded)
    text += "".join(f"{each}: {value}\r\n" for each, value in style.extra)
    if style.trace:
        root = f"Root=1-{request_id[:8]}-{request_id[8:32]}" if "Amzn" in style.trace else request_id
        text += f"{style.trace}: {root}\r\n"
    return text


@dataclass(frozen=True, slots=True)
class SimpleFields:
    """The headers of a simple request."""

    host: str
    forwarded: bytes
    """What goes on to the pod, with the empty line at its end."""
    close: bool
    agent: str
    referer: str
    length: int
    """Bytes of the body."""
    received: str
    """X-Forwarded-For as it came."""
    headers: Mapping[str, str]
    """All of them, by name in any case."""


def beginning(data: bytes) -> bool:
    """Tell whether more bytes may make this a request's head; if not, llhttp says at once what is wrong."""
    return _BEGINNING.match(data) is not None and _BARE_FEED.search(data.lstrip(b"\r\n")) is None


def simple_line(data: bytes) -> tuple[str, str, int] | None:
    """Return (method, target, end of the line) of a request without oddities; else None."""
    match = _LINE.match(data)
    return (match[1].decode(), match[2].decode(), match.end()) if match is not None else None


@lru_cache(maxsize=512)  # at most 8 KiB each
def simple_fields(block: bytes) -> SimpleFields | None:
    """Return the headers of a request that can be relayed without a second look; None where anything is unusual.

    **The law**: None is always right (llhttp then decides), an answer must never be wrong. So: every line well formed,
    one Host, at most one length, no upgrade, no expectation, a Connection that says nothing but close or keep-alive.
    """
    if _FIELDS.fullmatch(block) is None:
        return None
    host: str | None = None
    close = False
    agent = referer = received = ""
    length = -1
    headers: CIMultiDict[str] = CIMultiDict()
    extra: list[bytes] = []
    lines = block[:-4].split(b"\r\n")
    if len(lines) > _MAX_FIELDS:
        return None
    for line in lines:
        name, _, value = line.partition(b":")
        lower = name.lower()
        value = value.strip(b" \t")
        if lower in _NOT_SIMPLE:
            return None
        headers.add(name.decode(), value.decode("utf-8", "surrogateescape"))
        if lower == b"content-length":
            if length >= 0 or _LENGTH.fullmatch(value) is None:
                return None
            length = int(value)
            extra.append(b"Content-Length: %d\r\n" % length)
            continue
        if lower == b"host":
            text = value.decode("latin-1")
            if host is not None or not text or HOST.fullmatch(text) is None:
                return None
            host = text
            continue
        if lower == b"connection":
            token = value.lower()
            if token not in (b"close", b"keep-alive"):
                return None
            close = close or token == b"close"
            continue
        if lower == b"user-agent":
            agent = value.decode("utf-8", "surrogateescape")
        elif lower == b"referer":
            referer = value.decode("utf-8", "surrogateescape")
        elif lower == b"x-forwarded-for":
            if received or not value:
                return None
            received = value.decode("utf-8", "surrogateescape")
            continue
        # nginx: underscores_in_headers off; X_Forwarded_For must not pass for X-Forwarded-For in CGI-like apps
        if lower not in NOT_FORWARDED and b"_" not in name:
            extra.append(b"%b: %b\r\n" % (name, value))
    if host is None:
        return None
    block = b"".join(extra) + b"\r\n"
    return SimpleFields(host, block, close, agent, referer, max(length, 0), received, CIMultiDictProxy(headers))


def returned(head: Head, server: str | None = "") -> list[tuple[bytes, bytes, bytes]]:
    """Return an answer's headers without those between pod and proxy only: by name, or because Connection says so.

    `server` as in `pages.Style`: None hides the pod's.
    """
    skipped = _NOT_RETURNED if server is not None else _NOT_SHOWN
    for lower, _, value in head.headers:
        if lower == b"connection":
            # its length is how the answer ends, whatever the pod says
            skipped |= {each.strip().lower() for each in value.split(b",")} - {b"content-length"}
    return [each for each in head.headers if each[0] not in skipped]


@lru_cache(maxsize=512)  # `messages.parse_head` gives the same Head for the same bytes
def answer_head(head: Head, chunked: bool, server: str | None) -> tuple[bytes, bool]:
    """Return (status line and headers for the caller, without the empty line; whether it has Date)."""
    parts = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
    dated = False
    served = not server
    for lower, name, value in returned(head, server):
        dated = dated or lower == b"date"
        served = served or lower == b"server"
        parts.append(b"%b: %b\r\n" % (name, value))
    if not served:
        parts.append(f"Server: {server}\r\n".encode())
    if chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    return b"".join(parts), dated


def filtered_head(head: Head, server: str | None, call: Call, filters: Iterable[ResponseFilter]) -> Head:
    """Return an answer's head as an Ingress's annotations make it."""
    texts = [(n.decode("latin-1"), v.decode("latin-1")) for _, n, v in returned(head, server)]
    for each in filters:
        each.response(call, head.status, texts)
    fields = [(n.lower().encode("latin-1"), n.encode("latin-1"), v.encode("latin-1", "replace")) for n, v in texts]
    return replace(head, headers=fields)
