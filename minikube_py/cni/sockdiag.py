"""Who listens where on this machine: asked of the kernel (`NETLINK_SOCK_DIAG`, as `ss` does), without privileges.

It knows of every program, also of those that no code of ours started, and of their IPv6 sockets that take IPv4 callers
(gRPC binds `::ffff:127.244.1.5`; many bind `::`). Where the kernel doesn't say (not Linux, or a sandbox without
netlink), the answer is None: unknown.
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
_ATTRIBUTES = 72
"""Where those of a message begin (struct inet_diag_msg)."""
_V6_ONLY = 11
"""INET_DIAG_SKV6ONLY: the socket takes no IPv4 callers."""
_ATTRIBUTE = struct.Struct("=HH")
_MAPPED = bytes(10) + b"\xff\xff"
"""RFC 4291, 2.5.5.2: an IPv4 address as IPv6 writes it."""
_ANY = "0.0.0.0"
_PROTOCOLS = {"TCP": (socket.IPPROTO_TCP, _TCP_LISTEN), "UDP": (socket.IPPROTO_UDP, _TCP_CLOSE)}


def _dump(protocol: str, family: int) -> bytes:
    number, states = _PROTOCOLS[protocol]
    body = _QUESTION.pack(family, number, 0, 0, states) + bytes(4 + 16 + 16 + 4) + _NO_COOKIE
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, 1, 0) + body


def _listener(ip: str, port: int) -> bytes:
    """Ask for the one socket that a TCP connection would meet: the kernel looks at both families."""
    body = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _TCP_LISTEN) + _PORTS.pack(port, 0)
    body += socket.inet_aton(ip) + bytes(12) + bytes(16) + bytes(4) + _NO_COOKIE
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0) + body


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
        for kind, body in _ask(_listener(ip, port)):
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
            for family in (socket.AF_INET, socket.AF_INET6):
                for kind, body in _ask(_dump(protocol, family)):
                    if kind == _ERROR and family == socket.AF_INET:
                        return None  # else it is a kernel without IPv6
                    if kind == _SOCK_DIAG_BY_FAMILY and (bound := _bound(family, body)) is not None:
                        ip, real = bound
                        low = real - self._offset if 0 < real - self._offset < 1024 else real
                        found.setdefault(ip, set()).add(low)
        except (OSError, AttributeError):
            return None
        return found


def _bound(family: int, body: bytes) -> tuple[str, int] | None:
    """Return the IPv4 address and port at which a socket takes any caller; None for one that doesn't."""
    port, peer = _PORTS.unpack_from(body, 4)
    if peer:
        return None
    if family == socket.AF_INET:
        return socket.inet_ntoa(body[8:12]), port
    address = body[8:24]
    if address[:12] == _MAPPED:
        return socket.inet_ntoa(address[12:]), port
    return (_ANY, port) if address == bytes(16) and not _v6_only(body) else None


def _v6_only(body: bytes) -> bool:
    rest = body[_ATTRIBUTES:]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if kind == _V6_ONLY:
            return bool(rest[_ATTRIBUTE.size])
        rest = rest[(max(length, _ATTRIBUTE.size) + 3) & ~3 :]
    return False
