"""kennethreitz/httpbin and mccutchen/go-httpbin: the request, given back in JSON.

Serves all of https://httpbin.org that answers with text: methods, anything, inspection, status, delay, streams, drip,
redirects, authentication (basic, hidden, bearer), cookies, caching, encodings, formats. Leaves out: digest
authentication, images, brotli.
"""

import asyncio
import base64
import gzip
import json
import random
import uuid
import zlib
from email.utils import formatdate
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
    kind = request.headers.get("Content-Type", "")
    multipart = "multipart/form-data" in kind
    body = "" if multipart else (await request.read()).decode("utf-8", "replace")
    parsed: Any = None
    if "json" in kind:
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
    form = _flat(parse_qs(body, keep_blank_values=True)) if "x-www-form-urlencoded" in kind else {}
    files: dict[str, Any] = {}
    if multipart:
        for name, field in (await request.post()).items():
            (form if isinstance(field, str) else files)[name] = (
                field if isinstance(field, (str, bytes, bytearray)) else field.file.read().decode("utf-8", "replace")
            )
    return {
        "args": _flat(parse_qs(request.rel_url.raw_query_string, keep_blank_values=True)),
        "data": "" if form else body,
        "files": files,
        "form": form,
        "headers": dict(request.headers),
        "json": parsed,
        "method": request.method,
        "origin": request.remote,
        "url": str(request.url),
    }


def _json(body: Any, **more: Any) -> "web.Response":
    from aiohttp import web

    return web.Response(text=json.dumps(body, indent=2) + "\n", content_type="application/json", **more)


async def _redirected(request: "web.BaseRequest") -> "web.Response | None":
    from aiohttp import web

    query = parse_qs(request.rel_url.raw_query_string)
    match request.path.strip("/").split("/"):
        case ["redirect" | "relative-redirect" | "absolute-redirect" as kind, count] if count.isdigit():
            target = f"/{kind}/{int(count) - 1}" if int(count) > 1 else "/get"
            base = f"http://{request.host}" if kind == "absolute-redirect" else ""
            return web.Response(status=302, headers={"Location": base + target})
        case ["redirect-to"] if "url" in query:
            code = query.get("status_code", ["302"])[0]
            return web.Response(status=int(code) if code.isdigit() else 302, headers={"Location": query["url"][0]})
    return None


async def _authenticated(request: "web.BaseRequest") -> "web.Response | None":
    from aiohttp import web

    given = request.headers.get("Authorization", "")
    match request.path.strip("/").split("/"):
        case ["basic-auth" | "hidden-basic-auth" as kind, user, password]:
            if given == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode():
                return _json({"authenticated": True, "user": user})
            if kind == "hidden-basic-auth":
                return web.Response(status=404)
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="Fake Realm"'})
        case ["bearer"]:
            if given.startswith("Bearer "):
                return _json({"authenticated": True, "token": given.removeprefix("Bearer ")})
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
    return None


async def _cookies(request: "web.BaseRequest") -> "web.Response | None":
    from aiohttp import web

    query = parse_qs(request.rel_url.raw_query_string, keep_blank_values=True)
    response = web.Response(status=302, headers={"Location": "/cookies"})
    match request.path.strip("/").split("/"):
        case ["cookies"]:
            return _json({"cookies": dict(request.cookies)})
        case ["cookies", "set", name, value]:
            response.set_cookie(name, value)
        case ["cookies", "set"]:
            for name, values in query.items():
                response.set_cookie(name, values[-1])
        case ["cookies", "delete"]:
            for name in query:
                response.del_cookie(name)
        case _:
            return None
    return response


async def _cached(request: "web.BaseRequest") -> "web.Response | None":
    from aiohttp import web

    match request.path.strip("/").split("/"):
        case ["cache"]:
            if "If-None-Match" in request.headers or "If-Modified-Since" in request.headers:
                return web.Response(status=304)
            headers = {"ETag": uuid.uuid4().hex, "Last-Modified": formatdate(usegmt=True)}
            return _json(await _described(request), headers=headers)
        case ["cache", seconds] if seconds.isdigit():
            return _json(await _described(request), headers={"Cache-Control": f"public, max-age={seconds}"})
        case ["etag", etag]:
            if etag in request.headers.get("If-None-Match", "").replace('"', ""):
                return web.Response(status=304, headers={"ETag": etag})
            return _json(await _described(request), headers={"ETag": etag})
        case ["response-headers"]:
            values = _flat(parse_qs(request.rel_url.raw_query_string, keep_blank_values=True))
            return _json(values, headers={key: str(value) for key, value in values.items()})
    return None


