"""hashicorp/http-echo: one text for every request.

Source: https://github.com/hashicorp/http-echo (v1.0.0). Leaves out: nothing.
"""

import time
from typing import TYPE_CHECKING

from minikube_py.images.container import Container
from minikube_py.images.flags import parse_flags
from minikube_py.images.web import client_address, serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = ("hashicorp/http-echo", "*/http-echo")

_VERSION = "1.0.0"


async def main(container: Container) -> int:
    from aiohttp import web

    words = container.argv if not container.command else container.argv[1:]
    flags = parse_flags(words, switches=("version",))
    if flags.on("version"):
        container.print(f"http-echo v{_VERSION}")
        return 0
    text = flags.get("text") or container.env.get("ECHO_TEXT", "")
    if not text:
        container.print("Missing -text option!")
        return 127
    if flags.rest:
        container.print("Too many arguments!")
        return 127
    listen = flags.get("listen", default=":5678")
    status = flags.number("status-code", default=200)
    body = f"{text}\n".encode()
    headers = {
        "X-App-Name": "http-echo",
        "X-App-Version": _VERSION,
        "Content-Type": "text/plain; charset=utf-8",
    }

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        if request.path == "/health":
            return web.json_response({"status": "ok"}, headers={"X-App-Name": "http-echo", "X-App-Version": _VERSION})
        container.print(
            f"{time.strftime('%Y/%m/%d %H:%M:%S')} {request.host} {client_address(request)} "
            f'"{request.method} {request.path_qs} HTTP/1.1" {status} {len(body)} '
            f'"{request.headers.get("User-Agent", "")}"'
        )
        return web.Response(status=status, body=body, headers=headers)

    port = int(listen.rpartition(":")[2])
    container.print(f"[INFO] server is listening on {listen}")
    return await serve(container, answer, port)
