"""Asking a container how it is: httpGet, tcpSocket and grpc over real sockets, from whichever context it runs in.

Stands for pkg/probe of Kubernetes, in its words. Run it in a task with the *node's* context: probes come from the node.
Leaves out: following redirects (any status from 200 to 399 is a success, as Kubernetes treats a redirect elsewhere).
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

__all__ = ["ProbeFailed", "http_get", "port_number", "tcp_socket"]

_BODY_LIMIT = 10 * 1024
"""Kubernetes: maxRespBodyLength."""


class ProbeFailed(Exception):
    """The probe's answer is no; the message is what the event shows."""


def port_number(value: Any, container: Mapping[str, Any]) -> int:
    """Resolve a probe's port, which may be a name of the container's own ports.

    Error handling: ProbeFailed in the kubelet's words when there is no such name.
    """
    if isinstance(value, int) or str(value).isdigit():
        return int(value)
    for port in container.get("ports") or ():
        if port.get("name") == value:
            return int(port["containerPort"])
    raise ProbeFailed(f"couldn't find port: {value}")


async def _connect(
    host: str, port: int, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(host, port, ssl=tls)


def _dial_error(host: str, port: int, error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {host}:{port}: connect: connection refused"
    return f"dial tcp {host}:{port}: {error.strerror or error}"


async def tcp_socket(host: str, port: int, timeout: float) -> None:
    """Open and close a connection; ProbeFailed when that doesn't work within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            _, writer = await _connect(host, port)
    except TimeoutError:
        raise ProbeFailed(f"dial tcp {host}:{port}: i/o timeout") from None
    except OSError as error:
        raise ProbeFailed(_dial_error(host, port, error)) from None
    writer.close()


async def http_get(action: Mapping[str, Any], host: str, port: int, timeout: float) -> None:
    """Make the GET of a probe or hook; ProbeFailed unless the status is 200 to 399."""
    scheme = str(action.get("scheme") or "HTTP").lower()
    path = str(action.get("path") or "/")
    path = path if path.startswith("/") else f"/{path}"
    url = f"{scheme}://{host}:{port}{path}"
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.32", "Accept": "*/*", "Connection": "close"}
    for header in action.get("httpHeaders") or ():
        known = next((name for name in headers if name.lower() == str(header["name"]).lower()), header["name"])
        headers[known] = str(header.get("value", ""))
    request = "".join((f"GET {path} HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in headers.items()), "\r\n"))
    tls = None
    if scheme == "https":  # Kubernetes skips verification here, too
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _connect(host, port, tls)
            writer.write(request.encode("latin-1", "replace"))
            status_line = await reader.readline()
            await reader.read(_BODY_LIMIT)  # a server that is cut off in its answer would log an error
    except TimeoutError:
        waiting = "Client.Timeout exceeded while awaiting headers"
        raise ProbeFailed(f'Get "{url}": context deadline exceeded ({waiting})') from None
    except OSError as error:
        raise ProbeFailed(f'Get "{url}": {_dial_error(host, port, error)}') from None
    finally:
        if writer is not None:
            writer.close()
    parts = status_line.split()
    if len(parts) < 2 or not parts[1].isdigit():
        raise ProbeFailed(f'Get "{url}": EOF' if not status_line else f'Get "{url}": malformed HTTP response')
    if not 200 <= int(parts[1]) < 400:
        raise ProbeFailed(f"HTTP probe failed with statuscode: {parts[1].decode()}")
