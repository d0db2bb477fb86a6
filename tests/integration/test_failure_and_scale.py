"""Pods die, workloads scale, manifests change: on a live cluster, from Python."""

import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from minikube_py import Cluster
from minikube_py.apimachinery.errors import StatusError

SHOP = Path(__file__).parents[2] / "configs" / "coffee-shop.yaml"


@pytest.mark.minicluster(SHOP)
def test_no_request_fails_while_pods_are_killed(minicluster: Cluster) -> None:
    """A killed pod leaves the endpoints before its address dies: constant callers notice nothing."""
    url = minicluster.url("service/coffee-shop")
    outcomes: Counter[str] = Counter()
    stop = threading.Event()

    def call() -> None:
        limits = httpx.Limits(max_keepalive_connections=0)  # each request a connection of its own
        with httpx.Client(limits=limits, timeout=5) as http:
            while not stop.is_set():
                try:
                    outcomes[str(http.get(url).status_code)] += 1
                except httpx.HTTPError as error:
                    outcomes[repr(error)] += 1

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        while outcomes.total() < 1000:
            minicluster.kill("deployment/coffee-shop")
            minicluster.wait("deployment/coffee-shop", ready=3)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert set(outcomes) == {"200"}, outcomes


@pytest.mark.minicluster(SHOP)
def test_a_replaced_pod_has_a_new_address_and_the_service_keeps_its_own(minicluster: Cluster) -> None:
    """Pod addresses die with their pods; the ClusterIP stays."""
    before = {pod["status"]["podIP"] for pod in minicluster.get("pods", selector="app=tea-house")}
    service = minicluster.get("service/tea-house")["spec"]["clusterIP"]
    [name] = minicluster.kill("deployment/tea-house")
    minicluster.wait_gone(f"pod/{name}")
    minicluster.wait("deployment/tea-house", ready=1)
    after = {pod["status"]["podIP"] for pod in minicluster.get("pods", selector="app=tea-house")}
    assert before.isdisjoint(after)
    assert minicluster.get("service/tea-house")["spec"]["clusterIP"] == service
    assert httpx.get(minicluster.url("service/tea-house")).text.strip() == "Tea, on floor 3."


@pytest.mark.minicluster(SHOP)
def test_scaling_changes_the_endpoints(minicluster: Cluster) -> None:
    """Five pods answer after scaling to five; none does after scaling to zero, and callers are refused at once."""
    minicluster.scale("deployment/tea-house", 5)
    minicluster.wait("deployment/tea-house", ready=5)
    url = minicluster.url("service/tea-house")
    minicluster.scale("deployment/tea-house", 0)
    minicluster.wait("deployment/tea-house", ready=0)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=5)
    minicluster.scale("deployment/tea-house", 1)
    minicluster.wait("deployment/tea-house", ready=1)
    assert httpx.get(url).status_code == 200


@pytest.mark.minicluster(SHOP)
def test_apply_says_what_it_did(minicluster: Cluster) -> None:
    """Applying the same manifests changes nothing; a changed one is configured; a new one created."""
    assert all(line.endswith("unchanged") for line in minicluster.apply(SHOP))
    assert "configmap/hours created" in minicluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hours"}, "data": {"open": "7"}}
    )
    assert "configmap/hours configured" in minicluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hours"}, "data": {"close": "19"}}
    )
    assert minicluster.get("configmap/hours")["data"] == {"close": "19"}


@pytest.mark.minicluster(SHOP)
def test_deleting_manifests_takes_everything_away(minicluster: Cluster) -> None:
    """Deployments take their ReplicaSets and pods along (garbage collection); Services their addresses."""
    url = minicluster.url("service/order")
    assert httpx.get(url).status_code == 200
    minicluster.delete(SHOP)
    minicluster.wait_gone("deployment/order")
    for name in [pod["metadata"]["name"] for pod in minicluster.get("pods")]:
        minicluster.wait_gone(f"pod/{name}")
    assert minicluster.get("replicasets") == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=5)


def test_what_is_refused_is_refused_in_kubernetes_words(minicluster: Cluster) -> None:
    """Deleting and scaling what isn't there is NotFound."""
    with pytest.raises(StatusError, match=r'deployments\.apps "nope" not found'):
        minicluster.scale("deployment/nope", 1)
    with pytest.raises(StatusError, match='pods "nope" not found'):
        minicluster.delete("pod/nope")


def test_a_wait_that_fails_says_what_is_wrong(minicluster: Cluster) -> None:
    """Never just "timeout": an unschedulable pod's reason is in the message."""
    minicluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "picky"},
            "spec": {"nodeSelector": {"disk": "ssd"}, "containers": [{"name": "c", "image": "nginx"}]},
        }
    )
    with pytest.raises(TimeoutError, match="nodes are available"):
        minicluster.wait("pod/picky", timeout=0.3)
