"""postgres, as far as the handshake: SSL refused, any user accepted; pings and questions about the server answered.

`SELECT 1`, `version()`, `now()`, `SHOW server_version` and their like are what probes, pools and tutorials ask, in the
simple and the extended protocol. Leaves out: SQL. Any other statement is an error (0A000, feature_not_supported) that
says so; the connection stays.
Source: https://www.postgresql.org/docs/current/protocol-flow.html
"""

import asyncio
import re
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from minikube_py.images.container import Container
from minikube_py.images.lines import STAND_IN, serve_streams

__all__ = ["IMAGES", "Column", "main", "question"]

IMAGES = ("postgres", "bitnami/postgresql", "*/postgres", "*/postgresql", "postgis/postgis")

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_INT4, _TEXT, _BOOL = 23, 25, 16
_SETTINGS = {
    "server_version": "16.4",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "integer_datetimes": "on",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
}
_SHOWN = {
    **{name.lower(): value for name, value in _SETTINGS.items()},
    "transaction isolation level": "read committed",
    "transaction_isolation": "read committed",
    "transaction_read_only": "off",
    "default_transaction_read_only": "off",
    "max_connections": "100",
    "search_path": '"$user", public',
}
_HARMLESS = (
    "set",
    "begin",
    "commit",
    "rollback",
    "start",
    "end",
    "reset",
    "discard",
    "deallocate",
    "unlisten",
    "close",
)
_ITEM = re.compile(
    r"\s*(?:(?:pg_catalog\.)?(?P<function>\w+)\s*\(\s*\)|(?P<number>-?\d+)|'(?P<text>[^']*)'|(?P<word>\w+))"
    r"(?:::\w+)?(?:\s+as\s+\"?(?P<alias>\w+)\"?)?\s*(?:,|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: int
    """The type's OID."""
    value: str

    def encoded(self, binary: bool) -> bytes:
        if not binary or self.kind == _TEXT:
            return self.value.encode()
        return struct.pack("!i", int(self.value)) if self.kind == _INT4 else bytes((self.value == "t",))


def question(sql: str, session: Mapping[str, str], now: float) -> list[Column] | None:
    """Return the one row of a statement that only asks about the server; None for any other."""
    text = " ".join(sql.strip().rstrip(";").split())
    lower = text.lower()
    if lower.startswith("show "):
        name = lower.removeprefix("show ").strip('"')
        return [Column(name, _TEXT, _SHOWN[name])] if name in _SHOWN else None
    if not lower.startswith("select "):
        return None
    text = text[7:]
    user = session.get("user", "postgres")
    clock = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(now))
    functions = {
        "current_database": Column("current_database", _TEXT, session.get("database") or user),
        "current_schema": Column("current_schema", _TEXT, "public"),
        "now": Column("now", _TEXT, clock),
        "pg_backend_pid": Column("pg_backend_pid", _INT4, "1"),
        "pg_is_in_recovery": Column("pg_is_in_recovery", _BOOL, "f"),
        "version": Column("version", _TEXT, "PostgreSQL 16.4 (minikube-py stand-in)"),
    }
    words = {
        "current_catalog": functions["current_database"],
        "current_schema": functions["current_schema"],
        "current_timestamp": Column("current_timestamp", _TEXT, clock),
        "current_user": Column("current_user", _TEXT, user),
        "false": Column("bool", _BOOL, "f"),
        "session_user": Column("session_user", _TEXT, user),
        "true": Column("bool", _BOOL, "t"),
        "user": Column("user", _TEXT, user),
    }
    row: list[Column] = []
    at = 0
    while at < len(text):
        if (match := _ITEM.match(text, at)) is None:
            return None
        at = match.end()
        column = None
        if match["function"]:
            column = functions.get(match["function"].lower())
        elif match["number"]:
            column = Column("?column?", _INT4, match["number"]) if abs(int(match["number"])) < 2**31 else None
        elif match["text"] is not None:
            column = Column("?column?", _TEXT, match["text"])
        else:
            column = words.get(match["word"].lower())
        if column is None:
            return None
        row.append(Column(match["alias"] or column.name, column.kind, column.value))
    return row or None


def _message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(payload) + 4) + payload


def _error(text: str) -> bytes:
    return _message(b"E", b"SERROR\0VERROR\0C0A000\0M" + text.encode() + b"\0\0")


_READY = _message(b"Z", b"I")


def _description(row: list[Column] | None) -> bytes:
    """Return a RowDescription; NoData for a statement without rows."""
    if row is None:
        return _message(b"n")
    sizes = {_INT4: 4, _BOOL: 1, _TEXT: -1}
    columns = (
        column.name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, column.kind, sizes[column.kind], -1, 0)
        for column in row
    )
    return _message(b"T", struct.pack("!H", len(row)) + b"".join(columns))


