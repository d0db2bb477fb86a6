"""redis-sentinel: tells clients which master it was told to monitor.

Leaves out: failover, watching the master, other sentinels, events.
Source: https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from minikube_py.images.redis import read_command

__all__ = ["PORT", "handler", "monitored"]

PORT = 26379


def monitored(directives: Iterable[list[str]]) -> dict[str, tuple[str, str, str]]:
    """Return name → (host, port, quorum) of what `sentinel monitor` lines say."""
    return {
        words[2]: (words[3], words[4], words[5])
        for words in directives
        if words[:2] == ["sentinel", "monitor"] and len(words) == 6
    }


def _bulk(*texts: str, resp3: bool = False) -> bytes:
    """Write an array, in RESP3 a map of name, value, name, value."""
    head = b"%%%d\r\n" % (len(texts) // 2) if resp3 else b"*%d\r\n" % len(texts)
    return head + b"".join(b"$%d\r\n%s\r\n" % (len(t.encode()), t.encode()) for t in texts)


def _state(name: str, master: tuple[str, str, str], resp3: bool) -> bytes:
    host, port, quorum = master
    return _bulk(
        *("name", name, "ip", host, "port", port, "runid", "0" * 40, "flags", "master", "num-slaves", "0"),
        *("num-other-sentinels", "0", "quorum", quorum, "role-reported", "master"),
        resp3=resp3,
    )


def _answer(words: list[str], masters: Mapping[str, tuple[str, str, str]], resp3: bool) -> bytes:
    match [words[0].upper(), words[1].upper() if len(words) > 1 else "", *words[2:]]:
        case ["PING", ""]:
            return b"+PONG\r\n"
        case ["HELLO", *_]:
            about = ("server", "redis", "version", "7.4.0", "proto", "3" if resp3 else "2", "mode", "sentinel")
            return _bulk(*about, resp3=resp3)
        case ["AUTH" | "CLIENT" | "QUIT", *_]:
            return b"+OK\r\n"
        case ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]:
            return _bulk(*masters[name][:2]) if name in masters else b"*-1\r\n"
        case ["SENTINEL", "MASTERS"]:
            return b"*%d\r\n" % len(masters) + b"".join(_state(name, master, resp3) for name, master in masters.items())
        case ["SENTINEL", "MASTER", name] if name in masters:
            return _state(name, masters[name], resp3)
        case ["SENTINEL", "SLAVES" | "REPLICAS" | "SENTINELS", name] if name in masters:
            return b"*0\r\n"
        case ["SENTINEL", _, name, *_] if name not in masters:
            return b"-ERR No such master with that name\r\n"
        case ["INFO", *_]:
            text = f"# Sentinel\r\nsentinel_masters:{len(masters)}\r\n".encode()
            return b"$%d\r\n%s\r\n" % (len(text), text)
    return f"-ERR unknown command '{words[0]}' (minikube-py's stand-in of redis-sentinel)\r\n".encode()


def handler(masters: Mapping[str, tuple[str, str, str]]) -> Callable[..., Awaitable[None]]:
    """Return what serves the connections of a sentinel that monitors these masters."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        resp3 = False
        while True:
            if words := [word.decode("utf-8", "replace") for word in await read_command(reader)]:
                if words[0].upper() == "HELLO":
                    resp3 = words[1:2] == ["3"]
                writer.write(_answer(words, masters, resp3))
                await writer.drain()
                if words[0].upper() == "QUIT":
                    return

    return handle
