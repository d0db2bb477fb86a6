"""`aiohttp:` the user's own aiohttp application, or a factory of one, unmodified.

Its start-up, clean-up and shutdown hooks run in the pod's context. A factory gives each pod an application of its
own; an application object is shared by all its pods, as a module is by threads.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from minikube_py.images.container import Container, Main

__all__ = ["DEFAULT_PORT", "adapt", "listen_ports"]

DEFAULT_PORT = 8080
"""aiohttp's own default, for a manifest that declares no port."""


def listen_ports(container: Container, options: Mapping[str, Any], default: int) -> tuple[int, ...]:
    """Return where a user's app listens: the mapping's `port`, else PORT in the environment, else what is declared."""
    if options.get("port"):
        return (int(options["port"]),)
    if container.env.get("PORT", "").isdigit():
        return (int(container.env["PORT"]),)
    if not container.ports:
        container.print(f"no containerPort, probe or Service names a port: listening on {default}")
    return container.ports or (default,)


def adapt(target: Any, options: Mapping[str, Any]) -> Main:
    """Return the program that serves `target`: an Application, or a function (async or not) that makes one."""

    async def main(container: Container) -> int:
        from aiohttp import web
        from aiohttp.web_log import AccessLogger

        app = target
        if not isinstance(app, web.Application):
            app = target()
            if inspect.isawaitable(app):
                app = await app
        if not isinstance(app, web.Application):
            raise TypeError(f"aiohttp: {target!r} gave {type(app).__name__}, not an aiohttp.web.Application")

        class _Access(AccessLogger):
            """Writes to the container's log, where `kubectl logs` looks."""

            @property
            def enabled(self) -> bool:
                return True

            def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
                container.print(f'{request.remote} "{request.method} {request.path_qs}" {response.status}')

        runner = web.AppRunner(app, access_log_class=_Access, shutdown_timeout=3600.0)  # the kubelet bounds it
        await runner.setup()
        try:
            for port in listen_ports(container, options, DEFAULT_PORT):
                await web.TCPSite(runner, None, port).start()
            container.started()
            await container.terminated.wait()
        finally:
            await runner.cleanup()
        return 0

    return main
