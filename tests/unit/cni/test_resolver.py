"""A pod's resolver against nameservers on real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.cni.addresses import Addresses, lease_slice
from minikube_py.cni.dnswire import WireError, decode_name, encode_name, header, labels_of, query, read_reply, records
from minikube_py.cni.resolver import ResolvConf, StubResolver

SEARCH = ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")
PORT = 15363


@pytest.fixture
def addresses() -> Iterator[Addresses]:
    leased, lock = lease_slice()
    yield leased
    lock.close()


class Nameserver:
    """Answers A questions from a dict; the value may be an rcode, None (silence) or a callable."""

    def __init__(self, host: str, names: dict[str, Any]) -> None:
        self.host = host
        self.names = names
        self.asked: list[tuple[str, str, str]] = []
        """(client's address, transport, name and type)."""

    def reply(self, data: bytes, client: str, transport: str) -> bytes | None:
        name, end = decode_name(data, 12)
        type_ = int.from_bytes(data[end : end + 2], "big")
        self.asked.append((client, transport, f"{name} {type_}"))
        found = self.names.get(name, 3)
        if callable(found):
            found = found(transport)
        if found is None:
            return None
        rcode, addresses = (found, ()) if isinstance(found, int) else (0, found if type_ == 1 else ())
        flags = 0x8180 | rcode
        if addresses == "TC":
            flags, addresses = flags | 0x0200, ()
        answers = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4" + socket.inet_aton(a) for a in addresses)
        return (
            data[:2]
            + flags.to_bytes(2, "big")
            + b"\0\1"
            + len(addresses).to_bytes(2, "big")
            + bytes(4)
            + data[12:]
            + answers
        )


@asynccontextmanager
async def nameserver(host: str, names: dict[str, Any]) -> AsyncIterator[Nameserver]:
    server = Nameserver(host, names)

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            if (reply := server.reply(data, addr[0], "udp")) is not None:
                self.transport.sendto(reply, addr)

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        reply = server.reply(data, writer.get_extra_info("peername")[0], "tcp") or b""
        writer.write(len(reply).to_bytes(2, "big") + reply)
        writer.close()

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=(host, PORT))
    listener = await asyncio.start_server(stream, host, PORT)
    try:
        yield server
    finally:
        transport.close()
        listener.close()
        await listener.wait_closed()


def resolver(*servers: str, **kwargs: Any) -> StubResolver:
    conf = kwargs.pop("conf", ResolvConf(servers, SEARCH, ("ndots:5",)))
    return StubResolver(conf, kwargs.pop("hosts", {}), real_port=lambda address, port: PORT, **kwargs)


async def test_search(addresses: Addresses) -> None:
    """A short name is found through the search list, from the pod's address, at the cost of a real pod's queries."""
    host, pod = str(addresses.nodes[200]), str(addresses.pods[300])
    async with nameserver(host, {"web.shop.svc.cluster.local.": ["127.96.1.1"], "example.com.": ["192.0.2.1"]}) as dns:
        pod_resolver = resolver(host, source=pod)
        assert await pod_resolver.resolve("web") == ("127.96.1.1",)
        assert dns.asked == [
            (pod, "udp", "web.shop.svc.cluster.local. 1"),
            (pod, "udp", "web.shop.svc.cluster.local. 28"),
        ]
        dns.asked.clear()
        assert await pod_resolver.resolve("example.com") == ("192.0.2.1",)
        assert len(dns.asked) == 8
        dns.asked.clear()
        assert await pod_resolver.resolve("example.com.") == ("192.0.2.1",)
        assert len(dns.asked) == 2


