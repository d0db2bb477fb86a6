"""Services as the Kubernetes documentation describes them, on the wire of a running cluster.

https://kubernetes.io/docs/concepts/services-networking/service/ and the pages it links to are the specification.
"""

import itertools
import os
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minikube_py import Cluster
from minikube_py.apimachinery.errors import StatusError

from .conftest import find_kubectl
from .netexec import (
    HTTP,
    REFUSED,
    SILENT,
    UDP,
    Datagrams,
    Object,
    change,
    client_ip,
    curl,
    endpoint_slice,
    eventually,
    hostname,
    hostnames,
    ip_of,
    node_ip,
    pod,
    refusal,
    service,
    start,
)

_numbers = itertools.count(1)


@pytest.fixture
def cluster(minicluster_module: Cluster) -> Cluster:
    return minicluster_module


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of this test's own in the cluster of the module."""
    name = f"case-{next(_numbers)}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def web(cluster: Cluster, namespace: str) -> str:
    """Two pods, one on each worker, behind Service `web`; its ClusterIP."""
    start(cluster, namespace, pod("one", node="worker"), pod("two", node="worker2"), service())
    return cluster.address("service/web", namespace=namespace)[0]


# Addresses and ports given out


def test_an_address_of_choice_is_given_once(cluster: Cluster, namespace: str) -> None:
    """A fixed clusterIP is served; a second Service that wants it is told so with 422, and so is one out of range."""
    wanted = str(cluster.addresses.services[77])
    start(cluster, namespace, pod("one"), service(clusterIP=wanted))
    assert hostname(wanted, 8000) == "one"
    assert refusal(cluster, service("other", clusterIP=wanted), namespace) == (
        f'Service "other" is invalid: spec.clusterIPs: Invalid value: []string{{"{wanted}"}}: '
        f"failed to allocate IP {wanted}: provided IP is already allocated"
    )
    assert "not in the valid range. The range of valid IPs is 127." in refusal(
        cluster, service("other", clusterIP="127.1.2.3"), namespace
    )
    cluster.delete("service/web", namespace=namespace)
    cluster.apply(service("other", clusterIP=wanted), namespace=namespace)


def test_several_ports_named_ports_and_protocols(cluster: Cluster, namespace: str) -> None:
    """One Service: two TCP ports, one by name, and a UDP port of the same number; appProtocol reaches the slice."""
    ports = [
        {"name": "http", "port": 8000, "targetPort": "http", "appProtocol": "kubernetes.io/h2c"},
        {"name": "alt", "port": 9000, "targetPort": HTTP},
        {"name": "dg", "port": 8000, "targetPort": "dg", "protocol": "UDP"},
    ]
    start(cluster, namespace, pod("one"), service(ports=ports))
    address = cluster.address("service/web", namespace=namespace)[0]
    assert hostname(address, 8000) == hostname(address, 9000) == "one"
    with Datagrams(address, 8000) as client:
        assert client.ask() == "one"
    [found] = cluster.get("endpointslices", namespace=namespace)
    by_name = {port["name"]: port for port in found["ports"]}
    assert by_name["http"]["appProtocol"] == "kubernetes.io/h2c"
    assert by_name["dg"] == {"name": "dg", "port": UDP, "protocol": "UDP"}
    change(cluster, "service/web", namespace, ports=ports[1:])
    assert curl(f"http://{address}:8000/")[0] == REFUSED
    assert hostname(address, 9000) == "one"
    with Datagrams(address, 8000) as client:
        assert client.ask() == "one"


def test_a_port_name_may_mean_another_number_in_each_pod(cluster: Cluster, namespace: str) -> None:
    """Canary and stable listen on different ports under one name: both answer, from two slices."""
    other = pod("canary")
    other["spec"]["containers"][0] |= {
        "args": ["netexec", "--http-port=9090", "--udp-port=-1"],
        "ports": [{"name": "http", "containerPort": 9090}],
    }
    start(cluster, namespace, pod("stable"), other, service())
    address = cluster.address("service/web", namespace=namespace)[0]
    assert set(hostnames(address, 8000, 2)) == {"stable", "canary"}
    slices = cluster.get("endpointslices", namespace=namespace)
    assert sorted(one["ports"][0]["port"] for one in slices) == [HTTP, 9090]


def test_sctp_is_refused_with_the_reason(cluster: Cluster, namespace: str) -> None:
    """Nothing here could carry it: no Service gets an address that would never answer."""
    complaint = refusal(cluster, service(ports=[{"port": 7, "protocol": "SCTP"}]), namespace)
    assert 'spec.ports[0].protocol: Unsupported value: "SCTP"' in complaint


def test_the_cluster_ip_may_not_change_once_set(cluster: Cluster, web: str, namespace: str) -> None:
    """Neither to another address nor to None; and None stays None."""
    other = str(cluster.addresses.services[78])
    for value in (other, "None"):
        with pytest.raises(StatusError, match="may not change once set"):
            change(cluster, "service/web", namespace, clusterIP=value, clusterIPs=[value])
    start(cluster, namespace, service("bare", clusterIP="None"))
    with pytest.raises(StatusError, match="may not change once set"):
        change(cluster, "service/bare", namespace, clusterIP=other, clusterIPs=[other])
    assert hostname(web, 8000) in ("one", "two")


