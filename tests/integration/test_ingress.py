"""The ingress of a running cluster as its user meets it: addresses, certificates, redirects, logs."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from minikube_py import Cluster

from .test_cli import Mkpy, environment, mkpy

__all__ = ["environment", "mkpy"]

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers: [{name: web, image: hashicorp/http-echo, args: ["-text=open"], ports: [{containerPort: 5678}]}]
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 5678}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  ingressClassName: nginx
  tls: [{hosts: [shop.example.org], secretName: made-here}]
  rules:
  - host: shop.example.org
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
"""


@pytest.fixture
def facts(mkpy: Mkpy, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "shop.yaml").write_text(MANIFEST)
    up = mkpy("up", "-d", "-f", "shop.yaml", "-o", "json")
    assert up.returncode == 0, up.stderr
    return json.loads(up.stdout)


def curl(*arguments: str) -> str:
    done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_https_and_redirects_work_with_the_clusters_ca(mkpy: Mkpy, facts: dict[str, Any]) -> None:
    """`curl --cacert "$(mkpy ca)"` trusts the ingress; plain HTTP on the host's door redirects to its HTTPS door; the
    Ingress has an address; each request is a line of the controller's log.
    """
    ca = mkpy("ca").stdout.strip()
    http, https = (urlsplit(facts["ingress"][each]).port for each in ("http", "https"))
    host = "shop.example.org"
    doors = [word for port in (http, https) for word in ("--resolve", f"{host}:{port}:127.0.0.1")]
    assert curl("--cacert", ca, *doors, f"https://{host}:{https}/") == "open"
    followed = curl("-L", "--cacert", ca, *doors, f"http://{host}:{http}/menu", "-w", " %{http_code} %{url_effective}")
    assert followed.split() == ["open", "200", f"https://{host}:{https}/menu"]
    ingress = json.loads(mkpy("get", "ingress", "shop", "-o", "json").stdout)
    (address,) = ingress["status"]["loadBalancer"]["ingress"]
    port = 443 + facts["low_port_offset"]
    assert curl("--cacert", ca, "--connect-to", f"{host}:443:{address['ip']}:{port}", f"https://{host}/") == "open"
    log = mkpy("logs", "-n", "ingress-nginx", "deploy/ingress-nginx-controller").stdout
    assert '"GET /menu HTTP/1.1" 308' in log
    assert re.search(r'"GET /menu HTTP/(1\.1|2\.0)" 200', log)  # a curl that knows HTTP/2 is answered by it


GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door}
spec: {gatewayClassName: minikube-py, listeners: [{name: web, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: door}]
  hostnames: [shop.example.org]
  rules: [{backendRefs: [{name: shop, port: 80}]}]
"""


@pytest.mark.slow
def test_a_gateway_gets_an_address_and_serves(mkpy: Mkpy, facts: dict[str, Any], tmp_path: Path) -> None:
    """A Gateway and a route are applied; a LoadBalancer address; Programmed; an answer through it; a URL's walk."""
    (tmp_path / "gateway.yaml").write_text(GATEWAY)
    assert mkpy("apply", "-f", "gateway.yaml").returncode == 0
    waited = mkpy("wait", "gateway/door", "--for=condition=Programmed", "--timeout=20s")
    assert waited.returncode == 0, waited.stderr
    door = json.loads(mkpy("get", "gateway", "door", "-o", "json").stdout)
    address = f"{door['status']['addresses'][0]['value']}:{80 + facts['low_port_offset']}"
    assert curl("-H", "Host: shop.example.org", f"http://{address}/") == "open"
    walk = mkpy("why", "http://shop.example.org/menu")
    assert walk.returncode == 0, walk.stderr
    assert "Ingress default/shop: host shop.example.org path / (Prefix)" in walk.stdout


CUSTOM = """
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: strip}
spec: {stripPrefix: {prefixes: [/api]}}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: api}
spec:
  routes:
  - kind: Rule
    match: PathPrefix(`/api`)
    middlewares: [{name: strip}]
    services: [{name: web, port: 80}]
    nonsense: 1
---
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: shop}
spec: {virtualhost: {fqdn: shop.example}, routes: [{services: [{name: web, port: 80}]}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  ingressClassName: kong
  rules:
  - host: kong.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web, image: traefik/whoami, ports: [{containerPort: 80}]}]}
"""


def test_requests_are_counted_per_rule_and_backend() -> None:
    """Each controller pod tells at /metrics of port 10254, as ingress-nginx does, without being asked to."""
    with Cluster(MANIFEST.replace("tls:", "#")) as cluster:
        with cluster.client() as http:
            for path in ("/menu", "/order"):
                assert http.get(f"http://shop.example.org{path}").text.strip() == "open"
        (pod,) = cluster.get("pods", namespace="ingress-nginx")
        url = cluster.url(f"pod/{pod['metadata']['name']}", port="metrics", namespace="ingress-nginx")
        (line,) = [each for each in httpx.get(f"{url}/metrics").text.splitlines() if "default/shop" in each]
        assert line.startswith("nginx_ingress_controller_requests{")
        assert line.endswith(" 2")
        assert httpx.get(f"{url}/healthz").text == "ok"


def test_without_a_pod_of_the_controller_nobody_answers() -> None:
    """Scaled to 0, the controller's addresses refuse; `why` says so and what to do, and is right when it is back."""
    controller = "deployment/ingress-nginx-controller"
    with Cluster(MANIFEST) as cluster:
        url = "http://shop.example.org/menu"
        assert cluster.why("outside", url).exit_code == 0
        (pod,) = cluster.get("pods", namespace="ingress-nginx")
        cluster.scale(controller, 0, namespace="ingress-nginx")
        cluster.wait_gone(f"pod/{pod['metadata']['name']}", namespace="ingress-nginx")
        why = cluster.why("outside", url)
        assert (why.exit_code, why.agrees, why.because.endswith("(it has no pod)")) == (1, True, True)
        assert not cluster.get("ingress/shop")["status"]["loadBalancer"]
        told = [each["message"] for each in cluster.get("events") if each["reason"] == "NotServed"]
        assert [each.rpartition(" of ")[2] for each in told] == ["the controller nginx has 0 replicas"]
        assert why.fix == (f"kubectl scale -n ingress-nginx {controller} --replicas=1",)
        cluster.scale(controller, 1, namespace="ingress-nginx")
        cluster.wait(controller, ready=1, namespace="ingress-nginx")
        assert cluster.why("outside", url).exit_code == 0
        cluster.settle()
        assert cluster.get("ingress/shop")["status"]["loadBalancer"]["ingress"]


@pytest.mark.slow
def test_controllers_that_manifests_ask_for_run_side_by_side() -> None:
    """Each by its own address, in its own way, with its own kinds; what has no effect is an Event of the object."""
    with Cluster(CUSTOM) as cluster:
        cluster.wait("pod/web", condition="Ready")

        def ask(namespace: str, service: str, host: str, path: str) -> httpx.Response:
            status = cluster.get(f"service/{service}", namespace=namespace)["status"]
            address = status["loadBalancer"]["ingress"][0]["ip"]
            _, port = cluster.address(f"service/{service}", port=80, namespace=namespace)
            return httpx.get(f"http://{address}:{port}{path}", headers={"Host": host})

        assert "GET /menu HTTP/1.1" in ask("traefik", "traefik", "any.example", "/api/menu").text
        assert ask("projectcontour", "envoy", "shop.example", "/").headers["server"] == "envoy"
        assert "x-kong-upstream-latency" in ask("kong", "kong-gateway-proxy", "kong.example", "/").headers
        assert ask("kong", "kong-gateway-proxy", "shop.example", "/").json()["message"].startswith("no Route matched")
        assert cluster.get("httpproxies.projectcontour.io/shop")["status"]["currentStatus"] == "valid"
        told = [each["message"] for each in cluster.get("events") if each["involvedObject"]["kind"] == "IngressRoute"]
        assert told == ["spec.routes[0].nonsense is not emulated and has no effect"]
