"""NetworkPolicy in a whole cluster: callers by NodePort and load balancer, policies before pods, churn, the record.

Callers are plain sockets with a pod's source address, as `curl --interface` is.
"""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from minikube_py import Cluster
from minikube_py.cni import drop

_WEB = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 8000, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: worker
  containers:
    - name: web
      image: hashicorp/http-echo:1.0
      args: ["-listen=:8080", "-text=web"]
      ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: caller, labels: {app: caller}}
spec:
  nodeName: worker2
  containers: [{name: c, image: pause}]
"""


def policy(name: str, *rules: dict[str, Any], app: str = "web") -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"], "ingress": list(rules)},
    }


def block(cidr: str) -> dict[str, Any]:
    return {"from": [{"ipBlock": {"cidr": cidr}}]}


def call(source: str, ip: str, port: int, patience: float = 0.3) -> str:
    """Return what a caller sees: `web`, `no answer` (to its SYN), `silence` (after it) or `refused`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind((source, 0))
        sock.settimeout(patience)
        try:
            sock.connect((ip, port))
        except TimeoutError:
            return "no answer"
        except ConnectionRefusedError:
            return "refused"
        try:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            answer = b""
            while data := sock.recv(4096):
                answer += data
            return answer.decode().strip().rpartition("\n")[2]
        except TimeoutError:
            return "silence"


@pytest.fixture
def web() -> Iterator[Cluster]:
    with Cluster(_WEB) as cluster:
        yield cluster


def ip_of(cluster: Cluster, target: str) -> str:
    return str(cluster.get(target)["status"]["podIP"])


def node(cluster: Cluster, name: str) -> str:
    return str(cluster.get(f"node/{name}")["status"]["addresses"][0]["address"])


DROPPED = "no answer" if drop.drops_work() else "silence"


def test_callers_by_node_port_are_the_node(web: Cluster) -> None:
    """externalTrafficPolicy Cluster hides the source: policies see the node that was called, and let in the pod's own.

    With Local the source is kept.
    """
    control, worker, worker2 = (node(web, name) for name in ("control-plane", "worker", "worker2"))
    balancer = str(web.get("service/web")["status"]["loadBalancer"]["ingress"][0]["ip"])
    assert call("127.0.0.1", worker2, 30080) == "web"
    web.apply(policy("host-only", block("127.0.0.1/32")))
    assert call("127.0.0.1", ip_of(web, "pod/web"), 8080) == "web"
    assert call("127.0.0.1", worker2, 30080) == DROPPED
    assert call("127.0.0.1", balancer, 8000) == DROPPED
    assert call("127.0.0.1", worker, 30080) == "web", "the own node is always let in"
    web.apply(policy("host-only", block(f"{worker2}/32")))
    assert call("127.0.0.1", worker2, 30080) == "web"
    assert call("127.0.0.1", control, 30080) == DROPPED
    assert call(ip_of(web, "pod/caller"), worker2, 30080) == "web", "a pod's call to a node port is masqueraded, too"
    assert call("127.0.0.1", ip_of(web, "pod/web"), 8080) == DROPPED

    service = web.get("service/web")
    service["spec"]["externalTrafficPolicy"] = "Local"
    web.apply(service)
    web.settle()
    assert call("127.0.0.1", worker, 30080) in (DROPPED, "silence"), "the source is kept, and the policy denies it"
    web.apply(policy("host-only", block("127.0.0.1/32")))
    assert call("127.0.0.1", worker, 30080) == "web"
    assert call("127.0.0.1", balancer, 8000) == "web"
    assert "host-only" in web.why("caller", "web").because


def test_a_policy_before_its_pods_is_in_force_for_their_first_packet() -> None:
    """Applied first, it drops the first SYN to a pod that comes later; the pod it admits comes later still."""
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}
    with Cluster(policy("early", rule)) as cluster:
        cluster.apply(_WEB)
        cluster.wait("pod/web")
        cluster.wait("pod/caller")
        web = ip_of(cluster, "pod/web")
        assert call(ip_of(cluster, "pod/caller"), web, 8080) == DROPPED
        metadata = {"name": "friend", "labels": {"app": "friend"}}
        spec = {"containers": [{"name": "c", "image": "pause"}]}
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        cluster.wait("pod/friend")
        assert call(ip_of(cluster, "pod/friend"), web, 8080) == "web"