# NodePort


def test_a_node_port_is_on_every_node(cluster: Cluster, web: str, namespace: str) -> None:
    """Dynamic: out of 30000-32767, on each node whether it has a pod or not; a Service that goes gives it back."""
    port = change(cluster, "service/web", namespace, type="NodePort")["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    for node in ("control-plane", "worker", "worker2"):
        assert set(hostnames(node_ip(cluster, node), port, 4)) == {"one", "two"}
    taken = service("other", type="NodePort", ports=[{"port": 1, "nodePort": port}])
    complaint = refusal(cluster, taken, namespace)
    assert f"spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated" in complaint
    low = service("other", type="NodePort", ports=[{"port": 1, "nodePort": 8080}])
    assert "The range of valid ports is 30000-32767" in refusal(cluster, low, namespace)
    cluster.delete("service/web", namespace=namespace)
    assert curl(f"http://{node_ip(cluster, 'worker')}:{port}/")[0] == REFUSED
    cluster.apply(
        service("other", type="NodePort", ports=[{"port": 8000, "nodePort": port, "targetPort": HTTP}]),
        namespace=namespace,
    )
    cluster.settle()
    assert hostname(node_ip(cluster, "worker"), port) in ("one", "two")


def test_external_traffic_policy_local_keeps_to_the_node_called(cluster: Cluster, namespace: str) -> None:
    """The node with the pod answers and shows the client's address; the other drops; Cluster lets both answer."""
    start(cluster, namespace, pod("one", node="worker"), service(type="NodePort", externalTrafficPolicy="Local"))
    port = cluster.get("service/web", namespace=namespace)["spec"]["ports"][0]["nodePort"]
    here, there = node_ip(cluster, "worker"), node_ip(cluster, "worker2")
    assert hostname(here, port) == "one"
    assert client_ip(here, port, source="127.9.8.7") == "127.9.8.7"
    assert curl(f"http://{there}:{port}/hostname", timeout=0.4)[0] == SILENT
    assert hostname(cluster.address("service/web", namespace=namespace)[0], 8000) == "one"  # it binds node ports only
    change(cluster, "service/web", namespace, externalTrafficPolicy="Cluster")
    assert hostname(there, port) == "one"


def test_external_traffic_policy_local_drops_datagrams_too(cluster: Cluster, namespace: str) -> None:
    """A datagram to a node without an endpoint is lost."""
    ports = [{"name": "dg", "port": 8000, "targetPort": UDP, "protocol": "UDP"}]
    start(
        cluster,
        namespace,
        pod("one", node="worker"),
        service(type="NodePort", externalTrafficPolicy="Local", ports=ports),
    )
    port = cluster.get("service/web", namespace=namespace)["spec"]["ports"][0]["nodePort"]
    with Datagrams(node_ip(cluster, "worker"), port) as client:
        assert client.ask() == "one"
    with Datagrams(node_ip(cluster, "worker2"), port) as client:
        assert client.ask(timeout=0.3) is None


def test_internal_traffic_policy_local_keeps_to_the_callers_node(cluster: Cluster, web: str, namespace: str) -> None:
    """A pod meets the endpoint of its own node only; without one it gets no answer."""
    start(cluster, namespace, pod("caller", "caller", node="worker"))
    change(cluster, "service/web", namespace, internalTrafficPolicy="Local")
    caller = ip_of(cluster, "caller", namespace)
    assert set(hostnames(web, 8000, 4, source=caller)) == {"one"}
    cluster.delete("pod/one", namespace=namespace, grace_period=0)
    cluster.wait_gone("pod/one", namespace=namespace)
    cluster.settle()
    assert curl(f"http://{web}:8000/hostname", source=caller, timeout=0.4)[0] == SILENT


def test_the_health_check_node_port_tells_who_has_endpoints(cluster: Cluster, namespace: str) -> None:
    """What a cloud's balancer asks each node: 200 with pods of the Service on it, 503 without; kube-proxy's JSON."""
    start(cluster, namespace, pod("one", node="worker"), service(type="LoadBalancer", externalTrafficPolicy="Local"))
    port = cluster.get("service/web", namespace=namespace)["spec"]["healthCheckNodePort"]

    def asked(node: str) -> str:
        code, text = curl(f"http://{node_ip(cluster, node)}:{port}/healthz", "-i")
        assert code == 0, text
        return text.replace("\r", "")

    here, there = asked("worker"), asked("worker2")
    assert here.startswith("HTTP/1.1 200 OK\n")
    assert "Content-Type: application/json\n" in here
    assert "X-Content-Type-Options: nosniff\n" in here
    assert "X-Load-Balancing-Endpoint-Weight: 1\n" in here
    assert here.endswith(
        f'{{\n\t"service": {{\n\t\t"namespace": "{namespace}",\n\t\t"name": "web"\n\t}},\n\t"localEndpoints": 1,\n'
        '\t"serviceProxyHealthy": true\n}'
    )
    assert there.startswith("HTTP/1.1 503 Service Unavailable\n")
    assert '"localEndpoints": 0' in there
    cluster.delete("pod/one", namespace=namespace, grace_period=0)
    cluster.wait_gone("pod/one", namespace=namespace)
    cluster.settle()
    assert asked("worker").startswith("HTTP/1.1 503 ")  # asked although no endpoint is left anywhere
    change(cluster, "service/web", namespace, externalTrafficPolicy="Cluster", healthCheckNodePort=None)
    assert curl(f"http://{node_ip(cluster, 'worker')}:{port}/")[0] == REFUSED


# LoadBalancer


def _external(cluster: Cluster, name: str, namespace: str) -> list[str]:
    status = cluster.get(f"service/{name}", namespace=namespace)["status"]
    return [one["ip"] for one in status["loadBalancer"].get("ingress") or ()]


def test_load_balancers_have_an_address_each(cluster: Cluster, namespace: str) -> None:
    """Two of them answer on the same port at once; status.ingress says where; node ports come with them."""
    start(
        cluster,
        namespace,
        pod("one"),
        pod("red", "red"),
        service(type="LoadBalancer"),
        service("red", "red", type="LoadBalancer"),
    )
    [first], [second] = _external(cluster, "web", namespace), _external(cluster, "red", namespace)
    assert first != second
    assert (hostname(first, 8000), hostname(second, 8000)) == ("one", "red")
    port = cluster.get("service/red", namespace=namespace)["spec"]["ports"][0]["nodePort"]
    assert hostname(node_ip(cluster, "control-plane"), port) == "red"
    start(cluster, namespace, service("bare", type="LoadBalancer", allocateLoadBalancerNodePorts=False))
    assert "nodePort" not in cluster.get("service/bare", namespace=namespace)["spec"]["ports"][0]


def test_load_balancer_ip_is_given_to_one(cluster: Cluster, namespace: str) -> None:
    """loadBalancerIP is honoured; a second Service that wants it waits, with an event, and gets it when it is free."""
    wanted = str(cluster.addresses.load_balancers[99])
    start(cluster, namespace, pod("one"), service(type="LoadBalancer", loadBalancerIP=wanted))
    assert hostname(wanted, 8000) == "one"
    start(cluster, namespace, service("second", type="LoadBalancer", loadBalancerIP=wanted))
    assert _external(cluster, "second", namespace) == []
    reasons = {event["reason"]: event["message"] for event in cluster.get("events", namespace=namespace)}
    assert wanted in reasons["SyncLoadBalancerFailed"]
    change(cluster, "service/web", namespace, type="ClusterIP", loadBalancerIP=None)
    assert _external(cluster, "web", namespace) == []
    assert _external(cluster, "second", namespace) == [wanted]
    assert hostname(wanted, 8000) == "one"


def test_load_balancer_source_ranges_bind_its_address_alone(cluster: Cluster, namespace: str) -> None:
    """Who is outside them gets no answer there; the ClusterIP answers everybody."""
    start(cluster, namespace, pod("one"), service(type="LoadBalancer", loadBalancerSourceRanges=["127.9.8.0/24"]))
    [address] = _external(cluster, "web", namespace)
    assert client_ip(address, 8000, source="127.9.8.7") == "127.9.8.7"
    assert curl(f"http://{address}:8000/", source="127.9.9.7", timeout=0.4)[0] == SILENT
    assert hostname(cluster.address("service/web", namespace=namespace)[0], 8000, source="127.9.9.7") == "one"


def test_another_class_of_balancer_is_left_alone(cluster: Cluster, namespace: str) -> None:
    """loadBalancerClass is somebody else's: it stays pending, can't change, and may not be set later."""
    start(cluster, namespace, pod("one"), service(type="LoadBalancer", loadBalancerClass="acme.io/nlb"))
    assert _external(cluster, "web", namespace) == []
    with pytest.raises(StatusError, match="may not change once set"):
        change(cluster, "service/web", namespace, loadBalancerClass="acme.io/other")
    assert "loadBalancerClass" not in change(cluster, "service/web", namespace, type="NodePort")["spec"]
    assert len(_external(cluster, "web", namespace)) == 0
    change(cluster, "service/web", namespace, type="LoadBalancer")
    assert len(_external(cluster, "web", namespace)) == 1
    with pytest.raises(StatusError, match="may not change once set"):
        change(cluster, "service/web", namespace, loadBalancerClass="acme.io/nlb")


@pytest.mark.minicluster(
    config={"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "networking": {"loadBalancer": False}}, nodes=2
)
def test_without_a_provider_load_balancers_stay_pending(minicluster: Cluster) -> None:
    """As on a cluster on bare metal: the node port works, the external address is <pending>."""
    start(minicluster, "default", pod("one"), service(type="LoadBalancer"))
    assert _external(minicluster, "web", "default") == []
    port = minicluster.get("service/web")["spec"]["ports"][0]["nodePort"]
    assert hostname(node_ip(minicluster, "worker"), port) == "one"


def test_ports_change_in_place_and_scaling_to_zero_refuses(cluster: Cluster, namespace: str) -> None:
    """Another nodePort, another port, no replicas, one again: each is in force when the write returns."""
    template = pod("web")
    workload: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": template["spec"]},
        },
    }
    start(cluster, namespace, workload, service(type="LoadBalancer"))
    cluster.wait("deployment/web", ready=1, namespace=namespace)
    node, [balancer] = node_ip(cluster, "worker"), _external(cluster, "web", namespace)
    port = cluster.get("service/web", namespace=namespace)["spec"]["ports"][0]
    assert hostname(balancer, 8000) == hostname(node, port["nodePort"])
    other = 30000 + (port["nodePort"] - 30000 + 1) % 2768
    change(cluster, "service/web", namespace, ports=[{**port, "port": 8001, "nodePort": other}])
    assert curl(f"http://{node}:{port['nodePort']}/")[0] == curl(f"http://{balancer}:8000/")[0] == REFUSED
    assert hostname(balancer, 8001) == hostname(node, other)
    cluster.scale("deployment/web", 0, namespace=namespace)
    cluster.wait("deployment/web", ready=0, namespace=namespace)
    for address, number in ((balancer, 8001), (node, other)):
        eventually(lambda address=address, number=number: curl(f"http://{address}:{number}/")[0] == REFUSED)
    cluster.scale("deployment/web", 1, namespace=namespace)
    cluster.wait("deployment/web", ready=1, namespace=namespace)
    cluster.settle()
    assert hostname(balancer, 8001) == hostname(node, other)


