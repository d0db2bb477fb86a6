"""traefik/whoami: says who answers and what was asked.

Source: https://github.com/traefik/whoami. Leaves out: gRPC, TLS (--cert, --key), `/upload`.
"""

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from minikube_py.images.container import Container
from minikube_py.images.flags import parse_flags
from minikube_py.images.web import client_address, serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = ("traefik/whoami", "containous/whoami", "traefik/whoamitcp", "emilevauge/whoami")

_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "": 1}
_ALPHABET = b"|ABCDEFGHIJKLMNOPQRSTUVWXYZ-"


def _data(query: dict[str, list[str]]) -> bytes:
    size = int(query.get("size", ["1"])[0]) * _UNITS.get(query.get("unit", [""])[0].upper(), 1)
    body = (_ALPHABET * (size // len(_ALPHABET) + 1))[:size]
    return b"|" + body[1:-1] + b"|" if size > 1 else b"|"[:size]


async def main(container: Container) -> int:
    from aiohttp import web

    words = container.argv if not container.command else container.argv[1:]
    flags = parse_flags(words, switches=("verbose",))
    port = flags.number("port", default=int(container.env.get("WHOAMI_PORT_NUMBER") or 80))
    name = flags.get("name") or container.env.get("WHOAMI_NAME", "")
    health = 200
    addresses = ["127.0.0.1", "::1", container.pod.ip]

    def request_text(request: "web.BaseRequest") -> str:
        lines = [f"{request.method} {request.path_qs} HTTP/{request.version.major}.{request.version.minor}"]
        lines.append(f"Host: {request.host}")
        lines += sorted(f"{key}: {value}" for key, value in request.headers.items() if key.lower() != "host")
        return "\r\n".join(lines) + "\r\n\r\n"

    async def who(request: "web.BaseRequest", query: dict[str, list[str]]) -> "web.StreamResponse":
        if wait := query.get("wait"):
            await asyncio.sleep(_duration(wait[0]))
        head = [f"Name: {name}"] if name else []
        head += [f"Hostname: {container.pod.hostname}", *(f"IP: {ip}" for ip in addresses)]
        if query.get("env", ["false"])[0] == "true":
            head += [f"{key}={value}" for key, value in container.env.items()]
        head.append(f"RemoteAddr: {client_address(request)}")
        return web.Response(text="\n".join(head) + "\n" + request_text(request))

    def api(request: "web.BaseRequest") -> "web.StreamResponse":
        headers: dict[str, list[str]] = {}
        for key, value in request.headers.items():
            if key.lower() != "host":
                headers.setdefault(key, []).append(value)
        body = {
            "hostname": container.pod.hostname,
            "ip": addresses,
            "headers": headers,
            "url": request.path_qs,
            "host": request.host,
            "method": request.method,
            **({"name": name} if name else {}),
            "remoteAddr": client_address(request),
            "environ": None,
        }
        return web.Response(text=json.dumps(body) + "\n", content_type="application/json")

    async def echo(request: "web.BaseRequest") -> "web.StreamResponse":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is web.WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is web.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        nonlocal health
        query = parse_qs(urlsplit(request.path_qs).query, keep_blank_values=True)
        match request.path:
            case "/health" if request.method == "POST":
                health = int((await request.text()).strip() or 200)
                return web.Response()
            case "/health":
                return web.Response(status=health)
            case "/bench":
                return web.Response(text="1", headers={"Connection": "keep-alive"})
            case "/data":
                return web.Response(body=_data(query), content_type="application/octet-stream")
            case "/api" | "/api/":
                return api(request)
            case "/echo":
                return await echo(request)
        return await who(request, query)

    container.print(f"Starting up on port {port}")
    return await serve(container, answer, port)


def _duration(text: str) -> float:
    """Read a Go duration of one unit: `300ms`, `2s`, `1m`."""
    for unit, scale in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) * scale
            except ValueError:
                return 0.0
    return 0.0
