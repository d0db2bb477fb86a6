"""minikube_py/cni/drop.py and filters.py: what a denied caller sees where the kernel drops, on real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from minikube_py.cni import drop, sockdiag
from minikube_py.cni.accept import listening_socket
from minikube_py.cni.addresses import Addresses
from minikube_py.cni.drop import Hole
from minikube_py.cni.filters import Target
from minikube_py.cni.listener import Connection
from minikube_py.cni.namespace import NetworkNamespace
from minikube_py.cni.types import Flow

from .network import Network, ask, network, until

pytestmark = pytest.mark.skipif(not drop.drops_work(), reason="this kernel can't drop for an ordinary user")

_ALL = ((0, 0xFFFFFFFF),)


def number(ip: str) -> int:
    return int(IPv4Address(ip))


def only(*ips: str) -> tuple[tuple[int, int], ...]:
    return tuple((number(ip), number(ip)) for ip in sorted(ips, key=number))


@pytest.fixture
async def dropping() -> AsyncIterator[Network]:
    """A network whose kernel drops."""
    async with network(deny="drop") as made:
        yield made


def deny(net: Network, *sources: str) -> None:
    """Deny these sources everywhere, as a gate does."""
    net.gate.sources = lambda ip, port: only(*sources)
    net.gate.deny(lambda flow: flow.source in sources)


async def connect(source: str, ip: str, port: int, patience: float = 0.1) -> socket.socket | None:
    """Connect from an address, as `curl --interface` does; None: no answer at all."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.bind((source, 0))
    try:
        async with asyncio.timeout(patience):
            await asyncio.get_running_loop().sock_connect(sock, (ip, port))
    except TimeoutError:
        if not connected(sock):  # on a busy machine the timer may come first
            sock.close()
            return None
    except BaseException:
        sock.close()
        raise
    return sock


def connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


async def reaches(source: str, ip: str, port: int) -> bool:
    sock = await connect(source, ip, port)
    if sock is None:
        return False
    sock.close()
    return True


class TestHole:
    """One listener and its black hole, without a network around them."""

    @pytest.fixture
    def listener(self, net: Network) -> Iterator[socket.socket]:
        sock = listening_socket(str(net.addresses.pod_cidr(1)[9]), 8080)
        sock.listen(64)
        yield sock
        sock.close()

    @pytest.fixture
    def hole(self, listener: socket.socket) -> Iterator[Hole]:
        hole = Hole(listener, lambda fd, source: socket.close(fd))
        yield hole
        hole.close()

    async def test_only_the_denied_fall_in(self, listener: socket.socket, hole: Hole, net: Network) -> None:
        """A denied SYN gets no answer and is counted; others connect; nobody is dropped before the hole is aimed."""
        where = listener.getsockname()
        bad, good = str(net.addresses.pod_cidr(1)[20]), str(net.addresses.pod_cidr(1)[21])
        assert await reaches(bad, *where)
        hole.aim(only(bad))
        assert not await reaches(bad, *where)
        assert await reaches(good, *where)
        assert hole.dropped == 1
        hole.aim(())
        assert await reaches(bad, *where)

    async def test_who_waits_is_known(self, listener: socket.socket, hole: Hole, net: Network) -> None:
        """The kernel tells whose connect hangs, and where."""
        where = listener.getsockname()
        bad = str(net.addresses.pod_cidr(1)[20])
        hole.aim(only(bad))
        hanging = asyncio.ensure_future(connect(bad, *where, patience=5))
        await until(lambda: any(one[0] == bad and one[2:] == where for one in drop.syn_sent()), "the wait")
        assert sockdiag.listens(*where)
        assert not sockdiag.listens(where[0], 9)
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)

    async def test_more_ranges_than_a_program_holds(self, listener: socket.socket, hole: Hole, net: Network) -> None:
        """The widest ranges are dropped, the rest is left to be held; nobody who is allowed is dropped."""
        where = listener.getsockname()
        base = number(str(net.addresses.pods[0]))
        ranges = tuple((base + 4 * index, base + 4 * index + (1 if index % 7 == 0 else 0)) for index in range(4000))
        hole.aim(ranges)
        assert not await reaches(str(IPv4Address(base + 28)), *where)
        assert await reaches(str(IPv4Address(base + 30)), *where)


async def _service(net: Network, *servers: NetworkNamespace) -> str:
    ip, turns = net.service_ip(), iter(range(1_000_000))

    def handler(connection: Connection) -> None:
        connection.hand_off(servers[next(turns) % len(servers)].ip, 8080)

    net.fabric.listen(ip, 8000, handler, targets=lambda: [Target(one.ip, 8080) for one in servers])
    return ip