# Endpoints of other kinds


@pytest.fixture
def outside() -> Iterator[tuple[str, int]]:
    """A server of this machine that is no pod: it answers each connection with the caller's address, and closes."""
    server = socket.create_server(("127.77.7.7", 0))

    def serve() -> None:
        while True:
            try:
                connection, client = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1000)
                connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{client[0]}".encode())

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_a_service_before_an_address_outside(cluster: Cluster, namespace: str, outside: tuple[str, int]) -> None:
    """No selector, a slice by hand: the outside server is called, as the caller."""
    by_hand = endpoint_slice("web", *outside)
    by_hand["endpoints"][0] |= {"zone": "a", "hints": {"forZones": [{"name": "a"}]}}  # accepted, without effect
    start(cluster, namespace, service(app=None, trafficDistribution="PreferClose"), by_hand)
    address = cluster.address("service/web", namespace=namespace)[0]
    assert curl(f"http://{address}:8000/") == (0, "127.0.0.1")
    start(cluster, namespace, pod("caller", "caller"))
    caller = ip_of(cluster, "caller", namespace)
    assert curl(f"http://{address}:8000/", source=caller) == (0, caller)


def test_endpoints_by_hand_are_mirrored(cluster: Cluster, namespace: str, outside: tuple[str, int]) -> None:
    """Endpoints become an EndpointSlice, follow changes, and go with them; then the Service refuses."""
    endpoints: Object = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "web"},
        "subsets": [{"addresses": [{"ip": outside[0]}], "ports": [{"name": "http", "port": outside[1]}]}],
    }
    start(cluster, namespace, service(app=None), endpoints)
    address = cluster.address("service/web", namespace=namespace)[0]
    assert curl(f"http://{address}:8000/") == (0, "127.0.0.1")
    [mirror] = cluster.get("endpointslices", namespace=namespace)
    assert mirror["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == (
        "endpointslicemirroring-controller.k8s.io"
    )
    cluster.delete("endpoints/web", namespace=namespace)
    cluster.settle()
    assert curl(f"http://{address}:8000/")[0] == REFUSED
    assert cluster.get("endpointslices", namespace=namespace) == []


