"""Access log lines as ingress-nginx writes them (log-format-upstream). Pure.

Source: https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/log-format/
"""

from dataclasses import dataclass, field
from functools import lru_cache
from time import gmtime, strftime

__all__ = ["Record", "line", "session"]


@dataclass(slots=True)
class Record:
    """One finished request."""

    remote: str
    request: str
    """`GET /menu HTTP/1.1`"""
    status: int = 0
    sent: int = 0
    """Body bytes."""
    referer: str = ""
    agent: str = ""
    user: str = ""
    request_length: int = 0
    seconds: float = 0.0
    backend: str = ""
    """`namespace-service-port`"""
    canary: str = ""
    tries: list[tuple[str, int, float, int]] = field(default_factory=list)
    """(address, bytes, seconds, status) of each attempt."""
    request_id: str = ""


@lru_cache(maxsize=4)
def _time(second: int) -> str:
    return strftime("%d/%b/%Y:%H:%M:%S +0000", gmtime(second))


def _quoted(text: str) -> str:
    """Escape as nginx's `log_escape default`: a caller can't forge a line."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text or "-"
    octets = text.encode("utf-8", "surrogateescape")
    return "".join(chr(c) if 0x20 <= c <= 0x7E and c not in b'"\\' else f"\\x{c:02X}" for c in octets)


def line(record: Record, now: float) -> str:
    """Return the line, without its end."""
    tries = record.tries
    if len(tries) == 1:
        ((address, size, seconds, status),) = tries
        upstream = f"{address} {size} {seconds:.3f} {status}"
    else:
        columns = zip(*((t[0], str(t[1]), f"{t[2]:.3f}", str(t[3])) for t in tries), strict=True)
        upstream = " ".join(map(", ".join, columns)) or "- - - -"
    return (
        f"{record.remote} - {record.user or '-'} [{_time(int(now))}] "
        f'"{_quoted(record.request)}" {record.status} {record.sent} "{_quoted(record.referer)}" '
        f'"{_quoted(record.agent)}" {record.request_length} {record.seconds:.3f} [{record.backend}] [{record.canary}] '
        f"{upstream} {record.request_id}"
    )


def session(
    remote: str, name: str, target: str, status: int, received: int, sent: int, seconds: float, now: float
) -> str:
    """Return the line of a connection that was passed through (log-format-stream, with server name and target)."""
    return (
        f"[{remote}] [{_time(int(now))}] TCP {status} {sent} {received} {seconds:.3f} {_quoted(name)} {_quoted(target)}"
    )