async def test_a_denied_outsider_gets_no_answer_and_is_noted_once(dropping: Network) -> None:
    """At the pod's own address and at a Service's: the SYN is dropped; the record holds one denial for each connect,
    however often it knocks; others are served all the while.
    """
    net = dropping
    server, good = net.pod("server"), net.pod("good")
    bad = net.pod("bad")
    await net.whoami(server)
    ip = await _service(net, server)
    deny(net, bad.ip)
    for where, patience in (((server.ip, 8080), 1.2), ((ip, 8000), 0.3)):  # the first knocks twice
        waiting = asyncio.ensure_future(connect(bad.ip, *where, patience=patience))
        before = net.fabric.denied_total
        await until(lambda before=before: net.fabric.denied_total > before, "the denial")
        assert net.gate.recorded[-1] == Flow(bad.ip, server.ip, 8080)
        assert await net.run(good, ask(*where)) == f"server {good.ip} hello"
        assert await waiting is None
        assert net.fabric.denied_total == before + 1
    assert net.fabric.filters.dropping == 2
    assert len(net.fabric.held) == 0


async def test_lifting_lets_a_pending_connect_finish(dropping: Network) -> None:
    """A SYN that was dropped is answered at its next retransmission once policy allows it."""
    net = dropping
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server)
    deny(net, client.ip)
    waiting = asyncio.ensure_future(connect(client.ip, server.ip, 8080, patience=5))
    await until(lambda: net.fabric.denied_total == 1, "the denial")
    deny(net)
    sock = await waiting
    assert sock is not None
    sock.close()


async def test_established_connections_keep_flowing(dropping: Network) -> None:
    """A policy that comes later cuts no connection, as under conntrack; new ones are dropped."""
    net = dropping
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server)

    async def talk() -> list[str]:
        reader, writer = await asyncio.open_connection(server.ip, 8080)
        said = []
        for text in ("before", "after"):
            writer.write(text.encode() + b"\n")
            said.append((await reader.readline()).decode().split()[-1])
            deny(net, client.ip)
        writer.close()
        return said

    assert await net.run(client, talk()) == ["before", "after"]
    assert not await reaches(client.ip, server.ip, 8080)


async def test_a_pod_of_this_process_waits_in_connect(dropping: Network) -> None:
    """Directly and through a Service its connect does not finish, and does once it is allowed."""
    net = dropping
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server)
    ip = await _service(net, server)
    deny(net, client.ip)
    calls = [asyncio.ensure_future(net.run(client, ask(*where))) for where in ((server.ip, 8080), (ip, 8000))]
    await until(lambda: net.fabric.denied_total == 2, "both denials")
    assert not any(call.done() for call in calls)
    deny(net)
    assert await asyncio.gather(*calls) == [f"server {client.ip} hello"] * 2


async def test_a_service_drops_whom_all_endpoints_deny(dropping: Network) -> None:
    """Denied by one endpoint of two: half of the connections are held after the accept, none is dropped before."""
    net = dropping
    one, two, client = net.pod("one"), net.pod("two"), net.pod("client")
    await net.whoami(one)
    await net.whoami(two)
    ip = await _service(net, one, two)
    net.gate.sources = lambda to, port: only(client.ip) if to == one.ip else ()
    net.gate.deny(lambda flow: (flow.source, flow.destination) == (client.ip, one.ip))
    assert net.fabric.filters.ranges(ip, 8000) == ()
    assert net.fabric.filters.ranges(one.ip, 8080) == only(client.ip)
    held = await connect(client.ip, ip, 8000)
    assert held is not None
    await until(lambda: len(net.fabric.held) == 1, "the hold")
    assert await net.run(client, ask(ip, 8000)) == f"two {client.ip} hello"
    net.gate.sources = lambda to, port: only(client.ip)
    net.gate.deny(lambda flow: flow.source == client.ip)
    assert net.fabric.filters.ranges(ip, 8000) == only(client.ip)
    held.close()


