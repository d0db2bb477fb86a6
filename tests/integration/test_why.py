"""`why` and `matrix`: the walk from name to listener, and a real connection that must come out the same.

Each denial also proves that the name resolves and that somebody listens, and names the policy that denied.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py import Cluster
from minikube_py.cluster.probing import Outcome
from minikube_py.cluster.targets import UnknownTarget
from minikube_py.cluster.why_answer import Hop, Why

from .manifests import Object, workload

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
"""

_ALLOW_DNS = {
    "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}


def speaker(name: str, *, namespace: str = "shop", port: int = 8080, replicas: int = 1) -> list[Object]:
    """A Deployment that says who it is, and its Service on port 80."""
    args = [f"-listen=:{port}", f"-text={name}"]
    return workload(
        name,
        "hashicorp/http-echo:1.0",
        port,
        namespace=namespace,
        replicas=replicas,
        service_port=80,
        args=args,
        ports=[{"containerPort": port, "name": "http"}],
    )


def policy(name: str, app: str | None, *, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": app}} if app else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": selector, **spec},
    }


def from_app(app: str, port: int = 8080) -> dict[str, Any]:
    return {"from": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": port}]}


@pytest.fixture(scope="module")
def shop() -> Iterator[Cluster]:
    objects = [*speaker("web"), *speaker("api", replicas=2), *speaker("db", port=5432)]
    with Cluster(SHOP, *objects, *speaker("web", namespace="other")) as cluster:
        yield cluster


@pytest.fixture
def apply(shop: Cluster) -> Iterator[Callable[..., None]]:
    """Apply objects for one test."""
    applied: list[dict[str, Any]] = []

    def run(*objects: dict[str, Any]) -> None:
        applied.extend(objects)
        shop.apply(*objects)

    yield run
    for obj in reversed(applied):
        shop.delete(obj)
    shop.settle()


def hop(why: Why, name: str) -> Hop:
    return next(one for one in why.hops if one.name == name)


def test_reachable(shop: Cluster) -> None:
    """Without policies every hop is ok, and a real connection is made."""
    why = shop.why("web", "api", namespace="shop")
    assert [(one.name, one.state) for one in why.hops] == [
        (name, "ok") for name in ("DNS", "egress", "service", "ingress", "listen")
    ]
    assert (why.reachable, why.agrees, why.exit_code, why.port) == (True, True, 0, 80)
    assert why.probe is not None
    assert why.probe.outcome is Outcome.CONNECTED
    assert "api.shop.svc.cluster.local" in hop(why, "DNS").text
    assert "2 endpoints" in hop(why, "service").text


def test_denied_on_the_way_in(shop: Cluster, apply: Callable[..., None], dig: Callable[..., str]) -> None:
    """The policy and the rule that did not match are named, the SYN is dropped, and the listener was there."""
    apply(policy("db-allow-api", "db", ingress=[from_app("api", 5432)]))
    why = shop.why("web", "db", namespace="shop")
    assert (why.reachable, why.agrees, why.exit_code) == (False, True, 1)
    assert why.policies == ("shop/db-allow-api",)
    assert why.broken is hop(why, "ingress")
    assert "no match" in "".join(hop(why, "ingress").details)
    assert hop(why, "listen").state == "ok"
    assert why.probe is not None
    assert why.probe.outcome is Outcome.SILENT
    assert dig(shop, "+short", "db.shop.svc.cluster.local")
    assert any("{podSelector: {matchLabels: {app: web}}}" in line for line in why.fix)
    assert "NOT REACHABLE" in str(why)
    assert shop.why("api", "db", namespace="shop").exit_code == 0


def test_denied_on_the_way_out(shop: Cluster, apply: Callable[..., None]) -> None:
    """An egress policy that allows DNS and api: db is denied on egress, names still resolve."""
    to_api = {"to": [{"podSelector": {"matchLabels": {"app": "api"}}}]}
    apply(policy("web-out", "web", policyTypes=["Egress"], egress=[_ALLOW_DNS, to_api]))
    why = shop.why("web", "db", namespace="shop")
    assert hop(why, "DNS").state == "ok"
    assert why.broken is hop(why, "egress")
    assert (why.policies, why.agrees) == (("shop/web-out",), True)
    assert shop.why("web", "api", namespace="shop").exit_code == 0


def test_names_fail_before_addresses(shop: Cluster, apply: Callable[..., None]) -> None:
    """Egress to api without port 53: the name does not resolve, though its address could be called."""
    apply(policy("no-dns", "web", policyTypes=["Egress"], egress=[{"to": [{"podSelector": {}}]}]))
    why = shop.why("web", "api", namespace="shop")
    assert (why.broken, why.agrees) == (hop(why, "DNS"), True)
    assert why.policies == ("shop/no-dns",)
    assert any("53" in line for line in why.fix)
    address, _ = shop.address("service/api", namespace="shop")
    assert shop.why("web", f"{address}:80", namespace="shop").exit_code == 0


def test_admin_policies_come_first(shop: Cluster, apply: Callable[..., None]) -> None:
    """An AdminNetworkPolicy denies what a NetworkPolicy allows; the baseline decides where there is none."""
    subject = {"namespaces": {"matchLabels": {"team": "shop"}}}
    rule = {"name": "no-strangers", "action": "Deny", "from": [{"namespaces": {"matchLabels": {"team": "none"}}}]}
    other = {"matchLabels": {"kubernetes.io/metadata.name": "other"}}
    rule["from"] = [{"namespaces": other}]
    apply(
        policy("open", None, ingress=[{}]),
        {
            "apiVersion": "policy.networking.k8s.io/v1alpha1",
            "kind": "AdminNetworkPolicy",
            "metadata": {"name": "strict"},
            "spec": {"priority": 5, "subject": subject, "ingress": [rule]},
        },
    )
    why = shop.why("other/web", "db.shop:80")
    assert (why.exit_code, why.policies) == (1, ("AdminNetworkPolicy/strict",))
    assert "no-strangers" in why.because or "strict" in why.because
    assert shop.why("web", "db", namespace="shop").exit_code == 0


@pytest.mark.parametrize(
    ("destination", "broken", "words"),
    [
        ("api:8080", "service", "svc/api has no port 8080 (it has 80 -> 8080)"),
        ("pod/{db}:81", "listen", "does not listen on TCP 81 (it has: 5432)"),
        ("nothing.shop:80", "DNS", "NXDOMAIN"),
    ],
)
def test_other_reasons(shop: Cluster, destination: str, broken: str, words: str) -> None:
    """A wrong port, a port where nobody listens, a name that does not exist: each is found at its hop and refused."""
    db = shop.get("pods", selector="app=db", namespace="shop")[0]["metadata"]["name"]
    why = shop.why("web", destination.format(db=db), namespace="shop")
    assert why.broken is hop(why, broken)
    assert words in why.broken.text
    assert (why.agrees, why.exit_code) == (True, 1)


def test_a_service_without_endpoints(shop: Cluster) -> None:
    """It is refused, and the reason is the Service's own problem."""
    [pod] = shop.get("pods", selector="app=db", namespace="shop")
    shop.scale("deployment/db", 0, namespace="shop")
    shop.wait_gone(f"pod/{pod['metadata']['name']}", namespace="shop")
    try:
        why = shop.why("web", "db", namespace="shop")
        assert "no ready endpoint" in why.because
        assert (why.agrees, why.exit_code) == (True, 1)
    finally:
        shop.scale("deployment/db", 1, namespace="shop")
        shop.wait("deployment/db", ready=1, namespace="shop")


def test_some_endpoints_deny(shop: Cluster, apply: Callable[..., None]) -> None:
    """Where one pod of a Service is isolated and the other is not, the answer is: sometimes."""
    first, second = (pod["metadata"]["name"] for pod in shop.get("pods", selector="app=api", namespace="shop"))

    def label(pod: dict[str, Any]) -> None:
        pod["metadata"]["labels"]["special"] = "yes"

    shop._session.call(lambda: shop.local.operations.modify("pods", first, "shop", label))
    deny = policy("special", None)
    deny["spec"] = {"podSelector": {"matchLabels": {"special": "yes"}}}
    apply(deny)
    why = shop.why("web", "api", namespace="shop")
    assert hop(why, "ingress").state == "SOME"
    assert "1 of 2 endpoints" in why.because
    assert (why.agrees, why.exit_code) == (None, 1)
    assert shop.why("web", f"pod/{second}", namespace="shop").exit_code == 0


def test_from_outside(shop: Cluster, apply: Callable[..., None]) -> None:
    """A caller from 127.0.0.1 is nobody's pod: only an ipBlock admits it."""
    apply(policy("closed", "db"))
    assert shop.why("outside", "db", namespace="shop").policies == ("shop/closed",)
    apply(policy("host", "db", ingress=[{"from": [{"ipBlock": {"cidr": "127.0.0.1/32"}}]}]))
    assert shop.why("outside", "db", namespace="shop").exit_code == 0


def test_unknown_names(shop: Cluster) -> None:
    """The nearest name is offered."""
    with pytest.raises(UnknownTarget, match=r"Did you mean svc/db\?"):
        shop.why("web", "dbb", namespace="shop")
    with pytest.raises(UnknownTarget, match='did you mean "web"'):
        shop.why("wep", "db", namespace="shop")


def test_the_matrix_is_what_connections_do(shop: Cluster, apply: Callable[..., None]) -> None:
    """Every cell is computed and measured, and they agree."""
    apply(policy("db-allow-api", "db", ingress=[from_app("api", 5432)]), policy("api-closed", "api"))
    table = shop.matrix(namespace="shop", measured=True)
    assert table.disagreements == []
    assert len(table.measured) == 4 * 3 + 4, "every pod, and the outside, at every other pod"
    pods = {pod["metadata"]["labels"]["app"]: pod["metadata"]["name"] for pod in shop.get("pods", namespace="shop")}
    assert table.reaches(pods["api"], pods["db"])
    assert not table.reaches(pods["web"], pods["db"])
    assert not table.reaches("outside", pods["db"])
    assert "X" in str(table)


@pytest.mark.parametrize("deny", ["hold", "reset"])
def test_other_ways_to_deny(deny: str) -> None:
    """`networking.deny`: held callers are connected and get nothing, reset ones are refused; the model agrees."""
    config = {"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "networking": {"deny": deny}}
    objects = [*speaker("web"), *speaker("db", port=5432), policy("closed", "db")]
    with Cluster(SHOP, *objects, config=config) as cluster:
        why = cluster.why("web", "db", namespace="shop")
        assert (why.policies, why.agrees, why.exit_code) == (("shop/closed",), True, 1)
        assert why.probe is not None
        assert why.probe.outcome is {"hold": Outcome.SILENT, "reset": Outcome.REFUSED}[deny]
        assert cluster.local.fabric.filters.dropping == 0


@pytest.mark.parametrize("cni", ["flannel", "none"])
def test_a_cni_that_does_not_enforce(cni: str) -> None:
    """Policies are stored and nobody is denied; the cluster says so, and so does the walk."""
    config = {"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "networking": {"cni": cni}}
    objects = [*speaker("web"), *speaker("db", port=5432), policy("closed", "db")]
    with Cluster(SHOP, *objects, config=config) as cluster:
        why = cluster.why("web", "db", namespace="shop")
        assert (why.exit_code, why.agrees) == (0, True)
        assert f"CNI {cni} does not enforce policies" in hop(why, "ingress").text
        problem = next(one for one in cluster.local.problems() if one.code == "MK309")
        assert "shop/closed accepted, but not enforced" in problem.text
        assert cluster.matrix(namespace="shop", measured=True).disagreements == []


@pytest.mark.slow
def test_the_command_line(tmp_path: Path) -> None:
    """why, matrix and curl's one line of explanation, with their exit codes, over the API server."""
    (tmp_path / "run").mkdir(mode=0o700)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run"), "HOME": str(tmp_path), "NO_COLOR": "1"}

    def mkpy(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "minikube_py", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )

    user_api = Path(__file__).parents[2] / "configs" / "user-api.yaml"
    try:
        assert mkpy("up", "-d", "-f", str(user_api)).returncode == 0
        assert mkpy("why", "frontend", "user-api").returncode == 0
        denied = mkpy("why", "batch", "user-api:80")
        assert denied.returncode == 1
        assert "netpol/user-api-policy selects user-api-" in denied.stdout
        assert "agrees" in denied.stdout
        answer = json.loads(mkpy("why", "batch", "user-api", "-o", "json", "--no-probe").stdout)
        assert (answer["reachable"], answer["policies"]) == (False, ["production/user-api-policy"])
        unknown = mkpy("why", "batch", "user-appi")
        assert unknown.returncode == 2
        assert "Did you mean svc/user-api?" in unknown.stderr
        table = mkpy("matrix", "-n", "production", "--probe")
        assert table.returncode == 0, table.stdout
        assert "6 denied; 16 connections made" in table.stdout
        assert mkpy("matrix", "-n", "nowhere").returncode == 2
        dropped = mkpy("curl", "--from", "batch", "-s", "--connect-timeout", "0.5", "http://user-api/")
        assert dropped.returncode == 28, "the handshake itself was not answered"
        assert dropped.stderr.startswith("DROPPED batch -> 127.")
        assert ":8080: user-api-policy selects user-api-" in dropped.stderr
        refused = mkpy("curl", "--from", "frontend", "-s", "http://user-api:81/")
        assert refused.returncode == 7
        assert "svc/user-api has no port 81" in refused.stderr
    finally:
        mkpy("down", "--all")


BROKEN = """
apiVersion: v1
kind: Pod
metadata: {name: lost, labels: {app: lost}}
spec: {nodeSelector: {disk: ssd}, containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: lost}
spec: {selector: {app: lost}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: front, labels: {app: front}}
spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {app: front}, ports: [{port: 80, targetPort: 8000}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: site}
spec:
  ingressClassName: nginx
  tls: [{hosts: [site.example], secretName: absent}]
  rules:
  - host: site.example
    http:
      paths:
      - {path: /lost, pathType: Prefix, backend: {service: {name: lost, port: {number: 80}}}}
      - {path: /, pathType: Prefix, backend: {service: {name: fornt, port: {number: 80}}}}
"""


@pytest.mark.minicluster(BROKEN, wait=0)
def test_the_last_step_names_the_cause_and_the_fix(minicluster: Cluster) -> None:
    """What is known of the pods behind a Service belongs to the answer, by name as by URL."""
    minicluster.wait("pod/lost", condition="PodScheduled=False")
    minicluster.wait("pod/front")
    by_name = str(minicluster.why("outside", "lost"))
    assert "pod lost: is not scheduled: " in by_name
    assert "kubectl label node" in by_name
    assert "targetPort: 80" in minicluster.why("outside", "front").fix
    by_url = str(minicluster.why("outside", "https://site.example/lost"))
    assert "pod lost: is not scheduled: " in by_url
    secure = minicluster.why("outside", "https://site.example/")
    assert "did you mean service front?" in secure.fix
    assert "made by the cluster's CA (mkpy ca): Secret default/absent: it does not exist" in str(secure)
