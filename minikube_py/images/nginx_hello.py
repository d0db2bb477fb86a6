"""nginxdemos/hello and nginxdemos/nginx-hello: the server's address, name, date and the URI, as a page or plain text.

Source: https://github.com/nginxinc/NGINX-Demos/tree/master/nginx-hello.
"""

import time

from minikube_py.images.container import Container
from minikube_py.images.reference import Reference
from minikube_py.images.web import serve

__all__ = ["IMAGES", "main"]

IMAGES = ("nginxdemos/hello", "nginxdemos/nginx-hello")


async def main(container: Container) -> int:
    from aiohttp import web

    reference = Reference.parse(container.image)
    port = 8080 if reference.repository.endswith("nginx-hello") else 80
    plain = "plain-text" in reference.tag

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        date = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
        lines = {
            "Server address": f"{container.pod.ip}:{port}",
            "Server name": container.pod.hostname,
            "Date": date,
            "URI": request.path_qs,
        }
        headers = {"Server": "nginx/1.27.3", "Expires": date, "Cache-Control": "no-cache"}
        container.print(f'{request.remote} - - [{date}] "{request.method} {request.path_qs} HTTP/1.1" 200')
        if plain:
            text = "".join(f"{key}: {value}\n" for key, value in {**lines, "Request ID": f"{id(request):032x}"}.items())
            return web.Response(text=text, headers=headers)
        rows = "".join(f"<p><span>{key}:</span> <span>{value}</span></p>\n" for key, value in lines.items())
        page = f"<!DOCTYPE html>\n<html>\n<head>\n<title>Hello World</title>\n</head>\n<body>\n{rows}</body>\n</html>\n"
        return web.Response(text=page, content_type="text/html", headers=headers)

    return await serve(container, answer, port)
