"""minikube_py/kube_proxy/server.py: the real store, a real fabric, real sockets."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apiserver.operations import Operations
from minikube_py.cni.addresses import lease_slice
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.namespace import NetworkNamespace
from minikube_py.cni.podloop import new_event_loop
from minikube_py.cni.types import OpenGate
from minikube_py.kube_proxy.server import KubeProxy
from minikube_py.kube_proxy.table import ServicePort

from .objects import Object, endpoint, endpoint_slice, node, service

HTTP = ServicePort("", "TCP")


class _NoNames:
    async def resolve(self, host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Bench:
    """A proxy with its API and network, and pods that answer with their name and the caller's address."""

    def __init__(self) -> None:
        self.addresses, self.lock = lease_slice()
        self.clock = VirtualClock()
        self.api = Operations(self.clock, addresses=self.addresses)
        self.fabric = Fabric(gate=OpenGate(), addresses=self.addresses)
        self.proxy = KubeProxy(self.api, self.fabric, self.clock)
        self.proxy.start()
        self._pods = 1

    async def close(self) -> None:
        self.proxy.stop()
        await self.fabric.close()
        self.lock.close()

    async def pod(self, index: int = 1, port: int = 8080) -> NetworkNamespace:
        self._pods += 1
        name = f"pod-{self._pods - 1}"
        ip = str(self.addresses.pod_cidr(index)[self._pods])
        pod = self.fabric.namespace(ip, hostname=name, name=f"default/{name}", resolver=_NoNames())

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(f"{name} {writer.get_extra_info('peername')[0]} {line.decode()}".encode())
            writer.close()

        async def serve() -> None:
            await asyncio.start_server(answer, None, port)

        await asyncio.get_running_loop().create_task(serve(), context=pod.context)
        return pod

    def service(self, obj: Object, *slices: Object) -> str:
        created = self.api.create(obj)
        for one in slices:
            self.api.create(one)
        return str(created["spec"].get("clusterIP", ""))

    def endpoints(self, *endpoints: Object | str) -> None:
        """Replace the endpoints of `web`."""
        new = endpoint_slice(*endpoints)
        self.api.modify(
            "endpointslices.discovery.k8s.io", "web-1", "default", lambda obj: obj.update(endpoints=new["endpoints"])
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    try:
        yield made
    finally:
        await made.close()


async def ask(host: str, port: int, local: str | None = None) -> str:
    """Send one line from `local`; return the name of who answers."""
    reader, writer = await asyncio.open_connection(host, port, local_addr=(local, 0) if local else None)
    try:
        writer.write(b"x\n")
        data = await reader.readline()
        if not data:
            raise ConnectionResetError("closed without an answer")
        return data.decode().split()[0]
    finally:
        writer.close()


async def test_a_thousand_connections_over_three_pods_are_333_333_334(bench: Bench) -> None:
    """Round robin counts connections, not luck."""
    pods = [await bench.pod() for _ in range(3)]
    ip = bench.service(service(), endpoint_slice(*(pod.ip for pod in pods)))
    picked: Counter[str] = Counter()
    for _ in range(50):
        picked.update(await asyncio.gather(*(ask(ip, 8000) for _ in range(20))))
    assert sorted(picked.values()) == [333, 333, 334]
    books = bench.proxy.statistics("default", "web")[HTTP]
    assert sorted(one.connections for one in books.values()) == [333, 333, 334]


async def test_a_removed_endpoint_gets_nothing_more(bench: Bench) -> None:
    """The table changes inside the write, so the very next connection goes elsewhere; none fails."""
    one, two = await bench.pod(), await bench.pod()
    ip = bench.service(service(), endpoint_slice(one.ip, two.ip))
    for _ in range(10):
        bench.endpoints(two.ip)
        assert await ask(ip, 8000) == "pod-2"
        bench.endpoints(one.ip)
        assert await ask(ip, 8000) == "pod-1"


async def test_no_endpoints_is_refused_by_the_kernel(bench: Bench) -> None:
    """A Service without endpoints refuses; it answers as soon as there is one, and refuses when that goes."""
    pod = await bench.pod()
    ip = bench.service(service(), endpoint_slice())
    with pytest.raises(ConnectionRefusedError):
        await ask(ip, 8000)
    bench.endpoints(pod.ip)
    assert await ask(ip, 8000) == "pod-1"
    bench.endpoints(endpoint(pod.ip, ready=False, serving=False))
    with pytest.raises(ConnectionRefusedError):
        await ask(ip, 8000)


async def test_nobody_listens_behind_it_is_refused_by_the_kernel(bench: Bench) -> None:
    """A wrong targetPort refuses, as a pod would; as soon as the pod listens there, it is served."""
    pod = await bench.pod(port=8080)
    ip = bench.service(service(), endpoint_slice(pod.ip, port=9090))
    with pytest.raises(ConnectionRefusedError):
        await ask(ip, 8000)
    other = await bench.pod(port=9090)
    bench.endpoints(other.ip)
    assert await ask(ip, 8000) == "pod-2"
    bench.endpoints(pod.ip)
    with pytest.raises(ConnectionRefusedError):
        await ask(ip, 8000)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"late\n")
        writer.close()

    async def serve() -> None:
        await asyncio.start_server(answer, None, 9090)

    await asyncio.get_running_loop().create_task(serve(), context=pod.context)
    assert await ask(ip, 8000) == "late"


