"""The user's own apps as pods."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from minikube_py.images.catalog import Catalog
from minikube_py.images.container import Container

from .pods import Pods


def _catalog(value: Any) -> Catalog:
    return Catalog({"mine": value})


async def test_aiohttp_factory_runs_hooks_and_calls_as_the_pod(pods: Pods) -> None:
    """A factory's app runs its hooks, and what it calls sees the pod's address."""
    happened = []

    def make() -> web.Application:
        async def hello(request: web.Request) -> web.Response:
            async with ClientSession() as session, session.get(f"http://{request.query['to']}:8010/") as answer:
                return web.Response(text=await answer.text())

        async def startup(app: web.Application) -> None:
            happened.append("startup")

        async def cleanup(app: web.Application) -> None:
            happened.append("cleanup")

        app = web.Application()
        app.router.add_get("/", hello)
        app.on_startup.append(startup)
        app.on_cleanup.append(cleanup)
        return app

    target = await pods.run("traefik/whoami", args=("--port=8010",), name="target")
    pod = await pods.run("mine", catalog=_catalog({"aiohttp": make}), ports=(8011,))
    assert f"RemoteAddr: {pod.ip}:" in (await pod.get(f"/?to={target.ip}", 8011)).text
    assert await pod.end() == 0
    assert happened == ["startup", "cleanup"]
    assert '"GET /?to=' in pod.log


async def test_asgi_runs_lifespan(pods: Pods) -> None:
    """A FastAPI app starts, answers, and shuts down with its lifespan."""
    from fastapi import FastAPI

    happened = []

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        happened.append("up")
        yield
        happened.append("down")

    app = FastAPI(lifespan=lifespan)

    @app.get("/menu")
    def menu() -> list[str]:
        return ["espresso"]

    pod = await pods.run("mine", catalog=_catalog(app), ports=(8012,))
    assert (await pod.get("/menu", 8012)).json() == ["espresso"]
    assert await pod.end() == 0
    assert happened == ["up", "down"]


async def test_tcp_handler(pods: Pods) -> None:
    """A stream handler serves every declared port."""

    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()

    pod = await pods.run("mine", catalog=_catalog(upper), ports=(8013, 8014))
    assert await pod.talk(b"abc", 8014) == b"ABC"
    assert await pod.end() == 0


async def test_wsgi_runs_in_a_thread(pods: Pods) -> None:
    """A WSGI app gets its body and environment, off the event loop's thread."""
    import threading

    loop_thread = threading.get_ident()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("201 Made", [("Content-Type", "text/plain"), ("X-A", "1")])
        inside = threading.get_ident() != loop_thread
        return [environ["PATH_INFO"].encode(), b" ", environ["wsgi.input"].read(), b" ", str(inside).encode()]

    pod = await pods.run("mine", catalog=_catalog({"wsgi": app}), ports=(8015,))
    answer = await pod.get("/p", 8015, "POST", content=b"body")
    assert (answer.status_code, answer.text, answer.headers["X-A"]) == (201, "/p body True", "1")


async def test_wsgi_streams_what_has_no_length(pods: Pods) -> None:
    """The first part is sent before the application has made the second."""
    import threading

    seen, closed = threading.Event(), threading.Event()

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"one "
            yield b"two" if seen.wait(5) else b"nobody read the first part"

        def close(self) -> None:
            closed.set()

    def app(environ: dict[str, Any], start_response: Any) -> Body:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body()

    pod = await pods.run("mine", catalog=_catalog({"wsgi": app}), ports=(8017,))
    reader, writer = await asyncio.open_connection(*pods.fabric.real_address(pod.ip, 8017))
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"one "), 5)
    seen.set()
    assert b"two" in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert closed.wait(5)


async def test_a_connection_without_a_request_does_not_hold_up_the_end() -> None:
    """A client that connects while a server shuts down and sends nothing is hung up on."""
    from minikube_py.images.web import closing_idle

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response()

    server = web.Server(answer)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    server.pre_shutdown()  # aiohttp's own closing of idle connections is over
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    while not server.connections:
        await asyncio.sleep(0)
    async with closing_idle(server):
        await asyncio.wait_for(server.shutdown(None), 5)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    listener.close()
    await listener.wait_closed()


