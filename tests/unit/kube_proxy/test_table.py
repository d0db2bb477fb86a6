"""minikube_py/kube_proxy/table.py"""

from typing import Any

import pytest

from minikube_py.kube_proxy.table import (
    Endpoint,
    Reach,
    ServicePort,
    ServiceTable,
    compile_service,
    node_info,
    read_slice,
    usable,
)

from .objects import Object, endpoint, endpoint_slice, node, service

NODES = (
    node_info(node("control-plane", "127.18.0.2", "127.244.0.0/24")),
    node_info(node("worker", "127.18.0.3", "127.244.1.0/24")),
)
HTTP = ServicePort("", "TCP")


def _compile(obj: Object, *slices: Object) -> ServiceTable:
    table = compile_service(obj, [*map(read_slice, slices)], NODES)
    assert table is not None
    return table


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([("a", True, True, False), ("b", False, False, False)], ["a"]),
        ([("a", False, True, True), ("b", True, True, False)], ["b"]),
        ([("a", False, True, True), ("b", False, False, False)], ["a"]),
        ([("a", False, False, True)], []),
        ([("a", False, True, False)], []),
        ([("a", True, True, True)], ["a"]),
    ],
    ids=[
        "only ready ones",
        "a terminating one is left out while another is ready",
        "a serving one that terminates is better than none",
        "terminating and no longer serving is nobody",
        "serving alone is not enough",
        "publishNotReadyAddresses makes a terminating one ready",
    ],
)
def test_usable_endpoints(conditions: list[tuple[str, bool, bool, bool]], expected: list[str]) -> None:
    """KEP-1669: ready endpoints, else those that terminate but still serve."""
    found = usable(Endpoint(ip, 80, "", *rest) for ip, *rest in conditions)
    assert [one.ip for one in found] == expected


def test_a_cluster_ip_goes_to_the_slices_port() -> None:
    """The slice has the targetPort resolved, in any order; the Service's own port is what is listened on."""
    table = _compile(service(clusterIP="127.96.0.5"), endpoint_slice("127.244.1.3", "127.244.1.2", port=9090))
    assert [(f.ip, f.port, f.protocol, f.reach) for f in table.frontends] == [
        ("127.96.0.5", 8000, "TCP", Reach.CLUSTER_IP)
    ]
    assert [one.address for one in table.ports[HTTP].everywhere] == [("127.244.1.2", 9090), ("127.244.1.3", 9090)]


def test_ports_are_matched_by_name_and_protocol() -> None:
    """DNS' port 53 is two Service ports; each gets the slice ports of its own name and protocol."""
    obj = service(
        ports=[
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ],
        clusterIP="127.96.0.10",
    )
    table = _compile(
        obj,
        endpoint_slice("127.244.1.2", name="u", port=53, port_name="dns", protocol="UDP"),
        endpoint_slice("127.244.1.3", name="t", port=53, port_name="dns-tcp"),
    )
    assert [one.ip for one in table.ports[ServicePort("dns", "UDP")].everywhere] == ["127.244.1.2"]
    assert [one.ip for one in table.ports[ServicePort("dns-tcp", "TCP")].everywhere] == ["127.244.1.3"]
    assert {(f.port, f.protocol) for f in table.frontends} == {(53, "UDP"), (53, "TCP")}


@pytest.mark.parametrize(
    "obj",
    [
        service(clusterIP="None"),
        service(type="ExternalName", externalName="example.com"),
        service(),
        service(clusterIP="127.96.0.5", labels={"service.kubernetes.io/service-proxy-name": "other"}),
        service(clusterIP="127.96.0.5", labels={"service.kubernetes.io/headless": ""}),
    ],
    ids=["headless", "ExternalName", "no address yet", "another proxy's", "headless by label"],
)
def test_services_that_are_not_the_proxys(obj: Object) -> None:
    """kube-proxy leaves these alone."""
    assert compile_service(obj, [read_slice(endpoint_slice("127.244.1.2"))], NODES) is None


