"""mysql, mysqladmin, and xtrabackup with xbstream: clients that probes, tutorials and replicated MySQL call.

`mysql` speaks the real protocol to whatever server is there: a stand-in, or a real one. xtrabackup has nothing to
copy from a stand-in: its backup is an empty stream, and it says so.
Leaves out: authentication other than mysql_native_password, TLS, mysql's own commands (`\\G`, source), mysqldump.
"""

import asyncio
import hashlib
import re
import struct
from dataclasses import dataclass

from minikube_py.images.shell.process import Process, Tool, UsageError
from minikube_py.images.shell.tools.network import connect, reason, why_not
from minikube_py.images.shell.tools.options import Options, read_options

__all__ = ["TOOLS"]

_CAPABILITIES = 0x000FA28D & ~0x0800 & ~0x20
"""Long password, protocol 4.1, transactions, secure connection, plugin authentication."""


@dataclass(frozen=True, slots=True)
class _Failure(Exception):
    """The server's refusal."""

    code: int
    state: str
    text: str

    def __str__(self) -> str:
        return f"ERROR {self.code} ({self.state})"


class _Session:
    """A connection, logged in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sequence = 0

    async def _receive(self) -> bytes:
        head = await self._reader.readexactly(4)
        self._sequence = head[3]
        payload = await self._reader.readexactly(int.from_bytes(head[:3], "little"))
        if payload[:1] == b"\xff":
            rest = payload[3:]
            state = rest[1:6].decode() if rest[:1] == b"#" else "HY000"
            text = (rest[6:] if rest[:1] == b"#" else rest).decode("utf-8", "replace")
            raise _Failure(struct.unpack_from("<H", payload, 1)[0], state, text)
        return payload

    def _send(self, payload: bytes) -> None:
        self._writer.write(struct.pack("<I", len(payload))[:3] + bytes((self._sequence,)) + payload)

    async def login(self, user: str, password: str, database: str) -> None:
        """Answer the server's greeting; _Failure."""
        greeting = await self._receive()
        at = greeting.index(b"\0", 1) + 5
        salt = greeting[at : at + 8] + greeting[at + 27 : at + 39]
        proof = _scrambled(password, salt)
        capabilities = _CAPABILITIES | (8 if database else 0)
        payload = struct.pack("<IIB23x", capabilities, 1 << 24, 45) + user.encode() + b"\0"
        payload += bytes((len(proof),)) + proof + (database.encode() + b"\0" if database else b"")
        self._sequence += 1
        self._send(payload + b"mysql_native_password\0")
        answer = await self._receive()
        if answer[:1] == b"\xfe":  # another plugin
            plugin, _, fresh = answer[1:].partition(b"\0")
            if plugin != b"mysql_native_password":
                text = f"Authentication plugin '{plugin.decode()}' is not built in; use the real mysql client"
                raise _Failure(2059, "HY000", text)
            self._sequence += 1
            self._send(_scrambled(password, fresh.rstrip(b"\0")))
            await self._receive()

    async def ping(self) -> None:
        self._sequence = 0
        self._send(b"\x0e")
        await self._receive()

    async def query(self, sql: str) -> tuple[list[str], list[list[str | None]]] | None:
        """Run a statement; return columns and rows, None for what has no result; _Failure."""
        self._sequence = 0
        self._send(b"\x03" + sql.encode())
        first = await self._receive()
        if first[:1] == b"\x00":
            return None
        columns = []
        for _ in range(first[0]):
            cells = _cells(await self._receive(), 6)
            columns.append(cells[4] or "")
        await self._receive()  # EOF
        rows: list[list[str | None]] = []
        while (payload := await self._receive())[:1] != b"\xfe" or len(payload) > 8:
            rows.append(_cells(payload, len(columns)))
        return columns, rows

    def close(self) -> None:
        self._writer.close()


def _scrambled(password: str, salt: bytes) -> bytes:
    if not password:
        return b""
    once = hashlib.sha1(password.encode()).digest()
    mixed = hashlib.sha1(salt + hashlib.sha1(once).digest()).digest()
    return bytes(a ^ b for a, b in zip(once, mixed, strict=True))


def _cells(payload: bytes, count: int) -> list[str | None]:
    """Read length-encoded texts."""
    cells: list[str | None] = []
    at = 0
    for _ in range(count):
        size = payload[at]
        at += 1
        if size == 0xFB:
            cells.append(None)
            continue
        if size >= 0xFC:
            width = {0xFC: 2, 0xFD: 3, 0xFE: 8}[size]
            size, at = int.from_bytes(payload[at : at + width], "little"), at + width
        cells.append(payload[at : at + size].decode("utf-8", "replace"))
        at += size
    return cells


_LONG = {
    **{"host=": "h", "port=": "P", "user=": "u", "password": "p", "database=": "D", "execute=": "e"},
    **{"batch": "B"},
    **{
        "skip-column-names": "N",
        "silent": "s",
        "protocol=": "x",
        "socket=": "S",
        "connect-timeout=": "t",
        "table": "T",
    },
    **{"default-character-set=": "x", "no-beep": "b", "verbose": "v", "count=": "c", "sleep=": "i", "raw": "r"},
    **{"force": "f", "wait": "w", "ssl-mode=": "x", "skip-ssl": "x", "defaults-extra-file=": "x", "vertical": "E"},
}


def _options(p: Process) -> tuple[Options, str]:
    """Read the options and the password, which `-p` has without a blank before it."""
    args: list[str] = []
    password = p.env.get("MYSQL_PWD", "")
    for arg in p.args:
        if arg.startswith("--password="):
            password = arg.partition("=")[2]
        elif re.match(r"-p.", arg):
            password = arg[2:]
        else:
            args.append(arg)
    return read_options(args, "h:P:u:pD:e:BNsS:tvfwrEbi:c:A", _LONG), password


