"""The main job: the coffee shop, from its YAML to answers over every kind of address."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from minikube_py import Cluster

SHOP = Path(__file__).parents[2] / "configs" / "coffee-shop.yaml"
pytestmark = pytest.mark.minicluster(SHOP)


def hostname(answer: httpx.Response) -> str:
    """Return which pod answered (whoami says it)."""
    assert answer.status_code == 200, answer.text
    return re.search(r"^Hostname: (.+)$", answer.text, re.MULTILINE)[1]  # type: ignore[index]


@pytest.mark.parametrize(
    ("host", "path", "words"),
    [
        pytest.param("coffee.com", "/order", "One coffee", id="coffee.com/order goes right"),
        pytest.param(
            "coffee.com", "/menu/espresso", "Hostname: coffee-shop-", id="coffee.com/menu goes left, with all below"
        ),
        pytest.param("tea.com", "/", "Tea, on floor 3", id="tea.com takes the elevator"),
    ],
)
def test_the_ingress_directs_by_host_and_path(minicluster_module: Cluster, host: str, path: str, words: str) -> None:
    """Each rule's backend answers, on 127.0.0.1 and on the controller's LoadBalancer address."""
    c = minicluster_module
    balancer = c.url("service/ingress-nginx-controller", port="http", namespace="ingress-nginx")
    for base in (c.url("ingress/lobby"), balancer):
        assert words in httpx.get(f"{base}{path}", headers={"Host": host}).text


@pytest.mark.parametrize("path", ["/menus", "/", "/orders"])
def test_a_path_that_no_rule_matches_is_404(minicluster_module: Cluster, path: str) -> None:
    """Prefix means whole path elements: /menus is not below /menu."""
    answer = httpx.get(f"{minicluster_module.url('ingress/lobby')}{path}", headers={"Host": "coffee.com"})
    assert answer.status_code == 404


def test_a_thousand_new_connections_land_333_333_334(minicluster_module: Cluster) -> None:
    """Round robin is exact: each pod gets every third connection."""
    url = minicluster_module.url("service/coffee-shop")
    with httpx.Client(limits=httpx.Limits(max_keepalive_connections=0)) as http:
        seen = Counter(hostname(http.get(url)) for _ in range(1000))
    assert sorted(seen.values()) == [333, 333, 334]


def test_keep_alive_sticks_to_one_pod(minicluster_module: Cluster) -> None:
    """Balancing is per connection, as with iptables: one connection, one pod."""
    with httpx.Client() as http:
        seen = {hostname(http.get(minicluster_module.url("service/coffee-shop"))) for _ in range(20)}
    assert len(seen) == 1


def test_the_side_entrance_is_on_every_node(minicluster_module: Cluster) -> None:
    """NodePort 30080 answers on each node's address."""
    for node in minicluster_module.get("nodes"):
        address = node["status"]["addresses"][0]["address"]
        assert hostname(httpx.get(f"http://{address}:30080/")).startswith("coffee-shop-")


def test_a_pod_sees_its_callers_own_address(minicluster_module: Cluster) -> None:
    """Through a Service and across nodes, the source address is the calling pod's: no NAT."""
    c = minicluster_module
    caller = c.get("pods", selector="app=order")[0]
    with c.client(from_pod=caller["metadata"]["name"]) as http:
        text = http.get("http://coffee-shop/").text
    assert f"RemoteAddr: {caller['status']['podIP']}:" in text


@pytest.mark.parametrize(
    "name",
    [
        "coffee-shop",
        "coffee-shop.default",
        "coffee-shop.default.svc",
        "coffee-shop.default.svc.cluster.local",
        "coffee-shop.default.svc.cluster.local.",
    ],
)
def test_every_form_of_the_name_works_in_a_pod(minicluster_module: Cluster, name: str) -> None:
    """The pod's search path completes short names."""
    with minicluster_module.client(from_pod="deployment/order") as http:
        assert hostname(http.get(f"http://{name}/")).startswith("coffee-shop-")


def test_dig_agrees_with_the_api(minicluster_module: Cluster, dig: Callable[..., str]) -> None:
    """The Service's A record is its ClusterIP, and the address points back at the name."""
    c = minicluster_module
    address = c.get("service/coffee-shop")["spec"]["clusterIP"]
    assert dig(c, "+short", "coffee-shop.default.svc.cluster.local") == address
    assert dig(c, "+short", "-x", address) == "coffee-shop.default.svc.cluster.local."
    assert dig(c, "+short", "+tcp", "kubernetes.default.svc.cluster.local") == str(c.addresses.kubernetes_ip)
    missing = dig(c, "decaf.default.svc.cluster.local")
    assert "NXDOMAIN" in missing
    assert "SOA" in missing


def test_pods_are_spread_and_have_addresses_of_their_nodes(minicluster_module: Cluster) -> None:
    """Three pods on two workers, each with an address of its node's range and a name of its ReplicaSet."""
    c = minicluster_module
    pods = c.get("pods", selector="app=coffee-shop")
    nodes = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in c.get("nodes")}
    assert {pod["spec"]["nodeName"] for pod in pods} == {"worker", "worker2"}
    for pod in pods:
        prefix = nodes[pod["spec"]["nodeName"]].rsplit(".", 1)[0]
        assert pod["status"]["podIP"].startswith(prefix + ".")
        assert re.fullmatch(r"coffee-shop-[a-z0-9]{8,10}-[a-z0-9]{5}", pod["metadata"]["name"])
    assert len({pod["status"]["podIP"] for pod in pods}) == 3


def test_from_outside_ingress_hosts_resolve_to_the_door(minicluster_module: Cluster) -> None:
    """The outside client reaches coffee.com as a browser would, without a Host header."""
    with minicluster_module.client() as http:
        assert http.get("http://tea.com/").text.strip() == "Tea, on floor 3."


def test_events_tell_the_story(minicluster_module: Cluster) -> None:
    """Scheduling, starting and scaling leave the events that kubectl describe shows."""
    reasons = {event["reason"] for event in minicluster_module.get("events")}
    assert {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled", "Started"} <= reasons