_ROBOTS = "User-agent: *\nDisallow: /deny\n"
_XML = """<?xml version='1.0' encoding='us-ascii'?>
<slideshow title="Sample Slide Show" date="Date of publication" author="Yours Truly">
  <slide type="all"><title>Wake up to WonderWidgets!</title></slide>
</slideshow>
"""


async def _formatted(request: "web.BaseRequest") -> "web.Response | None":
    from aiohttp import web

    match request.path.strip("/").split("/"):
        case ["json"]:
            return _json({"slideshow": {"author": "Yours Truly", "title": "Sample Slide Show"}})
        case ["html"] | [""]:
            return web.Response(text="<h1>httpbin</h1>", content_type="text/html")
        case ["xml"]:
            return web.Response(text=_XML, content_type="application/xml")
        case ["robots.txt"]:
            return web.Response(text=_ROBOTS)
        case ["deny"]:
            return web.Response(text="YOU SHOULDN'T BE HERE\n")
        case ["encoding", "utf8"]:
            return web.Response(
                text="<h1>Unicode Demo</h1>∮ E⋅da = Q, n → ∞, ∑ f(i) = ∏ g(i)", content_type="text/html"
            )
        case ["gzip" | "deflate" as coding]:
            data = json.dumps({**await _described(request), f"{coding}ped" if coding == "gzip" else "deflated": True})
            packed = gzip.compress(data.encode()) if coding == "gzip" else zlib.compress(data.encode())
            return web.Response(body=packed, content_type="application/json", headers={"Content-Encoding": coding})
        case ["base64", text]:
            try:
                return web.Response(text=base64.urlsafe_b64decode(text).decode("utf-8", "replace"))
            except ValueError:
                return web.Response(text="Incorrect Base64 data try: SFRUUEJJTiBpcyBhd2Vzb21l")
        case ["links", count, *at] if count.isdigit():
            here = at[0] if at else "0"
            names = (str(n) if str(n) == here else f"<a href='/links/{count}/{n}'>{n}</a>" for n in range(int(count)))
            return web.Response(text=f"<html><body>{' '.join(names)} </body></html>", content_type="text/html")
    return None


async def _streamed(request: "web.BaseRequest") -> "web.StreamResponse | None":
    from aiohttp import web

    query = parse_qs(request.rel_url.raw_query_string)

    def number(name: str, default: float) -> float:
        try:
            return min(float(query.get(name, [""])[0]), 100 * 1024)
        except ValueError:
            return default

    match request.path.strip("/").split("/"):
        case ["stream", count] if count.isdigit():
            said = await _described(request)
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for index in range(min(int(count), 100)):
                await response.write(json.dumps({"id": index, **said}).encode() + b"\n")
            return response
        case ["stream-bytes" | "range", count] if count.isdigit():
            body = bytes(97 + index % 26 for index in range(min(int(count), 100 * 1024)))
            return web.Response(body=body, content_type="application/octet-stream")
        case ["drip"]:
            size, duration = int(number("numbytes", 10)), min(number("duration", 2), 10.0)
            await asyncio.sleep(min(number("delay", 0), 10.0))
            response = web.StreamResponse(status=int(number("code", 200)))
            response.content_length = size
            await response.prepare(request)
            for _ in range(size):
                await response.write(b"*")
                await asyncio.sleep(duration / max(size, 1))
            return response
    return None


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
        for more in (_redirected, _authenticated, _cookies, _cached, _formatted, _streamed):
            if (response := await more(request)) is not None:
                return response
        return web.Response(status=404, text="404 page not found\n")

    go = "go-httpbin" in container.image
    number = container.env.get("PORT", "")
    port = int(number) if number.isdigit() else 8080 if go else 80
    return await serve(container, answer, port)
