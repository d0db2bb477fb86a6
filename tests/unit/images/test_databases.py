"""Stand-ins of databases: handshake and ping work, the rest is refused and says how to get the real one."""

import asyncio
import struct

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
