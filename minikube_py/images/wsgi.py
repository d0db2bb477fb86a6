"""`wsgi:` the user's own WSGI application (Flask, Django), in threads, so that blocking code blocks nobody else.

Its outgoing calls have the pod's address and names, because the context goes along into the thread. Source: PEP 3333.
Leaves out: `write()` callables that stream (they are collected), and responses are sent when they are complete.
"""

import asyncio
import io
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from minikube_py.images.aiohttp_app import listen_ports
from minikube_py.images.container import Container, Main
from minikube_py.images.web import serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["DEFAULT_PORT", "adapt"]

DEFAULT_PORT = 8000
_THREADS = 4
"""gunicorn's usual choice for threaded workers."""


def _environ(request: "web.BaseRequest", body: bytes, container: Container, port: int) -> dict[str, Any]:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": request.rel_url.raw_query_string,
        "SERVER_NAME": container.pod.ip,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{request.version.major}.{request.version.minor}",
        "REMOTE_ADDR": peer[0] if peer else "",
        "REMOTE_PORT": str(peer[1]) if peer else "",
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        key = f"HTTP_{name.upper().replace('-', '_')}"
        if key not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def _call(app: Any, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    head: list[Any] = []
    written = io.BytesIO()

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        head[:] = [status, headers]
        return written.write

    result: Iterable[bytes] = app(environ, start_response)
    try:
        for chunk in result:
            written.write(chunk)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    if not head:
        raise RuntimeError("the WSGI application did not call start_response")
    return head[0], head[1], written.getvalue()


def adapt(target: Any, options: Mapping[str, Any]) -> Main:
    """Return the program that calls `target` in a thread for each request."""

    async def main(container: Container) -> int:
        from aiohttp import web

        ports = listen_ports(container, options, DEFAULT_PORT)
        threads = int(options.get("threads") or _THREADS)
        executor = ThreadPoolExecutor(threads, thread_name_prefix=f"wsgi-{container.pod.name}")

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            environ = _environ(request, await request.read(), container, ports[0])
            loop = asyncio.get_running_loop()
            status, headers, body = await loop.run_in_executor(executor, _call, target, environ)
            code, _, reason = status.partition(" ")
            response = web.Response(status=int(code), reason=reason or None, body=body)
            response.headers.popall("Content-Type", None)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    response.headers.add(name, value)
            container.print(f'{environ["REMOTE_ADDR"]} "{request.method} {request.path_qs}" {code} {len(body)}')
            return response

        try:
            return await serve(container, answer, *ports)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    return main
