"""What the networking tools share: connecting as the pod, and telling why it failed."""

import asyncio
import os
import socket
import ssl

from minikube_py.cni.namespace import NetworkNamespace, current

__all__ = ["connect", "namespace", "reason", "why_not"]


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


def why_not(error: OSError) -> str:
    """Return the kernel's words for an error; event loops put their own into it."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


async def connect(
    host: str, port: int, context: ssl.SSLContext | None = None, *, server_hostname: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection as the pod: its address, names and policies.

    Error handling: OSError; a denied connection doesn't come about and isn't refused: give it a timeout.
    """
    if context is not None:
        return await asyncio.open_connection(host, port, ssl=context, server_hostname=server_hostname or host)
    return await asyncio.open_connection(host, port)
