"""minikube_py/cni/udp.py and udp_endpoint.py: datagram sockets of pods, and Services' flow tables."""

import asyncio
import contextlib
import gc
import socket
from typing import Any

import pytest

from minikube_py.cni import dnsclient
from minikube_py.cni.namespace import NetworkNamespace, current

from .network import Network, network, until


class Echo(asyncio.DatagramProtocol):
    """Answers with the pod's name, the caller's address and what it said."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(f"{current.get()} {addr[0]} ".encode() + data, addr)


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.inbox.put_nowait(data)


async def _echo(net: Network, pod: NetworkNamespace, port: int = 5353) -> Any:
    async def serve() -> Any:
        return await asyncio.get_running_loop().create_datagram_endpoint(Echo, ("0.0.0.0", port))

    return (await net.run(pod, serve()))[0]


@contextlib.contextmanager
def _outsider() -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        yield sock


async def _receive(sock: socket.socket) -> bytes:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sock.fileno(), ready.set)
    try:
        await asyncio.wait_for(ready.wait(), 5)
    finally:
        loop.remove_reader(sock.fileno())
    return sock.recv(65535)


async def _ask(net: Network, pod: NetworkNamespace, address: tuple[str, int], text: bytes = b"hi") -> str:
    async def call() -> str:
        transport, client = await asyncio.get_running_loop().create_datagram_endpoint(Client, remote_addr=address)
        transport.sendto(text)
        try:
            return (await asyncio.wait_for(client.inbox.get(), 5)).decode()
        finally:
            transport.close()

    return str(await net.run(pod, call()))


async def test_datagrams_come_from_the_pods_address(net: Network) -> None:
    """Connected by name, or unconnected from any port: the server sees the pod."""
    server, client = net.pod("server"), net.pod("client")
    net.names.table["dns"] = [server.ip]
    await _echo(net, server)
    assert await _ask(net, client, ("dns", 5353)) == f"default/server {client.ip} hi"

    async def unconnected() -> bytes:
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Client, ("", 0))
        transport.sendto(b"yo", (server.ip, 5353))
        data = await asyncio.wait_for(protocol.inbox.get(), 5)
        transport.close()
        return data

    assert await net.run(client, unconnected()) == f"default/server {client.ip} yo".encode()
    assert server.listeners() == [("UDP", 5353)]


@pytest.mark.parametrize("turns", range(4), ids=lambda turns: f"after {turns} turns of the loop")
async def test_a_cancelled_question_leaves_no_complaint(net: Network, turns: int) -> None:
    """Nobody fetches the outcome of a query whose asker is cancelled while its socket opens, and nothing is logged."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    asking = asyncio.create_task(dnsclient.udp([bytes(12)], (net.service_ip(), 53), timeout=60))
    for _ in range(turns):
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("turns", range(4), ids=lambda turns: f"after {turns} turns of the loop")
@pytest.mark.parametrize("inside", [True, False], ids=["in a pod", "outside of pods"])
async def test_who_is_cancelled_while_a_socket_opens_leaves_none(net: Network, inside: bool, turns: int) -> None:
    """The port is free again at once; uvloop alone would keep it for as long as it lives."""
    loop, ip = asyncio.get_running_loop(), net.service_ip()
    pod = net.pod("server")
    address = (pod.ip if inside else ip, 5353)
    opening = loop.create_task(
        loop.create_datagram_endpoint(Echo, address), context=pod.context if inside else net.fabric.context()
    )
    for _ in range(turns):
        await asyncio.sleep(0)
    opening.cancel()
    if not isinstance((await asyncio.gather(opening, return_exceptions=True))[0], asyncio.CancelledError):
        opening.result()[0].close()  # it was quicker

    def free() -> bool:
        try:
            with _outsider() as sock:
                sock.bind(address)
        except OSError:
            return False
        return True

    await until(free, "the port's being free")
    assert pod.listeners() == []


