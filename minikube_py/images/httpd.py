"""httpd (Apache): `It works!` and mounted content; hpa-example, whose answer costs CPU, as its index.php's does.

Leaves out: httpd.conf, logs in other formats, modules.
"""

import math
import mimetypes
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


async def main(container: Container) -> int:
    from aiohttp import web

    busy = "hpa-example" in container.image
    if busy:
        works, root = "OK!", "/var/www/html"
    else:
        works, root = "<html><body><h1>It works!</h1></body></html>\n", _ROOT

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        path = request.path + ("index.html" if request.path.endswith("/") else "")
        found = find_file(container, root + path)
        response: web.Response
        if found is not None and found.is_file():
            kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
            response = web.Response(body=found.read_bytes(), content_type=kind)
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


def _compute() -> None:
    """Add up square roots as hpa-example's index.php does, a fifth as many.

    In one go: other pods wait some 10 ms, but a measurement by samples sees no shorter pieces (`kubelet/usage.py`).
    """
    x = 0.0001
    for _ in range(200_000):
        x += math.sqrt(x)
