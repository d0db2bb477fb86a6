"""mongo, as far as the handshake: hello, isMaster, ping, buildInfo in OP_MSG and OP_QUERY.

Leaves out: data. Other commands fail with code 59 (CommandNotFound) and a text that says so.
Source: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/ and https://bsonspec.org
"""

import asyncio
import struct
import time
from typing import Any

from minikube_py.images.container import Container
from minikube_py.images.flags import parse_flags
from minikube_py.images.lines import STAND_IN, serve_streams

__all__ = ["IMAGES", "bson", "main"]

IMAGES = ("mongo", "bitnami/mongodb", "*/mongo", "*/mongodb", "mongodb/mongodb-community-server")

_QUERY, _MSG, _REPLY = 2004, 2013, 1


def bson(document: dict[str, Any]) -> bytes:
    """Encode strings, bools, ints, floats, dates (as `_Date`) and nested documents."""
    body = b""
    for key, value in document.items():
        name = key.encode() + b"\0"
        match value:
            case bool():
                body += b"\x08" + name + bytes((value,))
            case _Date():
                body += b"\x09" + name + struct.pack("<q", int(value.seconds * 1000))
            case int():
                body += b"\x10" + name + struct.pack("<i", value)
            case float():
                body += b"\x01" + name + struct.pack("<d", value)
            case str():
                data = value.encode() + b"\0"
                body += b"\x02" + name + struct.pack("<i", len(data)) + data
            case dict():
                body += b"\x03" + name + bson(value)
            case _:
                raise TypeError(f"bson: {type(value).__name__}")
    return struct.pack("<i", len(body) + 5) + body + b"\0"


class _Date:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def _command(document: bytes) -> str:
    """Return the first key of a BSON document: a command is named by it."""
    return document[5 : document.index(b"\0", 5)].decode("utf-8", "replace") if len(document) > 5 else ""


def _answer(command: str) -> dict[str, Any]:
    match command.lower():
        case "hello" | "ismaster":
            return {
                "helloOk": True,
                "ismaster": True,
                "isWritablePrimary": True,
                "maxBsonObjectSize": 16777216,
                "maxMessageSizeBytes": 48000000,
                "maxWriteBatchSize": 100000,
                "localTime": _Date(time.time()),
                "minWireVersion": 0,
                "maxWireVersion": 21,
                "readOnly": False,
                "ok": 1.0,
            }
        case "ping" | "endsessions" | "logout":
            return {"ok": 1.0}
        case "buildinfo":
            return {"version": "7.0.0", "gitVersion": "minikube-py", "ok": 1.0}
    return {"ok": 0.0, "errmsg": f"{command} refused: {STAND_IN}", "code": 59, "codeName": "CommandNotFound"}


async def _handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    number = 0
    while True:
        length, request, _, opcode = struct.unpack("<iiii", await reader.readexactly(16))
        payload = await reader.readexactly(length - 16)
        number += 1
        if opcode == _MSG:
            document = bson(_answer(_command(payload[5:])))
            body, kind = struct.pack("<I", 0) + b"\0" + document, _MSG
        elif opcode == _QUERY:
            at = payload.index(b"\0", 4) + 9
            document = bson(_answer(_command(payload[at:])))
            body, kind = struct.pack("<iqii", 8, 0, 0, 1) + document, _REPLY
        else:
            return
        writer.write(struct.pack("<iiii", 16 + len(body), number, request, kind) + body)
        await writer.drain()


async def main(container: Container) -> int:
    flags = parse_flags([word for word in container.argv if not word.endswith("mongod")])
    return await serve_streams(container, _handle, flags.number("port", default=27017))
