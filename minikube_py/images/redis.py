"""redis, as far as a client's connection and health checks go: PING, ECHO, HELLO, AUTH, CLIENT, SELECT, INFO, QUIT.

Leaves out: all data. Everything else is refused with an error that says so.
Source: https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP2; HELLO 3 is answered in RESP3).
"""

import asyncio

from minikube_py.images.container import Container
from minikube_py.images.flags import parse_flags
from minikube_py.images.lines import STAND_IN, serve_streams

__all__ = ["IMAGES", "main"]

IMAGES = ("redis", "bitnami/redis", "valkey/valkey", "*/redis", "*/redis-slave", "*/gb-redisslave", "*/redis-follower")

_VERSION = "7.4.0"


def _bulk(text: str) -> bytes:
    data = text.encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


async def _command(reader: asyncio.StreamReader) -> list[str]:
    line = (await reader.readline()).decode("utf-8", "replace").rstrip("\r\n")
    if not line.startswith("*"):
        return line.split() or ["QUIT"]
    words = []
    for _ in range(int(line[1:])):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2].decode("utf-8", "replace"))
    return words


def _answer(words: list[str]) -> bytes:
    match [words[0].upper(), *words[1:]]:
        case ["PING"]:
            return b"+PONG\r\n"
        case ["PING", text] | ["ECHO", text]:
            return _bulk(text)
        case ["HELLO", *rest]:
            pairs = (("server", "redis"), ("version", _VERSION), ("mode", "standalone"), ("role", "master"))
            resp3 = rest[:1] == ["3"]
            head = b"%%%d\r\n" % (len(pairs) + 1) if resp3 else b"*%d\r\n" % (2 * (len(pairs) + 1))
            proto = _bulk("proto") + (b":3\r\n" if resp3 else b":2\r\n")
            return head + proto + b"".join(_bulk(key) + _bulk(value) for key, value in pairs)
        case ["AUTH" | "SELECT" | "CLIENT" | "QUIT" | "REPLCONF", *_]:
            return b"+OK\r\n"
        case ["COMMAND", *_]:
            return b"*0\r\n"
        case ["INFO", *_]:
            return _bulk(
                f"# Server\r\nredis_version:{_VERSION}\r\nredis_mode:standalone\r\n# Replication\r\nrole:master\r\n"
            )
    return f"-ERR '{words[0]}' is not available: {STAND_IN}\r\n".encode()


async def main(container: Container) -> int:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            words = await _command(reader)
            writer.write(_answer(words))
            await writer.drain()
            if words[0].upper() == "QUIT":
                return

    flags = parse_flags([word for word in container.argv if not word.endswith(("redis-server", ".conf"))])
    return await serve_streams(container, handle, flags.number("port", default=6379))
