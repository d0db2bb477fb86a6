"""What a TLS caller says first: the server name of its ClientHello, read without taking part in the handshake. Pure.

Sources: RFC 8446 §4.1.2 (ClientHello), §5.1 (records; a hello may span several), RFC 6066 §3 (server_name).
"""

import re
from collections.abc import Mapping
from typing import TypeVar

__all__ = ["HANDSHAKE", "NotTLS", "by_host", "server_name"]

_MAX = 64 * 1024
"""Bytes of a ClientHello (haproxy and nginx look at 16 KiB)."""
HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME = 22, 1, 0
_NAME = re.compile(rb"[A-Za-z0-9._\-]{1,255}")

_T = TypeVar("_T")


class NotTLS(ValueError):
    """These bytes are no ClientHello."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise NotTLS("the ClientHello is cut short")
        self._at += count
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> bytes:
        """Take a vector whose length stands before it, in `size` bytes."""
        return self.take(self.number(size))

    def __bool__(self) -> bool:
        return self._at < len(self._data)


def server_name(data: bytes) -> str | None:
    """Return the name that the first bytes of a connection ask for, in lower case; "" for none; None: more is needed.

    Error handling: NotTLS.
    """
    hello = b""
    at = 0
    while len(hello) < 4 or len(hello) < 4 + int.from_bytes(hello[1:4], "big"):
        record = data[at : at + 5]
        if record and record[0] != HANDSHAKE:
            raise NotTLS("the connection doesn't begin with a TLS handshake")
        if len(record) > 1 and record[1] != 3:
            raise NotTLS("not a version of TLS")
        if len(hello) >= 4 and (hello[0] != _CLIENT_HELLO or int.from_bytes(hello[1:4], "big") > _MAX):
            raise NotTLS("the handshake doesn't begin with a ClientHello of a reasonable size")
        length = int.from_bytes(record[3:5], "big")
        if len(record) == 5 and not 0 < length <= 1 << 14:
            raise NotTLS("a TLS record of impossible length")
        if len(record) < 5 or len(data) < at + 5 + length:
            return None
        hello += data[at + 5 : at + 5 + length]
        at += 5 + length
    if hello[0] != _CLIENT_HELLO:
        raise NotTLS("the handshake doesn't begin with a ClientHello")
    return _name(hello[4 : 4 + int.from_bytes(hello[1:4], "big")])


def _name(body: bytes) -> str:
    reader = _Reader(body)
    reader.take(2 + 32)  # version, random
    reader.block(1)  # session
    reader.block(2)  # cipher suites
    reader.block(1)  # compression
    if not reader:
        return ""  # no extensions
    extensions = _Reader(reader.block(2))
    while extensions:
        kind = extensions.number(2)
        content = extensions.block(2)
        if kind != _SERVER_NAME:
            continue
        names = _Reader(_Reader(content).block(2))
        while names:
            type_, name = names.number(1), names.block(2)
            if type_ == 0:
                if _NAME.fullmatch(name) is None:
                    raise NotTLS("the server name is no host name")
                return name.decode().lower().rstrip(".")
    return ""


def by_host(table: Mapping[str, _T], name: str) -> _T | None:
    """Look a server name up: the name itself, else the longest `*.suffix`, else ""."""
    if (found := table.get(name)) is not None:
        return found
    rest = name
    while rest:
        _, _, rest = rest.partition(".")
        if rest and (found := table.get(f"*.{rest}")) is not None:
            return found
    return table.get("")