def test_probes_pass_whatever_the_policy(web: Cluster) -> None:
    """The kubelet calls from the node: an isolated pod with a readiness probe becomes ready."""
    web.apply(policy("closed", app="probed"))
    spec = {
        "containers": [
            {
                "name": "c",
                "image": "hashicorp/http-echo:1.0",
                "args": ["-listen=:8080", "-text=probed"],
                "ports": [{"containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
            }
        ]
    }
    metadata = {"name": "probed", "labels": {"app": "probed"}}
    web.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    web.wait("pod/probed", timeout=10)
    why = web.why("caller", "pod/probed:8080")
    assert (why.policies, why.agrees) == (("default/closed",), True)


def test_labels_decide_while_the_pods_run(web: Cluster) -> None:
    """Relabelling a caller or a namespace opens and shuts the door."""
    web.apply(policy("friends", {"from": [{"podSelector": {"matchLabels": {"friend": "yes"}}}]}))
    caller, where = ip_of(web, "pod/caller"), ip_of(web, "pod/web")
    assert call(caller, where, 8080) == DROPPED

    def relabel(value: str) -> None:
        def change(pod: dict[str, Any]) -> None:
            pod["metadata"]["labels"]["friend"] = value

        web._session.call(lambda: web.local.operations.modify("pods", "caller", "default", change))
        web.settle()

    relabel("yes")
    assert call(caller, where, 8080) == "web"
    relabel("no")
    assert call(caller, where, 8080) == DROPPED


def test_each_denial_is_logged_and_counted_once(web: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """One line naming the policy, one count on it, one entry in the record, though the SYN knocks twice."""
    web.apply(policy("closed"))
    with caplog.at_level("WARNING"):
        assert call(ip_of(web, "pod/caller"), ip_of(web, "pod/web"), 8080, patience=1.3) == DROPPED
    lines = [record.getMessage() for record in caplog.records if "policy denied" in record.getMessage()]
    assert len(lines) == 1
    for part in ("source=default/caller", "destination=default/web", "port=8080/TCP", "policies=default/closed"):
        assert part in lines[0]
    assert web.local.gate.denied["default/closed"] == 1
    [denial] = web._session.call(lambda: web.local.denials(source=ip_of_local(web)))
    assert (denial["port"], denial["policies"]) == (8080, ["default/closed"])


def ip_of_local(cluster: Cluster) -> str:
    pod = cluster.local.operations.get("pods", "caller", "default")
    assert pod is not None
    return str(pod["status"]["podIP"])


@pytest.mark.slow
def test_churn(web: Cluster) -> None:
    """200 changes of policies under constant calls: no allowed call fails or waits, no denied one gets a byte."""
    service = web.get("service/web")["spec"]["clusterIP"]
    pod, caller = ip_of(web, "pod/web"), ip_of(web, "pod/caller")
    web.apply(policy("base", block("127.0.0.1/32")))
    done = threading.Event()
    seen: dict[str, list[str]] = {"allowed": [], "denied": []}

    def repeat(who: str, source: str, ip: str, port: int, patience: float) -> None:
        while not done.is_set():
            seen[who].append(call(source, ip, port, patience))

    threads = [
        threading.Thread(target=repeat, args=arguments)
        for ip, port in ((pod, 8080), (service, 8000))
        for arguments in (("allowed", "127.0.0.1", ip, port, 0.9), ("denied", caller, ip, port, 0.05))
    ]
    for thread in threads:
        thread.start()
    try:
        for turn in range(100):
            web.apply(policy(f"p{turn % 5}", block(f"10.9.{turn}.0/24"), block("127.0.0.1/32")))
            if turn >= 5:
                web.delete(f"networkpolicy/p{(turn + 1) % 5}")
            time.sleep(0.005)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert set(seen["allowed"]) == {"web"}
    assert set(seen["denied"]) == {DROPPED}
    assert len(seen["allowed"]) > 100
