"""agnhost guestbook: the example's store, its replicas (`--slaveof`, `--replicaof`) and its frontend.

/set and /get are the store's, /register is how a replica comes to a leader, and /guestbook?cmd= is the frontend: it
asks agnhost-primary (agnhost-master) and agnhost-replica (agnhost-slave) on --backend-port.
"""

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

from minikube_py.images.agnhost.netexec import ask_http
from minikube_py.images.container import Container
from minikube_py.images.flags import Flags
from minikube_py.images.web import serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["guestbook"]


async def _first(hosts: tuple[str, ...], port: int, request: str) -> str:
    """Ask the first host that exists; OSError, TimeoutError of the last one."""
    for host in hosts[:-1]:
        try:
            return await ask_http(host, port, request, 5.0)
        except (OSError, TimeoutError):
            continue
    return await ask_http(hosts[-1], port, request, 5.0)


async def guestbook(container: Container, flags: Flags) -> int:
    """Serve on --http-port; as a replica, register with the leader and take its changes."""
    from aiohttp import web

    port, backend = flags.number("http-port", default=80), flags.number("backend-port", default=6379)
    leader = flags.get("replicaof", "slaveof")
    store: dict[str, str] = {}
    replicas: set[str] = set()

    async def set_(key: str, value: str) -> None:
        store[key] = value
        query = urlencode({"key": key, "value": value})
        await asyncio.gather(
            *(ask_http(replica, port, f"set?{query}", 5.0) for replica in replicas), return_exceptions=True
        )

    async def frontend(command: str, key: str, value: str) -> "web.Response":
        try:
            if command == "set":
                query = f"set?{urlencode({'key': key, 'value': value})}"
                text = await _first(("agnhost-primary", "agnhost-master"), backend, query)
            else:
                query = f"get?{urlencode({'key': key})}"
                text = await _first(("agnhost-replica", "agnhost-slave"), backend, query)
        except (OSError, TimeoutError) as error:
            return web.Response(status=417, text=f"unable to reach the backend: {error or 'i/o timeout'}\n")
        return web.Response(text=text, content_type="application/json")

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        query = parse_qs(request.rel_url.raw_query_string, keep_blank_values=True)
        key, value = query.get("key", [""])[0], query.get("value", [""])[0]
        match request.path:
            case "/set":
                await set_(key, value)
                return web.json_response({"data": "Updated"})
            case "/get":
                return web.json_response({"data": store.get(key, "")})
            case "/register":
                replicas.add(query.get("host", [""])[0])
                return web.json_response({"data": json.dumps(store)})
            case "/guestbook":
                return await frontend(query.get("cmd", [""])[0], key, value)
        return web.Response(text=container.pod.hostname)

    async def follow() -> None:
        """Register until the leader is there; take what it has."""
        host, _, number = leader.partition(":")
        while True:
            try:
                text = await ask_http(host, int(number or backend), f"register?host={container.pod.ip}", 5.0)
                store.update(json.loads(json.loads(text)["data"]))
                return
            except (OSError, TimeoutError, ValueError, KeyError):
                await asyncio.sleep(1)

    following = asyncio.ensure_future(follow()) if leader else None
    try:
        return await serve(container, answer, port)
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