async def _opened(p: Process, options: Options, password: str) -> _Session | str:
    """Connect and log in; return the reason where it fails."""
    host, port = options.get("h", "localhost"), int(options.number("P", 3306))
    local = host in ("localhost", "")
    try:
        async with asyncio.timeout(options.number("connect-timeout", 0) or None):
            session = _Session(*await connect("127.0.0.1" if local else host, port))
    except TimeoutError:
        return f"2003 (HY000): Can't connect to MySQL server on '{host}:{port}' (110)"
    except OSError as error:
        if local:
            return "2002 (HY000): Can't connect to local MySQL server through socket '/var/run/mysqld/mysqld.sock' (2)"
        if reason(error) == "name":
            return f"2005 (HY000): Unknown MySQL server host '{host}' (-2)"
        return f"2003 (HY000): Can't connect to MySQL server on '{host}:{port}' ({error.errno or why_not(error)})"
    try:
        await session.login(options.get("u", "root"), password, options.get("D"))
    except _Failure as failure:
        session.close()
        return f"{failure.code} ({failure.state}): {failure.text}"
    except (asyncio.IncompleteReadError, IndexError, ValueError, struct.error, ConnectionError):
        session.close()
        return "2013 (HY000): Lost connection to MySQL server at 'reading initial communication packet'"
    return session


async def _mysql(p: Process) -> int:
    options, password = _options(p)
    if options.rest:
        options.values.setdefault("D", []).append(options.rest[0])
    if password and "MYSQL_PWD" not in p.env:
        await p.err(f"{p.name}: [Warning] Using a password on the command line interface can be insecure.\n")
    session = await _opened(p, options, password)
    if isinstance(session, str):
        await p.err(f"ERROR {session}\n")
        return 1
    try:
        text = options.get("e") if "e" in options else (await p.stdin.rest()).decode("utf-8", "replace")
        for number, statement in _statements(text):
            try:
                result = await session.query(statement)
            except _Failure as failure:
                await p.err(f"ERROR {failure.code} ({failure.state}) at line {number}: {failure.text}\n")
                if "f" not in options:
                    return 1
                continue
            if result is not None:
                await p.out(_shown(*result, options, p.tty))
    except (asyncio.IncompleteReadError, ConnectionError):
        await p.err("ERROR 2013 (HY000): Lost connection to MySQL server during query\n")
        return 1
    finally:
        session.close()
    return 0


def _statements(text: str) -> list[tuple[int, str]]:
    """Cut at semicolons outside of quotes; with the line that each begins at."""
    found: list[tuple[int, str]] = []
    current, line, start = "", 1, 1
    for piece in re.findall(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|--[ ][^\n]*|;|.", text, re.DOTALL):
        if piece == ";":
            if current.strip():
                found.append((start, current.strip()))
            current = ""
        elif not piece.startswith("-- "):
            if not current.strip():
                start = line
            current += piece
        line += piece.count("\n")
    if current.strip():
        found.append((start, current.strip()))
    return found


def _shown(columns: list[str], rows: list[list[str | None]], options: Options, tty: bool) -> str:
    """Return a result as tabs, or for a terminal (`-t`) as a table."""
    head = "N" not in options
    cells = [["NULL" if cell is None else cell for cell in row] for row in rows]
    if not (tty or "t" in options) or "B" in options:
        return "".join("\t".join(row) + "\n" for row in ([columns] if head else []) + cells)
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+\n"
    lines = ["|" + "|".join(f" {cell:<{w}} " for cell, w in zip(row, widths, strict=True)) + "|\n" for row in cells]
    title = "|" + "|".join(f" {name:<{w}} " for name, w in zip(columns, widths, strict=True)) + "|\n" + rule
    return rule + (title if head else "") + "".join(lines) + rule


async def _mysqladmin(p: Process) -> int:
    options, password = _options(p)
    command = options.rest[0] if options.rest else ""
    if command not in ("ping", "status", "version"):
        raise UsageError(f"Unknown command: '{command}' (this built-in one knows ping, status, version)")
    session = await _opened(p, options, password)
    if isinstance(session, str):
        host = options.get("h", "localhost")
        text = session.partition(": ")[2]
        await p.err(f"{p.name}: connect to server at '{host}' failed\nerror: '{text}'\n")
        return 1
    try:
        await session.ping()
        if command == "ping":
            await p.out("mysqld is alive\n")
            return 0
        result = await session.query("SELECT VERSION()")
        await p.out(f"Server version\t\t{result[1][0][0] if result else ''}\n")
        return 0
    except (_Failure, asyncio.IncompleteReadError, ConnectionError) as error:
        return await p.fail(str(error))
    finally:
        session.close()


async def _xtrabackup(p: Process) -> int:
    words = [arg for arg in p.args if arg in ("--backup", "--prepare")]
    if not words:
        raise UsageError("give --backup or --prepare")
    if "--backup" in words:
        await p.err(f"{p.name}: the database is a stand-in and has no data: the backup is an empty stream\n")
    await p.err("completed OK!\n")
    return 0


async def _xbstream(p: Process) -> int:
    """Extract nothing from an empty stream; a real one can't be read here."""
    if await p.stdin.read():
        return await p.fail("can't read a backup of a real server: this is minikube-py's built-in xbstream")
    return 0


TOOLS: dict[str, Tool] = {
    "mariadb": _mysql,
    "mariadb-admin": _mysqladmin,
    "mysql": _mysql,
    "mysqladmin": _mysqladmin,
    "xbstream": _xbstream,
    "xtrabackup": _xtrabackup,
}
