"""`tcp:` the user's own `async def handler(reader, writer)`, as for `asyncio.start_server`."""

import asyncio
from collections.abc import Mapping
from typing import Any

from minikube_py.images.aiohttp_app import listen_ports
from minikube_py.images.container import Container, Main

__all__ = ["DEFAULT_PORT", "adapt"]

DEFAULT_PORT = 9000


def adapt(target: Any, options: Mapping[str, Any]) -> Main:
    """Return the program that runs `target` for each connection; its failure is logged and ends that connection."""

    async def main(container: Container) -> int:
        busy: set[asyncio.Task[Any]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            busy.add(task)
            try:
                await target(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass  # the other side went away: a server's daily bread
            except asyncio.CancelledError:
                pass  # the task's edge; asyncio's streams before 3.12 report a cancelled handler as an error
            except Exception as error:
                container.print(f"handler failed: {type(error).__name__}: {error}")
                container.logger.exception("handler failed pod=%s/%s", container.pod.namespace, container.pod.name)
            finally:
                busy.discard(task)
                writer.close()

        servers = []
        try:
            for port in listen_ports(container, options, DEFAULT_PORT):
                servers.append(await asyncio.start_server(handle, None, port))
            container.started()
            await container.terminated.wait()
        finally:
            for server in servers:
                server.close()
        if busy:  # what is in flight may finish within the grace period, unless it only waits for its client
            await asyncio.wait(busy, timeout=float(options.get("drain", 1.0)))
        for task in busy:
            task.cancel()
        return 0

    return main
