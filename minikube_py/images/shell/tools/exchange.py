"""One HTTP/1.1 request and its answer, over h11, as the pod: what wget and curl stand on.

Leaves out: HTTP/2, proxies, connections that serve several requests.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from minikube_py.images.shell.process import Process
from minikube_py.images.shell.tools.network import connect

__all__ = ["BrokenAnswer", "NoAnswer", "Request", "Response", "basic_auth", "exchange", "split"]


@dataclass(slots=True)
class Request:
    url: SplitResult
    method: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    insecure: bool = False
    authority: str = ""
    """Path of a CA file in the container."""
    address: str = ""
    """Where to connect instead of the URL's host (curl --resolve)."""

    @property
    def port(self) -> int:
        return self.url.port or (443 if self.url.scheme == "https" else 80)

    @property
    def target(self) -> str:
        path = quote(self.url.path or "/", safe="/%:@!$&'()*+,;=~-._")
        return f"{path}?{quote(self.url.query, safe='/?%:@!$&()*+,;=~-._[]')}" if self.url.query else path


@dataclass(slots=True)
class Response:
    status: int
    text: str
    version: str
    headers: list[tuple[str, str]]
    body: AsyncIterator[bytes]
    peer: str = ""
    timings: dict[str, float] = field(default_factory=dict)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class NoAnswer(Exception):
    """The server closed without an answer."""


class BrokenAnswer(Exception):
    """The answer is not HTTP, or ends too early."""


def split(text: str) -> SplitResult:
    """Read a URL as these tools do: the scheme may be missing; ValueError for nonsense."""
    url = urlsplit(text if "://" in text else f"http://{text}")
    _ = url.port
    return url


async def exchange(
    p: Process, request: Request, note: Callable[[str], Any], connected: Callable[[str, int], Any] | None = None
) -> tuple[Response, asyncio.StreamWriter]:
    """Send a request and read the answer's head; the body is read by iterating.

    Error handling: OSError (gaierror), ssl.SSLError, NoAnswer, BrokenAnswer.
    """
    import h11

    started = time.monotonic()
    timings: dict[str, float] = {}
    context: ssl.SSLContext | None = None
    host = request.url.hostname or ""
    if request.url.scheme == "https":
        context = ssl.create_default_context()
        if request.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        elif request.authority:
            context.load_verify_locations(cadata=p.view.read(request.authority).decode())
    name = next((value for key, value in request.headers if key.lower() == "host"), "")
    reader, writer = await connect(request.address or host, request.port, context, server_hostname=host)
    timings["connect"] = time.monotonic() - started
    peer, port = writer.get_extra_info("peername")[:2]
    if connected is not None:
        connected(peer, request.port if port >= 20000 else port)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=256 << 10)
    headers = list(request.headers)
    if not name:
        default = {"http": 80, "https": 443}.get(request.url.scheme)
        bare = f"[{host}]" if ":" in host else host
        headers.insert(0, ("Host", bare if request.port == default else f"{bare}:{request.port}"))
    for key, value in headers:
        note(f"{key}: {value}")
    data = connection.send(h11.Request(method=request.method, target=request.target, headers=headers))
    assert data is not None
    if request.body:
        data += connection.send(h11.Data(data=request.body)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    got = False

    async def event() -> Any:
        nonlocal got
        while (found := connection.next_event()) is h11.NEED_DATA:
            chunk = await reader.read(65536)
            if not chunk and not got:
                raise NoAnswer
            got = True
            connection.receive_data(chunk)
        return found

    try:
        writer.write(data)
        await writer.drain()
        head = await event()
        while isinstance(head, h11.InformationalResponse):
            head = await event()
        if not isinstance(head, h11.Response):
            raise NoAnswer
        timings["first"] = time.monotonic() - started
    except h11.RemoteProtocolError as error:
        writer.close()
        raise BrokenAnswer(str(error)) from None
    except BaseException:
        writer.close()
        raise

    async def body() -> AsyncIterator[bytes]:
        try:
            while True:
                found = await event()
                if isinstance(found, h11.Data):
                    yield bytes(found.data)
                elif isinstance(found, (h11.EndOfMessage, h11.ConnectionClosed)):
                    return
        except (h11.RemoteProtocolError, NoAnswer) as error:
            raise BrokenAnswer(str(error)) from None

    shown = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in head.headers.raw_items()]
    version, text = head.http_version.decode(), head.reason.decode("latin-1")
    return Response(head.status_code, text, version, shown, body(), peer, timings), writer


def basic_auth(pair: str) -> str:
    import base64

    return "Basic " + base64.b64encode(pair.encode()).decode()
