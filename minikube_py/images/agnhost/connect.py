"""agnhost connect: one connection, judged by its exit code and by TIMEOUT, REFUSED, DNS or OTHER."""

import asyncio
import errno
import re
import socket

from minikube_py.images.agnhost.netexec import ask_udp
from minikube_py.images.container import Container
from minikube_py.images.flags import Flags

__all__ = ["connect", "seconds"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def seconds(text: str) -> float:
    """Read Go's duration (`1s`, `1m30s`, `500ms`); ValueError."""
    if re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h)?)+", text) is None:
        raise ValueError(f"time: invalid duration {text!r}")
    return sum(float(number) * _UNITS[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)(ms|s|m|h)?", text))


async def connect(container: Container, flags: Flags) -> int:
    """`connect HOST:PORT`: 0 when it connects, else 1 with TIMEOUT, REFUSED, DNS or OTHER."""
    container.started()
    if not flags.rest:
        container.print("Error: accepts 1 arg(s), received 0")
        return 1
    host, _, port = flags.rest[0].rpartition(":")
    try:
        timeout = seconds(flags.get("timeout", default="0")) or None
    except ValueError as error:
        container.print(f"Error: {error}")
        return 1
    protocol = flags.get("protocol", default="tcp").lower()
    if protocol == "sctp":
        container.print("OTHER: minikube-py's cluster network carries TCP and UDP only, no SCTP")
        return 1
    if protocol not in ("tcp", "udp"):
        container.print(f"OTHER: unsupported protocol: {protocol}")
        return 1
    try:
        async with asyncio.timeout(timeout):
            if protocol == "udp":
                await ask_udp(host, int(port), "hostname", timeout or 5.0)
            else:
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
    except TimeoutError:
        container.print("TIMEOUT")
    except socket.gaierror as error:
        container.print(f"DNS: {error.strerror or error}")
    except ConnectionRefusedError:
        container.print("REFUSED")
    except (OSError, ValueError) as error:
        timed_out = isinstance(error, OSError) and error.errno == errno.ETIMEDOUT
        container.print("TIMEOUT" if timed_out else f"OTHER: {error}")
    else:
        return 0
    return 1
