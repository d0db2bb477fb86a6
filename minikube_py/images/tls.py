"""TLS for stand-ins that recognize its first bytes: on ports where the real program would speak nothing else.

The certificate is self-signed and made for the first caller: probes don't look at it, and others are to see what it is.
"""

import asyncio
import ssl
import tempfile
from asyncio import sslproto
from functools import cache
from typing import Any

from minikube_py.aiokit.selfsigned import self_signed

__all__ = ["CLIENT_HELLO", "start_tls"]

CLIENT_HELLO = b"\x16\x03"
"""How every TLS connection begins: a handshake record of SSL 3.x (RFC 8446 §5.1)."""


@cache
def _context() -> ssl.SSLContext:
    certificate, key = self_signed("minikube-py stand-in", ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # the ssl module reads files only; this one is private
        file.write(certificate + key)
        file.flush()
        context.load_cert_chain(file.name)
    context.set_alpn_protocols(["http/1.1"])
    return context


def start_tls(transport: asyncio.Transport, inner: asyncio.Protocol, seen: bytes) -> None:
    """Go on in TLS on a connection that has brought `seen`; `inner` speaks what is inside."""
    nobody: Any = None  # waits for the handshake
    tls: Any = sslproto.SSLProtocol(asyncio.get_running_loop(), inner, _context(), nobody, server_side=True)
    transport.set_protocol(tls)
    tls.connection_made(transport)
    while seen:
        buffer = tls.get_buffer(len(seen))
        size = min(len(buffer), len(seen))
        buffer[:size] = seen[:size]
        tls.buffer_updated(size)
        seen = seen[size:]
