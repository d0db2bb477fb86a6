"""kubectl looks at a whole cluster: nodes, describe with events, logs of the control plane, measured usage."""

import json
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from minikube_py import Cluster

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = [CONFIGS / name for name in ("coffee-shop.yaml", "user-api.yaml", "postgres.yaml")]
pytestmark = [pytest.mark.slow, pytest.mark.minicluster(*FILES)]


def test_what_was_applied_is_shown_by_name(kubectl_on: Any) -> None:
    """`get all` lists every workload ready, and the Ingress has the controller's address."""
    found = kubectl_on("get", "all", "-A", "--no-headers")
    for line in ("deployment.apps/coffee-shop", "statefulset.apps/postgres", "daemonset.apps/kube-proxy"):
        assert line in found
    statefulset = kubectl_on("get", "sts", "postgres")
    assert re.search(r"^postgres +3/3 ", statefulset, re.MULTILINE)
    balancer = kubectl_on(
        "get", "svc", "-n", "ingress-nginx", "-o", "jsonpath={.items[0].status.loadBalancer.ingress[0].ip}"
    )
    kubectl_on("wait", "ingress/lobby", f"--for=jsonpath={{.status.loadBalancer.ingress[0].ip}}={balancer}")
    assert balancer in kubectl_on("get", "ingress", "lobby")


def test_nodes_look_like_nodes(kubectl_on: Any) -> None:
    """Ready, of the server's version, with addresses, pod range, capacity, lease, and the pods that they run."""
    nodes = json.loads(kubectl_on("get", "nodes", "-o", "json"))["items"]
    assert [node["metadata"]["name"] for node in nodes] == ["control-plane", "worker", "worker2"]
    for node in nodes:
        ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("True", "KubeletReady")
        assert node["spec"]["podCIDR"].endswith("/24")
        assert {"cpu", "memory", "pods"} <= node["status"]["capacity"].keys()
    server = json.loads(kubectl_on("version", "-o", "json"))["serverVersion"]["gitVersion"]
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {server}
    shown = kubectl_on("describe", "node", "worker")
    for words in ("HolderIdentity:  worker", "PodCIDR:", "Allocated resources:", "kube-proxy-", "Starting kubelet."):
        assert words in shown
    assert "node-role.kubernetes.io/control-plane:NoSchedule" in kubectl_on("describe", "node", "control-plane")


def test_describe_tells_a_pods_story_in_order(kubectl_on: Any) -> None:
    """Events of one second are listed as they happened: scheduled, pulled, created, started."""
    shown = kubectl_on("describe", "pod", "-l", "app=tea-house")
    events = shown[shown.index("Events:") :]
    assert re.findall(r"Normal +(\w+)", events) == ["Scheduled", "Pulled", "Created", "Started"]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (("deployment", "order"), ("2 desired | 2 updated | 2 total | 2 available", "Scaled up replica set")),
        (("service", "order"), ("Endpoints:", ":5678")),
        (("ingress", "lobby"), ("coffee.com", "/menu", "coffee-shop:http", ":8080")),
        (("statefulset", "postgres"), ("3 Running / 0 Waiting", "create Pod postgres-0")),
        (("endpointslice", "-l", "kubernetes.io/service-name=order"), ("TargetRef:  Pod/order-",)),
        (("networkpolicy", "-n", "production"), ("Allowing ingress traffic", "PodSelector: app=frontend")),
        (("configmap", "kube-root-ca.crt"), ("BEGIN CERTIFICATE",)),
        (("storageclass", "standard"), ("IsDefaultClass:        Yes",)),
        (("priorityclass", "system-node-critical"), ("2000001000",)),
        (("namespace", "production"), ("Active",)),
        (("serviceaccount", "default"), ("default",)),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_describe_is_complete(kubectl_on: Any, what: tuple[str, ...], words: tuple[str, ...]) -> None:
    """What describe of a real cluster shows is there."""
    shown = kubectl_on("describe", *what)
    assert [word for word in words if word not in shown] == []


def test_every_kind_can_be_listed_and_described(kubectl_on: Any) -> None:
    """No kind that discovery names makes get or describe fail."""
    names = kubectl_on("api-resources", "--verbs=list", "-o", "name").split()
    assert len(names) > 40
    kubectl_on("get", ",".join(names), "-A", "-o", "name")
    kinds = [name for name in names if not name.endswith("metrics.k8s.io")]
    kubectl_on("describe", ",".join(kinds), "-n", "default")


def test_kube_system_is_the_control_plane_with_its_logs(kubectl_on: Any, minicluster_module: Cluster) -> None:
    """The components' pods are there, and CoreDNS's log has the queries that it has answered."""
    pods = kubectl_on("get", "pods", "-n", "kube-system", "-o", "name")
    for name in ("coredns", "kube-proxy", "kube-apiserver", "kube-scheduler", "kube-controller-manager"):
        assert f"pod/{name}-" in pods
    config = kubectl_on("get", "cm", "-n", "kube-system", "coredns", "-o", "jsonpath={.data.Corefile}")
    assert "kubernetes cluster.local" in config
    assert "plugin/reload" in kubectl_on("logs", "-n", "kube-system", "-l", "k8s-app=kube-dns")
    assert "Starting" in kubectl_on("logs", "-n", "kube-system", "kube-apiserver-control-plane")
    assert "proxier.go" in kubectl_on("logs", "-n", "kube-system", "ds/kube-proxy")


