"""redis, on fakeredis' engine: data types, expiry, transactions, Lua-free scripting refused, pub/sub, blocking pops.

`pip install 'minikube-py[redis]'` brings the engine; without it the stand-in answers pings and says how to get more.
`--port`, `--requirepass` and `--replicaof` are understood on the command line and in a mounted redis.conf. A replica
(`--replicaof`, or the guestbook's follower images, which follow `redis-leader` or `redis-master`) passes every command
on to its leader, so it never lags behind.
`redis-sentinel` names the master that it was told to monitor (`redis_sentinel.py`).
Leaves out: persistence (data end with the container), clustering, failover, modules.
Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import asyncio
import importlib
import importlib.util
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from minikube_py.images.container import Container
from minikube_py.images.lines import serve_streams
from minikube_py.images.reference import Reference

__all__ = ["IMAGES", "main", "read_command"]

IMAGES = (
    "redis",
    "bitnami/redis",
    "valkey/valkey",
    "*/redis",
    "*/redis-slave",
    "*/gb-redisslave",
    "*/redis-follower",
    "*/gb-redis-follower",
)

_FOLLOWERS = ("redis-slave", "gb-redisslave", "redis-follower", "gb-redis-follower")
_PORT = 6379
_NEEDS_ENGINE = (
    "-ERR '{}' is not available: minikube-py's redis needs the engine of fakeredis for data; install it with: "
    "pip install 'minikube-py[redis]', or map the image to a real one (configs/real-redis.yaml)\r\n"
)


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """Read one command, an array of bulk strings or an inline line; an empty list is an empty line.

    Error handling: IncompleteReadError at the end of the connection, ValueError for what is no RESP.
    """
    line = await reader.readuntil(b"\n")
    if not line.startswith(b"*"):
        return [word.encode() for word in shlex.split(line.decode("utf-8", "replace"))]
    words = []
    for _ in range(int(line[1:])):
        size = (await reader.readuntil(b"\n"))[1:]
        words.append((await reader.readexactly(int(size) + 2))[:-2])
    return words


def _settings(container: Container) -> dict[str, list[str]]:
    """Return the directives of a mounted configuration file, then those of the command line."""
    words = [word for word in container.argv if not word.endswith(("redis-server", "redis-sentinel"))]
    if words and words[0] in ("sh", "bash", "/bin/sh", "/bin/bash"):
        words = []  # a script of the real image
    found: dict[str, list[str]] = {}
    if words and not words[0].startswith("-"):
        for line in _file(container, words.pop(0)):
            if line and not line.startswith("#"):
                key, *values = shlex.split(line)
                found[key.lower()] = values
    key = ""
    for word in words:
        if word.startswith("--"):
            key = word[2:].lower()
            found[key] = []
        elif key:
            found[key].append(word)
    if "replicaof" not in found and "slaveof" in found:
        found["replicaof"] = found["slaveof"]
    if len(found.get("replicaof", ())) == 1:
        found["replicaof"] = found["replicaof"][0].split()
    return found


def _file(container: Container, path: str) -> Iterator[str]:
    parts = path.split("/")
    for cut in range(len(parts), 0, -1):
        mount = "/".join(parts[:cut]) or "/"
        if mount in container.files:
            file = container.files[mount].joinpath(*parts[cut:])
            if file.is_file():
                yield from map(str.strip, file.read_text().splitlines())
                return
    container.print(f"can't open config file {path!r}: starting with the defaults")


def _is_sentinel(container: Container) -> bool:
    return "--sentinel" in container.argv or any(word.endswith("redis-sentinel") for word in container.argv[:1])


async def _sentinel(container: Container, settings: dict[str, list[str]]) -> int:
    from minikube_py.images import redis_sentinel

    path = next((word for word in container.argv[1:] if not word.startswith("-")), "")
    masters = redis_sentinel.monitored(line.split() for line in _file(container, path)) if path else {}
    port = int((settings.get("port") or [str(redis_sentinel.PORT)])[0])
    return await serve_streams(container, redis_sentinel.handler(masters), port, note="stand-in: no failover")


def _leader(container: Container, settings: dict[str, list[str]]) -> tuple[str, int] | None:
    """Return whom this instance replicates."""
    if len(target := settings.get("replicaof", [])) == 2:
        return target[0], int(target[1])
    repository = Reference.parse(container.image).repository
    if repository.rpartition("/")[2] in _FOLLOWERS:
        for name in ("redis-leader", "redis-master"):
            if f"{name.upper().replace('-', '_')}_SERVICE_HOST" in container.env:
                return name, _PORT
        return "redis-leader", _PORT
    return None


def _ping_only(words: list[bytes]) -> bytes:
    """Answer without an engine."""
    match [words[0].upper(), *words[1:]]:
        case [b"PING"]:
            return b"+PONG\r\n"
        case [b"PING", text] | [b"ECHO", text]:
            return b"$%d\r\n%s\r\n" % (len(text), text)
        case [b"QUIT" | b"SELECT" | b"CLIENT", *_]:
            return b"+OK\r\n"
        case [b"HELLO", *_]:
            return b"-ERR unknown command 'HELLO'\r\n"  # clients then speak RESP2
        case [b"COMMAND", *_]:
            return b"*0\r\n"
    return _NEEDS_ENGINE.format(words[0].decode("utf-8", "replace")).encode()


async def _handle_ping_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        if words := await read_command(reader):
            writer.write(_ping_only(words))
            await writer.drain()
            if words[0].upper() == b"QUIT":
                return


def _follow(container: Container, leader: tuple[str, int]) -> Callable[..., Any]:
    """Return a handler that passes a connection on to the leader."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(*leader)
        except OSError as error:
            container.print(f"Error condition on socket for SYNC: {leader[0]}:{leader[1]}: {error.strerror or error}")
            await read_command(reader)
            writer.write(b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n")
            await writer.drain()
            return
        up = asyncio.create_task(copy(reader, forth), name="redis replica")
        try:
            await copy(back, writer)
        finally:
            forth.close()
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)

    return handle


async def main(container: Container) -> int:
    settings = _settings(container)
    if _is_sentinel(container):
        return await _sentinel(container, settings)
    port = int((settings.get("port") or [str(_PORT)])[0])
    if leader := _leader(container, settings):
        container.print(f"Connecting to MASTER {leader[0]}:{leader[1]}")
        return await serve_streams(container, _follow(container, leader), port, note="commands go to the leader")
    if importlib.util.find_spec("fakeredis") is None:
        return await serve_streams(container, _handle_ping_only, port)
    engine = await asyncio.to_thread(importlib.import_module, "minikube_py.images.redis_engine")
    password = (settings.get("requirepass") or [container.env.get("REDIS_PASSWORD", "")])[0]
    handler = engine.handler(password)
    return await serve_streams(container, handler, port, note="stand-in on fakeredis' engine; data are kept in memory")