async def test_blocking_does_the_same(addresses: Addresses) -> None:
    """From a plain thread the same names are tried from the same address."""
    host, pod = str(addresses.nodes[200]), str(addresses.pods[300])
    big = [f"127.244.9.{i}" for i in range(1, 60)]
    names = {"web.shop.svc.cluster.local.": ["127.96.1.1"], "big.test.": lambda via: "TC" if via == "udp" else big}
    async with nameserver(host, names) as dns:
        pod_resolver = resolver(host, source=pod)
        assert await asyncio.to_thread(pod_resolver.resolve_blocking, "web") == ("127.96.1.1",)
        assert {client for client, _, _ in dns.asked} == {pod}
        assert len(await asyncio.to_thread(pod_resolver.resolve_blocking, "big.test.")) == 59
        with pytest.raises(socket.gaierror):
            await asyncio.to_thread(pod_resolver.resolve_blocking, "nobody")
        reply = await asyncio.to_thread(pod_resolver.query_blocking, "web", "A", search=True)
        assert header(reply).answers == 1


async def test_truncation(addresses: Addresses) -> None:
    """A truncated answer is asked for again over TCP."""
    host = str(addresses.nodes[200])
    big = [f"127.244.9.{i}" for i in range(1, 60)]
    async with nameserver(host, {"big.test.": lambda via: "TC" if via == "udp" else big}) as dns:
        assert await resolver(host, types=("A",)).resolve("big.test.") == tuple(big)
        assert [via for _, via, _ in dns.asked] == ["udp", "tcp"]


@pytest.mark.parametrize(
    ("names", "code"),
    [
        pytest.param({}, socket.EAI_NONAME, id="no such name"),
        pytest.param({"x.": []}, socket.EAI_NODATA, id="a name without addresses"),
        pytest.param({"x.": 2}, socket.EAI_AGAIN, id="SERVFAIL"),
        pytest.param({"x.": 5}, socket.EAI_AGAIN, id="REFUSED"),
    ],
)
async def test_errors(addresses: Addresses, names: dict[str, Any], code: int) -> None:
    """Failures are getaddrinfo's, with a note that says what was asked where."""
    host = str(addresses.nodes[200])
    async with nameserver(host, names):
        with pytest.raises(socket.gaierror) as caught:
            await resolver(host).resolve("x.")
        assert caught.value.errno == code
        assert f"looking up 'x.' at {host}:53" in caught.value.__notes__[0]


async def test_servfail_goes_on(addresses: Addresses) -> None:
    """SERVFAIL is asked twice, then the next candidate; NXDOMAIN moves on at once."""
    host = str(addresses.nodes[200])
    async with nameserver(host, {"x.shop.svc.cluster.local.": 2, "x.cluster.local.": ["127.1.1.1"]}) as dns:
        assert await resolver(host, types=("A",)).resolve("x") == ("127.1.1.1",)
        assert [asked for _, _, asked in dns.asked] == [
            "x.shop.svc.cluster.local. 1",
            "x.shop.svc.cluster.local. 1",
            "x.svc.cluster.local. 1",
            "x.cluster.local. 1",
        ]


async def test_next_nameserver(addresses: Addresses) -> None:
    """A nameserver that fails or is not there is passed over."""
    bad, good = str(addresses.nodes[200]), str(addresses.nodes[201])
    nobody = str(addresses.nodes[202])
    async with nameserver(bad, {"x.": 5}), nameserver(good, {"x.": ["127.1.1.1"]}):
        assert await resolver(nobody, bad, good).resolve("x.") == ("127.1.1.1",)


async def test_nobody_listens(addresses: Addresses) -> None:
    """A closed port is a temporary failure at once, for all candidates together."""
    with pytest.raises(socket.gaierror) as caught:
        await resolver(str(addresses.nodes[200])).resolve("web")
    assert caught.value.errno == socket.EAI_AGAIN
    assert caught.value.__notes__[0].count("connection refused") == 1


