"""`exec` without kubectl: one WebSocket with the v5 channel protocol (see KEP-4006)."""

import asyncio
import json
import ssl
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minikube_py.cli.console import Failure

if TYPE_CHECKING:
    from minikube_py.cli.api import Client

__all__ = ["remote_exec"]

_STDIN, _STDOUT, _STDERR, _STATUS, _CLOSE = 0, 1, 2, 3, 255


def remote_exec(client: "Client", path: str, container: str, argv: Sequence[str], stdin: bytes | None) -> int:
    """Run a command in a container; copy its output to ours; return its exit code."""
    return asyncio.run(_exec(client, path, container, argv, stdin))


async def _exec(client: "Client", path: str, container: str, argv: Sequence[str], stdin: bytes | None) -> int:
    import aiohttp

    query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", word) for word in argv)]
    if stdin is not None:
        query.append(("stdin", "true"))
    url, token, context = client.connection()
    try:
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
            session.ws_connect(
                f"{url}{path}", params=query, protocols=["v5.channel.k8s.io"], ssl=context, max_msg_size=0
            ) as socket,
        ):
            if stdin is not None:
                await socket.send_bytes(bytes([_STDIN]) + stdin)
                await socket.send_bytes(bytes([_CLOSE, _STDIN]))
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                    continue
                channel, data = message.data[0], message.data[1:]
                if channel == _STATUS:
                    return _exit_code(json.loads(data))
                out = sys.stdout if channel == _STDOUT else sys.stderr
                out.buffer.write(data)
                out.flush()
    except (aiohttp.ClientError, ssl.SSLError) as error:
        raise Failure(f"exec failed: {error}") from None
    return 0


def _exit_code(status: dict[str, object]) -> int:
    if status.get("status") == "Success":
        return 0
    details = status.get("details")
    for cause in (details.get("causes") or ()) if isinstance(details, dict) else ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise Failure(str(status.get("message") or status))
