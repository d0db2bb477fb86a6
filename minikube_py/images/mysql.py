"""mysql and mariadb, as far as the handshake: any user accepted, COM_PING and COM_INIT_DB answered.

Leaves out: SQL. Queries are error 1235 (ER_NOT_SUPPORTED_YET) with a text that says so.
Source: https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
"""

import asyncio
import os
import struct

from minikube_py.images.container import Container
from minikube_py.images.lines import STAND_IN, serve_streams

__all__ = ["IMAGES", "main"]

IMAGES = ("mysql", "mariadb", "bitnami/mysql", "bitnami/mariadb", "*/mysql", "*/mariadb", "percona")

_CAPABILITIES = 0x0008F7DF
"""Protocol 4.1 with authentication plugins; without SSL (0x800)."""
_OK = b"\x00\x00\x00\x02\x00\x00\x00"
_QUIT, _INIT_DB, _QUERY, _PING = 1, 2, 3, 14


def _packet(sequence: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes((sequence & 0xFF,)) + payload


def _greeting() -> bytes:
    salt = bytes(byte % 94 + 33 for byte in os.urandom(20))
    low, high = _CAPABILITIES & 0xFFFF, _CAPABILITIES >> 16
    return (
        b"\x0a8.4.0-minikube-py\0"
        + struct.pack("<I", 1)
        + salt[:8]
        + b"\0"
        + struct.pack("<HBHH", low, 45, 2, high)
        + bytes((21,))
        + bytes(10)
        + salt[8:]
        + b"\0mysql_native_password\0"
    )


def _refused() -> bytes:
    return b"\xff" + struct.pack("<H", 1235) + b"#42000" + f"query refused: {STAND_IN}".encode()


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(4)
    return head[3], await reader.readexactly(int.from_bytes(head[:3], "little"))


async def _handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_packet(0, _greeting()))
    sequence, _ = await _read(reader)
    writer.write(_packet(sequence + 1, _OK))
    while True:
        sequence, payload = await _read(reader)
        command = payload[0] if payload else _QUIT
        if command == _QUIT:
            return
        harmless = command == _QUERY and payload[1:].strip().upper().startswith((b"SET ", b"COMMIT", b"ROLLBACK"))
        answer = _OK if command in (_PING, _INIT_DB) or harmless else _refused()
        writer.write(_packet(sequence + 1, answer))
        await writer.drain()


async def main(container: Container) -> int:
    container.print("mysqld: ready for connections. port: 3306")
    return await serve_streams(container, _handle, 3306)
