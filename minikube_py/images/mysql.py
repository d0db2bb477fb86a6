"""mysql and mariadb, as far as the handshake: any user accepted; pings and questions about the server answered.

`SELECT 1`, `@@server_id`, `NOW()`, `VERSION()` and their like are what probes and tutorials ask. The options come
from the files that a manifest mounts (`server-id`, `super-read-only` in /etc/mysql/conf.d) and from `mysqld`'s flags.
Leaves out: SQL. Other queries are error 1235 (ER_NOT_SUPPORTED_YET) with a text that says so.
Source: https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
"""

import asyncio
import os
import re
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minikube_py.images.container import Container
from minikube_py.images.lines import STAND_IN, serve_streams

__all__ = ["IMAGES", "Server", "main", "options", "question"]

IMAGES = ("mysql", "mariadb", "bitnami/mysql", "bitnami/mariadb", "*/mysql", "*/mariadb", "percona")

_CAPABILITIES = 0x0008F7DF
"""Protocol 4.1 with authentication plugins; without SSL (0x800)."""
_OK = b"\x00\x00\x00\x02\x00\x00\x00"
_EOF = b"\xfe\x00\x00\x02\x00"
_QUIT, _INIT_DB, _QUERY, _PING = 1, 2, 3, 14
_VERSION = "8.4.0-minikube-py"

_ITEM = re.compile(
    r"""\s*(?:@@(?:global\.|session\.)?(?P<variable>\w+)|(?P<function>\w+)\s*\(\s*\)|(?P<number>-?\d+)
    |'(?P<text>[^']*)'|"(?P<text2>[^"]*)"|(?P<keyword>current_timestamp|current_user|null))
    (?:\s+(?:as\s+)?(?P<alias>\w+|`[^`]*`|'[^']*'))?\s*(?:,|$)""",
    re.VERBOSE | re.IGNORECASE,
)
_WRITES = ("create", "insert", "update", "delete", "drop", "alter", "replace", "truncate")


@dataclass(frozen=True, slots=True)
class Server:
    """What a server can tell of itself."""

    hostname: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def read_only(self) -> bool:
        value = self.options.get("super_read_only", "off").lower()
        return value in ("", "1", "on", "true")

    def variable(self, name: str) -> str | None:
        """Return a system variable; None for one that is not told."""
        flag = str(int(self.read_only))
        told = {
            "autocommit": "1",
            "hostname": self.hostname,
            "lower_case_table_names": "0",
            "max_allowed_packet": "67108864",
            "port": self.options.get("port", "3306"),
            "read_only": flag,
            "server_id": self.options.get("server_id", "1"),
            "sql_mode": "STRICT_TRANS_TABLES",
            "super_read_only": flag,
            "time_zone": "SYSTEM",
            "transaction_isolation": "REPEATABLE-READ",
            "tx_isolation": "REPEATABLE-READ",
            "version": _VERSION,
            "version_comment": "minikube-py stand-in",
        }
        return told.get(name.lower())


def options(files: Sequence[str], flags: Sequence[str] = ()) -> dict[str, str]:
    """Return the [mysqld] options of configuration files, the later ones over the earlier, and of mysqld's flags."""
    found: dict[str, str] = {}
    for text in files:
        section = ""
        for line in map(str.strip, text.splitlines()):
            if line.startswith("["):
                section = line.strip("[]")
            elif section == "mysqld" and line and line[0] not in "#;":
                name, _, value = line.partition("=")
                found[name.strip().replace("-", "_")] = value.strip()
    for flag in flags:
        if flag.startswith("--"):
            name, _, value = flag[2:].partition("=")
            found[name.replace("-", "_")] = value
    return found


Row = Sequence[tuple[str, str | int | None]]
"""Column names and values."""


def question(sql: str, server: Server, user: str, database: str | None, now: float) -> Row | None:
    """Return column names and values of a `SELECT` that only asks about the server; None for any other statement."""
    text = sql.strip().rstrip(";").strip()
    head = re.match(r"(?:/\*.*?\*/\s*)?select\s+", text, re.IGNORECASE)
    if head is None:
        return None
    text = re.sub(r"\s+limit\s+\d+$", "", text[head.end() :], flags=re.IGNORECASE)
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
    functions: dict[str, str | int | None] = {
        "connection_id": 1,
        "curdate": clock[:10],
        "current_timestamp": clock,
        "current_user": f"{user}@%",
        "curtime": clock[11:],
        "database": database,
        "null": None,
        "now": clock,
        "schema": database,
        "sysdate": clock,
        "user": f"{user}@%",
        "utc_timestamp": clock,
        "version": _VERSION,
    }
    row: list[tuple[str, str | int | None]] = []
    at = 0
    while at < len(text):
        value: str | int | None
        match = _ITEM.match(text, at)
        if match is None:
            return None
        shown = text[at : match.end()].strip().rstrip(",").strip()
        at = match.end()
        if match["variable"]:
            told = server.variable(match["variable"])
            if told is None:
                return None
            value = int(told) if told.isdigit() else told
        elif name := match["function"] or match["keyword"]:
            if name.lower() not in functions:
                return None
            value = functions[name.lower()]
        else:
            shown = next(one for one in (match["number"], match["text"], match["text2"]) if one is not None)
            value = int(shown) if match["number"] else shown
        row.append((match["alias"].strip("`'") if match["alias"] else shown, value))
    return row or None


