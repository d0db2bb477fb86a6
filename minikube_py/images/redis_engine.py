"""fakeredis' command engine behind real connections: RESP2 and RESP3, pub/sub pushes, blocking commands.

fakeredis has a TCP server of its own, on a thread for each client, and writes every reply as a status. Here each
connection is one of its sockets on the event loop, and replies are encoded as redis does.
Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import asyncio
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any

import redis
from fakeredis import FakeServer
from fakeredis._helpers import SimpleError, SimpleString
from fakeredis._socket._async import AsyncFakeSocket

from minikube_py.images.redis import read_command

__all__ = ["encode", "handler"]

_VERSION = (7, 4)

_PUSHES = frozenset(
    (
        *(b"message", b"pmessage", b"smessage", b"subscribe", b"unsubscribe", b"psubscribe", b"punsubscribe"),
        *(b"ssubscribe", b"sunsubscribe"),
    )
)
"""First words of what RESP3 sends out of band."""

_WITHOUT_PASSWORD = (b"AUTH", b"HELLO", b"QUIT", b"RESET")


class _Socket(AsyncFakeSocket):
    """One client; replies keep the types that the engine gave them."""

    def _decode_result(self, result: Any) -> Any:
        return result


_REFUSED = (
    "(this is minikube-py's stand-in on fakeredis; for the real redis map the image to a program of this machine: "
    'images: {"<image>": {command: [redis-server, ...]}})'
)


def encode(value: Any, protocol: int) -> bytes:
    """Return one reply on the wire in RESP2 or RESP3."""
    match value:
        case None:
            return b"_\r\n" if protocol == 3 else b"$-1\r\n"
        case SimpleString():
            return b"+%s\r\n" % value.value
        case SimpleError():
            more = _REFUSED if value.value.startswith("ERR unknown command") else ""
            return f"-{value.value}{more}\r\n".encode()
        case Exception():
            return f"-ERR {value}\r\n".encode()
        case bool():
            return (b"#t\r\n" if value else b"#f\r\n") if protocol == 3 else b":%d\r\n" % value
        case int():
            return b":%d\r\n" % value
        case float():
            text = f"{value:.17g}".encode()
            return b",%s\r\n" % text if protocol == 3 else b"$%d\r\n%s\r\n" % (len(text), text)
        case str():
            return encode(value.encode(), protocol)
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(value), value)
        case dict():
            items = [encode(item, protocol) for pair in value.items() for item in pair]
            head = b"%%%d\r\n" % len(value) if protocol == 3 else b"*%d\r\n" % len(items)
            return head + b"".join(items)
        case set() | frozenset():
            head = b"~%d\r\n" if protocol == 3 else b"*%d\r\n"
            return head % len(value) + b"".join(encode(item, protocol) for item in value)
        case list() | tuple():
            push = protocol == 3 and value and isinstance(value[0], bytes) and value[0] in _PUSHES
            head = b">%d\r\n" if push else b"*%d\r\n"
            return head % len(value) + b"".join(encode(item, protocol) for item in value)
    raise TypeError(f"a reply of type {type(value).__name__}")


def _request(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


_CONFIG = {
    "appendonly": "no",
    "databases": "16",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "notify-keyspace-events": "",
    "save": "",
    "timeout": "0",
}
"""What CONFIG GET tells; CONFIG SET is accepted without effect."""


def _own_answer(server: FakeServer, words: list[bytes]) -> Any:
    """Answer what the engine doesn't know; None for all else."""
    match [words[0].upper(), *words[1:]]:
        case [b"INFO", *sections]:
            wanted = {section.decode("utf-8", "replace").lower() for section in sections} - {"all", "default"}
            keys = {number: len(db) for number, db in server.dbs.items() if len(db)}
            text = {
                "server": (f"redis_version:{'.'.join(map(str, _VERSION))}.0", "redis_mode:standalone", "tcp_port:6379"),
                "clients": (f"connected_clients:{len(server.sockets)}",),
                "persistence": ("loading:0", "aof_enabled:0"),
                "replication": ("role:master", "connected_slaves:0"),
                "keyspace": tuple(f"db{number}:keys={count},expires=0,avg_ttl=0" for number, count in keys.items()),
            }
            parts = [(name, lines) for name, lines in text.items() if not wanted or name in wanted]
            return "\r\n".join("\r\n".join((f"# {name.capitalize()}", *lines, "")) for name, lines in parts).encode()
        case [b"ROLE"]:
            return [b"master", 0, []]
        case [b"CONFIG", verb, *patterns] if verb.upper() == b"GET":
            wanted = {pattern.decode("utf-8", "replace").lower() for pattern in patterns}
            return {
                name.encode(): value.encode()
                for name, value in _CONFIG.items()
                if any(fnmatchcase(name, pattern) for pattern in wanted)
            }
        case [b"CONFIG", verb, *_] if verb.upper() in (b"SET", b"RESETSTAT", b"REWRITE"):
            return SimpleString(b"OK")
        case [b"COMMAND", *more]:
            return [] if more[:1] != [b"COUNT"] else 0
        case [b"SLOWLOG", *_]:
            return []
        case [b"CLIENT", verb, *_] if verb.upper() == b"LIST":
            return f"id=1 addr=127.0.0.1:0 name= db=0 clients={len(server.sockets)}\n".encode()
    return None


