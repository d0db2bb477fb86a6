"""mongosh and rabbitmq's tools, as far as probes and tutorials ask whether the server is there.

mongosh sends ping, hello, buildInfo or any `db.runCommand({name: 1})` to the real server or stand-in; it is no
JavaScript. rabbitmq-diagnostics asks on AMQP's port. Whatever else says how to get the real program.
"""

import asyncio
import re
import struct
from typing import Any

from minikube_py.images.mongo import bson
from minikube_py.images.shell.process import Process, Tool
from minikube_py.images.shell.tools.network import connect, why_not
from minikube_py.images.shell.tools.options import read_options

__all__ = ["TOOLS"]

_REAL = 'to run the real one, map the image to a program of this machine: images: {"<image>": {command: [...]}}'
_CALL = re.compile(
    r"""(?:printjson\(|print\(|quit\()?\s*db(?:\.getSiblingDB\(['"]\w+['"]\))?\.(?:(?P<method>hello|isMaster|version)\(\)
    |(?:adminCommand|runCommand)\(\s*(?:\{\s*)?['"]?(?P<command>\w+)['"]?\s*(?::\s*\d+\s*\})?\s*\))
    (?P<field>\.\w+)?\s*\)?\s*;?\s*""",
    re.VERBOSE,
)


def _value(kind: int, data: bytes, at: int) -> tuple[Any, int]:
    match kind:
        case 0x01:
            return struct.unpack_from("<d", data, at)[0], at + 8
        case 0x02:
            size = struct.unpack_from("<i", data, at)[0]
            return data[at + 4 : at + 3 + size].decode("utf-8", "replace"), at + 4 + size
        case 0x03 | 0x04:
            size = struct.unpack_from("<i", data, at)[0]
            inner = _document(data[at : at + size])
            return (inner if kind == 3 else list(inner.values())), at + size
        case 0x07:
            return data[at : at + 12].hex(), at + 12
        case 0x08:
            return bool(data[at]), at + 1
        case 0x09 | 0x11 | 0x12:
            return struct.unpack_from("<q", data, at)[0], at + 8
        case 0x0A:
            return None, at
        case 0x10:
            return struct.unpack_from("<i", data, at)[0], at + 4
        case 0x05:
            size = struct.unpack_from("<i", data, at)[0]
            return data[at + 5 : at + 5 + size].hex(), at + 5 + size
    raise ValueError(f"BSON type {kind}")


def _document(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = 4
    while data[at]:
        kind, end = data[at], data.index(b"\0", at + 1)
        name = data[at + 1 : end].decode()
        found[name], at = _value(kind, data, end + 1)
    return found


def _shown(value: Any, depth: int = 0) -> str:
    """Return a value as mongosh prints it."""
    match value:
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case dict():
            pad = "  " * (depth + 1)
            inner = [f"{key}: {_shown(one, depth + 1)}" for key, one in value.items()]
            if len(value) < 3:
                return "{ " + ", ".join(inner) + " }"
            return "{\n" + ",\n".join(pad + one for one in inner) + "\n" + "  " * depth + "}"
        case list():
            return "[ " + ", ".join(_shown(one, depth + 1) for one in value) + " ]"
        case float() if value == int(value):
            return str(int(value))
        case str() if depth or not value.isdigit():
            return f"'{value}'"
    return str(value)


async def _mongosh(p: Process) -> int:
    long = {"eval=": "e", "host=": "h", "port=": "P", "quiet": "q", "username=": "u", "password=": "p", "norc": "n"}
    long |= {"authenticationDatabase=": "a", "nodb": "N"}
    options = read_options(p.args, "u:p:h:", long)
    target = next((word for word in options.rest if not word.endswith(".js")), "")
    place = re.match(r"(?:mongodb://)?(?:[^@/]*@)?([^:/]+)?(?::(\d+))?", target)
    host = options.get("h") or (place[1] if place and ("/" in target or ":" in target) else "") or "127.0.0.1"
    port = int(options.get("P") or (place and place[2]) or 27017)
    text = options.get("e") if "e" in options else (await p.stdin.rest()).decode("utf-8", "replace").strip()
    match = _CALL.fullmatch(text.strip())
    try:
        reader, writer = await connect(host, port)
    except OSError as error:
        await p.err(f"MongoNetworkError: connect {host}:{port}: {why_not(error)}\n")
        return 1
    try:
        if match is None:
            await p.err(
                f"{p.name}: the built-in one knows db.adminCommand('ping') and its like, no JavaScript; {_REAL}\n"
            )
            return 1
        name = match["command"] or match["method"] or ""
        body = bson({("buildInfo" if name == "version" else name): 1, "$db": "admin"})
        writer.write(struct.pack("<iiiiI", 21 + len(body), 1, 0, 2013, 0) + b"\0" + body)
        size = struct.unpack("<i", await reader.readexactly(4))[0]
        answer = _document((await reader.readexactly(size - 4))[17:])
    except (asyncio.IncompleteReadError, ConnectionError, ValueError, IndexError, struct.error):
        await p.err("MongoNetworkError: connection closed\n")
        return 1
    finally:
        writer.close()
    if not answer.get("ok"):
        await p.err(f"MongoServerError: {answer.get('errmsg', answer)}\n")
        return 1
    field = "version" if name == "version" else (match["field"] or "")[1:]
    value = answer.get(field) if field else answer
    await p.out((value if isinstance(value, str) else _shown(value)) + "\n")
    return 0


_ASKED = {
    "ping": "Ping succeeded",
    "check_running": "RabbitMQ on node {node} is fully booted and running",
    "is_running": "RabbitMQ on node {node} is fully booted and running",
    "is_booting": "RabbitMQ on node {node} is fully booted and running",
    "check_local_alarms": "Node {node} reported no local alarms",
    "check_alarms": "Node {node} reported no alarms, local or clusterwide",
    "check_port_connectivity": "Successfully connected to ports 5672 on node {node}.",
    "check_virtual_hosts": "Successfully checked virtual hosts on node {node}",
    "check_port_listener": "A listener for port 5672 is running on node {node}.",
    "status": "Status of node {node} ...\nRabbitMQ is running (minikube-py's stand-in)",
    "await_startup": "",
    "await_online_nodes": "",
    "node_health_check": "Health check passed",
    "wait": "",
}


async def _rabbitmq(p: Process) -> int:
    words = [arg for arg in p.args if not arg.startswith("-")]
    if not words or words[0] not in _ASKED:
        return await p.fail(f"{' '.join(words) or 'no command'}: not built in; {_REAL}", 64)
    node = f"rabbit@{p.container.pod.hostname}"
    try:
        reader, writer = await connect("127.0.0.1", 5672)
        writer.write(b"AMQP\x00\x00\x09\x01")
        started = bool(await reader.read(1))
        writer.close()
    except OSError:
        started = False
    if not started:
        await p.err(f"Error: unable to perform an operation on node '{node}'. Nothing answers on port 5672.\n")
        return 69
    if (text := _ASKED[words[0]].format(node=node)) and not {"-q", "--quiet", "-s", "--silent"} & set(p.args):
        await p.out(f"{text}\n")
    return 0


TOOLS: dict[str, Tool] = {
    "mongo": _mongosh,
    "mongosh": _mongosh,
    "rabbitmq-diagnostics": _rabbitmq,
    "rabbitmqctl": _rabbitmq,
}
