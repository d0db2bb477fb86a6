"""registry.k8s.io/echoserver, ealen/echo-server, jmalloc/echo-server: the request, given back as text.

Source: https://github.com/kubernetes/ingress-nginx/tree/main/images/echo (its text, since nginx's Lua wrote it).
"""

import json
import re
from typing import TYPE_CHECKING

from minikube_py.images.container import Container
from minikube_py.images.reference import Reference
from minikube_py.images.web import client_address, serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = (
    "*/echoserver",
    "*/ingressconformance/echoserver",
    "*/gateway-api/echo-basic",
    "*/echo-basic",
    "ealen/echo-server",
    "jmalloc/echo-server",
    "*/e2e-test-images/echoserver",
    "mendhak/http-https-echo",
)


async def main(container: Container) -> int:
    from aiohttp import web

    repository = Reference.parse(container.image).repository
    in_json = repository.endswith(("echo-basic", "http-https-echo")) or repository == "ealen/echo-server"
    old = (
        repository.endswith("/echoserver")
        and re.fullmatch(r"1\.[0-4]", Reference.parse(container.image).tag) is not None
    )
    number = container.env.get("HTTP_PORT") or container.env.get("PORT", "")
    default = 3000 if repository.endswith("echo-basic") else 80 if repository == "ealen/echo-server" else 8080
    port = int(number) if number.isdigit() else default

    def as_json(request: "web.BaseRequest", body: str) -> str:
        headers: dict[str, list[str]] = {}
        for key, value in request.headers.items():
            headers.setdefault(key, []).append(value)
        described = {
            "path": request.path_qs,
            "host": request.host,
            "method": request.method,
            "proto": f"HTTP/{request.version.major}.{request.version.minor}",
            "headers": headers,
            "body": body,
            "namespace": container.pod.namespace,
            "ingress": "",
            "service": "",
            "pod": container.pod.name,
        }
        return json.dumps(described, indent=1) + "\n"

    def as_text(request: "web.BaseRequest", body: str) -> str:
        client = client_address(request).partition(":")[0]
        headers = "".join(f"\t{key.lower()}={value}\n" for key, value in sorted(request.headers.items()))
        return (
            f"\n\nHostname: {container.pod.hostname}\n\nPod Information:\n\tnode name:\t{container.pod.node}\n"
            f"\tpod name:\t{container.pod.name}\n\tpod namespace:\t{container.pod.namespace}\n"
            f"\tpod IP:\t{container.pod.ip}\n\nServer values:\n\tserver_version=minikube-py stand-in\n\n"
            f"Request Information:\n\tclient_address={client}\n\tmethod={request.method}\n"
            f"\treal path={request.path_qs}\n\tquery={request.rel_url.raw_query_string}\n\trequest_version=1.1\n"
            f"\trequest_scheme=http\n\trequest_uri=http://{request.host}{request.path_qs}\n\n"
            f"Request Headers:\n{headers}\nRequest Body:\n{body or chr(9) + '-no body in request-'}\n\n"
        )

    def as_old_text(request: "web.BaseRequest", body: str) -> str:
        """The text of 1.4 and before, which tutorials show."""
        client = client_address(request).partition(":")[0]
        headers = "".join(f"{key.lower()}={value}\n" for key, value in sorted(request.headers.items()))
        return (
            f"CLIENT VALUES:\nclient_address={client}\ncommand={request.method}\nreal path={request.path_qs}\n"
            f"query={request.rel_url.raw_query_string or 'nil'}\nrequest_version=1.1\n"
            f"request_uri=http://{request.host}{request.path_qs}\n\nSERVER VALUES:\n"
            f"server_version=minikube-py stand-in\n\nHEADERS RECEIVED:\n{headers}BODY:\n"
            f"{body or '-no body in request-'}"
        )

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        body = (await request.read()).decode("utf-8", "replace")
        container.print(f"{client_address(request)} {request.method} {request.path_qs}")
        if in_json:
            return web.Response(text=as_json(request, body), content_type="application/json")
        return web.Response(text=(as_old_text if old else as_text)(request, body))

    return await serve(container, answer, port)
