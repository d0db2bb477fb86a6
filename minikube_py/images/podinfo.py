"""stefanprodan/podinfo: the demo service of Flux and Flagger.

Serves /, /version, /api/info, /env, /headers, /healthz, /readyz (with enable and disable), /echo (calls --backend-url),
/status/{code}, /delay/{seconds}, /panic, /metrics; gRPC health on --grpc-port; flags --port, --port-metrics,
--backend-url, --ui-message, --ui-color, --random-delay is ignored.
Source: https://github.com/stefanprodan/podinfo. Leaves out: JWT, cache, store, tracing, TLS.
"""

import asyncio
import os
from typing import TYPE_CHECKING

from minikube_py.images.container import Container
from minikube_py.images.flags import parse_flags
from minikube_py.images.grpc_health import HealthServer
from minikube_py.images.reference import Reference
from minikube_py.images.web import HTTPServer

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = ("stefanprodan/podinfo", "ghcr.io/stefanprodan/podinfo", "*/podinfo")


async def main(container: Container) -> int:
    from aiohttp import ClientError, ClientSession, web

    words = [word for word in container.argv if not word.endswith("podinfo")]
    flags = parse_flags(words, switches=("unhealthy", "unready", "h2c", "random-delay", "random-error"))
    said = container.env.get("PODINFO_PORT", "")  # for a Service called podinfo it is Kubernetes' own: tcp://…:9898
    port = flags.number("port", default=int(said) if said.isdigit() else 9898)
    metrics_port = flags.number("port-metrics", default=0)
    grpc_port = flags.number("grpc-port", default=0)
    backends = [
        url for url in (flags.get("backend-url") or container.env.get("PODINFO_BACKEND_URL", "")).split(",") if url
    ]
    tag = Reference.parse(container.image).tag
    version = tag if tag != "latest" else "6.7.1"
    color = flags.get("ui-color") or container.env.get("PODINFO_UI_COLOR") or "#34577c"
    message = flags.get("ui-message") or container.env.get("PODINFO_UI_MESSAGE") or f"greetings from podinfo v{version}"
    ready, alive = not flags.on("unready"), not flags.on("unhealthy")
    panicked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    requests = 0

    def info() -> dict[str, str]:
        return {
            "hostname": container.pod.hostname,
            "version": version,
            "revision": "unknown",
            "color": color,
            "logo": "https://raw.githubusercontent.com/stefanprodan/podinfo/gh-pages/cuddle_clap.gif",
            "message": message,
            "goos": "linux",
            "goarch": "amd64",
            "runtime": "minikube-py stand-in",
            "num_goroutine": "1",
            "num_cpu": str(os.cpu_count() or 1),
        }

    async def echo(request: "web.BaseRequest") -> "web.StreamResponse":
        body = await request.read()
        if not backends:
            return web.Response(body=body, status=202, content_type="application/json")
        texts = []
        async with ClientSession() as session:
            for url in backends:
                try:
                    async with session.post(url, data=body) as answer:
                        texts.append(await answer.text())
                except (ClientError, OSError) as error:
                    container.print(f"backend call failed url={url} error={error}")
                    return web.json_response({"code": 500, "message": f"backend call failed: {error}"}, status=500)
        return web.json_response(texts, status=202)

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        nonlocal ready, requests
        requests += 1
        match request.path.strip("/").split("/"):
            case [""] | ["api", "info"]:
                return web.json_response(info())
            case ["version"]:
                return web.json_response({"version": version, "commit": "unknown"})
            case ["env"]:
                return web.json_response([f"{key}={value}" for key, value in container.env.items()])
            case ["headers"]:
                return web.json_response({key: [value] for key, value in request.headers.items()})
            case ["healthz"]:
                return web.json_response(
                    {"status": "OK"} if alive else {"status": "down"}, status=200 if alive else 503
                )
            case ["readyz"]:
                return web.json_response(
                    {"status": "OK"} if ready else {"status": "down"}, status=200 if ready else 503
                )
            case ["readyz", "enable" | "disable" as switch]:
                ready = switch == "enable"
                return web.Response(status=202)
            case ["status", code] if code.isdigit():
                return web.json_response({"status": int(code)}, status=int(code))
            case ["delay", seconds] if seconds.isdigit():
                await asyncio.sleep(int(seconds))
                return web.json_response({"delay": int(seconds)})
            case ["echo"] | ["api", "echo"]:
                return await echo(request)
            case ["panic"]:
                if not panicked.done():
                    panicked.set_result(255)
                return web.Response()
            case ["metrics"]:
                text = f"# TYPE http_requests_total counter\nhttp_requests_total {requests}\n"
                return web.Response(text=text)
        return web.json_response({"code": 404, "message": "not found"}, status=404)

    server = HTTPServer(answer)
    try:
        for number in dict.fromkeys(filter(None, (port, metrics_port))):
            await server.listen(number)
        if grpc_port:
            await server.listen(grpc_port, HealthServer)
        container.print(f'{{"level":"info","msg":"Starting HTTP Server.","addr":":{port}"}}')
        container.started()
        ending = asyncio.ensure_future(container.terminated.wait())
        try:
            await asyncio.wait((ending, panicked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        return panicked.result() if panicked.done() else 0
    finally:
        await server.close()
