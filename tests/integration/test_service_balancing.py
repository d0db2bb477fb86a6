"""Which endpoint gets a connection, and what becomes of it while endpoints come and go.

https://kubernetes.io/docs/concepts/services-networking/service/ is the specification.
"""

import socket
import threading
from collections import Counter

import pytest

from minikube_py import Cluster

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
    eventually,
    hostname,
    hostnames,
    ip_of,
    node_ip,
    pod,
    service,
    start,
)

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