def test_top_shows_every_running_pod(kubectl_on: Any) -> None:
    """From measured figures; nodes have the sum of their pods."""
    pods = kubectl_on("top", "pods", "--no-headers").splitlines()
    assert len(pods) == len(kubectl_on("get", "pods", "-o", "name").splitlines())
    assert all(re.fullmatch(r"\S+ +\d+m +\d+Mi *", line) for line in pods)
    nodes = kubectl_on("top", "nodes", "--no-headers").splitlines()
    assert all(re.fullmatch(r"\S+ +\d+m +\d+% +\d+Mi +\d+% *", line) for line in nodes)


def test_cluster_info_can_be_dumped(kubectl_on: Any, tmp_path: Path) -> None:
    """Objects and logs of every namespace that is asked for."""
    kubectl_on("cluster-info", "dump", "--namespaces=kube-system", f"--output-directory={tmp_path}")
    assert (tmp_path / "nodes.json").exists()
    assert any((tmp_path / "kube-system").glob("coredns-*/logs.txt"))


def test_events_and_their_selectors(kubectl_on: Any) -> None:
    """`kubectl events --for`, field selectors, sorting."""
    assert "ScalingReplicaSet" in kubectl_on("events", "--for", "deployment/order")
    normal = kubectl_on("get", "events", "--field-selector", "type=Normal,reason=ScalingReplicaSet", "-o", "name")
    assert len(normal.splitlines()) == 3
    assert kubectl_on("get", "events", "--sort-by=.lastTimestamp")


@pytest.mark.parametrize("path", ["/readyz", "/livez", "/healthz", "/readyz/ping"])
def test_health_endpoints(kubectl_on: Any, path: str) -> None:
    """`ok`, as the probes of a load balancer expect it; verbose names the checks."""
    assert kubectl_on("get", "--raw", path) == "ok"
    if path.count("/") == 1:
        assert kubectl_on("get", "--raw", f"{path}?verbose").endswith(f"{path[1:]} check passed\n")


def test_explain_knows_every_field(kubectl_on: Any) -> None:
    """Nested fields, the recursive form, a field that does not exist."""
    assert "containerPort\t<integer> -required-" in kubectl_on("explain", "pod.spec.containers.ports")
    assert "maxUnavailable" in kubectl_on("explain", "deployment", "--recursive")
    assert kubectl_on.fails("explain", "pod.spec.nope") == 'error: field "nope" does not exist'


def test_nobody_without_the_token_reads_anything(kubectl_on: Any, minicluster_module: Cluster) -> None:
    """401 for no and for wrong tokens, private files, and a kubeconfig that only its owner can read."""
    path = Path(minicluster_module.kubeconfig)
    server = kubectl_on("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    for header in ([], ["-H", "Authorization: Bearer wrong"], ["-H", "Authorization: Basic YTpi"]):
        for url in ("/api/v1/pods", "/apis", "/api/v1/namespaces/default/pods/x/exec?command=sh"):
            done = subprocess.run(
                ["curl", "-sk", "-w", "%{http_code}", *header, server + url], capture_output=True, text=True, check=True
            )
            assert done.stdout.endswith("401"), url
            assert json.loads(done.stdout[:-3])["reason"] == "Unauthorized"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for found in path.parent.rglob("*"):
        assert stat.S_IMODE(found.stat().st_mode) & 0o077 == 0 or found.is_relative_to(path.parent / "pods"), found
    assert kubectl_on("config", "current-context").startswith("mkpy-")
    assert os.fspath(path.parent) not in kubectl_on("config", "view")


def test_roles_decide_what_others_may_do(kubectl_on: Any) -> None:
    """The kubeconfig's user may do everything; an impersonated one, and a ServiceAccount's token, what is bound."""
    k = kubectl_on
    assert k("auth", "can-i", "delete", "nodes").strip().endswith("yes")
    bob = ("--as=bob",)
    assert k.run("auth", "can-i", "list", "pods", *bob).out == "no\n"
    assert k.fails("get", "pods", *bob) == (
        'Error from server (Forbidden): pods is forbidden: User "bob" cannot list resource "pods" in API group "" '
        'in the namespace "default"'
    )
    k("create", "role", "reader", "--verb=get,list,watch", "--resource=pods")
    k("create", "rolebinding", "readers", "--role=reader", "--user=bob", "--serviceaccount=default:default")
    assert k("auth", "can-i", "list", "pods", *bob) == "yes\n"
    assert "order-" in k("get", "pods", *bob)
    assert "cannot delete resource" in k.fails("delete", "pods", "--all", *bob)
    server = k("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    token = k("create", "token", "default").strip()

    def status(path: str) -> str:
        command = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {token}"]
        return subprocess.run([*command, server + path], capture_output=True, text=True, check=True).stdout

    assert status("/api/v1/namespaces/default/pods") == "200"
    assert status("/api/v1/namespaces/default/secrets") == "403"
    assert "cluster-admin" in k("get", "clusterrolebindings")


def test_old_and_parallel_forms_are_served(kubectl_on: Any) -> None:
    """Component statuses with their warning, events of events.k8s.io, autoscaling/v1: each with its table."""
    health = kubectl_on.run("get", "cs", "--no-headers")
    assert [line.split()[:2] for line in health.out.splitlines()] == [
        ["controller-manager", "Healthy"],
        ["scheduler", "Healthy"],
        ["etcd-0", "Healthy"],
    ]
    assert health.err == "Warning: v1 ComponentStatus is deprecated in v1.19+\n"
    assert "Successfully assigned" in kubectl_on("get", "events.events.k8s.io")
    kubectl_on("autoscale", "deployment", "tea-house", "--max=3", "--cpu-percent=70")
    assert "/70%" in kubectl_on("get", "horizontalpodautoscalers.v1.autoscaling", "tea-house")
    assert "targetCPUUtilizationPercentage: 70" in kubectl_on(
        "get", "horizontalpodautoscalers.v1.autoscaling", "tea-house", "-o", "yaml"
    )
