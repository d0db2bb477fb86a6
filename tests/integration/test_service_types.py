"""Ports, ClusterIP, NodePort, LoadBalancer, and the same by kubectl, on the wire of a running cluster.

https://kubernetes.io/docs/concepts/services-networking/service/ is the specification.
"""

import os
import subprocess
from collections.abc import Callable
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
    eventually,
    external_ips,
    hostname,
    hostnames,
    ip_of,
    node_ip,
    pod,
    refusal,
    service,
    start,
)

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
    [first], [second] = external_ips(cluster, "web", namespace), external_ips(cluster, "red", namespace)
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
    assert external_ips(cluster, "second", namespace) == []
    reasons = {event["reason"]: event["message"] for event in cluster.get("events", namespace=namespace)}
    assert wanted in reasons["SyncLoadBalancerFailed"]
    change(cluster, "service/web", namespace, type="ClusterIP", loadBalancerIP=None)
    assert external_ips(cluster, "web", namespace) == []
    assert external_ips(cluster, "second", namespace) == [wanted]
    assert hostname(wanted, 8000) == "one"


def test_load_balancer_source_ranges_bind_its_address_alone(cluster: Cluster, namespace: str) -> None:
    """Who is outside them gets no answer there; the ClusterIP answers everybody."""
    start(cluster, namespace, pod("one"), service(type="LoadBalancer", loadBalancerSourceRanges=["127.9.8.0/24"]))
    [address] = external_ips(cluster, "web", namespace)
    assert client_ip(address, 8000, source="127.9.8.7") == "127.9.8.7"
    assert curl(f"http://{address}:8000/", source="127.9.9.7", timeout=0.4)[0] == SILENT
    assert hostname(cluster.address("service/web", namespace=namespace)[0], 8000, source="127.9.9.7") == "one"


def test_another_class_of_balancer_is_left_alone(cluster: Cluster, namespace: str) -> None:
    """loadBalancerClass is somebody else's: it stays pending, can't change, and may not be set later."""
    start(cluster, namespace, pod("one"), service(type="LoadBalancer", loadBalancerClass="acme.io/nlb"))
    assert external_ips(cluster, "web", namespace) == []
    with pytest.raises(StatusError, match="may not change once set"):
        change(cluster, "service/web", namespace, loadBalancerClass="acme.io/other")
    assert "loadBalancerClass" not in change(cluster, "service/web", namespace, type="NodePort")["spec"]
    assert len(external_ips(cluster, "web", namespace)) == 0
    change(cluster, "service/web", namespace, type="LoadBalancer")
    assert len(external_ips(cluster, "web", namespace)) == 1
    with pytest.raises(StatusError, match="may not change once set"):
        change(cluster, "service/web", namespace, loadBalancerClass="acme.io/nlb")


@pytest.mark.minicluster(
    config={"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "networking": {"loadBalancer": False}}, nodes=2
)
def test_without_a_provider_load_balancers_stay_pending(minicluster: Cluster) -> None:
    """As on a cluster on bare metal: the node port works, the external address is <pending>."""
    start(minicluster, "default", pod("one"), service(type="LoadBalancer"))
    assert external_ips(minicluster, "web", "default") == []
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
    node, [balancer] = node_ip(cluster, "worker"), external_ips(cluster, "web", namespace)
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
    [balancer] = external_ips(cluster, "one", namespace)
    assert hostname(balancer, 8000) == "one"
    described = kubectl("describe", "service", "one")
    assert f"LoadBalancer Ingress:     {balancer} (VIP)" in described
    assert f"Endpoints:                {ip_of(cluster, 'one', namespace)}:8080" in described
    assert "EnsuredLoadBalancer" in described
    kubectl("delete", "pod", "one", "--grace-period=0", "--force")
    cluster.wait_gone("pod/one", namespace=namespace)
    cluster.settle()
    assert curl(f"http://{balancer}:8000/")[0] == REFUSED
