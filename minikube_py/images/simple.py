"""Shared by stand-ins whose whole behaviour is one text: `constant(text, port)`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from minikube_py.images.container import Container, Main
from minikube_py.images.web import serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["constant"]


def constant(text: Callable[[Container, "web.BaseRequest"], str], port: int, content_type: str = "text/plain") -> Main:
    """Return a program that answers every request with `text(container, request)` on `port`, or on PORT if set."""

    async def main(container: Container) -> int:
        from aiohttp import web

        async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
            container.print(f"Serving request: {request.path_qs}")
            return web.Response(text=text(container, request), content_type=content_type)

        number = container.env.get("PORT", "")
        return await serve(container, answer, int(number) if number.isdigit() else port)

    return main
