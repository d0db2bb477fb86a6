"""agnhost netexec: HTTP and UDP endpoints for tests of pods' network.

/shell runs in the built-in shell and /upload writes into the container's own files. Leaves out: SCTP, and
says so.
"""

import asyncio
import json
import time
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

from minikube_py.images.container import Container
from minikube_py.images.flags import Flags
from minikube_py.images.web import HTTPServer, client_address

if TYPE_CHECKING:
    import ssl

    from aiohttp import web

__all__ = ["ask_http", "ask_udp", "netexec"]


class _UDP(asyncio.DatagramProtocol):
    """netexec's UDP side: `hostname`, `echo TEXT`, `clientip`."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        text = data.decode("utf-8", "replace").strip()
        word, _, rest = text.partition(" ")
        match word.lower():
            case "hostname":
                answer = self._hostname
            case "echo":
                answer = rest
            case "clientip":
                answer = f"{addr[0]}:{addr[1]}"
            case "":
                return  # netexec ignores empty datagrams, so that probes don't loop
            case _:
                return
        self._transport.sendto(answer.encode(), addr)


class _UDPClient(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def ask_http(host: str, port: int, request: str, timeout: float) -> str:
    """Return what `GET /request` is answered with; OSError, TimeoutError."""
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET /{request} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
    return answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace").strip()


async def ask_udp(host: str, port: int, request: str, timeout: float) -> str:
    """Return the answer to a datagram; OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(_UDPClient, remote_addr=(host, port))
    try:
        transport.sendto(request.encode())
        async with asyncio.timeout(timeout):
            return (await client.answer).decode("utf-8", "replace").strip()
    finally:
        transport.close()


async def _dial(query: dict[str, list[str]]) -> "tuple[int, dict[str, list[str]] | str]":
    """Make calls to another netexec and collect the answers; (status, body)."""

    def one(name: str, default: str = "") -> str:
        return query.get(name, [default])[0]

    host, protocol, request = one("host"), one("protocol", "http").lower(), one("request", "hostname")
    if not host:
        return 400, "host parameter is required"
    if not one("port").isdigit():
        return 400, f"port parameter is required and must be a number: {one('port')!r}"
    if protocol not in ("http", "udp"):
        return 400, f"unsupported protocol: {protocol}"
    port, tries = int(one("port")), int(one("tries", "1") or 1)
    answers: dict[str, list[str]] = {}
    for _ in range(tries):
        try:
            ask = ask_udp if protocol == "udp" else ask_http
            answers.setdefault("responses", []).append(await ask(host, port, request, 5.0))
        except TimeoutError:
            answers.setdefault("errors", []).append(f"{protocol} {host}:{port}: i/o timeout")
        except OSError as error:
            answers.setdefault("errors", []).append(f"{protocol} {host}:{port}: {error.strerror or error}")
    return 200, answers


async def _shell(container: Container, command: str, shell: str) -> dict[str, str]:
    """Run a line in the built-in shell, never on this machine."""
    from minikube_py.client.runtime import Streams
    from minikube_py.images import exec as images_exec

    collected = bytearray()

    async def take(data: bytes) -> None:
        collected.extend(data)

    try:
        code = await images_exec.execute(container, [shell, "-c", command], Streams(None, take, take))
    except (images_exec.NotFound, images_exec.PermissionDenied) as error:
        return {"error": str(error)}
    output = {"output": collected.decode("utf-8", "replace")}
    return {**output, "error": f"exit status {code}"} if code else output


async def _upload(container: Container, request: "web.BaseRequest") -> dict[str, str]:
    """Keep the form's `file` in the container's own files, where /shell finds it."""
    from minikube_py.images.shell.view import files_of

    if not request.content_type.startswith("multipart/"):
        return {"error": "Unable to upload file: request Content-Type isn't multipart/form-data"}
    form = await request.post()
    field = form.get("file")
    if field is None or isinstance(field, (str, bytes, bytearray)):
        return {"error": "Unable to upload file: http: no such file"}
    files = files_of(container)
    number = container.extra["uploads"] = container.extra.get("uploads", 0) + 1
    path = f"/uploads/upload{number}"
    if number == 1:
        files.mkdir("/uploads")
    files.write(path, field.file.read())
    files.chmod(path, 0o755)
    return {"output": path}


