"""The user's own code, as the tests run it in pods: ordinary apps that know nothing of minikube_py."""

import asyncio
from typing import Any

import aiohttp
import httpx
from aiohttp import web
from fastapi import FastAPI, Request

started: list[str] = []


def create_app() -> web.Application:
    """An aiohttp factory: it calls other pods with each usual client."""

    async def call(request: web.Request) -> web.Response:
        url = request.query["url"]
        match request.query.get("with", "aiohttp"):
            case "aiohttp":
                async with aiohttp.ClientSession() as session, session.get(url) as answer:
                    return web.Response(text=await answer.text())
            case "httpx":
                async with httpx.AsyncClient() as client:
                    return web.Response(text=(await client.get(url)).text)
            case "blocking":
                return web.Response(text=(await asyncio.to_thread(httpx.get, url)).text)
            case _:
                host = url.removeprefix("http://").strip("/")
                reader, writer = await asyncio.open_connection(host, 80)
                writer.write(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                data = await reader.read()
                writer.close()
                return web.Response(text=data.decode())

    app = web.Application()
    app.router.add_get("/call", call)
    return app


def create_api() -> FastAPI:
    """A FastAPI app with a lifespan."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        started.append("up")
        yield
        started.append("down")

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def who(request: Request) -> dict[str, Any]:
        assert request.client is not None
        return {"client": request.client.host, "started": "up" in started}

    @app.get("/sync")
    def sync(request: Request) -> dict[str, Any]:
        assert request.client is not None
        return {"client": request.client.host}

    return app


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A line-based TCP app."""
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
