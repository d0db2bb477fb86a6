"""minikube_py/cni/podloop.py: unmodified client and server code has its pod's network."""

import asyncio
import contextlib
import socket
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp import web

from .network import Network, ask, network, until


async def _web_pod(net: Network, port: int = 80) -> Any:
    """An aiohttp pod that says who called, behind the name `web`."""
    pod = net.pod("web")
    net.names.table["web"] = [pod.ip]

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=str(request.remote))

    async def socket_answer(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            await response.send_str(f"{request.remote} {message.data}")
        return response

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/", answer)
        app.router.add_get("/ws", socket_answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", port).start()
        return runner

    return pod, await net.run(pod, serve())


async def test_aiohttp_and_httpx_are_seen_with_the_pods_address(net: Network) -> None:
    """Libraries that know nothing of pods resolve cluster names and come from their pod's IP."""
    _, runner = await _web_pod(net)
    client = net.pod("client")

    async def call() -> list[str]:
        async with aiohttp.ClientSession() as session:
            async with session.get("http://web/") as response:
                first = await response.text()
            async with session.ws_connect("http://web/ws") as ws:
                await ws.send_str("hi")
                second = (await ws.receive_str()).split()[0]
        async with httpx.AsyncClient() as session:
            third = (await session.get("http://web/")).text
        return [first, second, third]

    assert await net.run(client, call()) == [client.ip] * 3
    await runner.cleanup()


async def test_blocking_clients_in_threads_are_seen_with_the_pods_address(net: Network) -> None:
    """urllib and plain sockets in to_thread and run_in_executor have names, address and hostname of the pod."""
    import urllib.request

    _, runner = await _web_pod(net)
    client = net.pod("client")

    def fetch() -> str:
        return str(urllib.request.urlopen("http://web/", timeout=10).read().decode())

    async def call() -> list[str]:
        loop = asyncio.get_running_loop()
        return [
            await asyncio.to_thread(fetch),
            await loop.run_in_executor(None, fetch),
            await asyncio.to_thread(socket.gethostname),
            await asyncio.to_thread(socket.gethostbyname, "client"),
        ]

    assert await net.run(client, call()) == [client.ip, client.ip, "client", client.ip]
    await runner.cleanup()


async def test_outside_of_pods_everything_is_ordinary(net: Network) -> None:
    """Code without a pod comes from 127.0.0.1 and has the machine's names."""
    pod = net.pod("web")
    await net.whoami(pod, 8080)
    assert await ask(pod.ip, 8080) == "web 127.0.0.1 hello"
    assert socket.gethostname() != "web"
    assert (await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80))[0][4] == ("127.0.0.1", 80)


async def test_a_raw_socket_client_is_the_pod(net: Network) -> None:
    """loop.sock_connect binds the pod's address first."""
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server, 8080)

    async def call() -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (server.ip, 8080))
            await loop.sock_sendall(sock, b"x\n")
            return await loop.sock_recv(sock, 100)

    assert await net.run(client, call()) == f"server {client.ip} x\n".encode()


async def test_localhost_is_the_pod_itself(net: Network) -> None:
    """Two containers of one pod meet at localhost:8080, and two pods use the same port there."""
    one, two = net.pod("one"), net.pod("two")
    for pod in (one, two):
        await net.whoami(pod, 8080, "127.0.0.1")
    for pod in (one, two):
        for name in ("localhost", "127.0.0.1", "::1", pod.hostname):
            assert await net.run(pod, ask(name, 8080)) == f"{pod.name.split('/')[1]} {pod.ip} hello"


async def test_a_server_on_localhost_refuses_other_pods(net: Network) -> None:
    """What is bound to 127.0.0.1 in a pod is not there for others."""
    one, two = net.pod("one"), net.pod("two")
    await net.whoami(one, 8080, "127.0.0.1")
    with pytest.raises(ConnectionError):
        await net.run(two, _read(one.ip, 8080))
    with pytest.raises(ConnectionError):
        await _read(one.ip, 8080)


async def _read(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"x\n")
        data = await reader.read(1)
        if not data:
            raise ConnectionResetError("closed without an answer")
        return data
    finally:
        writer.close()


async def test_a_pod_cannot_bind_anothers_address(net: Network) -> None:
    """The error names the pod, what it wanted and what it has."""
    one, two = net.pod("one"), net.pod("two")
    with pytest.raises(OSError, match=rf"pod default/one cannot listen on {two.ip}:80: its address is {one.ip}"):
        await net.whoami(one, 80, two.ip)


async def test_a_taken_port_is_one_clear_sentence(net: Network) -> None:
    """Two containers of a pod can't have the same port."""
    pod = net.pod("web")
    await net.whoami(pod, 8080)
    with pytest.raises(OSError, match=r"pod default/web cannot listen on TCP port 8080 .* a container of this pod"):
        await net.whoami(pod, 8080)


async def test_an_unknown_name_fails_as_getaddrinfo_does(net: Network) -> None:
    """gaierror reaches the caller, in async and in blocking code."""
    pod = net.pod()
    with pytest.raises(socket.gaierror):
        await net.run(pod, ask("nowhere", 80))

    async def blocking() -> None:
        await asyncio.to_thread(socket.create_connection, ("nowhere", 80))

    with pytest.raises(socket.gaierror):
        await net.run(pod, blocking())