async def test_a_program_of_its_own_is_found_when_it_begins_to_listen(bench: Bench) -> None:
    """No code of ours knows of it, so the kernel is asked again and again; when the Service goes, no longer."""
    outside = str(bench.addresses.pod_cidr(2)[99])
    ip = bench.service(service(), endpoint_slice(outside))
    with pytest.raises(ConnectionRefusedError):
        await ask(ip, 8000)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"outside\n")
        writer.close()

    server = await asyncio.start_server(answer, outside, 8080)
    await bench.clock.advance(1)
    assert await ask(ip, 8000) == "outside"
    server.close()
    await server.wait_closed()


async def test_an_established_connection_outlives_readiness(bench: Bench) -> None:
    """A pod that is no longer ready keeps the connections that it has; they end with the pod."""
    pod = await bench.pod()
    ip = bench.service(service(), endpoint_slice(pod.ip))
    reader, writer = await asyncio.open_connection(ip, 8000)
    writer.write(b"a\n")
    assert await reader.readline()
    bench.endpoints(endpoint(pod.ip, ready=False))
    writer.write(b"b\n")
    assert await reader.readline()
    await pod.close()
    assert await reader.read() == b""
    writer.close()


async def test_a_terminating_endpoint_serves_while_it_is_the_last(bench: Bench) -> None:
    """KEP-1669 on the wire."""
    one, two = await bench.pod(), await bench.pod()
    dying = endpoint(one.ip, ready=False, serving=True, terminating=True)
    ip = bench.service(service(), endpoint_slice(dying, two.ip))
    assert {await ask(ip, 8000) for _ in range(4)} == {"pod-2"}
    bench.endpoints(dying)
    assert await ask(ip, 8000) == "pod-1"


async def test_a_deleted_service_frees_its_address(bench: Bench) -> None:
    """Its address refuses at once, whatever becomes of its slices, and another Service may have it."""
    pod = await bench.pod()
    ip = bench.service(service(), endpoint_slice(pod.ip))
    assert await ask(ip, 8000) == "pod-1"
    bench.api.delete("services", "web", "default")
    with pytest.raises(ConnectionRefusedError):
        await ask(ip, 8000)
    bench.service(service("other", clusterIP=ip), endpoint_slice(pod.ip, of="other"))
    assert await ask(ip, 8000) == "pod-1"


async def test_node_ports_are_on_every_node_also_on_one_that_joins(bench: Bench) -> None:
    """Nodes come and go; heartbeats change nothing."""
    pod = await bench.pod()
    bench.service(
        service(type="NodePort", ports=[{"port": 8000, "targetPort": 8080, "nodePort": 30080}]), endpoint_slice(pod.ip)
    )
    nodes = [bench.addresses.node_ip(index) for index in range(2)]
    for index, ip in enumerate(nodes):
        bench.api.create(node(f"node-{index}", ip, str(bench.addresses.pod_cidr(index))))
    for ip in nodes:
        assert await ask(ip, 30080) == "pod-1"
    bench.api.delete("nodes", "node-0")
    with pytest.raises(ConnectionRefusedError):
        await ask(nodes[0], 30080)
    assert await ask(nodes[1], 30080) == "pod-1"


async def test_external_traffic_policy_local_keeps_to_the_node(bench: Bench) -> None:
    """The node with the endpoint answers; the other stays silent until it has one too."""
    for index in range(2):
        bench.api.create(node(f"node-{index}", bench.addresses.node_ip(index), str(bench.addresses.pod_cidr(index))))
    one, two = await bench.pod(0), await bench.pod(1)
    bench.service(
        service(
            type="NodePort",
            externalTrafficPolicy="Local",
            ports=[{"port": 8000, "targetPort": 8080, "nodePort": 30081}],
        ),
        endpoint_slice(endpoint(one.ip, node="node-0")),
    )
    assert await ask(bench.addresses.node_ip(0), 30081) == "pod-1"
    waiting = asyncio.ensure_future(ask(bench.addresses.node_ip(1), 30081))
    while not len(bench.fabric.held):  # until the kernel has delivered it
        await asyncio.sleep(0)
    assert await ask(bench.addresses.node_ip(1), 30081, two.ip) == "pod-1"  # pods are not bound by it
    bench.endpoints(endpoint(one.ip, node="node-0"), endpoint(two.ip, node="node-1"))
    assert await waiting == "pod-2"


