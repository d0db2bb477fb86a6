"""minikube_py/cni/fabric.py, listener.py, namespace.py, server.py, held.py, live.py: real sockets on a leased slice."""

import asyncio
import contextlib
import gc
import os
import socket
import ssl
from contextvars import ContextVar
from typing import Any

import pytest

from minikube_py.cni.listener import Connection, Outcome
from minikube_py.cni.namespace import current
from minikube_py.cni.types import Flow

from .network import Network, ask, network, until


async def _service(net: Network, *pods: Any, port: int = 8080, closed: Any = None) -> tuple[str, list[Outcome]]:
    """A virtual address that walks through the pods."""
    ip, outcomes = net.service_ip(), []

    def handler(connection: Connection) -> None:
        pod = pods[len(outcomes) % len(pods)]
        outcomes.append(connection.hand_off(pod.ip, port, closed=closed))

    net.fabric.listen(ip, 8000, handler)
    return ip, outcomes


async def test_a_handed_off_connection_keeps_the_callers_address(net: Network) -> None:
    """The pod behind a virtual address sees the caller's own IP, a pod's as well as an outsider's."""
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server)
    ip, outcomes = await _service(net, server)
    assert await net.run(client, ask(ip, 8000)) == f"server {client.ip} hello"
    assert await ask(ip, 8000) == "server 127.0.0.1 hello"
    assert outcomes == [Outcome.HANDED, Outcome.HANDED]


async def test_the_protocol_runs_in_its_pods_context(net: Network) -> None:
    """Tasks and callbacks that a server makes for a connection are the pod's, and connections don't share variables."""
    mark: ContextVar[int] = ContextVar("mark", default=0)
    seen: list[Any] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            asyncio.get_running_loop().create_task(self.answer())

        async def answer(self) -> None:
            seen.append((str(current.get()), mark.get()))
            mark.set(mark.get() + 1)
            self.transport.write(b"x\n")

    server = net.pod("server")

    async def serve() -> Any:
        return await asyncio.get_running_loop().create_server(Protocol, None, 8080)

    await net.run(server, serve())
    ip, _ = await _service(net, server)
    for _ in range(2):
        await ask(ip, 8000)
    await ask(server.ip, 8080)
    assert seen == [("default/server", 0)] * 3


async def test_buffered_protocols_are_handed_connections_too(net: Network) -> None:
    """asyncio.BufferedProtocol keeps its own way of reading."""

    class Echo(asyncio.BufferedProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.buffer = transport, bytearray(64)

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.transport.write(bytes(self.buffer[:nbytes]))

    server = net.pod("server")

    async def serve() -> Any:
        return await asyncio.get_running_loop().create_server(Echo, None, 8080)

    await net.run(server, serve())
    ip, _ = await _service(net, server)
    assert await ask(ip, 8000, "buffered") == "buffered"


async def test_tls_is_the_pods_own(net: Network, tmp_path: Any) -> None:
    """A pod's server may have an SSL context; the Service address speaks it too."""
    certificate = _certificate(tmp_path)
    server = net.pod("server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def serve() -> Any:
        return await asyncio.start_server(answer, None, 8443, ssl=context)

    await net.run(server, serve())
    ip, _ = await _service(net, server, port=8443)
    trust = ssl.create_default_context(cafile=certificate)
    reader, writer = await asyncio.open_connection(ip, 8000, ssl=trust, server_hostname="web")
    writer.write(b"secret\n")
    assert await reader.readline() == b"secret\n"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _certificate(folder: Any) -> str:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "web")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("web")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "web.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return str(path)


async def test_nothing_listens_means_refused(net: Network) -> None:
    """A wrong targetPort and a closed virtual address both end in a refused or reset connection, not in silence."""
    server = net.pod("server")
    ip, outcomes = await _service(net, server, port=9999)
    with pytest.raises(ConnectionError):
        await _talk(ip, 8000)
    assert outcomes == [Outcome.SPLICED]
    with pytest.raises(ConnectionRefusedError):
        await ask(net.service_ip(), 8000)


async def _talk(ip: str, port: int) -> bytes:
    """Like `ask`, but an empty answer is an error too."""
    reader, writer = await asyncio.open_connection(ip, port)
    try:
        writer.write(b"x\n")
        if not (data := await reader.readline()):
            raise ConnectionResetError("closed without an answer")
        return data
    finally:
        writer.close()


async def test_a_backend_outside_the_process_is_spliced_and_sees_the_caller(net: Network) -> None:
    """Bytes, half-close and the caller's address all get through, in both directions."""
    backend = str(net.addresses.pod_cidr(2)[9])
    callers: list[str] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer.get_extra_info("peername")[0])
        data = await reader.read()  # until the caller says that it is done
        writer.write(data)
        await writer.drain()
        writer.close()

    outside = await asyncio.start_server(echo, backend, 7000)
    ended: list[tuple[int, int]] = []
    ip = net.service_ip()
    net.fabric.listen(ip, 8000, lambda c: c.hand_off(backend, 7000, closed=lambda r, s: ended.append((r, s))))
    client = net.pod("client")
    payload = os.urandom(3_000_000)

    async def transfer() -> bytes:
        reader, writer = await asyncio.open_connection(ip, 8000)
        writer.write(payload)
        writer.write_eof()
        data = await reader.read()
        writer.close()
        return data

    assert await net.run(client, transfer()) == payload
    assert callers == [client.ip]
    await until(lambda: ended == [(len(payload), len(payload))], "the count")
    outside.close()
    await outside.wait_closed()


