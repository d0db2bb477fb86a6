"""busybox httpd: -f -v -p [ADDRESS:]PORT -h HOME. Serves the container's files, as the pod.

Leaves out: CGI, httpd.conf, passwords, -i.
"""

import asyncio
import mimetypes
from dataclasses import replace
from typing import TYPE_CHECKING

from minikube_py.images.exec import SERVER
from minikube_py.images.shell.process import Process
from minikube_py.images.shell.tools.options import read_options
from minikube_py.images.web import client_address, serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["httpd"]


async def httpd(p: Process) -> int:
    """Serve until SIGTERM; without -f from the background of the container."""
    options = read_options(p.args, "ifvp:h:c:u:r:")
    port = int((options.get("p") or "80").rpartition(":")[2])
    home = p.view.path(options.get("h") or ".")
    if not p.view.is_dir(home):
        return await p.fail(f"can't change directory to '{home}': No such file or directory")

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        from aiohttp import web

        path = p.view.path(f"{home}/{request.path.lstrip('/')}")
        name = f"{path.rstrip('/')}/index.html" if p.view.is_dir(path) else path
        inside = home == "/" or name.startswith(f"{home}/")
        found = p.view.find(name) if inside else None
        status = 200 if found is not None and found.is_file else 404
        if "v" in options:
            await p.err(f"{client_address(request)}: response:{status}\n")
        if status == 404:
            text = (
                "<HTML><HEAD><TITLE>404 Not Found</TITLE></HEAD>\n<BODY><H1>404 Not Found</H1>\n"
                "The requested URL was not found\n</BODY></HTML>\n"
            )
            return web.Response(status=404, text=text, content_type="text/html")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return web.Response(body=p.view.read(name), content_type=kind)

    if "f" in options:
        p.container.extra[SERVER] = True
        return await serve(p.container, answer, port)
    inner = replace(p.container, ready=asyncio.Event())
    serving = asyncio.create_task(serve(inner, answer, port), name=f"httpd on {port}")
    p.shell.orphans.add(serving)
    opening = asyncio.create_task(inner.ready.wait())
    await asyncio.wait((serving, opening), return_when=asyncio.FIRST_COMPLETED)
    opening.cancel()
    return await serving if serving.done() else 0
