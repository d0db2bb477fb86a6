"""stefanprodan/podinfo: the demo service of Flux and Flagger.

Serves /, /version, /api/info, /env, /headers, /healthz, /readyz (with enable and disable), /echo (calls --backend-url),
/status/{code}, /delay/{seconds}, /panic, /metrics; gRPC health on --grpc-port; flags --port, --port-metrics,
--backend-url, --ui-message, --ui-color, --random-delay is ignored.
Source: https://github.com/stefanprodan/podinfo. Leaves out: JWT, cache, store, tracing, TLS.
"""

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

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
    cache: dict[str, bytes] = {}
    store: dict[str, bytes] = {}

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
            case ["configs"]:
                return web.json_response(_configs(container, flags.get("config-path")))
            case ["chunked", *rest]:
                pause = int(rest[0]) if rest and rest[0].isdigit() else 1
                chunked = web.StreamResponse()
                await chunked.prepare(request)
                await asyncio.sleep(pause)
                await chunked.write(json.dumps({"delay": pause}).encode())
                return chunked
            case ["cache", key]:
                return await _cached(request, cache, key)
            case ["store", *digests]:
                return await _stored(request, store, digests)
            case ["token", *rest]:
                return await _token(request, rest)
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


def _configs(container: Container, path: str) -> dict[str, str]:
    """Return the files of --config-path, a mounted ConfigMap."""
    folder = container.files.get(path.rstrip("/")) if path else None
    if folder is None:
        return {}
    files = [one for one in sorted(folder.iterdir()) if one.is_file() and not one.name.startswith("..")]
    return {one.name: one.read_text("utf-8", "replace") for one in files}


async def _cached(request: "web.BaseRequest", cache: dict[str, bytes], key: str) -> "web.StreamResponse":
    """PUT or POST keeps a value, GET gives it, DELETE forgets it; the real one keeps it in redis."""
    from aiohttp import web

    if request.method in ("POST", "PUT"):
        cache[key] = await request.read()
        return web.Response(status=202)
    if request.method == "DELETE":
        cache.pop(key, None)
        return web.Response(status=202)
    return web.Response(body=cache[key]) if key in cache else web.Response(status=404)


async def _stored(request: "web.BaseRequest", store: dict[str, bytes], digests: list[str]) -> "web.StreamResponse":
    """POST keeps a body under its SHA-1, GET /store/{hash} gives it."""
    from hashlib import sha1

    from aiohttp import web

    if request.method in ("POST", "PUT"):
        body = await request.read()
        digest = sha1(body).hexdigest()
        store[digest] = body
        return web.json_response({"hash": digest}, status=202)
    if digests and digests[0] in store:
        return web.Response(body=store[digests[0]])
    return web.json_response({"code": 500, "message": "reading file failed"}, status=500)


async def _token(request: "web.BaseRequest", rest: list[str]) -> "web.StreamResponse":
    """POST /token issues a token for the name in the body, GET /token/validate tells whose it is; not signed."""
    import base64
    import time

    from aiohttp import web

    if request.method == "POST" and not rest:
        ends = int(time.time()) + 60
        claims: dict[str, Any] = {"name": (await request.text()) or "anonymous", "iss": "podinfo", "exp": ends}
        token = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
        return web.json_response({"token": token, "expires_at": time.strftime("%FT%TZ", time.gmtime(ends))})
    if rest == ["validate"]:
        try:
            claims = json.loads(base64.urlsafe_b64decode(request.headers.get("Authorization", "").partition(" ")[2]))
            valid = claims["exp"] > time.time()
        except (ValueError, KeyError, TypeError):
            valid = False
        if valid:
            until = time.strftime("%FT%TZ", time.gmtime(claims["exp"]))
            return web.json_response({"token_name": claims["name"], "expires_at": until})
        return web.json_response({"code": 401, "message": "authorization failed"}, status=401)
    return web.json_response({"code": 404, "message": "not found"}, status=404)