def test_a_load_balancer_answers_on_every_address_it_has() -> None:
    """ClusterIP, external IPs, the balancer's address, and the nodePort on each node."""
    obj = service(
        type="LoadBalancer",
        clusterIP="127.96.0.5",
        externalIPs=["127.77.0.1", "203.0.113.7", "0.0.0.0"],  # nothing is opened beyond loopback
        ports=[{"port": 80, "nodePort": 30080}],
    )
    obj["status"] = {"loadBalancer": {"ingress": [{"ip": "127.200.0.1"}, {"ip": "127.200.0.2", "ipMode": "Proxy"}]}}
    table = _compile(obj, endpoint_slice("127.244.1.2"))
    assert [(f.ip, f.port, f.reach.value, f.node) for f in table.frontends] == [
        ("127.96.0.5", 80, "ClusterIP", ""),
        ("127.77.0.1", 80, "ExternalIP", ""),
        ("127.200.0.1", 80, "LoadBalancer", ""),
        ("127.18.0.2", 30080, "NodePort", "control-plane"),
        ("127.18.0.3", 30080, "NodePort", "worker"),
    ]


def test_the_same_address_in_two_slices_counts_once() -> None:
    """While endpoints move between slices they appear twice for a moment; ready wins."""
    table = _compile(
        service(clusterIP="127.96.0.5"),
        endpoint_slice("127.244.1.2", name="a"),
        endpoint_slice(endpoint("127.244.1.2", ready=False), name="b"),
    )
    assert [one.ip for one in table.ports[HTTP].everywhere] == ["127.244.1.2"]


@pytest.mark.parametrize(
    ("endpoints_on", "caller", "called", "expected"),
    [
        (["worker"], "outside", "worker", "found"),
        (["worker"], "outside", "control-plane", "dropped"),
        (["worker"], "pod", "control-plane", "found"),
        ([], "outside", "worker", "refused"),
    ],
    ids=["an endpoint is there", "none on that node: dropped", "pods are not bound by it", "none at all: refused"],
)
def test_external_traffic_policy_local(endpoints_on: list[str], caller: str, called: str, expected: str) -> None:
    """NodePorts lead to the node's own endpoints, or nowhere."""
    obj = service(
        type="NodePort",
        clusterIP="127.96.0.5",
        externalTrafficPolicy="Local",
        ports=[{"port": 80, "nodePort": 30080}],
    )
    table = _compile(obj, endpoint_slice(*(endpoint("127.244.1.2", node=name) for name in endpoints_on)))
    frontend = next(f for f in table.frontends if f.node == called)
    found = table.candidates(frontend, "127.0.0.1", None, from_pod=caller == "pod")
    outcome = "found" if found else "dropped" if table.silent(frontend) else "refused"
    assert outcome == expected


@pytest.mark.parametrize(
    ("caller_node", "expected"),
    [("worker", ["127.244.1.2"]), ("control-plane", []), (None, ["127.244.1.2"])],
    ids=["same node", "another node", "a caller on no node"],
)
def test_internal_traffic_policy_local(caller_node: str | None, expected: list[str]) -> None:
    """The ClusterIP leads to endpoints of the caller's node only."""
    table = _compile(service(clusterIP="127.96.0.5", internalTrafficPolicy="Local"), endpoint_slice("127.244.1.2"))
    found = table.candidates(table.frontends[0], "127.244.1.9", caller_node, from_pod=True)
    assert [one.ip for one in found] == expected


def test_source_ranges_bind_load_balancers_only() -> None:
    """loadBalancerSourceRanges of another type are ignored."""
    ranges: dict[str, Any] = {"clusterIP": "127.96.0.5", "loadBalancerSourceRanges": ["127.1.0.0/16"]}
    bound, free = _compile(service(type="LoadBalancer", **ranges)), _compile(service(type="ClusterIP", **ranges))
    assert [bound.admits("127.1.2.3"), bound.admits("127.0.0.1"), free.admits("127.0.0.1")] == [True, False, True]


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 0.0),
        ({"sessionAffinity": "ClientIP"}, 10800.0),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}, 5.0),
    ],
    ids=["none", "three hours by default", "as given"],
)
def test_session_affinity(spec: Object, seconds: float) -> None:
    """ClientIP affinity has a timeout."""
    assert _compile(service(clusterIP="127.96.0.5", **spec)).affinity == seconds


def test_a_node_hosts_its_own_address_and_its_pods() -> None:
    """By it the proxy knows which node a caller is on."""
    assert [NODES[1].hosts(ip) for ip in ("127.18.0.3", "127.244.1.77", "127.244.0.77", "127.0.0.1")] == [
        True,
        True,
        False,
        False,
    ]
