"""Stand-ins of databases: handshake and ping work, the rest is refused and says how to get the real one."""

import asyncio
import struct

import pytest

from minikube_py.images import mysql, postgres
from minikube_py.images.mongo import bson

from .pods import Pods, Running


async def _open(pods: Pods, pod: Running, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*pods.fabric.real_address(pod.ip, port))


async def test_postgres(pods: Pods) -> None:
    """postgres refuses SSL, accepts any user, answers SELECT 1 and refuses tables."""
    pod = await pods.run("postgres:16")
    reader, writer = await _open(pods, pod, 5432)
    writer.write(struct.pack("!II", 8, 80877103))
    assert await reader.readexactly(1) == b"N"
    start = struct.pack("!I", 196608) + b"user\0me\0\0"
    writer.write(struct.pack("!I", len(start) + 4) + start)

    async def until_ready() -> dict[bytes, bytes]:
        found = {}
        while True:
            kind = await reader.readexactly(1)
            found[kind] = await reader.readexactly(struct.unpack("!I", await reader.readexactly(4))[0] - 4)
            if kind == b"Z":
                return found

    assert (await until_ready())[b"R"] == bytes(4)
    for query, kind, part in ((b"SELECT 1;", b"D", b"1"), (b"SELECT * FROM t", b"E", b"stand-in")):
        writer.write(b"Q" + struct.pack("!I", len(query) + 5) + query + b"\0")
        assert part in (await until_ready())[kind]
    writer.close()


async def test_mysql(pods: Pods) -> None:
    """mysql greets, accepts any user, answers a ping and refuses queries."""
    pod = await pods.run("mysql:8")
    reader, writer = await _open(pods, pod, 3306)

    async def packet() -> bytes:
        head = await reader.readexactly(4)
        return await reader.readexactly(int.from_bytes(head[:3], "little"))

    def send(sequence: int, payload: bytes) -> None:
        writer.write(len(payload).to_bytes(3, "little") + bytes((sequence,)) + payload)

    assert (await packet())[0] == 10
    send(1, struct.pack("<IIB23x", 0x000FA685, 1 << 24, 45) + b"root\0\0")
    assert (await packet())[0] == 0
    send(0, b"\x0e")
    assert (await packet())[0] == 0
    send(0, b"\x03SELECT * FROM t")
    refused = await packet()
    assert (refused[0], b"stand-in" in refused) == (255, True)
    writer.close()


async def test_mongo(pods: Pods) -> None:
    """mongo answers hello and ping and refuses find."""
    pod = await pods.run("mongo")
    reader, writer = await _open(pods, pod, 27017)
    for command, part in (("hello", b"isWritablePrimary"), ("ping", b"ok\0"), ("find", b"CommandNotFound")):
        body = struct.pack("<I", 0) + b"\0" + bson({command: 1})
        writer.write(struct.pack("<iiii", 16 + len(body), 7, 0, 2013) + body)
        length, _, to, opcode = struct.unpack("<iiii", await reader.readexactly(16))
        assert (to, opcode, part in await reader.readexactly(length - 16)) == (7, 2013, True)
    writer.close()


async def test_rabbitmq(pods: Pods) -> None:
    """rabbitmq opens a connection and refuses a channel; its management port answers."""
    pod = await pods.run("rabbitmq:3-management")
    reader, writer = await _open(pods, pod, 5672)

    async def method() -> tuple[int, int, bytes]:
        _, _, size = struct.unpack("!BHI", await reader.readexactly(7))
        payload = await reader.readexactly(size + 1)
        return (*struct.unpack("!HH", payload[:4]), payload[4:])

    def send(channel: int, class_: int, number: int, arguments: bytes = b"") -> None:
        payload = struct.pack("!HH", class_, number) + arguments
        writer.write(struct.pack("!BHI", 1, channel, len(payload)) + payload + b"\xce")

    writer.write(b"AMQP\x00\x00\x09\x01")
    assert (await method())[:2] == (10, 10)
    send(0, 10, 11)
    assert (await method())[:2] == (10, 30)
    send(0, 10, 31)
    send(0, 10, 40)
    assert (await method())[:2] == (10, 41)
    send(1, 20, 10, b"\0")
    closed = await method()
    assert (closed[:2], b"stand-in" in closed[2]) == ((10, 50), True)
    writer.close()
    assert (await pod.get("/api/healthchecks/node", 15672)).json()["status"] == "ok"


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("SELECT 1", [("1", 1)]),
        ("select @@server_id, NOW();", [("@@server_id", 101), ("NOW()", "1970-01-02 00:00:00")]),
        ("SELECT VERSION() AS v, 'x'", [("v", "8.4.0-minikube-py"), ("x", "x")]),
        ("SELECT @@version_comment LIMIT 1", [("@@version_comment", "minikube-py stand-in")]),
        ("SELECT DATABASE(), user()", [("DATABASE()", None), ("user()", "root@%")]),
        ("SELECT * FROM t", None),
        ("SELECT 1 FROM t", None),
        ("SELECT sleep(5)", None),
    ],
)
def test_mysql_tells_of_itself(sql: str, row: list[tuple[str, object]] | None) -> None:
    """Questions about the server have an answer, questions about data have none."""
    server = mysql.Server("db-1", mysql.options(["[client]\nport=1\n[mysqld]\nserver-id=101\nsuper-read-only\n"]))
    assert mysql.question(sql, server, "root", None, 86400.0) == row
    assert server.read_only


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("SELECT 1", [("?column?", "1")]),
        ("select 1 as one, current_user", [("one", "1"), ("current_user", "me")]),
        ("SELECT pg_catalog.version()", [("version", "PostgreSQL 16.4 (minikube-py stand-in)")]),
        ("SHOW server_version", [("server_version", "16.4")]),
        ("select pg_is_in_recovery();", [("pg_is_in_recovery", "f")]),
        ("SELECT * FROM t", None),
        ("show everything", None),
    ],
)
def test_postgres_tells_of_itself(sql: str, row: list[tuple[str, str]] | None) -> None:
    """Questions about the server have an answer, questions about data have none."""
    found = postgres.question(sql, {"user": "me"}, 0.0)
    assert (found and [(column.name, column.value) for column in found]) == row


