"""postgres, as far as the handshake: SSL refused, any user accepted, an empty query or `SELECT 1` answered.

Leaves out: SQL. Any other query is an error (0A000, feature_not_supported) that says so; the connection stays.
Source: https://www.postgresql.org/docs/current/protocol-flow.html
"""

import asyncio
import struct

from minikube_py.images.container import Container
from minikube_py.images.lines import STAND_IN, serve_streams

__all__ = ["IMAGES", "main"]

IMAGES = ("postgres", "bitnami/postgresql", "*/postgres", "*/postgresql", "postgis/postgis")

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_IDLE = b"I"


def _message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(payload) + 4) + payload


def _error(text: str) -> bytes:
    return _message(b"E", b"SERROR\0VERROR\0C0A000\0M" + text.encode() + b"\0\0")


_READY = _message(b"Z", _IDLE)
_ONE = (
    _message(b"T", struct.pack("!H", 1) + b"?column?\0" + struct.pack("!IhIhih", 0, 0, 23, 4, -1, 0))
    + _message(b"D", struct.pack("!HI", 1, 1) + b"1")
    + _message(b"C", b"SELECT 1\0")
)


def _query(text: str) -> bytes:
    bare = text.strip().rstrip(";").strip().upper()
    if not bare:
        return _message(b"I") + _READY
    if bare == "SELECT 1":
        return _ONE + _READY
    if bare.startswith(("SET ", "BEGIN", "COMMIT", "ROLLBACK")):
        return _message(b"C", bare.split()[0].encode() + b"\0") + _READY
    return _error(f"query refused: {STAND_IN}") + _READY


async def _handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        length, code = struct.unpack("!II", await reader.readexactly(8))
        await reader.readexactly(length - 8)
        if code in (_SSL, _GSS):
            writer.write(b"N")
            continue
        if code == _CANCEL:
            return
        break
    settings = {"server_version": "16.4", "server_encoding": "UTF8", "client_encoding": "UTF8", "DateStyle": "ISO, MDY"}
    settings |= {"integer_datetimes": "on", "standard_conforming_strings": "on", "TimeZone": "UTC"}
    writer.write(_message(b"R", struct.pack("!I", 0)))
    for key, value in settings.items():
        writer.write(_message(b"S", f"{key}\0{value}\0".encode()))
    writer.write(_message(b"K", struct.pack("!II", 1, 1)) + _READY)
    failed = False
    while True:
        kind = await reader.readexactly(1)
        payload = await reader.readexactly(struct.unpack("!I", await reader.readexactly(4))[0] - 4)
        if kind == b"X":
            return
        if kind == b"Q":
            writer.write(_query(payload.rstrip(b"\0").decode("utf-8", "replace")))
        elif kind == b"S":
            writer.write(_READY)
            failed = False
        elif kind in b"PBDE" and not failed:  # the extended protocol ends with the first error until Sync
            writer.write(_error(f"statement refused: {STAND_IN}"))
            failed = True
        await writer.drain()


async def main(container: Container) -> int:
    number = container.env.get("PGPORT", "")
    container.print("database system is ready to accept connections")
    return await serve_streams(container, _handle, int(number) if number.isdigit() else 5432)
