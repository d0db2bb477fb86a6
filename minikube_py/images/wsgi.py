"""`wsgi:` the user's own WSGI application (Flask, Django), in threads, so that blocking code blocks nobody else.

Its outgoing calls have the pod's address and names, because the context goes along into the thread. Source: PEP 3333.
A response whose length is not known is sent as the application yields it. Leaves out: `write()` callables that
stream (what they write is sent with the first part).
"""

import asyncio
import io
import sys
import threading
from collections.abc import Iterator, Mapping
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


class _Call:
    """One call of the application; its methods run in a thread."""

    def __init__(self, app: Any, environ: dict[str, Any]) -> None:
        self._app = app
        self._environ = environ
        self._written = io.BytesIO()
        self._parts: Iterator[bytes] = iter(())
        self._lock = threading.Lock()
        """A client that goes must not have the application closed in one thread while it works in another."""
        self._result: Any = None
        self.status = ""
        self.headers: list[tuple[str, str]] = []

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status, self.headers = status, headers
        return self._written.write

    def begin(self) -> tuple[bytes, bool]:
        """Call the application; return the first part of the body, and whether that is all of it."""
        with self._lock:
            self._result = self._app(self._environ, self._start)
            self._parts = iter(self._result)
            whole = isinstance(self._result, (list, tuple)) or self._sized
            body = b"".join(self._parts) if whole else next(self._parts, b"")
        if not self.status:
            raise RuntimeError("the WSGI application did not call start_response")
        return self._written.getvalue() + body, whole

    @property
    def _sized(self) -> bool:
        """Whether the application told the length: Flask and Django do for all that is no stream."""
        return any(name.lower() == "content-length" for name, _ in self.headers)

    def more(self) -> bytes | None:
        """Return the next part; None at the end."""
        with self._lock:
            return next(self._parts, None)

    def close(self) -> None:
        with self._lock:
            close = getattr(self._result, "close", None)
            if close is not None:
                close()


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
            call = _Call(target, environ)
            try:
                body, whole = await loop.run_in_executor(executor, call.begin)
                code, _, reason = call.status.partition(" ")
                response: web.StreamResponse
                if whole:
                    response = web.Response(status=int(code), reason=reason or None, body=body)
                else:
                    response = web.StreamResponse(status=int(code), reason=reason or None)
                response.headers.popall("Content-Type", None)
                for name, value in call.headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        response.headers.add(name, value)
                size = len(body)
                if not whole:
                    await response.prepare(request)
                    part: bytes | None = body
                    while part is not None:
                        await response.write(part)
                        part = await loop.run_in_executor(executor, call.more)
                        size += len(part or b"")
                    await response.write_eof()
            finally:
                await loop.run_in_executor(executor, call.close)
            container.print(f'{environ["REMOTE_ADDR"]} "{request.method} {request.path_qs}" {code} {size}')
            return response

        try:
            return await serve(container, answer, *ports)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    return main