async def test_a_real_client_of_postgres(pods: Pods) -> None:
    """asyncpg, which only uses the extended protocol: values of their types, and a refusal that leaves it usable."""
    asyncpg = pytest.importorskip("asyncpg")
    pod = await pods.run("postgres:16")
    host, port = pods.fabric.real_address(pod.ip, 5432)
    connection = await asyncpg.connect(host=host, port=port, user="me", password="x", database="shop")
    try:
        assert await connection.fetchval("SELECT 1") == 1
        assert tuple(await connection.fetchrow("SELECT true, current_database()")) == (True, "shop")
        async with connection.transaction():
            with pytest.raises(asyncpg.FeatureNotSupportedError, match="stand-in"):
                await connection.fetch("SELECT * FROM t WHERE a = $1", 1)
            assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


CLIENTS = {
    "mysqladmin": ("mysql:8", ["mysqladmin", "ping", "-uroot", "-psecret"], 0, "mysqld is alive\n"),
    "mysql": (
        "mysql:8",
        ["mysql", "-h", "127.0.0.1", "-e", "SELECT 1; SELECT @@server_id"],
        0,
        "1\n1\n@@server_id\n1\n",
    ),
    "mysql, refused": ("mysql:8", ["mysql", "-e", "CREATE DATABASE d"], 1, ""),
    "mongosh": ("mongo:7", ["mongosh", "--quiet", "--eval", "db.adminCommand('ping')"], 0, "{ ok: 1 }\n"),
    "mongosh, a field": ("mongo:7", ["mongosh", "--eval", 'db.runCommand({"ping": 1}).ok'], 0, "1\n"),
    "rabbitmq-diagnostics": ("rabbitmq:3", ["rabbitmq-diagnostics", "ping"], 0, "Ping succeeded\n"),
    "rabbitmqctl": ("rabbitmq:3", ["rabbitmqctl", "list_queues"], 64, ""),
    "nobody there": ("redis:7", ["mysqladmin", "ping"], 1, ""),
}


@pytest.mark.parametrize("name", CLIENTS)
async def test_clients_of_probes_and_tutorials(name: str, pods: Pods) -> None:
    """What manifests call inside of a database's container finds the stand-in beside it."""
    image, argv, code, out = CLIENTS[name]
    pod = await pods.run(image)
    result = await pod.exec(*argv)
    assert (result.code, result.out) == (code, out), result.err
    assert out or "stand-in" in result.err or "not built in" in result.err or "Can't connect" in result.err


async def test_replicated_mysql_clones_nothing(pods: Pods) -> None:
    """The backup that a stand-in serves is an empty stream, which the next one takes."""
    first = await pods.run(
        "xtrabackup", command=("bash", "-c", "exec ncat --listen --keep-open --send-only 3307 -c 'xtrabackup --backup'")
    )
    box = await pods.run("xtrabackup", command=("sleep", "60"), name="pod-1")
    for _ in range(100):
        script = f"set -o pipefail; ncat --recv-only {first.ip} 3307 | xbstream -x -C /tmp && xtrabackup --prepare"
        result = await box.exec("bash", "-c", script)
        if not result.code:
            break
    assert (result.code, result.err) == (0, "completed OK!\n")
