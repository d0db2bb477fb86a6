"""CoreDNS on real sockets: the real dig, TCP, upstreams that answer, lie, or keep silent, log, metrics, reload."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import dnslib
import pytest

from minikube_py.aiokit.clock import LoopClock, VirtualClock
from minikube_py.apiserver.operations import Operations
from minikube_py.cni.addresses import Addresses, lease_slice
from minikube_py.cni.dnswire import encode_name, question_end
from minikube_py.coredns.server import program
from minikube_py.images.container import Container, PodInfo

PORT = 15353
COREFILE = """.:15353 {
    errors
    log
    health :18080
    ready :18181
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus :19153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}
"""


ALONE = COREFILE.replace("    forward . /etc/resolv.conf\n", "")
"""Without upstreams."""


@pytest.fixture
def addresses() -> Any:
    leased, lock = lease_slice()
    yield leased
    lock.close()


class Running:
    """A started CoreDNS."""

    def __init__(
        self, api: Operations, container: Container, task: "asyncio.Task[int | None]", lines: list[str]
    ) -> None:
        self.api, self.container, self.task, self.lines = api, container, task, lines
        self.ip = container.pod.ip

    @property
    def log(self) -> str:
        return "".join(self.lines)

    async def dig(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "dig", f"@{self.ip}", "-p", str(PORT), "+tries=1", "+time=5", *arguments, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return out.decode().strip()

    async def get(self, port: int, path: str) -> str:
        reader, writer = await asyncio.open_connection(self.ip, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        page = (await reader.read()).decode()
        writer.close()
        return page


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def config_map(text: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "coredns", "namespace": "kube-system"},
        "data": {"Corefile": text},
    }


@asynccontextmanager
async def running(
    addresses: Addresses, *, corefile: str = COREFILE, upstreams: tuple[str, ...] = ("192.0.2.53",), clock: Any = None
) -> AsyncIterator[Running]:
    clock = clock or LoopClock()
    api = Operations(clock, addresses=addresses)
    for name in ("default", "kube-system"):
        if not api.get("namespaces", name):
            api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    api.create(config_map(corefile))
    lines: list[str] = []
    ip = str(addresses.pods[10])
    container = Container(
        name="coredns",
        image="coredns",
        pod=PodInfo("kube-system", "coredns-1", "u", ip, "coredns-1", "control-plane", addresses.node_ip(0)),
        write=lines.append,
    )
    main = program(api, clock, upstreams=upstreams, host=ip, chance=random.Random(1))
    task: asyncio.Task[int | None] = asyncio.ensure_future(main(container))  # type: ignore[arg-type]
    started = asyncio.ensure_future(container.ready.wait())
    await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    try:
        yield Running(api, container, task, lines)
    finally:
        container.terminated.set()
        await task


Answerer = Callable[[bytes], bytes | None]


@asynccontextmanager
async def upstream(addresses: Addresses, answer: Answerer, tcp: Answerer | None = None) -> AsyncIterator[list[str]]:
    """A nameserver at the last node address; yields the questions that it was asked."""
    host, port = str(addresses.nodes[250]), 15399
    asked: list[str] = []

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            asked.append(f"udp {dnslib.DNSRecord.parse(data).q.qname}")
            if (reply := answer(data)) is not None:
                self.transport.sendto(reply, addr)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        asked.append(f"tcp {dnslib.DNSRecord.parse(data).q.qname}")
        reply = (tcp or answer)(data) or b""
        writer.write(len(reply).to_bytes(2, "big") + reply)
        await writer.drain()
        writer.close()

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=(host, port))
    server = await asyncio.start_server(serve, host, port)
    try:
        yield asked
    finally:
        transport.close()
        server.close()
        await server.wait_closed()


def zone_reply(*lines: str, rcode: str = "NOERROR", tc: int = 0) -> Answerer:
    def answer(data: bytes) -> bytes:
        record = dnslib.DNSRecord.parse(data).reply(aa=0)
        record.header.rcode = getattr(dnslib.RCODE, rcode)
        record.header.tc = tc
        for line in lines:
            record.add_answer(*dnslib.RR.fromZone(line))
        return bytes(record.pack())

    return answer


def at(addresses: Addresses) -> tuple[str, ...]:
    return (f"{addresses.nodes[250]}:15399",)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def test_dig(addresses: Addresses) -> None:
    """The real dig gets the records that the cluster has at that moment, and loses them with the object."""
    async with running(addresses) as dns:
        made = dns.api.create(service("web", ports=[{"name": "http", "port": 80}], selector={"app": "web"}))
        ip = made["spec"]["clusterIP"]
        assert await dns.dig("+short", "web.default.svc.cluster.local") == ip
        assert await dns.dig("+short", "+tcp", "WEB.default.svc.cluster.local") == ip
        assert await dns.dig("+short", "_http._tcp.web.default.svc.cluster.local", "SRV") == (
            "0 100 80 web.default.svc.cluster.local."
        )
        assert await dns.dig("+short", "-x", ip) == "web.default.svc.cluster.local."
        assert "Transfer failed" in await dns.dig("AXFR", "cluster.local")
        dns.api.delete("services", "web", "default")
        gone = await dns.dig("web.default.svc.cluster.local")
        assert "status: NXDOMAIN" in gone
        assert "ns.dns.cluster.local. hostmaster.cluster.local." in gone
    assert dns.task.result() == 0


async def test_truncated_then_tcp(addresses: Addresses) -> None:
    """An answer too big for UDP is truncated, and dig gets all of it over TCP."""
    async with running(addresses) as dns:
        dns.api.create(service("big", clusterIP="None", ports=[{"name": "http", "port": 80}]))
        dns.api.create(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": "big-1",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": "big"},
                },
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
                "endpoints": [{"addresses": [f"127.244.9.{i}"], "conditions": {"ready": True}} for i in range(1, 90)],
            }
        )
        assert "flags: qr aa tc rd" in await dns.dig("+ignore", "+noedns", "big.default.svc.cluster.local")
        assert len((await dns.dig("+short", "+noedns", "big.default.svc.cluster.local")).splitlines()) == 89
        await until(lambda: "tcp" in dns.log)


async def test_log_lines(addresses: Addresses) -> None:
    """Every query is one line in CoreDNS' format."""
    async with running(addresses) as dns:
        await dns.dig("+noedns", "-b", str(addresses.pods[77]), "Kubernetes.default.svc.cluster.local", "AAAA")
        await until(lambda: " - " in dns.log)
        line = next(line for line in dns.log.splitlines() if " - " in line)
        head, _, tail = line.partition(" - ")
        assert head.startswith(f"[INFO] {addresses.pods[77]}:")
        assert '"AAAA IN kubernetes.default.svc.cluster.local. udp 54 false 512" NXDOMAIN qr,aa,rd ' in tail
        assert tail.endswith("s")
    assert dns.lines[0] == ".:15353\n"