async def test_a_socket_that_opens_while_its_pod_ends_is_closed(net: Network) -> None:
    """Nothing of a pod outlives it."""
    loop, pod = asyncio.get_running_loop(), net.pod("server")
    opening = loop.create_task(loop.create_datagram_endpoint(Echo, (pod.ip, 5353)), context=pod.context)
    await asyncio.sleep(0)
    await pod.close()
    transport, _ = await opening
    assert transport.is_closing()
    await until(lambda: pod.listeners() == [])


async def test_sock_sendto_is_the_pods_too(net: Network) -> None:
    """Also on uvloop, which has no sock_sendto of its own."""
    server, client = net.pod("server"), net.pod("client")
    await _echo(net, server)

    async def call() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_sendto(sock, b"raw", (server.ip, 5353))
            return await _receive(sock)

    assert await net.run(client, call()) == f"default/server {client.ip} raw".encode()


async def test_a_service_hands_datagrams_to_the_pod_and_answers_from_its_own_address(net: Network) -> None:
    """A connected client accepts the answer, so it came from the Service; the pod sees the client."""
    server, client = net.pod("server"), net.pod("client")
    await _echo(net, server)
    ip = net.service_ip()
    listener = net.fabric.listen_udp(ip, 5300, lambda client: (server.ip, 5353))
    assert await _ask(net, client, (ip, 5300)) == f"default/server {client.ip} hi"
    with _outsider() as sock:
        sock.connect((ip, 5300))
        sock.send(b"out")
        assert await _receive(sock) == b"default/server 127.0.0.1 out"
    assert listener.flows == 2


async def test_a_flow_stays_with_its_endpoint_until_it_is_forgotten(net: Network) -> None:
    """Datagrams of one client go to one pod; when that leaves, the next datagram chooses anew."""
    pods = [net.pod(), net.pod()]
    for pod in pods:
        await _echo(net, pod)
    ip = net.service_ip()
    picks = iter([(pods[0].ip, 5353), (pods[1].ip, 5353)])
    ended: list[Any] = []
    listener = net.fabric.listen_udp(ip, 5300, lambda client: next(picks), lambda *flow: ended.append(flow))
    with _outsider() as sock:
        sock.connect((ip, 5300))
        for _ in range(3):
            sock.send(b"x")
            assert b"default/pod-1 " in await _receive(sock)
        listener.forget(pods[0].ip, 5353)
        sock.send(b"x")
        assert b"default/pod-2 " in await _receive(sock)
    assert ended == [((pods[0].ip, 5353), 3, 3 * len("default/pod-1 127.0.0.1 x"))]


async def test_a_pods_end_moves_its_flows(net: Network) -> None:
    """A flow to a pod that is gone picks again by itself."""
    pods = [net.pod(), net.pod()]
    for pod in pods:
        await _echo(net, pod)
    ip = net.service_ip()
    picks = iter([(pods[0].ip, 5353), (pods[1].ip, 5353)])
    net.fabric.listen_udp(ip, 5300, lambda client: next(picks))
    with _outsider() as sock:
        sock.connect((ip, 5300))
        sock.send(b"x")
        assert b"default/pod-1 " in await _receive(sock)
        await pods[0].close()
        sock.send(b"x")
        assert b"default/pod-2 " in await _receive(sock)


async def test_a_flow_begun_before_the_pod_listens_reaches_it_afterwards(net: Network) -> None:
    """Who calls while a container restarts is not sent into the void for ever, but to the pod once it listens."""
    server = net.pod("server")
    ip = net.service_ip()
    listener = net.fabric.listen_udp(ip, 5300, lambda client: (server.ip, 5353))
    with _outsider() as sock:
        sock.connect((ip, 5300))
        sock.send(b"early")
        await until(lambda: listener.flows == 1)
        await _echo(net, server)
        sock.send(b"late")
        assert await _receive(sock) == b"default/server 127.0.0.1 late"
    listener.close()


