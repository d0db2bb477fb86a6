"""gcr.io/kuar-demo/kuard, "Kubernetes up and running": /, /healthy, /ready, /env/api, /fs refused.

Source: https://github.com/kubernetes-up-and-running/kuard. Leaves out: the JavaScript pages, memq, keygen, DNS page.
"""

import html
from typing import TYPE_CHECKING

from minikube_py.images.container import Container
from minikube_py.images.web import client_address, serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = ("*/kuar-demo/kuard*", "*/kuard-amd64", "*/kuard")


async def main(container: Container) -> int:
    from aiohttp import web

    failing = {"healthy": 0, "ready": 0}

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        match request.path.strip("/").split("/"):
            case ["healthy" | "ready" as which]:
                if failing[which]:
                    failing[which] -= failing[which] > 0
                    return web.Response(status=500, text="fail")
                return web.Response(text="ok")
            case ["healthy" | "ready" as which, "api", *_] if request.method == "PUT":
                failing[which] = int((await request.text()).strip() or 0)
                return web.Response()
            case ["env", "api"]:
                return web.json_response({"commandLine": ["/kuard"], "env": dict(container.env)})
            case [""] | ["-", *_]:
                rows = "".join(f"<li>{html.escape(k)}: {html.escape(v)}</li>" for k, v in request.headers.items())
                page = (
                    f"<!doctype html><title>KUAR Demo</title><h1>Kubernetes Up and Running Demo</h1>"
                    f"<p>Hostname: {container.pod.hostname}</p><p>Address: {container.pod.ip}</p>"
                    f"<p>Client: {client_address(request)}</p><ul>{rows}</ul>"
                )
                return web.Response(text=page, content_type="text/html")
        return web.Response(status=404, text="404 page not found\n")

    return await serve(container, answer, 8080)
