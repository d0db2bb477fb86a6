"""httpd (Apache): `It works!` and mounted content; hpa-example, whose answer costs CPU, as its index.php's does.

Leaves out: httpd.conf, logs in other formats, modules.
"""

import math
import mimetypes
import os
import time
from typing import TYPE_CHECKING

from minikube_py.images.container import Container
from minikube_py.images.nginx import find_file
from minikube_py.images.web import serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = ("httpd", "*/httpd", "php", "*/hpa-example")

_ROOT = "/usr/local/apache2/htdocs"
_WORKS = "<html><body><h1>It works!</h1></body></html>\n"

IMAGE_FILES = {f"{_ROOT}/index.html": _WORKS.encode(), "/var/www/html/.keep": b""}
"""What scripts and exec sessions find: they may write the pages."""


async def main(container: Container) -> int:
    from aiohttp import web

    busy = "hpa-example" in container.image
    if busy:
        works, root = "OK!", "/var/www/html"
    else:
        works, root = _WORKS, _ROOT

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        path = request.path + ("index.html" if request.path.endswith("/") else "")
        response: web.Response
        if (body := _read(container, root + path)) is not None:
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            response = web.Response(body=body, content_type=kind)
        elif path == "/index.html" and find_file(container, root) is None:
            if busy:
                _compute()
            response = web.Response(text=works, content_type="text/html")
        else:
            text = (
                '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>404 Not Found</title>\n'
                "</head><body>\n<h1>Not Found</h1>\n<p>The requested URL was not found on this server.</p>\n"
                "</body></html>\n"
            )
            response = web.Response(status=404, text=text, content_type="text/html")
        response.headers["Server"] = "Apache/2.4.62 (Unix)"
        stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
        size = len(response.body) if isinstance(response.body, bytes) else 0
        container.print(
            f'{request.remote} - - [{stamp}] "{request.method} {request.path_qs} HTTP/1.1" {response.status} {size}'
        )
        return response

    return await serve(container, answer, 80)


def _read(container: Container, path: str) -> bytes | None:
    """Return a file that is mounted, or that a script or an exec session wrote."""
    found = find_file(container, path)
    if found is not None:
        return found.read_bytes() if found.is_file() else None
    if "files" not in container.extra:
        return None
    try:
        data: bytes = container.extra["files"].read(os.path.normpath(path))
    except OSError:
        return None
    return data


def _compute() -> None:
    """Add up square roots as hpa-example's index.php does, a fifth as many.

    In one go: other pods wait some 10 ms, but a measurement by samples sees no shorter pieces (`kubelet/usage.py`).
    """
    x = 0.0001
    for _ in range(200_000):
        x += math.sqrt(x)
