"""minikube_py/kube_proxy/healthcheck.py."""

import json
import socket
from asyncio import to_thread

import pytest

from minikube_py.apimachinery.meta import Key
from minikube_py.kube_proxy import healthcheck
from minikube_py.kube_proxy.table import NodeInfo, Reach, compile_service, read_slice

from .objects import endpoint, endpoint_slice, service


@pytest.mark.parametrize(("count", "status"), [(0, b"503 Service Unavailable"), (1, b"200 OK"), (7, b"200 OK")])
def test_the_status_tells_whether_the_node_has_endpoints(count: int, status: bytes) -> None:
    """200 with any, 503 with none; the body is kube-proxy's JSON and as long as announced."""
    head, _, body = healthcheck.answer(Key("shop", "api"), count, 0.0).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {
        "service": {"namespace": "shop", "name": "api"},
        "localEndpoints": count,
        "serviceProxyHealthy": True,
    }


@pytest.mark.parametrize(
    ("request_", "answer"),
    [(b"GET /x HTTP/1.1\r\n\r\n", b"head\r\n\r\nbody"), (b"HEAD / HTTP/1.1\r\n\r\n", b"head\r\n\r\n")],
)
async def test_any_path_is_answered_and_head_without_a_body(request_: bytes, answer: bytes) -> None:
    """One request, one answer, then the end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.sendall(request_)
    await healthcheck.serve(ours, b"head\r\n\r\nbody")
    with theirs:
        assert await to_thread(theirs.recv, 100) == answer
        assert await to_thread(theirs.recv, 100) == b""


def test_a_node_counts_its_ready_addresses() -> None:
    """An endpoint that is not ready doesn't count, nor one on another node, nor the same address behind two ports."""
    obj = service(
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        healthCheckNodePort=30500,
        clusterIP="127.96.0.9",
        ports=[{"name": "a", "port": 1, "protocol": "TCP"}, {"name": "b", "port": 2, "protocol": "TCP"}],
    )
    ends = [
        endpoint("127.244.1.2", node="worker"),
        endpoint("127.244.1.3", node="worker", ready=False),
        endpoint("127.244.2.2", node="worker2"),
    ]
    slices = [{**endpoint_slice(*ends, port_name=name), "metadata": {"name": name}} for name in ("a", "b")]
    nodes = [NodeInfo(name, (f"127.18.0.{n}",)) for n, name in enumerate(("control-plane", "worker", "worker2"), 2)]
    table = compile_service(obj, [*map(read_slice, slices)], nodes)
    assert table is not None
    assert table.local_ready == {"worker": 1, "worker2": 1}
    checks = {(one.ip, one.port) for one in table.health_checks}
    assert checks == {("127.18.0.2", 30500), ("127.18.0.3", 30500), ("127.18.0.4", 30500)}
    assert {one.reach for one in table.health_checks} == {Reach.HEALTH_CHECK}
