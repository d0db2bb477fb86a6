"""A real probe: one TCP connection made as a pod (or from outside), to put beside what the model says."""

import asyncio
import socket
from dataclasses import dataclass
from enum import Enum

from minikube_py.cni.fabric import Fabric
from minikube_py.cni.namespace import NetworkNamespace

__all__ = ["Outcome", "Probe", "probe"]

_PATIENCE = 1.0
"""Seconds without an answer that count as none; over loopback an answer takes less than one millisecond."""
_MOMENT = 0.02
"""Seconds in which a connection that nobody takes is reset."""


class Outcome(Enum):
    CONNECTED = "connected"
    SILENT = "no answer"
    REFUSED = "refused"
    NO_NAME = "name not found"
    NO_DNS = "no answer from DNS"


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of one probe."""

    outcome: Outcome
    source: str
    text: str


async def probe(fabric: Fabric, pod: NetworkNamespace | None, host: str, port: int) -> Probe:
    """Look up `host` and connect to it as `pod` (None: from outside), waiting one second for each at most."""
    context = fabric.context() if pod is None else pod.context.copy()
    source = "127.0.0.1" if pod is None else pod.ip
    outcome, detail = await asyncio.get_running_loop().create_task(
        _attempt(fabric, pod, source, host, port), name=f"probe {source} {host}:{port}", context=context
    )
    return Probe(outcome, source, f"real TCP from {source}: {detail}")


async def _attempt(
    fabric: Fabric, pod: NetworkNamespace | None, source: str, host: str, port: int
) -> tuple[Outcome, str]:
    loop = asyncio.get_running_loop()
    address = host
    if pod is not None:
        try:
            async with asyncio.timeout(_PATIENCE):
                address = (await pod.resolve(host))[0]
        except TimeoutError:
            return Outcome.NO_DNS, f"no answer from DNS for {_PATIENCE:.1f} s"
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                return Outcome.NO_DNS, f"{host}: {error.strerror}"
            return Outcome.NO_NAME, f"{host}: {error.strerror}"
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        if pod is None:
            sock.bind((source, 0))
        target = (address, port) if pod is not None else fabric.real_address(address, port)
        try:
            async with asyncio.timeout(_PATIENCE):
                await loop.sock_connect(sock, target)
        except TimeoutError:
            return Outcome.SILENT, f"no answer for {_PATIENCE:.1f} s (SYN dropped)"
        except ConnectionError:  # refused, or reset before we have looked
            return Outcome.REFUSED, f"{address}:{port} refused"
        except OSError as error:
            return Outcome.SILENT, f"{address}:{port}: {error.strerror or error}"
        try:
            async with asyncio.timeout(_MOMENT):
                if await loop.sock_recv(sock, 1) == b"":
                    return Outcome.REFUSED, f"{address}:{port} accepted and closed at once"
        except TimeoutError:
            pass  # a server that waits for the client to speak first
        except OSError:
            return Outcome.REFUSED, f"{address}:{port} accepted and reset"
        if fabric.held.holds(sock.getsockname()):
            return Outcome.SILENT, "connected, but held unread"
        return Outcome.CONNECTED, f"connected to {address}:{port}"
    finally:
        sock.close()