async def test_a_denied_caller_of_a_service_waits_and_is_let_in_when_policy_allows(net: Network) -> None:
    """The connection is held unread, logged once with the policy, and served when the gate changes its mind."""
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server)
    ip, outcomes = await _service(net, server)
    net.gate.deny(lambda flow: flow.source == client.ip)
    call = asyncio.ensure_future(net.run(client, ask(ip, 8000)))
    await until(lambda: len(net.fabric.held) == 1, "the hold")
    assert await ask(ip, 8000) == "server 127.0.0.1 hello"
    net.gate.deny(lambda flow: flow.source == client.ip)  # another change that doesn't help
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not call.done()
    assert net.fabric.denied_total == 1
    net.gate.open()
    assert await call == f"server {client.ip} hello"
    assert outcomes == [Outcome.HELD, Outcome.HANDED, Outcome.HELD, Outcome.HANDED]
    assert len(net.fabric.held) == 0


async def test_a_denied_outsider_of_a_pod_waits_too(net: Network) -> None:
    """The pod's own address asks the gate with the caller's source address, and gives it one denial to record."""
    server = net.pod("server")
    await net.whoami(server)
    net.gate.deny(lambda flow: flow.source == "127.0.0.1")
    call = asyncio.ensure_future(ask(server.ip, 8080))
    await until(lambda: len(net.fabric.held) == 1, "the hold")
    assert net.gate.recorded == [Flow("127.0.0.1", server.ip, 8080)]
    net.gate.open()
    assert await call == "server 127.0.0.1 hello"


async def test_a_held_caller_that_gives_up_is_let_go(net: Network) -> None:
    """Its file descriptor is freed though it had sent something that nobody read."""
    server = net.pod("server")
    await net.whoami(server)
    net.gate.deny(lambda flow: True)
    _, writer = await asyncio.open_connection(server.ip, 8080)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: len(net.fabric.held) == 1, "the hold")
    writer.close()
    await until(lambda: len(net.fabric.held) == 0, "the release")


async def test_closing_an_address_lets_held_callers_go(net: Network) -> None:
    """They are reset, and the hand-off's `closed` is called once."""
    server = net.pod("server")
    await net.whoami(server)
    ended: list[tuple[int, int]] = []
    ip = net.service_ip()
    listener = net.fabric.listen(
        ip, 8000, lambda c: c.hand_off(server.ip, 8080, closed=lambda received, sent: ended.append((received, sent)))
    )
    net.gate.deny(lambda flow: True)
    reader, writer = await asyncio.open_connection(ip, 8000)
    await until(lambda: len(net.fabric.held) == 1, "the hold")
    listener.close()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert ended == [(0, 0)]