async def test_pages(addresses: Addresses) -> None:
    """Health, readiness and Prometheus' text are served, and queries are counted."""
    async with running(addresses) as dns:
        for _ in range(3):
            await dns.dig("web.default.svc.cluster.local")
        assert (await dns.get(18080, "/health")).endswith("\r\n\r\nOK")
        assert (await dns.get(18181, "/ready")).startswith("HTTP/1.1 200")
        page = await dns.get(19153, "/metrics")
        assert (
            'coredns_dns_requests_total{family="1",proto="udp",server="dns://:53",type="A",view="",zone="."} 3' in page
        )
        assert (
            'coredns_dns_responses_total{plugin="kubernetes",rcode="NXDOMAIN",server="dns://:53",view="",zone="."} 3'
            in page
        )
        assert 'coredns_dns_request_duration_seconds_count{server="dns://:53",type="A",view="",zone="."} 3' in page
        assert (await dns.get(19153, "/")).startswith("HTTP/1.1 404")


async def test_forwarding(addresses: Addresses) -> None:
    """Other names are asked upstream, kept while their TTL lasts, and come back as they were asked."""
    async with (
        upstream(addresses, zone_reply("example.com. 60 IN A 192.0.2.7")) as asked,
        running(addresses, upstreams=at(addresses)) as dns,
    ):
        assert await dns.dig("+short", "example.com") == "192.0.2.7"
        again = await dns.dig("eXample.com")
        assert ";eXample.com." in again
        assert "flags: qr rd ra" in again
        assert asked == ["udp example.com."]


