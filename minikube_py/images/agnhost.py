"""registry.k8s.io/e2e-test-images/agnhost: Kubernetes' own network test program.

Subcommands: netexec, serve-hostname, pause, connect, porter, dns-suffix, dns-server-list, etc-hosts, guestbook,
test-webserver, fake-gitserver (as test-webserver), help. By `args` or by `command: [/agnhost, …]`.
Source: https://github.com/kubernetes/kubernetes/tree/master/test/images/agnhost. Leaves out: SCTP, TLS, /shell and
/upload (they run what the caller sends), the webhook and audit subcommands.
"""

import asyncio
import errno
import json
import socket
import time
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

from minikube_py.images.container import Container
from minikube_py.images.flags import Flags, parse_flags
from minikube_py.images.web import HTTPServer, client_address, serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["IMAGES", "main"]

IMAGES = ("*/agnhost", "agnhost", "*/netexec", "*/serve-hostname", "*/serve_hostname", "*/porter")

_SWITCHES = ("tcp", "udp", "http", "close")


async def main(container: Container) -> int:
    """Run the subcommand; an unknown one is an error, as in cobra."""
    argv = list(container.argv)
    if argv and argv[0].rpartition("/")[2] == "agnhost":
        argv = argv[1:]
    if not argv:
        argv = ["pause"]
    name, flags = argv[0], parse_flags(argv[1:], switches=_SWITCHES)
    match name:
        case "netexec":
            return await _netexec(container, flags)
        case "serve-hostname":
            return await _serve_hostname(container, flags)
        case "pause":
            container.started()
            container.print("Paused")
            await container.terminated.wait()
            return 0
        case "connect":
            return await _connect(container, flags)
        case "porter":
            return await _porter(container)
        case "guestbook":
            return await _guestbook(container, flags)
        case "test-webserver" | "fake-gitserver":
            return await _text(container, flags.number("port", default=80), "")
        case "dns-suffix":
            container.started()
            lines = container.files["/etc/resolv.conf"].read_text().splitlines()
            suffixes = [line.split()[1:] for line in lines if line.startswith("search")]
            container.print(",".join(suffixes[0] if suffixes else []))
            await container.terminated.wait()
            return 0
        case "dns-server-list":
            container.started()
            lines = container.files["/etc/resolv.conf"].read_text().splitlines()
            container.print(",".join(line.split()[1] for line in lines if line.startswith("nameserver")))
            await container.terminated.wait()
            return 0
        case "etc-hosts":
            container.print(container.files["/etc/hosts"].read_text())
            return 0
        case "help" | "--help" | "-h":
            container.print(__doc__ or "")
            return 0
    container.print(f'Error: unknown command "{name}" for "app"\nRun \'app --help\' for usage.')
    return 1


# netexec


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


async def _ask_http(host: str, port: int, request: str, timeout: float) -> str:
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET /{request} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
    return answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace").strip()


async def _ask_udp(host: str, port: int, request: str, timeout: float) -> str:
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
            ask = _ask_udp if protocol == "udp" else _ask_http
            answers.setdefault("responses", []).append(await ask(host, port, request, 5.0))
        except TimeoutError:
            answers.setdefault("errors", []).append(f"{protocol} {host}:{port}: i/o timeout")
        except OSError as error:
            answers.setdefault("errors", []).append(f"{protocol} {host}:{port}: {error.strerror or error}")
    return 200, answers


async def _netexec(container: Container, flags: Flags) -> int:
    from aiohttp import web

    http_port, udp_port = flags.number("http-port", default=8080), flags.number("udp-port", default=8081)
    delay = flags.number("delay-shutdown", default=0)
    exiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    healthy = True

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        nonlocal healthy
        query = parse_qs(request.rel_url.raw_query_string, keep_blank_values=True)
        container.print(f"{time.strftime('%Y/%m/%d %H:%M:%S')} GET {request.path_qs}")
        match request.path.rstrip("/").lower() or "/":
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
            case "/shell" | "/upload":
                return web.json_response(
                    {"error": f"{request.path} is not available: this stand-in of agnhost runs nothing on the host"},
                    status=403,
                )
        return web.Response(status=404, text="404 page not found\n")

    server = HTTPServer(answer)
    loop = asyncio.get_running_loop()
    transports = []
    try:
        await server.listen(http_port)
        for port in (udp_port,) if udp_port >= 0 else ():
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _UDP(container.pod.hostname), local_addr=("0.0.0.0", port)
            )
            transports.append(transport)
        container.print(f"Started HTTP server on port {http_port}")
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


# serve-hostname