def test_external_ips_answer(cluster: Cluster, web: str, namespace: str) -> None:
    """externalIPs in 127.0.0.0/8 are served; one elsewhere can't be bound, and the cluster says so."""
    change(cluster, "service/web", namespace, externalIPs=["127.88.8.8", "203.0.113.7"])
    assert hostname("127.88.8.8", 8000) in ("one", "two")
    problems = [str(problem) for problem in cluster.local.problems()]
    assert any(f"{namespace}/service/web" in one and "203.0.113.7 is not served" in one for one in problems), problems
    change(cluster, "service/web", namespace, externalIPs=None)
    assert curl("http://127.88.8.8:8000/")[0] == REFUSED
    assert not any("203.0.113.7" in str(problem) for problem in cluster.local.problems())


def test_an_address_that_another_program_has_is_named(cluster: Cluster, web: str, namespace: str) -> None:
    """The node port that a program of this machine listens on already is a problem, until the Service lets go of it."""
    node = node_ip(cluster, "worker")
    with socket.create_server((node, 0)) as taken:
        number = 30000 + taken.getsockname()[1] % 2768
    with socket.create_server((node, number)):
        ports = [{"name": "http", "port": 8000, "targetPort": HTTP, "nodePort": number}]
        change(cluster, "service/web", namespace, type="NodePort", ports=ports)
        found = [str(one) for one in cluster.local.problems() if f"{namespace}/service/web" in str(one)]
        assert [one.partition(" ")[0] for one in found] == ["MK113"]
        assert f"{node}:{number}" in found[0]
        assert "another program of this machine" in found[0]
        assert hostname(node_ip(cluster, "worker2"), number) in ("one", "two")
    change(cluster, "service/web", namespace, type="ClusterIP")
    assert not [one for one in cluster.local.problems() if f"{namespace}/service/web" in str(one)]