async def test_a_load_balancer_listens_on_its_own_address_for_its_source_ranges(bench: Bench) -> None:
    """status.loadBalancer.ingress gives the address; callers outside loadBalancerSourceRanges get no answer."""
    pod = await bench.pod()
    balancer = str(bench.addresses.load_balancers[1])
    bench.service(service(type="LoadBalancer"), endpoint_slice(pod.ip))

    def give(obj: Object) -> None:
        obj["status"] = {"loadBalancer": {"ingress": [{"ip": balancer}]}}

    bench.api.modify("services", "web", "default", give, subresource="status")
    assert await ask(balancer, 8000) == "pod-1"

    def restrict(obj: Object) -> None:
        obj["spec"]["loadBalancerSourceRanges"] = [f"{pod.ip}/32"]

    bench.api.modify("services", "web", "default", restrict)
    assert await ask(balancer, 8000, pod.ip) == "pod-1"
    refused = asyncio.ensure_future(ask(balancer, 8000))
    while not len(bench.fabric.held):  # until the kernel has delivered it
        await asyncio.sleep(0)
    assert not refused.done()
    refused.cancel()


async def test_client_ip_affinity_keeps_a_client_with_its_pod(bench: Bench) -> None:
    """Until the timeout has passed without a call."""
    pods = [await bench.pod() for _ in range(3)]
    ip = bench.service(
        service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}}),
        endpoint_slice(*(pod.ip for pod in pods)),
    )
    first = {await ask(ip, 8000) for _ in range(5)}
    assert len(first) == 1
    assert {await ask(ip, 8000, pods[0].ip) for _ in range(5)}.isdisjoint(first)
    await bench.clock.advance(61)
    assert {await ask(ip, 8000)}.isdisjoint(first)


async def test_publish_gives_a_service_one_more_address(bench: Bench) -> None:
    """Even before the Service exists; then callers are reset, not left waiting."""
    pod = await bench.pod()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    door = bench.proxy.publish("127.0.0.1", port, "default", "web", "http")
    with pytest.raises(ConnectionError):
        await ask("127.0.0.1", port)
    bench.service(
        service(ports=[{"name": "http", "port": 8000, "targetPort": 8080}]), endpoint_slice(pod.ip, port_name="http")
    )
    assert await ask("127.0.0.1", port) == "pod-1"
    with pytest.raises(OSError, match="cannot listen on TCP 127"):
        bench.proxy.publish("127.0.0.1", port, "default", "web", 8000)
    door.close()
    with pytest.raises(ConnectionRefusedError):
        await ask("127.0.0.1", port)


async def test_an_address_that_is_taken_is_reported_and_tried_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The Service's other addresses work; the problem is one sentence, and is gone once the address is free."""
    pod = await bench.pod()
    ip = str(bench.addresses.services[77])
    with socket.socket() as taken:
        taken.bind((ip, 8000))
        taken.listen()
        bench.service(service(clusterIP=ip), endpoint_slice(pod.ip))
        assert "another program of this machine" in bench.proxy.problems[ip, 8000][1]
        assert "service address not open service=Service/default/web" in caplog.text
    bench.endpoints(pod.ip, str(bench.addresses.pod_cidr(1)[200]))
    assert not bench.proxy.problems
    assert await ask(ip, 8000) == "pod-1"


async def test_udp_services_forget_flows_to_endpoints_that_left(bench: Bench) -> None:
    """The next datagram of the same client goes to an endpoint that is still there."""

    class Name(asyncio.DatagramProtocol):
        def __init__(self, name: str) -> None:
            self.name = name

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(self.name.encode(), addr)

    pods = [await bench.pod(), await bench.pod()]
    for pod in pods:

        async def serve(name: str = pod.hostname) -> None:
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: Name(name), ("", 5353))

        await asyncio.get_running_loop().create_task(serve(), context=pod.context)
    ip = bench.service(
        service(ports=[{"port": 5300, "targetPort": 5353, "protocol": "UDP"}]),
        endpoint_slice(*(pod.ip for pod in pods), port=5353, protocol="UDP"),
    )

    inbox: asyncio.Queue[bytes] = asyncio.Queue()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            inbox.put_nowait(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Client, remote_addr=(ip, 5300))
    answers = []
    for _ in range(2):
        transport.sendto(b"?")
        answers.append(await asyncio.wait_for(inbox.get(), 5))
    assert answers == [b"pod-1", b"pod-1"]
    bench.endpoints(pods[1].ip)
    transport.sendto(b"?")
    assert await asyncio.wait_for(inbox.get(), 5) == b"pod-2"
    transport.close()
    books = bench.proxy.statistics("default", "web")[ServicePort("", "UDP")]
    assert books[pods[0].ip, 5353].received == 2


def test_one_services_change_touches_no_other() -> None:
    """A thousand Services: a change of one recompiles that one (the count of compilations proves it)."""
    from minikube_py.kube_proxy import table

    compiled: list[str] = []
    original = table.compile_service

    def counting(obj: Object, *rest: Any) -> Any:
        compiled.append(obj["metadata"]["name"])
        return original(obj, *rest)

    async def scenario() -> None:
        bench = Bench()
        try:
            for number in range(200):
                bench.service(service(f"s{number}"), endpoint_slice("127.9.9.9", of=f"s{number}"))
            table.compile_service = counting
            bench.api.modify("endpointslices.discovery.k8s.io", "s7-1", "default", lambda obj: obj.update(endpoints=[]))
        finally:
            table.compile_service = original
            await bench.close()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(scenario())
    assert compiled == ["s7"]
