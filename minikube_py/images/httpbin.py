"""kennethreitz/httpbin and mccutchen/go-httpbin: the request, given back in JSON.

Serves /get /post /put /patch /delete /anything /headers /ip /user-agent /uuid /status/{code} /delay/{n} /bytes/{n}
/redirect/{n} /basic-auth/{user}/{password} /cookies /json /html. Source: https://httpbin.org. Leaves out: the rest.
"""

import asyncio
import base64
import json
import random
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from minikube_py.images.container import Container
from minikube_py.images.web import serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = ("kennethreitz/httpbin", "mccutchen/go-httpbin", "*/httpbin", "*/go-httpbin")


def _flat(values: dict[str, list[str]]) -> dict[str, Any]:
    return {key: value[0] if len(value) == 1 else value for key, value in values.items()}


async def _described(request: "web.BaseRequest") -> dict[str, Any]:
    body = (await request.read()).decode("utf-8", "replace")
    kind = request.headers.get("Content-Type", "")
    parsed: Any = None
    if "json" in kind:
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
    form = _flat(parse_qs(body)) if "x-www-form-urlencoded" in kind else {}
    return {
        "args": _flat(parse_qs(request.rel_url.raw_query_string, keep_blank_values=True)),
        "data": "" if form else body,
        "files": {},
        "form": form,
        "headers": dict(request.headers),
        "json": parsed,
        "method": request.method,
        "origin": request.remote,
        "url": str(request.url),
    }


async def main(container: Container) -> int:
    from aiohttp import web

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        match request.path.strip("/").split("/"):
            case ["get" | "post" | "put" | "patch" | "delete" as method]:
                if request.method.lower() != method and not (method == "get" and request.method == "HEAD"):
                    return web.Response(status=405)
                body = await _described(request)
                del body["method"]
                if method == "get":
                    body = {key: body[key] for key in ("args", "headers", "origin", "url")}
                return _json(body)
            case ["anything", *_]:
                return _json(await _described(request))
            case ["headers"]:
                return _json({"headers": dict(request.headers)})
            case ["ip"]:
                return _json({"origin": request.remote})
            case ["user-agent"]:
                return _json({"user-agent": request.headers.get("User-Agent", "")})
            case ["uuid"]:
                return _json({"uuid": str(uuid.uuid4())})
            case ["status", codes]:
                chosen = random.choice(codes.split(","))
                return web.Response(status=int(chosen) if chosen.isdigit() else 400)
            case ["delay", seconds]:
                await asyncio.sleep(min(float(seconds), 10.0))
                return _json(await _described(request))
            case ["bytes", count] if count.isdigit():
                return web.Response(body=random.randbytes(min(int(count), 100 * 1024)))
            case ["redirect", count] if count.isdigit():
                target = f"/redirect/{int(count) - 1}" if int(count) > 1 else "/get"
                return web.Response(status=302, headers={"Location": target})
            case ["basic-auth", user, password]:
                wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
                if request.headers.get("Authorization") != wanted:
                    return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="Fake Realm"'})
                return _json({"authenticated": True, "user": user})
            case ["cookies"]:
                return _json({"cookies": dict(request.cookies)})
            case ["json"]:
                return _json({"slideshow": {"author": "Yours Truly", "title": "Sample Slide Show"}})
            case ["html"] | [""]:
                return web.Response(text="<h1>httpbin</h1>", content_type="text/html")
        return web.Response(status=404, text="404 page not found\n")

    def _json(body: Any) -> "web.Response":
        return web.Response(text=json.dumps(body, indent=2) + "\n", content_type="application/json")

    go = "go-httpbin" in container.image
    number = container.env.get("PORT", "")
    port = int(number) if number.isdigit() else 8080 if go else 80
    return await serve(container, answer, port)
