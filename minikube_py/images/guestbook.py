"""The guestbook tutorial's PHP frontend: writes messages to redis-leader, reads them from redis-follower.

GET_HOSTS_FROM=env takes the Services' addresses from the environment, as the original does; the tutorial's first
version calls them redis-master and redis-slave. Leaves out: the AngularJS page (a plain form stands in).
Source: https://kubernetes.io/docs/tutorials/stateless-application/guestbook/
"""

import asyncio
import html
import json
from typing import TYPE_CHECKING

from minikube_py.images.container import Container
from minikube_py.images.web import serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = ("*/gb-frontend", "*/gb-frontend-php", "*/guestbook-php-frontend", "*/guestbook/php-redis", "*/php-redis")

_PORT = 80
_REDIS = 6379
_TIMEOUT = 5.0
"""Seconds until redis counts as away."""


def _host(container: Container, *names: str) -> str:
    """Return the first of the Services that the cluster has, by address or by name."""
    for name in names:
        if address := container.env.get(f"{name.upper().replace('-', '_')}_SERVICE_HOST"):
            return address if container.env.get("GET_HOSTS_FROM") == "env" else name
    return names[0]


async def _redis(host: str, *words: str) -> str:
    """Send one command; return its string reply. OSError when redis is away, ValueError for its errors."""
    async with asyncio.timeout(_TIMEOUT):
        reader, writer = await asyncio.open_connection(host, _REDIS)
        try:
            parts = [word.encode() for word in words]
            writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            head = (await reader.readuntil(b"\n")).rstrip()
            if head.startswith(b"-"):
                raise ValueError(head[1:].decode())
            if head.startswith(b"$") and int(head[1:]) >= 0:
                return (await reader.readexactly(int(head[1:]))).decode("utf-8", "replace")
            return "" if head.startswith(b"$") else head[1:].decode()
        finally:
            writer.close()


async def main(container: Container) -> int:
    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        from aiohttp import web

        leader, follower = (
            _host(container, "redis-leader", "redis-master"),
            _host(container, "redis-follower", "redis-slave"),
        )
        query = request.rel_url.query
        container.print(f'{request.remote} "{request.method} {request.path_qs}"')
        try:
            if request.path == "/guestbook.php" and query.get("cmd") == "set":
                await _redis(leader, "SET", query.get("key", "guestbook"), query.get("value", ""))
                return web.json_response({"message": "Updated"})
            if request.path == "/guestbook.php":
                return web.json_response({"data": await _redis(follower, "GET", query.get("key", "guestbook"))})
            if request.path in ("/", "/index.html"):
                entries = (await _redis(follower, "GET", "guestbook")).split(",")
                rows = "".join(f"<div>{html.escape(entry)}</div>" for entry in entries if entry)
                form = '<form action="/guestbook.php"><input name="cmd" value="set" hidden><input name="value"></form>'
                page = f"<!doctype html><title>Guestbook</title><h2>Guestbook</h2>{form}{rows}"
                return web.Response(text=page, content_type="text/html")
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            text = f"redis at {leader} or {follower}: {error or type(error).__name__}"
            container.print(text)
            return web.Response(status=500, text=json.dumps({"error": text}), content_type="application/json")
        return web.Response(status=404, text="not found\n")

    return await serve(container, answer, _PORT)