async def test_one_question_for_all_who_ask(addresses: Addresses) -> None:
    """The same question from several clients at once goes upstream once."""
    async with upstream(addresses, lambda data: None) as asked, running(addresses, upstreams=at(addresses)) as dns:
        digs = [asyncio.ensure_future(dns.dig("+short", "+time=1", "slow.example.com")) for _ in range(4)]
        await until(lambda: len(asked) > 0)
        await asyncio.gather(*digs)
        assert len(asked) == 1


async def test_upstream_truncates(addresses: Addresses) -> None:
    """A truncated upstream answer is fetched over TCP."""
    whole = zone_reply(*(f"big.test. 60 IN A 192.0.2.{i}" for i in range(1, 41)))
    async with (
        upstream(addresses, zone_reply(tc=1), whole) as asked,
        running(addresses, upstreams=at(addresses)) as dns,
    ):
        assert len((await dns.dig("+short", "big.test")).splitlines()) == 40
        assert asked == ["udp big.test.", "tcp big.test."]


async def test_external_name_is_chased(addresses: Addresses) -> None:
    """An ExternalName outside the cluster comes with the addresses that upstream knows; a failure leaves the CNAME."""
    async with (
        upstream(addresses, zone_reply("db.example.com. 60 IN A 192.0.2.9")),
        running(addresses, upstreams=at(addresses)) as dns,
    ):
        dns.api.create(service("db", type="ExternalName", externalName="db.example.com"))
        assert await dns.dig("+short", "db.default.svc.cluster.local") == "db.example.com.\n192.0.2.9"
    async with running(addresses, corefile=ALONE) as dns:
        dns.api.create(service("db", type="ExternalName", externalName="db.example.com"))
        assert await dns.dig("+short", "db.default.svc.cluster.local") == "db.example.com."


async def test_rewritten_and_forwarded(addresses: Addresses) -> None:
    """A rewritten name that is forwarded comes back under the name that was asked for."""
    corefile = COREFILE.replace("    errors\n", "    errors\n    rewrite name short.test long.example.com\n")
    async with (
        upstream(addresses, zone_reply("long.example.com. 60 IN A 192.0.2.9")) as asked,
        running(addresses, corefile=corefile, upstreams=at(addresses)) as dns,
    ):
        assert "short.test.\t\t60\tIN\tA\t192.0.2.9" in await dns.dig("short.test")
        assert asked == ["udp long.example.com."]


async def test_dead_upstream(addresses: Addresses) -> None:
    """A closed upstream port is SERVFAIL at once, with the reason in the log; no upstream at all is, too."""
    async with running(addresses, upstreams=at(addresses)) as dns:
        assert "status: SERVFAIL" in await dns.dig("example.com")
        await until(lambda: "plugin/errors: 2 example.com. A: plugin/forward: read udp" in dns.log)
    async with running(addresses, corefile=ALONE) as dns:
        assert "status: SERVFAIL" in await dns.dig("example.com")
        assert "plugin/errors: 2 example.com. A: plugin/kubernetes: no next plugin found" in dns.log


async def test_silent_upstream(addresses: Addresses) -> None:
    """An upstream that never answers is SERVFAIL before libc gives up (5 s)."""
    clock = VirtualClock()
    async with (
        upstream(addresses, lambda data: None) as asked,
        running(addresses, upstreams=at(addresses), clock=clock) as dns,
    ):
        waiting = asyncio.ensure_future(dns.dig("example.com"))
        await until(lambda: len(asked) == 1)
        await clock.advance(2.0)
        await until(lambda: len(asked) == 2)
        await clock.advance(2.4)
        assert "status: SERVFAIL" in await waiting
        assert "i/o timeout" in dns.log


async def test_forged_replies_are_ignored(addresses: Addresses) -> None:
    """A reply with another id or question is not taken for the answer."""

    def lie(data: bytes) -> bytes | None:
        return bytes([data[0] ^ 1]) + zone_reply("example.com. 60 IN A 192.0.2.66")(data)[1:]

    clock = VirtualClock()
    async with upstream(addresses, lie) as asked, running(addresses, upstreams=at(addresses), clock=clock) as dns:
        waiting = asyncio.ensure_future(dns.dig("example.com"))
        for count in (1, 2, 3):
            await until(lambda count=count: len(asked) == min(count, 2))  # type: ignore[misc]
            await clock.advance(2.0)
        assert "status: SERVFAIL" in await waiting


