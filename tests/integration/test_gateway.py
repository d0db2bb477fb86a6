"""The Gateway API on a running cluster: what conformance looks at from outside, over real sockets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py import Cluster
from minikube_py.apimachinery.manifests import ManifestError

GROUP = "gateway.networking.k8s.io"
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def tea() -> Iterator[Cluster]:
    """configs/gateway.yaml."""
    with Cluster.from_files(CONFIGS / "gateway.yaml") as cluster:
        cluster.wait("gateway/door", condition="Programmed")
        yield cluster


def route(name: str, *rules: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"parentRefs": [{"name": "door"}], "rules": list(rules), **spec},
    }


def test_the_tea_house(tea: Cluster) -> None:
    """Shares, a header, a redirect, a Service of another namespace."""
    with tea.client() as http:
        menus = {http.get("http://shop.tea.example/").text for _ in range(40)}
        assert menus == {"green tea, black tea\n", "green tea, black tea, cake\n"}
        new = http.get("http://shop.tea.example/", headers={"x-menu": "new"})
        assert (new.text, new.headers["x-version"]) == ("green tea, black tea, cake\n", "v2")
        moved = http.get("http://shop.tea.example/carte/today", follow_redirects=False)
        assert (moved.status_code, moved.headers["location"].partition("//")[2].partition("/")[2]) == (
            301,
            "menu/today",
        )
        assert http.get("http://shop.tea.example/order").text == "one pot of tea, coming up\n"


def test_where_it_is(tea: Cluster) -> None:
    """The Gateway's address is an answer of `url`, and the routes are among the URLs that `up` prints."""
    assert tea.url("gateway/door").startswith("http://127.")
    with tea.client() as http:
        answer = http.get(tea.url("gateway/door"), headers={"Host": "shop.tea.example"})
    assert answer.status_code == 200


def test_what_is_wrong_is_refused(tea: Cluster) -> None:
    """With field path and the definition's words."""
    redirect = {"type": "RequestRedirect", "requestRedirect": {}}
    with pytest.raises(ManifestError, match=r"spec.rules\[0\].filters: .*: RequestRedirect filter cannot be repeated"):
        tea.apply([route("bad", {"filters": [redirect, redirect]})])


@pytest.mark.parametrize(
    ("url", "reachable", "words"),
    [
        ("http://shop.tea.example/", True, "75% of the requests"),
        ("http://shop.tea.example/carte", True, "301 to http://shop.tea.example/menu"),
        ("http://shop.tea.example/order", True, "Service kitchen/orders port 80"),
        ("http://shpo.tea.example/", False, "did you mean http://shop.tea.example?"),
    ],
)
def test_why(tea: Cluster, url: str, reachable: bool, words: str) -> None:
    """The walk says which route, backend and pod; a real GET agrees."""
    answer = tea.why("outside", url)
    assert (answer.reachable, answer.agrees) == (reachable, True)
    assert words in str(answer)


def test_why_a_policy_keeps_the_gateway_out(tea: Cluster) -> None:
    """The hop behind the backend fails, and so does the GET."""
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed", "namespace": "kitchen"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    fast = {"timeouts": {"request": "300ms"}, "backendRefs": [{"name": "orders", "namespace": "kitchen", "port": 80}]}
    path = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], **fast}
    tea.apply([policy, route("closed", path, hostnames=["closed.tea.example"])])
    tea.kill("deployment/orders", namespace="kitchen")  # connections from before the policy end with the pod
    tea.wait("deployment/orders", ready=1, namespace="kitchen")
    try:
        answer = tea.why("outside", "http://closed.tea.example/")
        assert answer.broken is not None
        assert (answer.broken.name, answer.broken.state, answer.agrees) == ("ingress", "DENIED", True), str(answer)
        assert "kitchen/closed" in str(answer)
    finally:
        tea.delete("networkpolicy/closed", namespace="kitchen")
        tea.delete("httproute/closed")


def test_a_change_shows_in_the_status(tea: Cluster) -> None:
    """observedGeneration follows, attachedRoutes counts, and what is left is told."""
    tea.apply([route("second", {"backendRefs": [{"name": "nobody", "port": 80}]}, hostnames=["second.tea.example"])])
    tea.settle()
    second = tea.get("httproute/second")
    (parent,) = second["status"]["parents"]
    found = {each["type"]: (each["status"], each["reason"]) for each in parent["conditions"]}
    assert found == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound")}
    assert tea.get("gateway/door")["status"]["listeners"][0]["attachedRoutes"] == 2
    second["spec"]["hostnames"] = ["elsewhere.example"]
    tea.apply([second])
    tea.settle()
    second = tea.get("httproute/second")
    conditions = second["status"]["parents"][0]["conditions"]
    assert {each["observedGeneration"] for each in conditions} == {second["metadata"]["generation"]} == {2}
    assert conditions[0]["reason"] == "NoMatchingListenerHostname"
    tea.delete("httproute/second")
    tea.settle()
    assert tea.get("gateway/door")["status"]["listeners"][0]["attachedRoutes"] == 1
