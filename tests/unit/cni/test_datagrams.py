"""minikube_py/cni/datagrams.py: protocols that take datagrams by the batch."""

import asyncio
import socket
from typing import Any

from minikube_py.cni.mmsg import Datagram
from minikube_py.cni.namespace import NetworkNamespace, current

from .network import Network, until


class Batched(asyncio.DatagramProtocol):
    """Answers in batches with the pod's name; `later` goes through the transport, `bad` fails."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for reply, client in self.datagrams_received([(data, addr)]):
            self.transport.sendto(reply, client)

    def datagrams_received(self, received: list[Datagram]) -> list[Datagram]:
        self.sizes.append(len(received))
        answers = []
        for data, client in received:
            if data == b"bad":
                raise RuntimeError("a bug of the pod's")
            reply = f"{current.get()} ".encode() + data
            if data.startswith(b"later"):
                asyncio.get_running_loop().call_soon(self.transport.sendto, reply, client)
            else:
                answers.append((reply, client))
        return answers


async def _serve(net: Network, pod: NetworkNamespace) -> tuple[Any, Batched]:
    async def serve() -> Any:
        return await asyncio.get_running_loop().create_datagram_endpoint(Batched, ("0.0.0.0", 5353))

    transport, protocol = await net.run(pod, serve())
    return transport, protocol


def _client(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect(address)
    return sock


async def _replies(sock: socket.socket, count: int) -> list[bytes]:
    found: list[bytes] = []

    def enough() -> bool:
        try:
            while True:
                found.append(sock.recv(65535))
        except BlockingIOError:
            return len(found) >= count

    await until(enough, "the replies")
    return found


async def test_batches_come_directly_and_through_a_service(net: Network) -> None:
    """Both ways what waits is one call, replies come from the address called, and later answers find their way."""
    server = net.pod("server")
    _, protocol = await _serve(net, server)
    ip = net.service_ip()
    listener = net.fabric.listen_udp(ip, 5300, lambda client: (server.ip, 5353))
    for address in ((server.ip, 5353), (ip, 5300)):
        with _client(address) as one, _client(address) as two:
            for i in range(20):
                one.send(b"later %d" % i if i % 5 == 0 else b"%d" % i)
                two.send(b"two %d" % i)
            expected = {b"default/server later %d" % i if i % 5 == 0 else b"default/server %d" % i for i in range(20)}
            assert set(await _replies(one, 20)) == expected
            assert await _replies(two, 20) == [b"default/server two %d" % i for i in range(20)]
    assert max(protocol.sizes) > 1
    assert listener.flows == 2


async def test_a_batch_is_judged_by_client(net: Network) -> None:
    """Who is denied is dropped out of a batch, directly and at a Service; the others of the batch are answered."""
    server, denied = net.pod("server"), net.pod("denied")
    await _serve(net, server)
    ip = net.service_ip()
    reports: list[int] = []
    net.fabric.listen_udp(
        ip, 5300, lambda client: (server.ip, 5353), lambda target, received, sent: reports.append(sent)
    )
    net.gate.deny(lambda flow: flow.source == denied.ip)
    for address in ((server.ip, 5353), (ip, 5300)):
        before = net.fabric.denied_total
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out, _client(address) as allowed:
            out.setblocking(False)
            out.bind((denied.ip, 0))
            out.connect(address)
            for _ in range(5):
                out.send(b"no")
                allowed.send(b"yes")
            assert await _replies(allowed, 5) == [b"default/server yes"] * 5
            assert await _replies(out, 0) == []
        assert net.fabric.denied_total == before + 1
    assert reports == [0]


async def test_a_failing_batch_ends_nothing(net: Network, caplog: Any) -> None:
    """A protocol's exception is logged and the next batch is served; closing tells the protocol."""
    server = net.pod("server")
    transport, protocol = await _serve(net, server)
    with _client((server.ip, 5353)) as sock:
        sock.send(b"bad")
        await until(lambda: "datagrams failed" in caplog.text, "the log")
        sock.send(b"good")
        assert await _replies(sock, 1) == [b"default/server good"]
    transport.close()
    assert transport.is_closing()
    await until(lambda: protocol.lost, "the end")
