"""`wiring`: what manifests wire together is tried with real connections, and findings say why."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minikube_py import Cluster

SHOP = Path(__file__).parents[2] / "configs" / "coffee-shop.yaml"

APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  replicas: 2
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec:
      containers:
      - name: web
        image: registry.example/front:1
        ports: [{containerPort: 8080}]
        env: [{name: STORE_URL, value: "http://store:9000/v1"}, {name: LOG_LEVEL, value: store}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  serviceName: store
  replicas: 3
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec: {containers: [{name: db, image: registry.example/store:1, ports: [{name: api, containerPort: 7000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: store}
spec: {clusterIP: None, selector: {app: store}, ports: [{port: 7000}]}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {app: front}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  tls: [{hosts: [shop.example]}]
  rules:
  - host: shop.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: front, port: {number: 80}}}}]}
"""
GOOD = APP.replace("store:9000", "store:7000")


def by_name(cluster: Cluster, section: str) -> dict[str, tuple[bool, str]]:
    return {row.name: (row.ok, row.text) for row in cluster.wiring().rows if row.section == section}


@pytest.mark.minicluster(GOOD)
def test_what_is_wired_is_shown_with_evidence(minicluster: Cluster) -> None:
    """Ready pods, endpoints, the edge from its own pod, the Ingress row with the endpoint that answered (over TLS)."""
    table = minicluster.wiring()
    assert table.findings == []
    assert by_name(minicluster, "workloads") == {
        "Deployment/front": (True, "2/2 ready"),
        "StatefulSet/store": (True, "3/3 ready"),
    }
    assert by_name(minicluster, "services") == {"front": (True, "2 endpoints"), "store": (True, "3 endpoints")}
    assert by_name(minicluster, "edges") == {"Deployment/front web env STORE_URL": (True, "-> store:7000")}
    [(ok, text)] = by_name(minicluster, "ingress").values()
    addresses = {pod["status"]["podIP"] for pod in minicluster.get("pods", selector="app=front")}
    assert ok
    assert text.startswith("-> front:80: 200 from ")
    assert text.rpartition(" ")[2].partition(":")[0] in addresses


@pytest.mark.minicluster(APP)
def test_a_port_that_nobody_serves_is_a_finding(minicluster: Cluster) -> None:
    """The edge names a port that the Service doesn't have."""
    [finding] = minicluster.wiring().findings
    assert finding.section == "edges"
    assert finding.text == "-> http://store:9000/v1: the Service has no such port"


@pytest.mark.minicluster(GOOD)
def test_findings_say_why(minicluster: Cluster) -> None:
    """A selector that finds nothing, an app that doesn't listen, an Ingress of no controller: each in its own words."""
    minicluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "typo"},
            "spec": {"selector": {"app": "frnt"}, "ports": [{"port": 80}]},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "foreign"},
            "spec": {
                "ingressClassName": "other",
                "rules": [
                    {
                        "host": "other.example",
                        "http": {
                            "paths": [
                                {
                                    "path": "/",
                                    "pathType": "Prefix",
                                    "backend": {"service": {"name": "front", "port": {"number": 80}}},
                                }
                            ]
                        },
                    }
                ],
            },
        },
    )
    minicluster.scale("statefulset/store", 0)
    minicluster.wait("statefulset/store", ready=0)
    texts = {row.name: row.text for row in minicluster.wiring().findings}
    assert "Closest: app=front" in texts["typo"]
    assert "StatefulSet store, whose pods would match, has spec.replicas: 0" in texts["store"]
    assert 'ingressClassName "other" does not exist' in texts["other.example/"]
    assert "Deployment/front web env STORE_URL" in texts


def test_the_command_runs_a_folder(tmp_path: Path) -> None:
    """`mkpy wiring -f` starts a cluster, prints the table, stops it; its exit status says whether all is well."""
    for text, code in ((GOOD, 0), (APP, 1)):
        (tmp_path / "app.yaml").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "minikube_py", "wiring", "-f", str(tmp_path), "-o", "json"],
            capture_output=True,
            text=True,
            env={"XDG_RUNTIME_DIR": str(tmp_path / "run"), "PATH": "/usr/bin:/bin"},
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        answer = json.loads(done.stdout)
        assert answer["findings"] == code
        assert len(answer["services"]) == 2


DENYING = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""


@pytest.mark.minicluster(GOOD.partition("apiVersion: networking")[0], DENYING)
def test_what_wiring_itself_was_denied_is_marked_in_a_report(minicluster: Cluster) -> None:
    """Who reads why a test failed isn't sent after requests that no code of theirs made."""
    minicluster.wiring()
    report = dict(minicluster.local.failure_report())
    lines = report["denied by policy"].splitlines()
    assert lines
    assert all("(while `wiring` tried everything)" in line for line in lines)
    assert any("default/front-" in line for line in lines)