def test_headless_services_are_pod_addresses(
    cluster: Cluster, web: str, namespace: str, dig: Callable[..., str]
) -> None:
    """clusterIP None: DNS gives the pods' own addresses; without a selector, those written by hand."""
    start(cluster, namespace, service("bare", clusterIP="None"))
    answer = dig(cluster, "+short", f"bare.{namespace}.svc.cluster.local").split()
    assert sorted(answer) == sorted(ip_of(cluster, name, namespace) for name in ("one", "two"))
    by_hand = endpoint_slice("hand", "127.77.7.9", 5432)
    start(cluster, namespace, service("hand", app=None, clusterIP="None"), by_hand)
    assert dig(cluster, "+short", f"hand.{namespace}.svc.cluster.local") == "127.77.7.9"


def test_external_name_is_an_alias(cluster: Cluster, web: str, namespace: str) -> None:
    """ExternalName: a CNAME, here back into the cluster; no address of its own."""
    domain = f"web.{namespace}.svc.cluster.local"
    start(cluster, namespace, service("alias", None, type="ExternalName", externalName=domain, ports=[]))
    stored = cluster.get("service/alias", namespace=namespace)["spec"]
    assert "clusterIP" not in stored
    with cluster.client(from_pod="one", namespace=namespace) as http:
        assert http.get("http://alias:8000/hostname").text in ("one", "two")


def test_a_service_changes_its_type_in_place(cluster: Cluster, web: str, namespace: str) -> None:
    """ClusterIP → NodePort → LoadBalancer → ExternalName → ClusterIP: each step opens and frees what it should."""
    node = node_ip(cluster, "worker")
    port = change(cluster, "service/web", namespace, type="NodePort")["spec"]["ports"][0]["nodePort"]
    for address, number in ((web, 8000), (node, port)):
        assert hostname(address, number) in ("one", "two")
    stored = change(cluster, "service/web", namespace, type="LoadBalancer")
    [balancer] = _external(cluster, "web", namespace)
    assert stored["spec"]["ports"][0]["nodePort"] == port
    for address, number in ((web, 8000), (node, port), (balancer, 8000)):
        assert hostname(address, number) in ("one", "two")
    stored = change(
        cluster, "service/web", namespace, type="ExternalName", externalName="example.com", clusterIP=None,
        clusterIPs=None,
    )  # fmt: skip
    assert "clusterIP" not in stored["spec"]
    assert "nodePort" not in stored["spec"]["ports"][0]
    for address, number in ((web, 8000), (node, port), (balancer, 8000)):
        assert curl(f"http://{address}:{number}/")[0] == REFUSED
    assert _external(cluster, "web", namespace) == []
    stored = change(cluster, "service/web", namespace, type="ClusterIP", externalName=None)
    assert hostname(stored["spec"]["clusterIP"], 8000) in ("one", "two")


def test_not_ready_addresses_are_published_where_asked(cluster: Cluster, namespace: str) -> None:
    """publishNotReadyAddresses: a pod that never becomes ready gets calls; without it, callers are refused."""
    never: Object = {"readinessProbe": {"httpGet": {"path": "/nope", "port": 1}, "periodSeconds": 60}}
    cluster.apply(
        pod("one", container=never),
        service(),
        service("eager", publishNotReadyAddresses=True),
        namespace=namespace,
    )
    cluster.wait("pod/one", condition="Initialized", namespace=namespace)
    cluster.wait("pod/one", condition="ContainersReady=False", namespace=namespace)
    cluster.settle()
    strict, eager = (cluster.address(f"service/{name}", namespace=namespace)[0] for name in ("web", "eager"))
    assert curl(f"http://{strict}:8000/")[0] == REFUSED
    assert curl(f"http://{eager}:8000/hostname", "--retry", "20", "--retry-delay", "1", "--retry-all-errors") == (
        0,
        "one",
    )


@pytest.mark.parametrize("label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"])
def test_labels_that_take_a_service_from_the_proxy(cluster: Cluster, web: str, namespace: str, label: str) -> None:
    """Another proxy's, or nobody's: the address stays closed; without the label it opens."""
    start(cluster, namespace, service("other", labels={label: "acme"}))
    address = cluster.address("service/other", namespace=namespace)[0]
    assert curl(f"http://{address}:8000/")[0] == REFUSED
    start(cluster, namespace, service("other", labels={}))
    assert hostname(address, 8000) in ("one", "two")


