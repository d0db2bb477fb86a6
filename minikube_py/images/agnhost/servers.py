"""Subcommands of agnhost that listen: porter, no-snat-test, port-forward-tester, liveness, grpc-health-checking, …"""

import asyncio
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from minikube_py.images.agnhost.connect import seconds
from minikube_py.images.agnhost.netexec import ask_http
from minikube_py.images.container import Container
from minikube_py.images.flags import Flags
from minikube_py.images.grpc_health import HealthServer
from minikube_py.images.lines import serve_streams
from minikube_py.images.web import HTTPServer, client_address, serve

if TYPE_CHECKING:
    from aiohttp import web

__all__ = [
    "fake_gitserver",
    "grpc_health_checking",
    "liveness",
    "no_snat_test",
    "no_snat_test_proxy",
    "pause",
    "port_forward_tester",
    "porter",
    "test_webserver",
]


async def pause(container: Container, flags: Flags) -> int:
    container.started()
    container.print("Paused")
    await container.terminated.wait()
    return 0


async def porter(container: Container, flags: Flags) -> int:
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


async def _nothing(request: "web.BaseRequest") -> "web.StreamResponse":
    from aiohttp import web

    return web.Response()


async def test_webserver(container: Container, flags: Flags) -> int:
    return await serve(container, _nothing, flags.number("port", default=80))


async def fake_gitserver(container: Container, flags: Flags) -> int:
    return await serve(container, _nothing, flags.number("port", default=8000))


async def liveness(container: Container, flags: Flags) -> int:
    """Answer /healthz with 200 for ten seconds, then with 500: a liveness probe restarts the pod."""
    from aiohttp import web

    began = time.monotonic()

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        age = time.monotonic() - began
        if request.path == "/healthz":
            return web.Response(text="ok") if age <= 10 else web.Response(text=f"error: {age}", status=500)
        return web.Response(text=f"{age}s")

    return await serve(container, answer, flags.number("port", default=8080))


async def grpc_health_checking(container: Container, flags: Flags) -> int:
    """gRPC health on --port; /make-serving and /make-not-serving on --http-port; --delay-unhealthy-sec."""
    from aiohttp import web

    port, http_port = flags.number("port", default=5000), flags.number("http-port", default=8080)
    delay = flags.number("delay-unhealthy-sec", default=-1)
    serving = True

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        nonlocal serving
        if request.path not in ("/make-serving", "/make-not-serving"):
            return web.Response(status=404, text="404 page not found\n")
        serving = request.path == "/make-serving"
        return web.Response(text=f"serving: {str(serving).lower()}\n")

    def fall_ill() -> None:
        nonlocal serving
        serving = False

    loop = asyncio.get_running_loop()
    timer = loop.call_later(delay, fall_ill) if delay >= 0 else None
    http, grpc = HTTPServer(answer), HTTPServer(answer)
    try:
        await grpc.listen(port, lambda: HealthServer(lambda: serving))
        await http.listen(http_port)
        container.print(f"Http server starting to listen on :{http_port}")
        container.print(f"gRPC server starting to listen on :{port}")
        container.started()
        await container.terminated.wait()
    finally:
        if timer is not None:
            timer.cancel()
        await asyncio.gather(http.close(), grpc.close())
    return 0


async def no_snat_test(container: Container, flags: Flags) -> int:
    """/whoami tells the caller's address; /checknosnat?ips= asks others and compares theirs with the pod's own."""
    from aiohttp import web

    port = flags.number("port", default=8080)

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        if request.path == "/whoami":
            return web.Response(text=client_address(request).rpartition(":")[0])
        if request.path != "/checknosnat":
            return web.Response(status=404, text="404 page not found\n")
        wrong = []
        for ip in parse_qs(request.query_string).get("ips", [""])[0].split(","):
            try:
                seen = await ask_http(ip, port, "whoami", 5.0)
            except (OSError, TimeoutError) as error:
                wrong.append(f"error checking nosnat on {ip}: {error or 'i/o timeout'}")
                continue
            if seen != container.pod.ip:
                wrong.append(f"ip {container.pod.ip} was masqueraded to {seen} on its way to {ip}")
        return web.Response(text="\n".join(wrong) or "200", status=500 if wrong else 200)

    return await serve(container, answer, port)


async def no_snat_test_proxy(container: Container, flags: Flags) -> int:
    """/checknosnat?target=ip:port&ips= hands the question on to a no-snat-test pod."""
    from aiohttp import web

    async def answer(request: "web.BaseRequest") -> "web.StreamResponse":
        query = parse_qs(request.query_string)
        host, _, port = query.get("target", [""])[0].rpartition(":")
        if not host or not port.isdigit():
            return web.Response(status=400, text="target parameter is required: IP:PORT\n")
        try:
            text = await ask_http(host, int(port), f"checknosnat?ips={query.get('ips', [''])[0]}", 10.0)
        except (OSError, TimeoutError) as error:
            return web.Response(status=500, text=f"error requesting {host}:{port}: {error or 'i/o timeout'}\n")
        return web.Response(text=text, status=200 if text == "200" else 500)

    return await serve(container, answer, flags.number("port", default=31235))


async def port_forward_tester(container: Container, flags: Flags) -> int:
    """Take one connection; expect EXPECTED_CLIENT_DATA, send CHUNKS of CHUNK_SIZE every CHUNK_INTERVAL ms."""
    env = container.env
    expected = env.get("EXPECTED_CLIENT_DATA", "").encode()
    chunks, size = int(env.get("CHUNKS", "0")), int(env.get("CHUNK_SIZE", "0"))
    pause_between = seconds(f"{env.get('CHUNK_INTERVAL', '0')}ms")
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        container.print("Accepted client connection")
        got = await reader.readexactly(len(expected)) if expected else b""
        if got != expected:
            container.print(f"Expected to read {json.dumps(expected.decode())}, got {json.dumps(got.decode())}")
            done.set_result(1)
            return
        if expected:
            container.print("Received expected client data")
        for _ in range(chunks):
            writer.write(b"x" * size)
            await writer.drain()
            await asyncio.sleep(pause_between)
        container.print("Done")
        if not done.done():
            done.set_result(0)

    serving = asyncio.ensure_future(
        serve_streams(container, handle, int(env.get("BIND_PORT", "80")), note="one client")
    )
    try:
        await asyncio.wait((serving, done), return_when=asyncio.FIRST_COMPLETED)
        return done.result() if done.done() else await serving
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
