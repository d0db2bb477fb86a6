"""Who listens where on this machine: asked of the kernel (`NETLINK_SOCK_DIAG`, as `ss` does), without privileges.

It knows of every program, also of those that no code of ours started. Where the kernel doesn't say (not Linux, or a
sandbox without netlink), the answer is None: unknown.
Source: linux/inet_diag.h, sock_diag(7).
"""

import socket
import struct
from collections.abc import Iterator
from typing import Literal

__all__ = ["Listening", "listens"]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = 1
_DUMP = 0x300
_DONE = 3
_ERROR = 2
_TCP_LISTEN = 1 << 10
_TCP_CLOSE = 1 << 7
"""What the kernel calls a datagram socket that is not connected."""
_NO_COOKIE = b"\xff" * 8

_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBBI")
_PORTS = struct.Struct("!HH")
_PROTOCOLS = {"TCP": (socket.IPPROTO_TCP, _TCP_LISTEN), "UDP": (socket.IPPROTO_UDP, _TCP_CLOSE)}


def _question(protocol: str, ip: str, port: int, flags: int) -> bytes:
    number, states = _PROTOCOLS[protocol]
    local, anybody = socket.inet_aton(ip) + bytes(12), bytes(16)
    body = _QUESTION.pack(socket.AF_INET, number, 0, 0, states) + _PORTS.pack(port, 0)
    body += local + anybody + bytes(4) + _NO_COOKIE
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST | flags, 1, 0) + body


def _ask(question: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, body) of each message of the answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(1.0)
        sock.send(question)
        several = True
        while several:
            data = sock.recv(1 << 16)
            while data:
                length, kind, flags, _, _ = _HEADER.unpack_from(data)
                yield kind, data[_HEADER.size : length]
                several = bool(flags & 2) and kind != _DONE  # NLM_F_MULTI
                data = data[(length + 3) & ~3 :]


def listens(ip: str, port: int) -> bool | None:
    """Tell whether a TCP connection to `ip`:`port` (the kernel's) would meet a listener; None if that is unknown."""
    try:
        for kind, body in _ask(_question("TCP", ip, port, 0)):
            if kind == _SOCK_DIAG_BY_FAMILY:
                return True
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", body)
                return False if code == -2 else None  # ENOENT
    except (OSError, AttributeError):
        pass  # no such family here
    return None


class Listening:
    """All that listens on this machine, as seen when it is first asked; `offset` as in `Fabric.real_port`."""

    def __init__(self, offset: int = 0) -> None:
        self._offset = offset
        self._found: dict[str, dict[str, set[int]] | None] = {}

    def ports(self, ip: str, protocol: Literal["TCP", "UDP"] | str = "TCP") -> frozenset[int] | None:
        """Return the ports of one address (as pods see them); None if unknown."""
        if protocol not in self._found:
            self._found[protocol] = self._look(protocol) if protocol in _PROTOCOLS else None
        found = self._found[protocol]
        return None if found is None else frozenset(found.get(ip, ()))

    def _look(self, protocol: str) -> dict[str, set[int]] | None:
        found: dict[str, set[int]] = {}
        try:
            for kind, body in _ask(_question(protocol, "0.0.0.0", 0, _DUMP)):
                if kind == _ERROR:
                    return None
                if kind == _SOCK_DIAG_BY_FAMILY:
                    real, peer = _PORTS.unpack_from(body, 4)
                    low = real - self._offset if 0 < real - self._offset < 1024 else real
                    if not peer:
                        found.setdefault(socket.inet_ntoa(body[8:12]), set()).add(low)
        except (OSError, AttributeError):
            return None
        return found
