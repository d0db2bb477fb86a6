"""A pod whose port another program of this machine has, and a program that leaves its own open."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.images.container import Container

from .nodes import Cluster

_PORTS = [{"containerPort": 8080}, {"containerPort": 5353, "protocol": "UDP"}]


@pytest.mark.parametrize(
    ("type_", "port", "message"),
    [
        pytest.param(socket.SOCK_STREAM, 8080, "cannot listen on TCP port 8080", id="TCP"),
        pytest.param(socket.SOCK_DGRAM, 5353, "cannot listen on UDP port 5353", id="UDP"),
    ],
)
async def test_a_port_that_another_program_has_is_waited_for(type_: Any, port: int, message: str) -> None:
    """CrashLoopBackOff names port and address, the pod's other ports are closed; it comes up once the port is free."""
    clock = VirtualClock()
    node = Cluster(clock=clock)
    await node.start()

    async def until(holds: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await clock.advance(0.1)  # statuses are written when their time has come
                await asyncio.sleep(0)

    try:
        address = str(node.kubelet.pod_cidr[2])  # .1 is the gateway's
        with socket.socket(socket.AF_INET, type_) as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # others' connections in TIME_WAIT
            taken.bind((address, port))
            if type_ == socket.SOCK_STREAM:
                taken.listen()
            node.create("web", "registry.example/web:1", ports=_PORTS)
            await until(lambda: node.main("web")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")
            worker = node.kubelet.worker("default", "web")
            assert worker is not None
            assert worker.namespace.listeners() == []
            assert node.pod("web")["status"]["podIP"] == address
            said = node.main("web")["lastState"]["terminated"]["message"]
            assert f"{message} of {address}: another program of this machine does already" in said
            await until(lambda: "Failed" in node.reasons("web"))
        await until(lambda: node.ready("web"))
        assert sorted(worker.namespace.listeners()) == [("TCP", 8080), ("UDP", 5353)]
        node.api.delete("pods", "web", "default", grace_period=0)
        await until(lambda: not node.kubelet.pool.leases)
    finally:
        await node.close()


async def test_what_a_program_leaves_open_ends_with_it(cluster: Cluster) -> None:
    """As the end of a process closes its sockets: the next run finds its ports free."""
    runs = 0

    async def careless(container: Container) -> int:
        nonlocal runs
        runs += 1
        loop = asyncio.get_running_loop()
        await asyncio.start_server(lambda reader, writer: None, "0.0.0.0", 8080)
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("0.0.0.0", 5353))
        container.started()
        if runs == 1:
            raise RuntimeError("no database")
        await container.terminated.wait()
        return 0

    cluster.catalog = cluster.kubelet.catalog = type(cluster.catalog)({"careless": careless})
    cluster.create("web", "careless", ports=_PORTS)
    await cluster.until(lambda: runs == 2 and cluster.ready("web"))