async def test_denials_can_be_resets() -> None:
    """With deny=reset a denied caller is refused at once, in-process and from outside."""
    async with network(deny="reset") as net:
        server, client = net.pod("server"), net.pod("client")
        await net.whoami(server)
        ip, outcomes = await _service(net, server)
        net.gate.deny(lambda flow: True)
        with pytest.raises(ConnectionRefusedError, match="denied by policy: default-deny"):
            await net.run(client, ask(server.ip, 8080))
        for address in ((ip, 8000), (server.ip, 8080)):
            with pytest.raises(ConnectionError):
                await _talk(*address)
        assert outcomes == [Outcome.RESET]
        assert net.fabric.denied_total == 3


async def test_a_pod_always_reaches_itself(net: Network) -> None:
    """The gate isn't even asked: neither directly nor through a Service (hairpin)."""
    pod = net.pod("pod")
    await net.whoami(pod)
    ip, _ = await _service(net, pod)
    net.gate.deny(lambda flow: True)
    net.gate.asked.clear()
    assert await net.run(pod, ask(pod.ip, 8080)) == f"pod {pod.ip} hello"
    assert await net.run(pod, ask(ip, 8000)) == f"pod {pod.ip} hello"
    assert net.gate.asked == []


async def test_the_gate_is_asked_about_the_pods_port_never_the_services(net: Network) -> None:
    """Policies see the flow after translation: from the caller to the pod's own port."""
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server)
    ip, _ = await _service(net, server)
    net.gate.asked.clear()
    await net.run(client, ask(ip, 8000))
    assert [(flow.source, flow.destination, flow.port) for flow in net.gate.asked] == [(client.ip, server.ip, 8080)]


async def test_bytes_and_connections_are_counted(net: Network) -> None:
    """Statistics of a pod count what its servers received and sent, and what is open."""
    server = net.pod("server")
    await net.whoami(server)
    ended: list[tuple[int, int]] = []
    ip, _ = await _service(net, server, closed=lambda received, sent: ended.append((received, sent)))
    reader, writer = await asyncio.open_connection(ip, 8000)
    writer.write(b"12345\n")
    answer = await reader.readline()
    stats = server.stats
    assert (stats.connections, stats.open, stats.received, stats.sent) == (1, 1, 6, len(answer))
    writer.close()
    await until(lambda: ended == [(6, len(answer))], "the end")
    assert (server.stats.open, server.stats.received, server.stats.sent) == (0, 6, len(answer))


