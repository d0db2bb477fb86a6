"""A small server of streams under the stand-ins of databases: one coroutine for each connection, ended by SIGTERM."""

import asyncio
from collections.abc import Awaitable, Callable

from minikube_py.images.container import Container

__all__ = ["STAND_IN", "serve_streams"]

STAND_IN = (
    "this is minikube-py's stand-in: it accepts connections and answers pings, nothing else; to run the real program, "
    'map the image to one of this machine: images: {"<image>": {command: [...]}}'
)
"""What a client is told that asks for more."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve_streams(container: Container, handler: Handler, *ports: int, note: str = STAND_IN) -> int:
    """Serve until SIGTERM; a client that goes away or talks nonsense ends its own connection only.

    `note` goes into the log beside the ports.
    """
    busy: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError, asyncio.LimitOverrunError):
            pass  # the client's doing
        except asyncio.CancelledError:
            pass  # the task's edge; asyncio's streams before 3.12 report a cancelled handler as an error
        finally:
            busy.discard(task)
            writer.close()

    servers = []
    try:
        for port in ports:
            servers.append(await asyncio.start_server(handle, None, port))
        container.started()
        container.print(f"ready to accept connections on {', '.join(map(str, ports))} ({note})")
        await container.terminated.wait()
    finally:
        for server in servers:
            server.close()
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
    return 0