async def test_silence(addresses: Addresses) -> None:
    """A silent nameserver costs 2 × 5 s for the first candidate and again for the name as it is, as with glibc."""
    host = str(addresses.nodes[200])
    clock = VirtualClock()
    start = clock.now()
    async with nameserver(host, dict.fromkeys(["x.shop.svc.cluster.local.", "x."])) as dns:
        waiting = asyncio.ensure_future(resolver(host, clock=clock, types=("A",)).resolve("x"))
        while not waiting.done():
            asked = len(dns.asked)
            await clock.advance(5.0)
            async with asyncio.timeout(5):
                while len(dns.asked) == asked and not waiting.done():
                    await asyncio.sleep(0.001)  # the datagram is on its way through the kernel
        with pytest.raises(socket.gaierror) as caught:
            await waiting
        assert caught.value.errno == socket.EAI_AGAIN
        assert clock.now() - start >= 20.0
        assert len(dns.asked) == 4


async def test_without_dns() -> None:
    """Literals and the hosts file need no nameserver; without one there is a temporary failure."""
    here = resolver(hosts={"localhost": ("127.0.0.1", "::1"), "db-0": ("127.244.1.5",)})
    assert await here.resolve("10.1.2.3") == ("10.1.2.3",)
    assert await here.resolve("127.1") == ("127.0.0.1",)
    assert await here.resolve("LocalHost") == ("127.0.0.1",)
    assert here.resolve_blocking("db-0") == ("127.244.1.5",)
    with pytest.raises(socket.gaierror) as caught:
        await here.resolve("web")
    assert caught.value.errno == socket.EAI_AGAIN
    with pytest.raises(socket.gaierror) as caught:
        await here.resolve("a..b")
    assert caught.value.errno == socket.EAI_NONAME


async def test_concurrent_lookups(addresses: Addresses) -> None:
    """Many lookups run side by side on one loop."""
    host = str(addresses.nodes[200])
    names = {f"n{i}.test.": [f"127.1.1.{i}"] for i in range(50)}
    async with nameserver(host, names):
        shared = resolver(host)
        found = await asyncio.gather(*(shared.resolve(f"n{i}.test.") for i in range(50)))
        assert found == [(f"127.1.1.{i}",) for i in range(50)]


async def test_query(addresses: Addresses) -> None:
    """`query` gives the raw reply of one name, or of the first candidate that has it; silence is a timeout."""
    host = str(addresses.nodes[200])
    async with nameserver(host, {"web.shop.svc.cluster.local.": ["127.96.1.1"]}):
        one = resolver(host)
        assert header(await one.query("web")).rcode == 3
        assert header(await one.query("web", search=True)).answers == 1
    with pytest.raises(TimeoutError, match="connection refused"):
        await resolver(host).query("web")


async def test_strays_are_ignored(addresses: Addresses) -> None:
    """Replies with another id or to another question are not taken."""
    host = str(addresses.nodes[200])

    class Liar(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            truth = Nameserver(host, {"x.": ["127.1.1.1"]}).reply(data, "", "")
            lie = Nameserver(host, {"x.": ["127.6.6.6"]}).reply(data, "", "")
            assert truth is not None
            assert lie is not None
            self.transport.sendto(bytes([lie[0] ^ 1]) + lie[1:], addr)
            self.transport.sendto(lie.replace(b"\1x", b"\1y"), addr)
            self.transport.sendto(lie[:14], addr)
            self.transport.sendto(truth, addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Liar, local_addr=(host, PORT))
    try:
        assert await resolver(host).resolve("x.") == ("127.1.1.1",)
    finally:
        transport.close()


# -- the wire ----------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=6))
def test_names_survive(labels: list[bytes]) -> None:
    """Every name that can be on the wire has one text, and back."""
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(wire) > 255:
        with pytest.raises(WireError):
            decode_name(wire, 0)
        return
    text, end = decode_name(wire, 0)
    assert end == len(wire)
    assert labels_of(text) == labels
    assert encode_name(text) == wire


@given(st.binary(max_size=80))
def test_any_reply(data: bytes) -> None:
    """A resolver is never upset by what comes back."""
    question = query(7, "web.test.", 1)
    for raw in (data, question[:2] + b"\x81\x80" + data, question[:2] + b"\x81\x80" + question[4:] + data):
        try:
            read_reply(raw, question)
            list(records(raw))
        except WireError:
            continue
