"""What the networking tools share: connecting as the pod, and telling why it failed."""

import asyncio
import socket
import ssl

from minikube_py.cni.namespace import NetworkNamespace, current

__all__ = ["connect", "namespace", "reason"]


def namespace() -> NetworkNamespace | None:
    """Return the pod's network; None outside of pods (unit tests of pure tools)."""
    return current.get()


def reason(error: OSError) -> str:
    """Return `name` (no such name), `refused`, `reset` or `other`."""
    if isinstance(error, socket.gaierror):
        return "name"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return "reset" if isinstance(error, ConnectionError) else "other"


async def connect(
    host: str, port: int, context: ssl.SSLContext | None = None, *, server_hostname: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection as the pod: its address, names and policies.

    Error handling: OSError; a denied connection doesn't come about and isn't refused: give it a timeout.
    """
    if context is not None:
        return await asyncio.open_connection(host, port, ssl=context, server_hostname=server_hostname or host)
    return await asyncio.open_connection(host, port)