async def test_idle_flows_are_forgotten(net: Network) -> None:
    """After 30 seconds if only the client spoke, after 180 if both did."""
    server = net.pod("server")
    await _echo(net, server)
    silent = str(net.addresses.pod_cidr(2)[7])
    ip, other = net.service_ip(), net.service_ip()
    answered = net.fabric.listen_udp(ip, 5300, lambda client: (server.ip, 5353))
    unanswered = net.fabric.listen_udp(other, 5300, lambda client: (silent, 5353))
    with _outsider() as sock, _outsider() as mute, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind((silent, 5353))
        sock.connect((ip, 5300))
        sock.send(b"x")
        await _receive(sock)
        mute.connect((other, 5300))
        mute.send(b"x")
        await until(lambda: unanswered.flows == 1, "the flow")
        now = asyncio.get_running_loop().time()
        for listener in (answered, unanswered):
            listener.expire(now + 20)
        assert (answered.flows, unanswered.flows) == (1, 1)
        for listener in (answered, unanswered):
            listener.expire(now + 60)
        assert (answered.flows, unanswered.flows) == (1, 0)
        answered.expire(now + 181)
        assert answered.flows == 0


async def test_an_endpoint_outside_the_process_is_relayed_and_sees_the_caller(net: Network) -> None:
    """Each flow has a socket of its own, bound to the client's address."""
    backend = str(net.addresses.pod_cidr(2)[9])
    client = net.pod("client")
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, (backend, 7000))
    ip = net.service_ip()
    net.fabric.listen_udp(ip, 5300, lambda client: (backend, 7000))
    assert await _ask(net, client, (ip, 5300)) == f"None {client.ip} hi"
    transport.close()


async def test_denied_datagrams_are_dropped_and_logged_once(net: Network) -> None:
    """Through a Service and directly; lifting the policy lets the next datagram pass."""
    server, client = net.pod("server"), net.pod("client")
    await _echo(net, server)
    ip = net.service_ip()
    net.fabric.listen_udp(ip, 5300, lambda client: (server.ip, 5353))
    net.gate.deny(lambda flow: flow.destination == server.ip)
    with _outsider() as direct, _outsider() as virtual:
        direct.connect((server.ip, 5353))
        virtual.connect((ip, 5300))
        for _ in range(3):
            direct.send(b"no")
            virtual.send(b"no")
        await until(lambda: net.fabric.denied_total == 2, "the denials")
        net.gate.open()
        direct.send(b"yes")
        virtual.send(b"yes")
        for each in (direct, virtual):
            while (answer := await _receive(each)).endswith(b"no"):
                pass  # was still on its way when the policy was lifted
            assert answer == b"default/server 127.0.0.1 yes"
    net.gate.deny(lambda flow: flow.source == client.ip)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_ask(net, client, (server.ip, 5353)), 0.05)
    assert net.fabric.denials[-1].flow.protocol == "UDP"


async def test_answers_pass_whatever_the_policy(net: Network) -> None:
    """A pod that nobody may call still hears the answers to what it asked."""
    server, client = net.pod("server"), net.pod("client")
    await _echo(net, server)
    net.gate.deny(lambda flow: flow.destination == client.ip)

    async def unconnected() -> bytes:
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Client, ("", 0))
        transport.sendto(b"yo", (server.ip, 5353))
        data = await asyncio.wait_for(protocol.inbox.get(), 5)
        transport.close()
        return data

    assert b"yo" in await net.run(client, unconnected())


async def test_low_udp_ports_are_reached_though_they_cannot_be_bound() -> None:
    """Port 53 is really 20053, for servers, Services and pods alike."""
    async with network(lowest_port=1024) as net:
        server, client = net.pod("server"), net.pod("client")
        transport = await _echo(net, server, 53)
        assert transport.get_extra_info("sockname") == (server.ip, 20053)
        ip = net.service_ip()
        net.fabric.listen_udp(ip, 53, lambda client: (server.ip, 53))
        for address in (server.ip, ip):
            assert await _ask(net, client, (address, 53)) == f"default/server {client.ip} hi"