def test_endpoint_slices_hold_a_hundred(cluster: Cluster, namespace: str) -> None:
    """150 pods of one Service are two slices, none above 100, and the proxy knows all of them."""

    def stored() -> None:
        operations = cluster.local.operations
        for number in range(150):
            made = operations.create(
                {**pod(f"p{number}", "many", nodeName="nowhere"), "metadata": {
                    "name": f"p{number}", "namespace": namespace, "labels": {"app": "many"}}}
            )  # fmt: skip
            status = {"phase": "Running", "podIP": f"127.77.8.{number + 1}"}
            status["conditions"] = [{"type": "Ready", "status": "True"}]  # type: ignore[assignment]
            operations.update({**made, "status": status}, subresource="status")

    cluster.apply(service("many", "many"), namespace=namespace)
    cluster._session.call(stored)
    cluster.settle()
    sizes = sorted(len(one["endpoints"]) for one in cluster.get("endpointslices", namespace=namespace))
    assert sum(sizes) == 150
    assert sizes[-1] <= 100
    assert len(cluster.local.proxy.endpoints(namespace, "many", "http")) == 150


# Who gets the connection


def test_round_robin_is_exact(cluster: Cluster, web: str, namespace: str) -> None:
    """Ten connections to two pods are five and five, and the books say so."""
    assert Counter(hostnames(web, 8000, 10)) == {"one": 5, "two": 5}
    own = ip_of(cluster, "one", namespace)
    assert client_ip(web, 8000, source=own) == client_ip(web, 8000, source=own) == own
    [books] = cluster.local.proxy.statistics(namespace, "web").values()
    assert [one.connections for one in books.values()] == [6, 6]
    eventually(lambda: all(one.received > 0 and one.sent > 0 and one.open == 0 for one in books.values()))


def test_keep_alive_sticks_to_one_pod(cluster: Cluster, web: str, namespace: str) -> None:
    """The proxy balances connections, not requests."""
    url = f"http://{web}:8000/hostname"
    code, text = curl(url, "-w", "\n", *[url] * 5)
    assert code == 0
    assert len(set(text.split())) == 1


def test_a_client_keeps_its_pod_with_affinity(cluster: Cluster, web: str, namespace: str) -> None:
    """sessionAffinity ClientIP by the caller's address, over all the Service's addresses; None spreads again."""
    stored = change(
        cluster, "service/web", namespace, type="NodePort", sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 1}},
    )  # fmt: skip
    first = hostname(web, 8000)
    assert set(hostnames(web, 8000, 6)) == {first}
    port = stored["spec"]["ports"][0]["nodePort"]
    assert set(hostnames(node_ip(cluster, "worker"), port, 3)) == {first}
    assert {hostname(web, 8000, source=f"127.9.7.{n}") for n in range(1, 5)} == {"one", "two"}
    stored = change(cluster, "service/web", namespace, sessionAffinity="None", sessionAffinityConfig=None)
    assert set(hostnames(web, 8000, 2)) == {"one", "two"}


