"""`asgi:` the user's own ASGI application (FastAPI, Starlette, Django) on uvicorn's protocols.

Not `uvicorn.Server.serve()`: that takes over the process's signals, once per pod. The rest of what it does is here:
load, lifespan, date header, graceful shutdown (uvicorn/server.py).
"""

import asyncio
import inspect
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from minikube_py.images.aiohttp_app import listen_ports
from minikube_py.images.container import Container, Main
from minikube_py.images.web import LINGER

__all__ = ["DEFAULT_PORT", "adapt"]

DEFAULT_PORT = 8000
"""uvicorn's own."""


def adapt(target: Any, options: Mapping[str, Any]) -> Main:
    """Return the program that serves `target`; a factory (`factory: true`, or a function that takes nothing) is
    called first, in each pod anew."""
    factory = bool(options.get("factory")) or (inspect.isfunction(target) and not inspect.signature(target).parameters)

    async def main(container: Container) -> int:
        from uvicorn import Config
        from uvicorn.server import ServerState

        ports = listen_ports(container, options, DEFAULT_PORT)
        app = _logged(target() if factory else target, container)
        config = Config(
            app,
            host=container.pod.ip,
            port=ports[0],
            log_config=None,
            access_log=False,
            lifespan=options.get("lifespan", "auto"),
            interface="asgi3",
        )
        config.load()
        state = ServerState()
        lifespan = config.lifespan_class(config)
        await lifespan.startup()
        if lifespan.should_exit:
            container.print("Application startup failed. Exiting.")
            return 3
        loop = asyncio.get_running_loop()
        protocol: Any = config.http_protocol_class
        ticking = loop.create_task(_tick(state, config), name="asgi date header")
        servers = []
        try:
            for port in ports:
                servers.append(
                    await loop.create_server(
                        lambda: protocol(config=config, server_state=state, app_state=lifespan.state), None, port
                    )
                )
                container.print(f"Uvicorn running on http://{container.pod.ip}:{port}")
            container.started()
            await container.terminated.wait()
            ticking.cancel()
            for server in servers:
                server.close()
            if state.connections:
                state.default_headers = [*state.default_headers, (b"connection", b"close")]
                await asyncio.sleep(LINGER)
            for connection in [*state.connections]:
                connection.shutdown()
            while state.connections or state.tasks:  # uvicorn polls just so; the grace period bounds it
                await asyncio.sleep(0.02)
        finally:
            for server in servers:
                server.close()
            ticking.cancel()
            await lifespan.shutdown()
        return 0

    return main


async def _tick(state: Any, config: Any) -> None:
    """Refresh the headers that every response has, once a second."""
    while True:
        date = formatdate(time.time(), usegmt=True).encode()
        state.default_headers = [(b"date", date), *config.encoded_headers]
        await asyncio.sleep(1.0)


def _logged(app: Any, container: Container) -> Any:
    """Write one line per request to the container's log, as uvicorn's access log."""

    async def logged(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                client = scope.get("client") or ("", "")
                query = scope.get("query_string") or b""
                path = scope["path"] + (f"?{query.decode('latin-1')}" if query else "")
                container.print(
                    f'{client[0]}:{client[1]} - "{scope["method"]} {path} HTTP/{scope["http_version"]}" '
                    f"{message['status']}"
                )
            await send(message)

        await app(scope, receive, watched)

    return logged