def _data(row: list[Column], binary: list[bool]) -> bytes:
    chosen = binary * len(row) if len(binary) == 1 else [*binary, *[False] * len(row)]
    cells = (column.encoded(wanted) for column, wanted in zip(row, chosen, strict=False))
    return _message(b"D", struct.pack("!H", len(row)) + b"".join(struct.pack("!I", len(c)) + c for c in cells))


class _Session:
    """One client, logged in."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, tuple[str, list[bool]]] = {}
        self._failed = False

    def answer(self, kind: bytes, payload: bytes) -> bytes:
        """Return what a message is answered with."""
        if kind == b"S":
            self._failed = False
            return _READY
        if kind == b"Q":
            return self._simple(payload.rstrip(b"\0").decode("utf-8", "replace")) + _READY
        if self._failed or kind not in b"PBDEC":
            return b""  # the extended protocol ends with the first error until Sync
        answer = self._extended(kind, payload)
        self._failed = answer[:1] == b"E"
        return answer

    def _row(self, sql: str) -> list[Column] | None:
        return question(sql, self._settings, time.time())

    def _harmless(self, sql: str) -> bool:
        return (sql.split() or [""])[0].lower().rstrip(";") in _HARMLESS

    def _done(self, sql: str) -> bytes:
        word = (sql.split() or [""])[0].upper().rstrip(";")
        return _message(b"C", {"START": b"START TRANSACTION", "END": b"COMMIT"}.get(word, word.encode()) + b"\0")

    def _simple(self, text: str) -> bytes:
        out = b""
        statements = [one for one in text.split(";") if one.strip()] or [""]
        for sql in statements:
            if not sql.strip():
                out += _message(b"I")
            elif (row := self._row(sql)) is not None:
                out += _description(row) + _data(row, [False]) + _message(b"C", b"SELECT 1\0")
            elif self._harmless(sql):
                out += self._done(sql)
            else:
                return out + _error(f"query refused: {STAND_IN}")
        return out

    def _extended(self, kind: bytes, payload: bytes) -> bytes:
        match kind:
            case b"P":
                name, statement, _ = payload.split(b"\0", 2)
                text = statement.decode("utf-8", "replace")
                if text.strip().strip(";") and self._row(text) is None and not self._harmless(text):
                    return _error(f"statement refused: {STAND_IN}")
                self._statements[name] = text
                return _message(b"1")
            case b"B":
                portal, name, rest = payload.split(b"\0", 2)
                count = struct.unpack_from("!H", rest)[0]
                values = struct.unpack_from("!H", rest, 2 + 2 * count)[0]
                if values or name not in self._statements:
                    return _error(f"parameters refused: {STAND_IN}")
                at = 4 + 2 * count
                wanted = struct.unpack_from("!H", rest, at)[0]
                formats = struct.unpack_from(f"!{wanted}H", rest, at + 2)
                self._portals[portal] = (self._statements[name], [bool(one) for one in formats] or [False])
                return _message(b"2")
            case b"D":
                name = payload[1:].rstrip(b"\0")
                sql = self._statements.get(name, "") if payload[:1] == b"S" else self._portals.get(name, ("", []))[0]
                parameters = _message(b"t", b"\0\0") if payload[:1] == b"S" else b""
                return parameters + _description(self._row(sql))
            case b"E":
                sql, binary = self._portals.get(payload[: payload.index(b"\0")], ("", [False]))
                if (row := self._row(sql)) is not None:
                    return _data(row, binary) + _message(b"C", b"SELECT 1\0")
                return self._done(sql) if sql.strip() else _message(b"I")
        return _message(b"3")  # Close


async def _handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        length, code = struct.unpack("!II", await reader.readexactly(8))
        start = await reader.readexactly(length - 8)
        if code in (_SSL, _GSS):
            writer.write(b"N")
            continue
        if code == _CANCEL:
            return
        break
    words = start.decode("utf-8", "replace").split("\0")
    session = _Session(dict(zip(words[::2], words[1::2], strict=False)))
    writer.write(_message(b"R", struct.pack("!I", 0)))
    for key, value in _SETTINGS.items():
        writer.write(_message(b"S", f"{key}\0{value}\0".encode()))
    writer.write(_message(b"K", struct.pack("!II", 1, 1)) + _READY)
    while True:
        kind = await reader.readexactly(1)
        payload = await reader.readexactly(struct.unpack("!I", await reader.readexactly(4))[0] - 4)
        if kind == b"X":
            return
        writer.write(session.answer(kind, payload))
        await writer.drain()


async def main(container: Container) -> int:
    number = container.env.get("PGPORT", "")
    container.print("database system is ready to accept connections")
    return await serve_streams(container, _handle, int(number) if number.isdigit() else 5432)