async def test_connections_whose_protocol_was_replaced_are_still_counted_down(net: Network) -> None:
    """A WebSocket upgrade swaps the protocol on a living transport; the books notice the end all the same."""

    class Second(asyncio.Protocol):
        pass

    class First(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.set_protocol(Second())
            self.transport.write(b"switched\n")

    server = net.pod("server")

    async def serve() -> Any:
        return await asyncio.get_running_loop().create_server(First, None, 8080)

    await net.run(server, serve())
    assert await ask(server.ip, 8080) == "switched"
    await until(lambda: server.stats.open == 0, "the end")


async def test_closing_a_pod_waits_for_what_is_in_flight(net: Network) -> None:
    """A request that came before the end gets its answer; no new connection is accepted meanwhile."""
    server = net.pod("server")
    go = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        await go.wait()
        writer.write(b"done\n")
        await writer.drain()
        writer.close()

    async def serve() -> Any:
        return await asyncio.start_server(slow, None, 8080)

    await net.run(server, serve())
    call = asyncio.ensure_future(ask(server.ip, 8080))
    await until(lambda: server.stats.received > 0, "the request")
    closing = asyncio.ensure_future(server.close(drain=30))
    await until(lambda: server.closed, "the close")
    with pytest.raises(ConnectionRefusedError):
        await ask(server.ip, 8080)
    go.set()
    assert await call == "done"
    await closing
    assert server.stats.open == 0


async def test_closing_a_pod_without_patience_cuts_everything(net: Network) -> None:
    """drain=0 is SIGKILL: connections end at once, and established ones through a Service too."""
    server = net.pod("server")
    await net.whoami(server)
    ip, _ = await _service(net, server)
    reader, writer = await asyncio.open_connection(ip, 8000)
    writer.write(b"x\n")
    await reader.readline()
    await server.close()
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    assert server.listeners() == []


async def test_an_established_connection_outlives_its_virtual_address(net: Network) -> None:
    """A Service that closes (no ready endpoint) cuts nobody off."""
    server = net.pod("server")
    await net.whoami(server)
    ip = net.service_ip()
    listener = net.fabric.listen(ip, 8000, lambda c: c.hand_off(server.ip, 8080))
    reader, writer = await asyncio.open_connection(ip, 8000)
    writer.write(b"one\n")
    assert b"one" in await reader.readline()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await ask(ip, 8000)
    writer.write(b"two\n")
    assert b"two" in await reader.readline()
    writer.close()
    again = net.fabric.listen(ip, 8000, lambda c: c.hand_off(server.ip, 8080))  # though the connection still lives
    assert await ask(ip, 8000)
    again.close()


async def test_a_taken_address_is_one_clear_sentence(net: Network) -> None:
    """Whether we have it or another program, the message says so."""
    ip, other = net.service_ip(), net.service_ip()
    net.fabric.listen(ip, 8000, lambda c: c.reset())
    with pytest.raises(OSError, match=rf"cannot listen on TCP {ip}:8000: it is a Service's address already"):
        net.fabric.listen(ip, 8000, lambda c: c.reset())
    with socket.socket() as taken:
        taken.bind((other, 8000))
        taken.listen()
        with pytest.raises(OSError, match="another program of this machine does already"):
            net.fabric.listen(other, 8000, lambda c: c.reset())
    with pytest.raises(OSError, match="not an address of this machine"):
        net.fabric.listen("203.0.113.9", 8000, lambda c: c.reset())


async def test_a_server_that_fails_to_start_a_protocol_says_so_and_resets(
    net: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """One broken connection doesn't harm the next, and the log names the pod."""
    server = net.pod("server")
    broken = [True]

    class Greeter(asyncio.Protocol):
        def __init__(self) -> None:
            if broken.pop():
                raise RuntimeError("no")

        def connection_made(self, transport: Any) -> None:
            transport.write(b"hi\n")

    broken.insert(0, False)

    async def serve() -> Any:
        return await asyncio.get_running_loop().create_server(Greeter, None, 8080)

    await net.run(server, serve())
    with pytest.raises(ConnectionError):
        await _talk(server.ip, 8080)
    assert "connection failed pod=default/server port=8080" in caplog.text
    assert await _talk(server.ip, 8080) == b"hi\n"


async def test_nothing_is_left_after_close() -> None:
    """Every socket, task and timer of a busy network is gone once its fabric is closed."""
    await _busy()  # imports and caches settle
    gc.collect()
    before, tasks = _open_sockets(), len(asyncio.all_tasks())
    await _busy()
    await until(lambda: (_open_sockets(), len(asyncio.all_tasks())) == (before, tasks), "the clean-up")


async def _busy() -> None:
    async with network() as net:
        server, client = net.pod("server"), net.pod("client")
        await net.whoami(server)
        ip, _ = await _service(net, server)
        writers = [(await asyncio.open_connection(ip, 8000))[1] for _ in range(10)]
        await until(lambda: server.stats.open == 10, "the connections")
        net.gate.deny(lambda flow: True)
        writers += [(await asyncio.open_connection(ip, 8000))[1] for _ in range(3)]
        call = asyncio.ensure_future(net.run(client, ask(server.ip, 8080)))
        await until(lambda: len(net.fabric.held) == 3 and net.fabric.denied_total == 4, "the denials")
    with pytest.raises(OSError, match="the pod has ended"):
        await call
    for writer in writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _open_sockets() -> int:
    """Count this process's sockets."""
    found = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return found
