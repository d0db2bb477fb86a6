"""`aiohttp:` the user's own aiohttp application, or a factory of one, unmodified.

Its start-up, clean-up and shutdown hooks run in the pod's context. A factory gives each pod an application of its
own; an application object is shared by all its pods, as a module is by threads.
"""

import asyncio
import contextvars
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minikube_py.images.container import Container, Main
from minikube_py.images.web import LINGER, closing_idle

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["DEFAULT_PORT", "adapt", "listen_ports"]

DEFAULT_PORT = 8080
"""aiohttp's own default, for a manifest that declares no port."""


_CONTAINER: contextvars.ContextVar[Container] = contextvars.ContextVar("minikube_py_aiohttp_container")
"""Whose code is running: an application object may be shared by several pods."""


async def _close_when_ending(request: "web.Request", response: "web.StreamResponse") -> None:
    """Tell the client of a pod that ends to use another connection from now on."""
    container = _CONTAINER.get(None)
    if container is not None and container.terminated.is_set():
        response.force_close()
        response.headers["Connection"] = "close"  # aiohttp has written its own idea of it before the signal


def _unbind(app: "web.Application") -> None:
    """Let an application object start again: in another pod, or on the loop of the next cluster.

    aiohttp ties it to the first loop that it runs on, and closes its state to start-up hooks. Tests share a module's
    `app`, and each has a cluster of its own.
    Error handling: RuntimeError if another cluster, which still runs, has it.
    """
    loop = app._loop
    if loop is not None and loop is not asyncio.get_running_loop():
        if not loop.is_closed():
            raise RuntimeError(
                "this aiohttp Application is served by another cluster that still runs; "
                "map a function that makes one, so that each has its own"
            )
        app._loop = None
    app._frozen = False
    for sub in app._subapps:
        _unbind(sub)


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

        _unbind(app)
        _CONTAINER.set(container)
        if not app.frozen and _close_when_ending not in app.on_response_prepare:
            app.on_response_prepare.append(_close_when_ending)
        runner = web.AppRunner(app, access_log_class=_Access, shutdown_timeout=3600.0)  # the kubelet bounds it
        await runner.setup()
        try:
            for port in listen_ports(container, options, DEFAULT_PORT):
                await web.TCPSite(runner, None, port).start()
            container.started()
            await container.terminated.wait()
            for site in [*runner.sites]:
                await site.stop()
            if runner.server is not None and runner.server.connections:
                await asyncio.sleep(LINGER)
        finally:
            if runner.server is None:
                await runner.cleanup()
            else:
                async with closing_idle(runner.server):
                    await runner.cleanup()
        return 0

    return main