def _authenticates(words: list[bytes], password: str) -> bool:
    """Tell whether AUTH or HELLO … AUTH brings the password."""
    if words[0].upper() == b"AUTH":
        return words[-1] == password.encode()
    upper = [word.upper() for word in words]
    at = upper.index(b"AUTH") if b"AUTH" in upper else len(words)
    return words[at + 2 : at + 3] == [password.encode()]


def handler(password: str = "") -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Return what serves the connections of one instance; with a password, clients have to bring it."""
    config = {b"requirepass": password.encode()} if password else {}
    server = FakeServer(version=_VERSION, config=config)

    async def answer(socket: Any, writer: asyncio.StreamWriter) -> None:
        """Send replies and pushes as they come."""
        while True:
            value = await socket.responses.get()
            protocol = socket._client_info.protocol_version
            try:
                data = encode(value, protocol)
            except TypeError as error:  # the client must not wait for ever
                data = encode(SimpleError(f"ERR unknown command: the stand-in's answer is {error} "), protocol)
            writer.write(data)
            if socket.responses.empty():
                await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"addr": writer.get_extra_info("peername"), "laddr": writer.get_extra_info("sockname")}
        socket = _Socket(server, 0, client_class=redis.Redis, lua_modules=set(), client_info=info)
        answering = asyncio.create_task(answer(socket, writer), name="redis replies")
        allowed = not password
        try:
            while True:
                words = await read_command(reader)
                if not words:
                    continue
                name = words[0].upper()
                if name == b"QUIT":
                    socket.put_response(SimpleString(b"OK"))
                    while not socket.responses.empty():
                        await asyncio.sleep(0)
                    return
                if not allowed and name not in _WITHOUT_PASSWORD:
                    socket.put_response(SimpleError("NOAUTH Authentication required."))
                    continue
                if password and name in (b"AUTH", b"HELLO"):
                    allowed = allowed or _authenticates(words, password)
                    if name == b"HELLO" and not allowed:
                        text = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
                        socket.put_response(SimpleError(f"{text}<proto> AUTH <user> <pass> option can be used"))
                        continue
                if (own := _own_answer(server, words)) is not None:
                    socket.put_response(own)
                else:
                    socket.sendall(_request(words))
        finally:
            answering.cancel()
            if socket._blocked:  # its task waits for data; it must not wait for ever
                with server.lock:
                    socket._unblock_reason = b"timeout"
                    socket._db.wake_all()
                for _ in range(20):  # turns of the loop until the task has seen it
                    if not socket._blocked:
                        break
                    await asyncio.sleep(0)
            await asyncio.gather(answering, return_exceptions=True)
            if not socket._blocked:
                socket.close()

    return serve