async def test_reload(addresses: Addresses) -> None:
    """A changed ConfigMap is served at once; a broken one changes nothing and says why."""
    async with running(addresses) as dns:
        edited = COREFILE.replace(
            "    errors\n", "    errors\n    hosts {\n      10.0.0.9 new.test\n      fallthrough\n    }\n"
        )
        dns.api.update(config_map(edited))
        await until(lambda: "Reloading complete" in dns.log)
        assert await dns.dig("+short", "new.test") == "10.0.0.9"
        dns.api.update(config_map(edited.replace("loop", "lop")))
        await until(lambda: "reload failed" in dns.log)
        line = edited.splitlines().index("    loop") + 1
        assert f"[ERROR] Restart failed: Corefile:{line} - Error during parsing: Unknown directive 'lop'" in dns.log
        assert await dns.dig("+short", "new.test") == "10.0.0.9"


async def test_reload_elsewhere(addresses: Addresses) -> None:
    """A Corefile with another port moves the listener."""
    async with running(addresses) as dns:
        dns.api.update(config_map(COREFILE.replace("15353", "15354")))
        await until(lambda: "Reloading complete" in dns.log)
        assert "connection refused" in await dns.dig("new.test")
        assert "status: NXDOMAIN" in await dns.dig("-p", "15354", "x.default.svc.cluster.local")


async def test_broken_corefile(addresses: Addresses) -> None:
    """A container whose Corefile can't be read ends with 1 and the line in its log."""
    async with running(addresses, corefile=".:15353 {\n  nonsense\n}\n") as dns:
        assert await dns.task == 1
        assert dns.log.startswith("Corefile:2 - Error during parsing: Unknown directive 'nonsense'")


async def test_lameduck(addresses: Addresses) -> None:
    """With lameduck, CoreDNS goes on serving for that long after SIGTERM."""
    clock = VirtualClock()
    corefile = COREFILE.replace("health :18080", "health :18080 {\n lameduck 5s\n}")
    async with running(addresses, corefile=corefile, clock=clock) as dns:
        dns.container.terminated.set()
        await until(lambda: "lameduck" in dns.log)
        assert "status: NXDOMAIN" in await dns.dig("x.default.svc.cluster.local")
        assert not dns.task.done()
        await clock.advance(5.0)
        assert await dns.task == 0


async def test_address_in_use(addresses: Addresses) -> None:
    """A port that is taken fails the start and leaves nothing open."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((str(addresses.pods[10]), PORT))
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            async with running(addresses):
                pass


async def test_garbage(addresses: Addresses) -> None:
    """Garbage on either transport harms nobody."""
    chance = random.Random(3)
    async with running(addresses) as dns:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for size in range(0, 200, 3):
                sock.sendto(chance.randbytes(size), (dns.ip, PORT))
        reader, writer = await asyncio.open_connection(dns.ip, PORT)
        writer.write(b"\x00\x05hello")
        assert await reader.read() == b""
        writer.close()
        assert "status: NXDOMAIN" in await dns.dig("x.default.svc.cluster.local")
        assert "coredns_panics_total 0" in await dns.get(19153, "/metrics")


async def test_pipelined_tcp(addresses: Addresses, no_leaks: None) -> None:
    """Several questions on one TCP connection are answered in turn."""
    async with running(addresses) as dns:
        reader, writer = await asyncio.open_connection(dns.ip, PORT)
        question = encode_name("x.default.svc.cluster.local.") + b"\0\1\0\1"
        for id_ in (b"\0\1", b"\0\2", b"\0\3"):
            data = id_ + b"\1\0\0\1\0\0\0\0\0\0" + question
            writer.write(len(data).to_bytes(2, "big") + data)
        for number in (1, 2, 3):
            reply = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            assert reply[1] == number
            assert reply[12 : question_end(reply)] == question
        writer.close()
