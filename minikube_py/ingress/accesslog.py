"""Access log lines as ingress-nginx writes them (log-format-upstream). Pure.

Source: https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/log-format/
"""

from dataclasses import dataclass, field
from time import gmtime, strftime

__all__ = ["Record", "line"]


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


def _quoted(text: str) -> str:
    """Escape as nginx's `log_escape default`: a caller can't forge a line."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text or "-"
    return "".join(c if c.isprintable() and c not in '"\\' else f"\\x{ord(c):02X}" if ord(c) < 256 else c for c in text)


def line(record: Record, now: float) -> str:
    """Return the line, without its end."""
    tries = record.tries
    return (
        f"{record.remote} - {record.user or '-'} [{strftime('%d/%b/%Y:%H:%M:%S +0000', gmtime(now))}] "
        f'"{_quoted(record.request)}" {record.status} {record.sent} "{_quoted(record.referer)}" '
        f'"{_quoted(record.agent)}" {record.request_length} {record.seconds:.3f} [{record.backend}] [{record.canary}] '
        f"{', '.join(t[0] for t in tries) or '-'} {', '.join(str(t[1]) for t in tries) or '-'} "
        f"{', '.join(f'{t[2]:.3f}' for t in tries) or '-'} {', '.join(str(t[3]) for t in tries) or '-'} "
        f"{record.request_id}"
    )
