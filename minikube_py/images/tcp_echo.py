"""istio's tcp-echo-server: each line back with a prefix.

`args: ["9000,9001,9002", "one"]`: ports, prefix. Source: https://github.com/istio/istio/tree/master/samples/tcp-echo.
"""

import asyncio
from contextlib import suppress

from minikube_py.images.container import Container

__all__ = ["IMAGES", "main"]

IMAGES = ("*/tcp-echo-server", "istio/tcp-echo-server", "cjimti/go-echo", "*/tcp-echo")


async def main(container: Container) -> int:
    words = [word for word in container.argv if not word.startswith("/")]
    given = [int(part) for part in (words[0].split(",") if words else []) if part.isdigit()]
    ports = tuple(given) or container.ports or (9000,)
    prefix = words[1] if len(words) > 1 else "hello"
    tasks: set[asyncio.Task[None]] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while line := await reader.readline():
                container.print(f"request: {line.decode('utf-8', 'replace').rstrip()}")
                writer.write(f"{prefix} ".encode() + line)
                await writer.drain()
        except ConnectionError:
            pass  # the client went away
        finally:
            tasks.discard(task)
            writer.close()

    servers = []
    try:
        for port in ports:
            servers.append(await asyncio.start_server(echo, None, port))
            container.print(f"listening on [::]:{port}, prefix: {prefix}")
        container.started()
        await container.terminated.wait()
    finally:
        for server in servers:
            server.close()
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
    return 0
