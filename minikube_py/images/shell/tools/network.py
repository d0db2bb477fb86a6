"""What the networking tools share: connecting as the pod, and telling why it failed."""

import asyncio
import os
import socket
import ssl

from minikube_py.cni.namespace import NetworkNamespace, current

__all__ = ["address_of", "connect", "namespace", "reason", "shown_address", "why_not"]


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


async def address_of(host: str) -> str:
    """Return the first address of a name, found the pod's way; OSError (gaierror) if there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None)
    return str(found[0][4][0])


async def shown_address(host: str) -> str:
    """Return the address to show in a message; the name itself where it has none."""
    try:
        return await address_of(host)
    except OSError:
        return host