_SERVER = """
import http.server, os
print("up", flush=True)
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"out of process")
http.server.HTTPServer((os.environ["POD_IP"], int(os.environ["PORT"])), H).serve_forever()
"""


async def test_command_is_a_real_process(pods: Pods) -> None:
    """A host program listens on the pod's address, writes to its log and dies with it."""
    pod = await pods.run("mine", catalog=_catalog({"command": [sys.executable, "-c", _SERVER]}), ports=(8016,))
    for _ in range(200):  # the program says itself when it is up
        if "up" in pod.log:
            with contextlib.suppress(Exception):
                assert (await pod.get("/", 8016)).text == "out of process"
                break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError(pod.log)
    assert await pod.end() == 143


_PARENT = """
import asyncio, os, sys
from minikube_py.images.catalog import Catalog
from minikube_py.images.container import Container, PodInfo

async def main():
    pod = PodInfo("default", "p", "uid", "127.0.0.1", "p", "worker", "127.0.0.1")
    def write(text):
        print(text, end="", flush=True)
    container = Container("c", "mine", pod, write, ports=(1,))
    script = "sleep 600 & echo $!; wait"
    task = asyncio.create_task(Catalog({"mine": {"command": ["sh", "-c", script]}}).resolve("mine")(container))
    await container.ready.wait()  # the guard is there
    write(f"{container.extra['process']}\\n")
    await task

asyncio.run(main())
"""


async def test_command_ends_when_we_are_killed() -> None:
    """kill -9 of our process takes the program and its children along."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", _PARENT, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    try:
        group = [int(await asyncio.wait_for(parent.stdout.readline(), 10)) for _ in range(2)]
    finally:
        parent.kill()
        await parent.wait()
    for _ in range(200):
        if not any(map(_alive, group)):
            return
        await asyncio.sleep(0.01)
    raise AssertionError([pid for pid in group if _alive(pid)])


def _alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_command_gets_arguments_and_environment(pods: Pods) -> None:
    """The manifest's arguments follow; `port` and `env` of the mapping are told; /dev/stdout can be opened."""
    script = 'echo "$PORT $COLOUR $*" >/dev/stdout'
    mapping = {"command": ["sh", "-c", script, "x"], "port": 7000, "env": {"COLOUR": "$(POD_NAME) red"}}
    pod = await pods.run("mine", command=("/server", "--verbose"), args=("a b",), catalog=_catalog(mapping))
    assert (await pod.task, pod.log) == (0, "7000 pod-0 red --verbose a b\n")


async def test_command_not_found(pods: Pods) -> None:
    """A program that isn't there is 127, in the runtime's words."""
    pod = await pods.run("mine", catalog=_catalog({"command": ["/no/such/program"]}))
    assert (await pod.task, pod.log) == (127, 'exec: "/no/such/program": executable file not found in $PATH\n')


async def test_own_main(pods: Pods) -> None:
    """A coroutine that takes a container is the program itself."""

    async def mine(container: Container) -> int:
        container.started()
        await container.terminated.wait()
        return 5

    pod = await pods.run("mine", catalog=_catalog(mine))
    assert await pod.end() == 5


async def test_busy_keep_alive_client_loses_nothing(pods: Pods) -> None:
    """A client that keeps its connection busy is told to close it when the pod ends, for each kind of server."""
    from fastapi import FastAPI

    api = FastAPI()

    @api.get("/")
    async def root() -> str:
        return "ok"

    def make() -> web.Application:
        async def ok(request: web.Request) -> web.Response:
            return web.Response(text="ok")

        app = web.Application()
        app.router.add_get("/", ok)
        return app

    for number, value in enumerate((api, {"aiohttp": make}, {"like": "traefik/whoami"})):
        args = (f"--port={8020 + number}",)
        pod = await pods.run("mine", catalog=_catalog(value), ports=(8020 + number,), args=args, name=f"pod-{number}")
        host, port = pods.fabric.real_address(pod.ip, 8020 + number)
        reader, writer = await asyncio.open_connection(host, port)
        last = b""
        ending: asyncio.Task[int] | None = None
        for turn in range(1000):
            if turn == 20:
                ending = asyncio.create_task(pod.end())
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            last = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(last.lower().partition(b"content-length: ")[2].split()[0]))
            if b"connection: close" in last.lower():
                break
        assert b"connection: close" in last.lower()
        assert ending is not None
        assert await ending == 0
        writer.close()
