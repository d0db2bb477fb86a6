"""What this process may do: how many files it may open, which ports it may bind."""

import errno
import socket
from pathlib import Path

__all__ = ["lowest_bindable_port", "raise_open_files"]

_FIRST_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one: an in-process connection is two of them."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pass  # macOS reports a hard limit that it does not accept


def lowest_bindable_port(ip: str) -> int:
    """Return the lowest port that this process may bind, by trying: 1 for root, otherwise mostly 1024."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((ip, 1))
        except OSError as error:
            if error.errno != errno.EACCES:
                return 1
        else:
            return 1
    try:
        return int(_FIRST_UNPRIVILEGED.read_text())
    except (OSError, ValueError):
        return 1024