def _mode(mode: str) -> Object:
    return {"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "networking": {"kubeProxyMode": mode}}


@pytest.mark.minicluster(pod("one"), pod("two"), service(), config=_mode("sourcehash"), nodes=2)
def test_source_hash_sends_a_client_to_one_pod(minicluster: Cluster) -> None:
    """kubeProxyMode sourcehash: each client its pod, all pods some client."""
    address = minicluster.address("service/web")[0]
    by_client = {n: set(hostnames(address, 8000, 2, source=f"127.9.6.{n}")) for n in range(1, 9)}
    assert all(len(found) == 1 for found in by_client.values())
    assert set.union(*by_client.values()) == {"one", "two"}


@pytest.mark.minicluster(pod("one"), pod("two"), service(), config=_mode("leastconn"), nodes=2)
def test_least_connections_avoids_the_busy_pod(minicluster: Cluster) -> None:
    """kubeProxyMode leastconn: while one pod has an open connection, new ones go to the other."""
    address = minicluster.address("service/web")
    with socket.create_connection(address) as busy:
        busy.sendall(b"GET /hostname HTTP/1.1\r\nHost: web\r\n\r\n")
        taken = busy.recv(1000).decode().rpartition("\n")[2]
        assert set(hostnames(*address, 3)) == {"one", "two"} - {taken}


@pytest.mark.minicluster(pod("one"), pod("two"), service(), config=_mode("random"), nodes=2)
def test_random_mode_is_not_round_robin(minicluster: Cluster) -> None:
    """kubeProxyMode random, as iptables: both pods are met, in no fixed order."""
    address = minicluster.address("service/web")[0]
    assert set(hostnames(address, 8000, 30)) == {"one", "two"}


def test_a_pod_calls_itself_through_its_service(cluster: Cluster, namespace: str) -> None:
    """Hairpin: over TCP and UDP, though policies isolate it from everybody else."""
    isolated: Object = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "nobody"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    ports = [{"name": "http", "port": 8000, "targetPort": HTTP}]
    ports.append({"name": "dg", "port": 8000, "targetPort": UDP, "protocol": "UDP"})
    start(cluster, namespace, pod("one"), service(ports=ports), isolated)
    address, own = cluster.address("service/web", namespace=namespace)[0], ip_of(cluster, "one", namespace)
    assert hostname(address, 8000, source=own) == "one"
    with Datagrams(address, 8000, source=own) as client:
        assert client.ask() == "one"
    assert curl(f"http://{address}:8000/hostname", timeout=0.4)[0] == SILENT


# Connections over time


def test_a_connection_outlives_readiness_and_ends_with_its_pod(cluster: Cluster, namespace: str) -> None:
    """Not ready: new callers are refused, the old one is served on; when the pod is gone, its connection is closed."""
    probe: Object = {"readinessProbe": {"httpGet": {"path": "/healthz", "port": HTTP}, "periodSeconds": 1}}
    probe["readinessProbe"] |= {"failureThreshold": 1}
    start(cluster, namespace, pod("one", container=probe), service())
    address = cluster.address("service/web", namespace=namespace)
    request = b"GET /hostname HTTP/1.1\r\nHost: web\r\n\r\n"
    with socket.create_connection(address, timeout=5) as held:
        held.sendall(request)
        assert held.recv(1000).endswith(b"one")
        assert curl(f"http://{address[0]}:8000/shutdown")[0] == 0  # netexec's way to become unhealthy
        cluster.wait("pod/one", condition="Ready=False", namespace=namespace)
        cluster.settle()
        assert curl(f"http://{address[0]}:8000/hostname")[0] == REFUSED
        held.sendall(request)
        assert held.recv(1000).endswith(b"one")
        cluster.delete("pod/one", namespace=namespace)
        try:
            assert held.recv(1000) == b""
        except ConnectionResetError:
            pass
    cluster.wait_gone("pod/one", namespace=namespace)


def test_datagrams_move_on_when_an_endpoint_goes(cluster: Cluster, namespace: str) -> None:
    """A flow stays with its pod while that is an endpoint; then the same client's next datagram meets another."""
    ports = [{"name": "dg", "port": 8000, "targetPort": UDP, "protocol": "UDP"}]
    start(cluster, namespace, pod("one"), pod("two"), service(ports=ports))
    address = cluster.address("service/web", namespace=namespace)[0]
    with Datagrams(address, 8000) as client:
        first = client.ask()
        assert {client.ask() for _ in range(5)} == {first}
        cluster.delete(f"pod/{first}", namespace=namespace, grace_period=0)
        cluster.settle()
        assert client.ask() == ({"one", "two"} - {first}).pop()


def test_one_client_keeps_asking_while_udp_pods_come_and_go(cluster: Cluster, namespace: str) -> None:
    """From the same port all the time: nobody yet, one pod, none, another (Kubernetes' conntrack tests)."""
    ports = [{"name": "dg", "port": 8000, "targetPort": UDP, "protocol": "UDP"}]
    start(cluster, namespace, service(type="NodePort", ports=ports))
    number = cluster.get("service/web", namespace=namespace)["spec"]["ports"][0]["nodePort"]
    address = cluster.address("service/web", namespace=namespace)[0]
    with Datagrams(address, 8000) as client, Datagrams(node_ip(cluster, "worker"), number) as by_node:
        assert client.ask(timeout=0.1) is None
        assert by_node.ask(timeout=0.1) is None
        for name in ("first", "second"):
            start(cluster, namespace, pod(name))
            assert client.ask() == by_node.ask() == name
            assert client.ask(f"echo {'x' * 3000}") == "x" * 3000
            cluster.delete(f"pod/{name}", namespace=namespace, grace_period=0)
            cluster.wait_gone(f"pod/{name}", namespace=namespace)
            cluster.settle()
            assert client.ask(timeout=0.1) is None


def test_requests_in_flight_end_well_in_the_grace_period(cluster: Cluster, namespace: str) -> None:
    """A pod is deleted while it works on an answer: the caller gets it; new callers go elsewhere at once."""
    podinfo = {"image": "stefanprodan/podinfo:6.7.0", "args": [], "ports": [{"name": "http", "containerPort": 9898}]}
    start(cluster, namespace, pod("slow", container=podinfo, terminationGracePeriodSeconds=10), service())
    address = cluster.address("service/web", namespace=namespace)[0]
    done: list[tuple[int, str]] = []
    caller = threading.Thread(target=lambda: done.append(curl(f"http://{address}:8000/delay/1")))
    caller.start()
    eventually(
        lambda: any(
            one.open for port in cluster.local.proxy.statistics(namespace, "web").values() for one in port.values()
        )
    )
    cluster.apply(pod("other"), namespace=namespace)
    cluster.wait("pod/other", condition="Ready", namespace=namespace)
    cluster.delete("pod/slow", namespace=namespace)
    cluster.settle()
    assert set(hostnames(address, 8000, 3)) == {"other"}
    caller.join()
    [(code, text)] = done
    assert code == 0, text
    assert "delay" in text


def test_a_terminating_pod_serves_while_it_is_the_last(cluster: Cluster, namespace: str) -> None:
    """KEP-1669: in its grace period a pod whose Service has no other still answers; its slice says terminating."""
    slow = pod("one", container={"lifecycle": {"preStop": {"sleep": {"seconds": 2}}}}, terminationGracePeriodSeconds=5)
    start(cluster, namespace, slow, service())
    address = cluster.address("service/web", namespace=namespace)[0]
    cluster.delete("pod/one", namespace=namespace)
    cluster.settle()
    [found] = cluster.get("endpointslices", namespace=namespace)
    assert found["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}
    assert hostname(address, 8000) == "one"
    start(cluster, namespace, pod("two"))
    assert set(hostnames(address, 8000, 4)) == {"two"}
    cluster.wait_gone("pod/one", namespace=namespace)


# Within a pod, and mistakes


def test_containers_of_one_pod_meet_on_localhost(cluster: Cluster, namespace: str) -> None:
    """Two pods use the same ports; in each, one container calls the other at localhost, and gets its own pod's."""
    agnhost = "registry.k8s.io/e2e-test-images/agnhost:2.53"
    for name in ("one", "two"):
        both = pod(name)
        both["spec"]["containers"].append(
            {"name": "side", "image": agnhost, "args": ["netexec", "--http-port=9000", "--udp-port=-1"]}
        )
        start(cluster, namespace, both)
    for name in ("one", "two"):
        own = ip_of(cluster, name, namespace)
        for port, other in ((HTTP, 9000), (9000, HTTP)):
            dial = f"http://{own}:{port}/dial?host=localhost&port={other}&protocol=http&request=hostname"
            assert curl(dial) == (0, f'{{"responses": ["{name}"]}}')


def test_a_wrong_target_port_is_refused_and_named(cluster: Cluster, namespace: str) -> None:
    """Nothing listens there: refused, as by a real node; the cluster's warnings say what the pods listen on."""
    undeclared = pod("one")
    del undeclared["spec"]["containers"][0]["ports"]
    wrong = [{"name": "http", "port": 8000, "targetPort": 8088}]
    start(cluster, namespace, undeclared, service(ports=wrong))
    address = cluster.address("service/web", namespace=namespace)[0]
    assert curl(f"http://{address}:8000/")[0] == REFUSED
    [problem] = [str(one) for one in cluster.local.problems() if f"{namespace}/service/web" in str(one)]
    assert problem.startswith("MK103")
    assert "targetPort 8088" in problem
    assert "listens on 8080" in problem
    change(cluster, "service/web", namespace, ports=[{**wrong[0], "targetPort": HTTP}])
    assert hostname(address, 8000) == "one"
    assert not [one for one in cluster.local.problems() if f"{namespace}/service/web" in str(one)]


# The same by kubectl


@pytest.fixture
def kubectl(cluster: Cluster, namespace: str, tmp_path: Path) -> Callable[..., str]:
    """The real kubectl in this test's namespace; it returns what it printed, on stdout or stderr."""
    program = find_kubectl()

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [program, "-n", namespace, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": cluster.kubeconfig},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        return (done.stdout + done.stderr).strip()

    return run


@pytest.mark.slow
def test_services_by_kubectl(cluster: Cluster, namespace: str, kubectl: Callable[..., str]) -> None:
    """expose, patch, get, describe and what is refused, as on a real cluster."""
    start(cluster, namespace, pod("one"))
    assert kubectl("expose", "pod", "one", "--port=8000", "--target-port=8080") == "service/one exposed"
    address = kubectl("get", "service", "one", "-o", "jsonpath={.spec.clusterIP}")
    assert kubectl("wait", "--for=jsonpath={.subsets[0].addresses}", "endpoints/one").endswith("condition met")
    assert hostname(address, 8000) == "one"
    assert "provided IP is already allocated" in kubectl(
        "create", "service", "clusterip", "dup", "--tcp=80:80", f"--clusterip={address}"
    )
    assert "The range of valid ports is 30000-32767" in kubectl(
        "create", "service", "nodeport", "low", "--tcp=80:80", "--node-port=99"
    )
    assert "may not change once set" in kubectl("patch", "service", "one", "-p", '{"spec":{"clusterIP":"None"}}')
    assert "carries no SCTP" in kubectl("expose", "pod", "one", "--port=1", "--name=sctp", "--protocol=SCTP")
    kubectl("patch", "service", "one", "-p", '{"spec":{"type":"LoadBalancer"}}')
    cluster.settle()
    [balancer] = _external(cluster, "one", namespace)
    assert hostname(balancer, 8000) == "one"
    described = kubectl("describe", "service", "one")
    assert f"LoadBalancer Ingress:     {balancer} (VIP)" in described
    assert f"Endpoints:                {ip_of(cluster, 'one', namespace)}:8080" in described
    assert "EnsuredLoadBalancer" in described
    kubectl("delete", "pod", "one", "--grace-period=0", "--force")
    cluster.wait_gone("pod/one", namespace=namespace)
    cluster.settle()
    assert curl(f"http://{balancer}:8000/")[0] == REFUSED