class _HostnameTCP(asyncio.Protocol):
    def __init__(self, hostname: str) -> None:
        self._hostname = hostname

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        stream.write(self._hostname.encode())
        stream.close()


class _HostnameUDP(asyncio.DatagramProtocol):
    def __init__(self, hostname: str) -> None:
        self._hostname = hostname

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._hostname.encode(), addr)


async def _serve_hostname(container: Container, flags: Flags) -> int:
    """HTTP unless --tcp or --udp says otherwise; they may be combined (--http=false switches HTTP off)."""
    from aiohttp import web

    port = flags.number("port", default=9376)
    tcp, udp = flags.on("tcp"), flags.on("udp")
    http = flags.get("http", default="true").lower() in ("true", "1", "t")
    if tcp and http and "http" not in flags.values:
        http = False  # one TCP port speaks one language
    hostname = container.pod.hostname

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        return web.Response(text=hostname)

    loop = asyncio.get_running_loop()
    server = HTTPServer(answer)
    opened: list[asyncio.AbstractServer | asyncio.DatagramTransport] = []
    try:
        if udp:
            endpoint = await loop.create_datagram_endpoint(lambda: _HostnameUDP(hostname), local_addr=("0.0.0.0", port))
            opened.append(endpoint[0])
        if tcp:
            opened.append(await loop.create_server(lambda: _HostnameTCP(hostname), None, port))
        elif http:
            await server.listen(port)
        kinds = ", ".join(k for k, on in (("http", http and not tcp), ("tcp", tcp), ("udp", udp)) if on)
        container.print(f"Serving on port {port} ({kinds}).")
        container.started()
        await container.terminated.wait()
    finally:
        for one in opened:
            one.close()
        await server.close()
    return 0


# connect and the small ones


async def _connect(container: Container, flags: Flags) -> int:
    """`connect HOST:PORT`: 0 when it connects, else 1 with TIMEOUT, REFUSED, DNS or OTHER."""
    container.started()
    if not flags.rest:
        container.print("Error: accepts 1 arg(s), received 0")
        return 1
    host, _, port = flags.rest[0].rpartition(":")
    text = flags.get("timeout", default="0").rstrip("s") or "0"
    timeout = float(text) or None
    protocol = flags.get("protocol", default="tcp").lower()
    if protocol not in ("tcp", "udp"):
        container.print(f"OTHER: unsupported protocol: {protocol}")
        return 1
    try:
        async with asyncio.timeout(timeout):
            if protocol == "udp":
                await _ask_udp(host, int(port), "hostname", timeout or 5.0)
            else:
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
    except TimeoutError:
        container.print("TIMEOUT")
    except socket.gaierror as error:
        container.print(f"DNS: {error.strerror or error}")
    except ConnectionRefusedError:
        container.print("REFUSED")
    except (OSError, ValueError) as error:
        timed_out = isinstance(error, OSError) and error.errno == errno.ETIMEDOUT
        container.print("TIMEOUT" if timed_out else f"OTHER: {error}")
    else:
        return 0
    return 1


async def _porter(container: Container) -> int:
    """Serve what SERVE_PORT_<n> says on port n."""
    from aiohttp import web

    servers = []
    try:
        for key, value in container.env.items():
            number = key.removeprefix("SERVE_PORT_")
            if number == key or not number.isdigit():
                continue

            async def answer(request: "web.BaseRequest", text: str = value) -> "web.StreamResponse":
                return web.Response(text=text)

            servers.append(HTTPServer(answer))
            await servers[-1].listen(int(number))
        container.started()
        await container.terminated.wait()
    finally:
        await asyncio.gather(*(server.close() for server in servers))
    return 0


async def _guestbook(container: Container, flags: Flags) -> int:
    """The Go guestbook's data interface: /set, /get, /guestbook?cmd=; kept in this pod, without replicas."""
    from aiohttp import web

    store: dict[str, str] = {}

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        query = parse_qs(request.rel_url.raw_query_string, keep_blank_values=True)
        command = query.get("cmd", [request.path.strip("/")])[0]
        key, value = query.get("key", [""])[0], query.get("value", [""])[0]
        if command == "set":
            store[key] = value
            return web.json_response({"data": "Updated"})
        if command == "get":
            return web.json_response({"data": store.get(key, "")})
        if request.path == "/register":
            return web.json_response({"data": "ok"})
        return web.Response(text=container.pod.hostname)

    return await serve(container, answer, flags.number("http-port", default=80))


async def _text(container: Container, port: int, text: str) -> int:
    from aiohttp import web

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        return web.Response(text=text)

    return await serve(container, answer, port)
