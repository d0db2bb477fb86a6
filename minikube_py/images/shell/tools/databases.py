"""redis-cli and pg_isready: clients that probes and tutorials call.

Leaves out: redis-cli's modes (--scan, --latency, MONITOR, subscriptions), RESP3;
pg_isready tells only that the port opens.
"""

import asyncio
from typing import Any

from minikube_py.images.shell.process import Process, Tool
from minikube_py.images.shell.tools.network import connect, reason, why_not
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]


async def _reply(reader: asyncio.StreamReader) -> Any:
    line = (await reader.readline()).decode("utf-8", "replace").rstrip("\r\n")
    kind, text = line[:1], line[1:]
    if kind == "$":
        if text == "-1":
            return None
        data = await reader.readexactly(int(text) + 2)
        return data[:-2].decode("utf-8", "replace")
    if kind == "*":
        return [await _reply(reader) for _ in range(int(text))] if text != "-1" else None
    if kind == ":":
        return int(text)
    return f"(error) {text}" if kind == "-" else text


def _redis_text(value: Any, tty: bool) -> str:
    if value is None:
        return "(nil)" if tty else ""
    if isinstance(value, int):
        return f"(integer) {value}" if tty else str(value)
    if isinstance(value, list):
        if not value:
            return "(empty array)" if tty else ""
        if tty:
            return "\n".join(f"{i}) {_redis_text(one, tty)}" for i, one in enumerate(value, 1))
        return "\n".join(_redis_text(one, tty) for one in value)
    return str(value).removeprefix("(error) ") if not tty else str(value)


async def _redis_cli(p: Process) -> int:
    if "--cluster" in p.args:
        return await _cluster(p, p.args[p.args.index("--cluster") + 1 :])
    args = p.args
    host, port, password = "127.0.0.1", 6379, p.env.get("REDISCLI_AUTH", "")
    while args and args[0].startswith("-"):
        flag, args = args[0], args[1:]
        if flag in ("-h", "-p", "-a", "-n", "--user", "-u"):
            value, args = (args[0] if args else ""), args[1:]
            if flag == "-h":
                host = value
            elif flag == "-p":
                port = int(value)
            elif flag == "-a":
                password = value
    try:
        reader, writer = await connect(host, port)
    except OSError as error:
        why = "Name does not resolve" if reason(error) == "name" else why_not(error)
        await p.err(f"Could not connect to Redis at {host}:{port}: {why}\n")
        return 1

    async def send(words: list[str]) -> Any:
        data = b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
        writer.write(b"*%d\r\n" % len(words) + data)
        await writer.drain()
        return await _reply(reader)

    try:
        if password:
            await send(["AUTH", password])
        if args:
            value = await send(args)
            await p.out(_redis_text(value, p.tty) + "\n")
            return int(isinstance(value, str) and value.startswith("(error)"))
        while line := await p.stdin.line():
            words = line.decode().split()
            if words[:1] in (["quit"], ["exit"]):
                break
            if words:
                await p.out(_redis_text(await send(words), p.tty) + "\n")
        return 0
    except (asyncio.IncompleteReadError, ValueError):
        await p.err("Error: Server closed the connection\n")
        return 1
    finally:
        writer.close()


async def _cluster(p: Process, args: list[str]) -> int:
    """redis-cli --cluster: see that the nodes are there; the stand-in of redis has no slots to give out."""
    nodes = [arg for arg in args[1:] if ":" in arg and not arg.startswith("-")]
    for node in nodes:
        host, _, port = node.rpartition(":")
        try:
            _, writer = await connect(host, int(port))
        except (OSError, ValueError) as error:
            why = why_not(error) if isinstance(error, OSError) else "invalid port"
            await p.err(f"Could not connect to Redis at {node}: {why}\n")
            return 1
        writer.close()
    await p.out(f"[OK] {len(nodes)} nodes answer (minikube-py: each keeps its own data; there are no slots)\n")
    return 0


async def _pg_isready(p: Process) -> int:
    options = read_options(p.args, "h:p:U:d:qt:", {"host=": "h", "port=": "p", "username=": "U", "dbname=": "d"})
    host, port = options.get("h", "127.0.0.1"), int(options.number("p", 5432))
    shown = options.get("h", "/var/run/postgresql")
    try:
        async with asyncio.timeout(options.number("t", 3) or None):
            _, writer = await connect(host, port)
        writer.close()
    except (OSError, TimeoutError):
        await p.out("" if "q" in options else f"{shown}:{port} - no response\n")
        return 2
    await p.out("" if "q" in options else f"{shown}:{port} - accepting connections\n")
    return 0


TOOLS: dict[str, Tool] = {
    "redis-cli": _redis_cli,
    "pg_isready": _pg_isready,
}