async def test_only_listeners_that_drop_somebody_join_a_group(dropping: Network) -> None:
    """An open pod keeps its port to itself; a policy there before the server is in force at its first packet."""
    net = dropping
    free, isolated, client = net.pod("free"), net.pod("isolated"), net.pod("client")
    net.gate.sources = lambda ip, port: _ALL if ip == isolated.ip else ()
    net.gate.deny(lambda flow: flow.destination == isolated.ip)
    open_server = await net.whoami(free)
    closed_server = await net.whoami(isolated)
    assert not await reaches(client.ip, isolated.ip, 8080)
    assert await reaches(client.ip, free.ip, 8080)

    def shared(server: Any) -> int:
        return int(server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))

    assert (shared(open_server), shared(closed_server)) == (0, 1)
    closed_server.close()
    with pytest.raises(ConnectionRefusedError):
        await connect(client.ip, isolated.ip, 8080)


async def test_a_late_program_does_not_keep_out_an_allowed_pod(dropping: Network) -> None:
    """A pod that is allowed in the very turn of the loop in which it connects is not dropped by yesterday's program."""
    net = dropping
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server)
    deny(net, client.ip)
    assert net.fabric.filters.ranges(server.ip, 8080) == only(client.ip)
    net.gate.sources = lambda ip, port: ()
    net.gate.rule = lambda flow: False  # changed, and nobody has been told yet
    async with asyncio.timeout(0.5):
        assert await net.run(client, ask(server.ip, 8080)) == f"server {client.ip} hello"


async def test_holding_where_the_kernel_refuses(dropping: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the kernel's help a denied caller is held: connected, with no answer, and noted."""
    monkeypatch.setattr(drop, "_known", False)
    net = dropping
    server, client = net.pod("server"), net.pod("client")
    await net.whoami(server)
    deny(net, client.ip)
    sock = await connect(client.ip, server.ip, 8080)
    assert sock is not None
    await until(lambda: len(net.fabric.held) == 1, "the hold")
    assert net.fabric.denied_total == 1
    sock.close()


async def test_churn(dropping: Network) -> None:
    """200 changes under constant connects: no allowed connection fails, and no denied one gets a byte."""
    net = dropping
    server, always, never, sometimes = (net.pod(name) for name in ("server", "always", "never", "sometimes"))
    await net.whoami(server)
    ip = await _service(net, server)
    deny(net, never.ip)
    done = False
    served = 0

    async def calls(where: tuple[str, int]) -> None:
        nonlocal served
        while not done:
            async with asyncio.timeout(0.9):  # less than the first retransmission: a lost SYN is a failure
                assert await net.run(always, ask(*where)) == f"server {always.ip} hello"
            served += 1

    async def knocks(where: tuple[str, int]) -> None:
        while not done:
            sock = await connect(never.ip, *where, patience=0.02)
            assert sock is None, "a denied connection was made"

    wheres = ((server.ip, 8080), (ip, 8000))
    tasks = [asyncio.ensure_future(work(where)) for where in wheres for work in (calls, knocks)]
    for turn in range(200):
        deny(net, never.ip, *((sometimes.ip,) if turn % 2 else ()), *(f"127.99.{turn}.{n}" for n in range(turn % 9)))
        await asyncio.sleep(0.002)
    done = True
    await asyncio.gather(*tasks)
    assert served > 200


@pytest.mark.parametrize("replying", [False, True], ids=["stranger", "somebody we talk to"])
async def test_datagrams_of_denied_senders_do_not_wake_the_loop(dropping: Network, replying: bool) -> None:
    """After the first, judged and noted, the kernel drops them, until policy changes or the pod talks to the sender."""
    net = dropping
    server, client = net.pod("server"), net.pod("client")
    heard: list[bytes] = []

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            heard.append(data)

    async def serve() -> Any:
        return await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=("0.0.0.0", 5353))

    transport, _ = await net.run(server, serve())
    endpoint = net.fabric.endpoint(server.ip, 5353)
    assert endpoint is not None
    assert endpoint.filter is not None
    net.gate.deny(lambda flow: flow.destination == server.ip)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((client.ip, 0))
        sender.connect((server.ip, 5353))
        sender.send(b"no")
        await until(lambda: client.ip in endpoint.filter, "the filter")  # type: ignore[operator]  # asserted above
        asked = len(net.gate.asked)
        for _ in range(5):
            sender.send(b"no")
        await asyncio.sleep(0.01)
        assert len(net.gate.asked) == asked
        if replying:
            transport.sendto(b"question", sender.getsockname())
        else:
            net.gate.open()
        sender.send(b"yes")
        await until(lambda: heard == [b"yes"], "the datagram")
        assert net.fabric.denied_total == 1


def test_the_addresses_of_a_cluster_leave_the_filler_alone() -> None:
    """The connection that fills a hole comes from an address outside of every range."""
    assert not Addresses().contains("127.255.255.254")
