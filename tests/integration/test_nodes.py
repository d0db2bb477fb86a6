"""Nodes come and go: what that means for pods, addresses and Services."""

from collections import Counter
from typing import Any

import httpx
import pytest

from minikube_py import Cluster
from minikube_py.apimachinery.errors import StatusError
from minikube_py.cluster.composition import StartError


def deployment(name: str, replicas: int, **pod_spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    containers = [{"name": "c", "image": "traefik/whoami", "ports": [{"containerPort": 80}]}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers, **pod_spec}},
        },
    }


WEB = deployment("web", 4)
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "type": "NodePort", "ports": [{"port": 80, "nodePort": 30123}]},
}
AGENT = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "agent"},
    "spec": {
        "selector": {"matchLabels": {"app": "agent"}},
        "template": {
            "metadata": {"labels": {"app": "agent"}},
            "spec": {"containers": [{"name": "c", "image": "registry.k8s.io/pause"}]},
        },
    },
}

pytestmark = pytest.mark.minicluster(WEB, SERVICE, AGENT)


def placed(cluster: Cluster, app: str = "web") -> Counter[str]:
    """Return how many ready pods of an app each node has."""
    return Counter(
        pod["spec"]["nodeName"]
        for pod in cluster.get("pods", selector=f"app={app}")
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
    )


def addresses(cluster: Cluster) -> set[str]:
    return {pod["status"]["podIP"] for pod in cluster.get("pods", selector="app=web")}


def condition(cluster: Cluster, node: str) -> str:
    return next(str(c["status"]) for c in cluster.get(f"node/{node}")["status"]["conditions"] if c["type"] == "Ready")


def test_an_added_node_runs_daemons_and_takes_pods(minicluster: Cluster) -> None:
    """A node joins under kind's next name with an address range of its own; its DaemonSet pod comes by itself."""
    assert minicluster.add_node(labels={"disk": "ssd"}) == "worker3"
    minicluster.wait("daemonset/agent")
    assert placed(minicluster, "agent") == Counter(worker=1, worker2=1, worker3=1)
    minicluster.apply(deployment("picky", 2, nodeSelector={"disk": "ssd"}))
    minicluster.wait("deployment/picky")
    assert placed(minicluster, "picky") == Counter(worker3=2)
    ranges = [node["spec"]["podCIDR"] for node in minicluster.get("nodes")]
    assert len(set(ranges)) == 4


def test_a_node_manifest_is_a_machine(minicluster: Cluster) -> None:
    """Applying a Node makes a machine with its labels, taints and capacity; deleting it takes the machine away."""
    minicluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "gpu-1", "labels": {"gpu": "yes"}},
            "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]},
        }
    )
    minicluster.wait("node/gpu-1", condition="Ready")
    minicluster.apply(
        deployment("train", 1, nodeSelector={"gpu": "yes"}, tolerations=[{"key": "gpu", "operator": "Exists"}])
    )
    minicluster.wait("deployment/train")
    assert placed(minicluster, "train") == Counter({"gpu-1": 1})
    minicluster.delete("node/gpu-1")
    minicluster.settle()
    assert "gpu-1" not in minicluster.local.kubelets


def test_pods_of_a_removed_node_are_replaced_with_new_addresses(minicluster: Cluster) -> None:
    """Nothing of a removed node stays: no pod, no socket, no address."""
    before = addresses(minicluster)
    gone = {
        pod["status"]["podIP"]
        for pod in minicluster.get("pods", selector="app=web")
        if pod["spec"]["nodeName"] == "worker"
    }
    assert gone
    minicluster.remove_node("worker")
    minicluster.wait("deployment/web", ready=4)
    assert placed(minicluster) == Counter(worker2=4)
    assert not gone & addresses(minicluster)
    assert before - gone < addresses(minicluster)
    assert minicluster.get("node/worker") is None
    assert placed(minicluster, "agent") == Counter(worker2=1)
    for _ in range(8):
        assert httpx.get(minicluster.url("service/web")).status_code == 200