async def test_a_blocking_lookup_on_the_loop_says_what_to_do(net: Network) -> None:
    """It would wait for itself for ever: it fails at once with advice."""

    async def call() -> None:
        socket.getaddrinfo("web", 80)

    with pytest.raises(socket.gaierror, match=r"use loop\.getaddrinfo, or asyncio\.to_thread"):
        await net.run(net.pod(), call())


async def test_getaddrinfo_has_the_ordinary_shape(net: Network) -> None:
    """All socket types without a hint, service names for ports, the canonical name on demand, no IPv6."""
    pod = net.pod()
    net.names.table["web"] = ["127.9.9.9"]

    async def look(**hints: Any) -> Any:
        return await asyncio.get_running_loop().getaddrinfo("web", "http", **hints)

    assert [info[1] for info in await net.run(pod, look())] == [
        socket.SOCK_STREAM,
        socket.SOCK_DGRAM,
        socket.SOCK_RAW,
    ]
    assert await net.run(pod, look(type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)) == [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "web", ("127.9.9.9", 80))
    ]
    for hints in ({"family": socket.AF_INET6}, {"flags": socket.AI_NUMERICHOST}):
        with pytest.raises(socket.gaierror):
            await net.run(pod, look(**hints))


async def test_a_denied_connect_never_finishes_until_policy_allows(net: Network) -> None:
    """Egress: connect hangs, the log names the policy, and lifting it lets the same connect go on."""
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server, 8080)
    net.gate.deny(lambda flow: flow.source == client.ip)
    call = asyncio.ensure_future(net.run(client, ask(server.ip, 8080)))
    await until(lambda: bool(net.fabric.denials), "the denial")
    assert not call.done()
    assert [(d.flow.source, d.flow.destination, d.flow.port) for d in net.fabric.denials] == [
        (client.ip, server.ip, 8080)
    ]
    net.gate.open()
    assert await call == f"server {client.ip} hello"


async def test_a_denied_blocking_connect_times_out_as_on_a_wire(net: Network) -> None:
    """Blocking code waits for its own timeout, and gets through once policy allows."""
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server, 8080)
    net.gate.deny(lambda flow: flow.source == client.ip)

    def connect(timeout: float) -> str:
        with socket.create_connection((server.ip, 8080), timeout=timeout) as sock:
            return str(sock.getsockname()[0])

    async def call(timeout: float) -> str:
        return await asyncio.to_thread(connect, timeout)

    with pytest.raises(TimeoutError):
        await net.run(client, call(0.05))
    waiting = asyncio.ensure_future(net.run(client, call(10.0)))
    await until(lambda: len(net.fabric.denials) == 2, "the second denial")
    net.gate.open()
    assert await waiting == client.ip


async def test_a_pods_waiting_connects_end_with_it(net: Network) -> None:
    """Nothing waits on behalf of a pod that is gone."""
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server, 8080)
    net.gate.deny(lambda flow: True)
    call = asyncio.ensure_future(net.run(client, ask(server.ip, 8080)))
    await until(lambda: bool(net.fabric.denials), "the denial")
    await client.close()
    with pytest.raises(OSError, match="the pod has ended"):
        await call
    with pytest.raises(OSError, match="the pod has ended"):
        await net.run(client, ask(server.ip, 8080))


async def test_low_ports_are_reached_though_they_cannot_be_bound() -> None:
    """Where port 80 is really 20080, pods still dial :80, in async and in blocking code."""
    async with network(lowest_port=1024) as net:
        server, client = net.pod("server"), net.pod("client")
        running = await net.whoami(server, 80)
        assert running.sockets[0].getsockname() == (server.ip, 20080)
        assert server.listeners() == [("TCP", 80)]
        assert await net.run(client, ask(server.ip, 80)) == f"server {client.ip} hello"

        def connect() -> Any:
            with socket.create_connection((server.ip, 80), timeout=5) as sock:
                return sock.getpeername()

        async def blocking() -> Any:
            return await asyncio.to_thread(connect)

        assert await net.run(client, blocking()) == (server.ip, 20080)
        net.gate.asked.clear()
        await ask(server.ip, 20080)
        assert [flow.port for flow in net.gate.asked] == [80]


@pytest.mark.parametrize("ports", [(80, 20080), (20080, 80)], ids=["80 first", "20080 first"])
async def test_two_ports_that_mean_the_same_collide_with_a_reason(ports: tuple[int, int]) -> None:
    """A pod that wants both 80 and 20080 is told why it can't have them here, and the cure."""
    async with network(lowest_port=1024) as net:
        pod = net.pod("web")
        await net.whoami(pod, ports[0])
        with pytest.raises(OSError, match=r"port 80 is really 20080.*ip_unprivileged_port_start"):
            await net.whoami(pod, ports[1])


async def test_a_blocking_server_in_a_thread_binds_the_pods_address(net: Network) -> None:
    """What binds 0.0.0.0 with the socket module is the pod's, not the machine's."""
    pod = net.pod("web")

    def bound() -> Any:
        with socket.socket() as sock:
            sock.bind(("0.0.0.0", 8081))
            return sock.getsockname()

    async def call() -> Any:
        return await asyncio.to_thread(bound)

    assert await net.run(pod, call()) == (pod.ip, 8081)


async def test_the_outgoing_connections_of_a_pod_end_with_it(net: Network) -> None:
    """The server sees its client's connections close when the client pod ends."""
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server, 8080)
    _, writer = await net.run(client, asyncio.open_connection(server.ip, 8080))
    await until(lambda: server.stats.open == 1, "the connection")
    await client.close()
    await until(lambda: server.stats.open == 0, "its end")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