def _tls(container: Container, flags: Flags) -> "ssl.SSLContext | None":
    """Return the context of --tls-cert-file and --tls-private-key-file; ValueError for files that don't exist."""
    import ssl

    names = flags.get("tls-cert-file"), flags.get("tls-private-key-file")
    if not all(names):
        return None
    found = []
    for name in names:
        mount = max((path for path in container.files if name == path or name.startswith(f"{path}/")), default=None)
        if mount is None:
            raise ValueError(f"open {name}: no such file or directory (no volume is mounted there)")
        found.append(container.files[mount] / name[len(mount) :].lstrip("/"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(found[0], found[1])
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"tls: failed to load {names[0]}: {error}") from None
    return context


async def netexec(container: Container, flags: Flags) -> int:
    from aiohttp import web

    http_port, udp_port = flags.number("http-port", default=8080), flags.number("udp-port", default=8081)
    delay = flags.number("delay-shutdown", default=0)
    exiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    healthy = True
    try:
        context = _tls(container, flags)
    except ValueError as error:
        container.print(str(error))
        return 1

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        nonlocal healthy
        path, raw = request.path, request.rel_url.raw_query_string
        if override := flags.get("http-override"):
            path, _, raw = override.partition("?")
        query = parse_qs(raw, keep_blank_values=True)
        container.print(f"{time.strftime('%Y/%m/%d %H:%M:%S')} {request.method} {request.path_qs}")
        match path.rstrip("/").lower() or "/":
            case "/":
                return web.Response(text=f"NOW: {time.strftime('%Y-%m-%d %H:%M:%S +0000 UTC', time.gmtime())}")
            case "/hostname":
                return web.Response(text=container.pod.hostname)
            case "/clientip":
                return web.Response(text=client_address(request))
            case "/echo":
                status = int(query.get("code", ["200"])[0] or 200)
                return web.Response(text=query.get("msg", [""])[0], status=status)
            case "/header":
                return web.Response(text=request.headers.get(query.get("key", [""])[0], ""))
            case "/healthz":
                return web.Response(status=200 if healthy and not container.terminated.is_set() else 412)
            case "/dial":
                status, body = await _dial(query)
                text = body if isinstance(body, str) else json.dumps(body)
                return web.Response(text=text, status=status)
            case "/exit" | "/quitquitquit":
                if wait := query.get("wait", query.get("timeout")):
                    await asyncio.sleep(float(wait[0].rstrip("s") or 0))
                if not exiting.done():
                    exiting.set_result(int(query.get("code", ["0"])[0] or 0))
                return web.Response()
            case "/redirect":
                code = int(query.get("code", ["302"])[0] or 302)
                return web.Response(status=code, headers={"Location": query.get("location", ["/"])[0]})
            case "/shutdown":
                healthy = False
                return web.Response()
            case "/shell":
                shell = query.get("shellCommand", query.get("shell", ["/bin/sh"]))[0]
                return web.json_response(await _shell(container, query.get("cmd", [""])[0], shell))
            case "/upload":
                kept = await _upload(container, request)
                return web.json_response(kept, status=500 if "error" in kept else 200)
        return web.Response(status=404, text="404 page not found\n")

    server = HTTPServer(answer)
    loop = asyncio.get_running_loop()
    transports = []
    try:
        await server.listen(http_port, context=context)
        for port in (udp_port,) if udp_port >= 0 else ():
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _UDP(container.pod.hostname), local_addr=("0.0.0.0", port)
            )
            transports.append(transport)
        container.print(f"Started HTTP{'S' if context else ''} server on port {http_port}")
        if flags.get("sctp-port", default="-1") != "-1":
            container.print("SCTP server not started: minikube-py's cluster network carries TCP and UDP only")
        container.print(f"Started UDP server on port {udp_port}")
        container.started()
        ending = loop.create_task(container.terminated.wait(), name="SIGTERM for netexec")
        try:
            await asyncio.wait((ending, exiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        if exiting.done():
            return exiting.result()
        if delay:
            await asyncio.sleep(delay)
    finally:
        for transport in transports:
            transport.close()
        await server.close()
    return 0