def test_a_node_that_loses_power_keeps_its_pods_until_they_no_longer_tolerate_it(minicluster: Cluster) -> None:
    """NotReady at once, endpoints out at once, the pods still listed: Kubernetes waits for tolerationSeconds."""
    minicluster.node_down("worker")
    minicluster.settle()
    assert condition(minicluster, "worker") == "Unknown"
    taints = {(taint["key"], taint["effect"]) for taint in minicluster.get("node/worker")["spec"]["taints"]}
    assert taints == {
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    }
    assert placed(minicluster) == Counter(worker2=2)
    assert len(minicluster.get("pods", selector="app=web")) == 4
    for _ in range(8):  # a Service never picks the lost ones
        assert httpx.get(minicluster.url("service/web")).status_code == 200
    minicluster.node_up("worker")
    minicluster.wait("deployment/web", ready=4)
    assert placed(minicluster) == Counter(worker=2, worker2=2)
    assert condition(minicluster, "worker") == "True"
    assert minicluster.get("node/worker")["spec"].get("taints", []) == []


def test_the_node_port_of_a_lost_node_is_silent(minicluster: Cluster) -> None:
    """A NodePort answers at the nodes that live, on whichever of them the pods are."""
    url = {
        node["metadata"]["name"]: f"http://{node['status']['addresses'][0]['address']}:30123/"
        for node in minicluster.get("nodes")
    }
    minicluster.node_down("worker")
    assert httpx.get(url["worker2"]).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(url["worker"])
    minicluster.node_up("worker")
    assert httpx.get(url["worker"]).status_code == 200


def test_out_of_service_replaces_the_pods_at_once(minicluster: Cluster) -> None:
    """The taint that admins set on a dead node deletes its pods without waiting for a kubelet."""
    minicluster.node_down("worker", out_of_service=True)
    minicluster.wait("deployment/web", ready=4)
    assert placed(minicluster) == Counter(worker2=4)
    minicluster.node_up("worker")
    minicluster.wait("daemonset/agent")
    assert placed(minicluster, "agent") == Counter(worker=1, worker2=1)


@pytest.mark.minicluster(
    deployment("quick", 2, tolerations=[{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]),
    deployment("loyal", 2),
)
def test_toleration_seconds_say_how_long_a_pod_stays(minicluster: Cluster) -> None:
    """tolerationSeconds 0 leaves a lost node at once; the default is 300."""
    minicluster.node_down("worker")
    minicluster.wait("deployment/quick", ready=2)
    assert placed(minicluster, "quick") == Counter(worker2=2)
    assert placed(minicluster, "loyal") == Counter(worker2=1)


@pytest.mark.minicluster(
    WEB, config="apiVersion: minikube-py/v1alpha1\nkind: Cluster\napiServer: {defaultTolerationSeconds: 0}\n"
)
def test_the_default_toleration_is_the_cluster_s(minicluster: Cluster) -> None:
    """defaultTolerationSeconds stands for the API server's flags: with 0, pods of a lost node move at once."""
    minicluster.node_down("worker")
    minicluster.wait("deployment/web", ready=4)
    assert placed(minicluster) == Counter(worker2=4)


def test_drain_evicts_and_respects_budgets(minicluster: Cluster) -> None:
    """Drain cordons, evicts, leaves DaemonSets' pods, and says which budget holds it up."""
    minicluster.drain("worker")
    minicluster.wait("deployment/web", ready=4)
    assert placed(minicluster) == Counter(worker2=4)
    assert placed(minicluster, "agent") == Counter(worker=1, worker2=1)
    minicluster.uncordon("worker")
    budget = {"minAvailable": 4, "selector": {"matchLabels": {"app": "web"}}}
    minicluster.apply(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": budget}
    )
    minicluster.settle()
    with pytest.raises(TimeoutError, match="disruption budget"):
        minicluster.drain("worker2", timeout=0.3)
    minicluster.apply(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web"},
            "spec": {**budget, "minAvailable": 3},
        }
    )
    minicluster.drain("worker2")  # one after the other, as the replacements get ready
    minicluster.wait("deployment/web", ready=4)
    assert placed(minicluster) == Counter(worker=4)


def test_the_control_plane_stays(minicluster: Cluster) -> None:
    """The node of the API server can't be taken away, nor one that isn't there."""
    with pytest.raises(StartError, match="control plane"):
        minicluster.node_down("control-plane")
    with pytest.raises(StatusError, match='nodes "nope" not found'):
        minicluster.remove_node("nope")