def _packet(sequence: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes((sequence & 0xFF,)) + payload


def _greeting() -> bytes:
    salt = bytes(byte % 94 + 33 for byte in os.urandom(20))
    low, high = _CAPABILITIES & 0xFFFF, _CAPABILITIES >> 16
    return (
        b"\x0a"
        + _VERSION.encode()
        + b"\0"
        + struct.pack("<I", 1)
        + salt[:8]
        + b"\0"
        + struct.pack("<HBHH", low, 45, 2, high)
        + bytes((21,))
        + bytes(10)
        + salt[8:]
        + b"\0mysql_native_password\0"
    )


def _error(code: int, state: str, text: str) -> bytes:
    return b"\xff" + struct.pack("<H", code) + b"#" + state.encode() + text.encode()


def _text(value: str) -> bytes:
    data = value.encode()
    return (bytes((len(data),)) if len(data) < 251 else b"\xfc" + struct.pack("<H", len(data))) + data


def _rows(row: Row) -> list[bytes]:
    """Return the payloads of a result with one row: BIGINT and VARCHAR columns, the values as text."""

    def column(name: str, value: str | int | None) -> bytes:
        kind = 8 if isinstance(value, int) else 253
        texts = _text("def") + _text("") * 3 + _text(name) + _text("")
        return texts + b"\x0c" + struct.pack("<HIBHB", 45, 1024, kind, 0, 0) + b"\0\0"

    values = b"".join(b"\xfb" if value is None else _text(str(value)) for _, value in row)
    return [bytes((len(row),)), *(column(name, value) for name, value in row), _EOF, values, _EOF]


def _login(payload: bytes) -> tuple[str, str | None]:
    """Return the user and the database of a HandshakeResponse41."""
    capabilities = struct.unpack_from("<I", payload)[0]
    end = payload.index(b"\0", 32)
    user, at = payload[32:end].decode("utf-8", "replace"), end + 1
    at += payload[at] + 1 if at < len(payload) else 0
    if not capabilities & 8 or at >= len(payload):  # CLIENT_CONNECT_WITH_DB
        return user, None
    return user, payload[at : payload.index(b"\0", at)].decode("utf-8", "replace")


def _answer(sql: str, server: Server, user: str, database: str | None) -> list[bytes]:
    word = (sql.split() or [""])[0].lower().rstrip(";")
    if word in ("set", "commit", "rollback", "begin", "start") and "slave" not in sql.lower():
        return [_OK]
    if (row := question(sql, server, user, database, time.time())) is not None:
        return _rows(row)
    if word in _WRITES and server.read_only:
        text = "The MySQL server is running with the --super-read-only option so it cannot execute this statement"
        return [_error(1290, "HY000", text)]
    return [_error(1235, "42000", f"query refused: {STAND_IN}")]


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(4)
    return head[3], await reader.readexactly(int.from_bytes(head[:3], "little"))


async def _handle(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_packet(0, _greeting()))
    sequence, payload = await _read(reader)
    user, database = _login(payload)
    writer.write(_packet(sequence + 1, _OK))
    while True:
        sequence, payload = await _read(reader)
        command = payload[0] if payload else _QUIT
        if command == _QUIT:
            return
        text = payload[1:].decode("utf-8", "replace")
        if command == _INIT_DB:
            database = text
        if command == _QUERY and (used := re.fullmatch(r"\s*use\s+`?(\w+)`?\s*;?\s*", text, re.IGNORECASE)):
            database, command = used[1], _INIT_DB
        answers = _answer(text, server, user, database) if command == _QUERY else [_OK]
        if command not in (_QUERY, _PING, _INIT_DB):
            answers = [_error(1235, "42000", f"command refused: {STAND_IN}")]
        for number, answer in enumerate(answers, sequence + 1):
            writer.write(_packet(number, answer))
        await writer.drain()


async def main(container: Container) -> int:
    """Serve on 3306, or where `--port` says."""
    texts = [
        path.read_text("utf-8", "replace")
        for mount, folder in sorted(container.files.items())
        if mount.startswith("/etc/m")
        for path in (sorted(folder.glob("*.cnf")) if folder.is_dir() else [folder])
        if path.suffix == ".cnf"
    ]
    server = Server(container.pod.hostname, options(texts, container.argv))
    for mount, folder in container.files.items():
        if mount.rstrip("/") == "/var/lib/mysql":
            (folder / "mysql").mkdir(exist_ok=True)  # the system tables: scripts look whether they are there
    port = int(server.options.get("port") or 3306)
    container.print(f"mysqld: ready for connections. port: {port}")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _handle(server, reader, writer)

    return await serve_streams(container, handle, port)
