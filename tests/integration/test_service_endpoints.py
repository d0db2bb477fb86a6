"""What a Service leads to: pods, slices by hand, addresses outside, names, nothing.

https://kubernetes.io/docs/concepts/services-networking/service/ is the specification.
"""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from minikube_py import Cluster

from .netexec import (
    HTTP,
    OUTSIDE,
    REFUSED,
    Object,
    change,
    curl,
    endpoint_slice,
    external_ips,
    hostname,
    ip_of,
    node_ip,
    pod,
    service,
    start,
)

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
    change(cluster, "service/web", namespace, externalIPs=[f"{OUTSIDE}.8.8", "203.0.113.7"])
    assert hostname(f"{OUTSIDE}.8.8", 8000) in ("one", "two")
    problems = [str(problem) for problem in cluster.local.problems()]
    assert any(f"{namespace}/service/web" in one and "203.0.113.7 is not served" in one for one in problems), problems
    change(cluster, "service/web", namespace, externalIPs=None)
    assert curl(f"http://{OUTSIDE}.8.8:8000/")[0] == REFUSED
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
    [balancer] = external_ips(cluster, "web", namespace)
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
    assert external_ips(cluster, "web", namespace) == []
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
