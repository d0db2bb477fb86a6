"""HTTP/2 and gRPC at the doors of a running cluster, with curl, grpcio and a server that is the user's own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest

from .test_cli import Mkpy, environment, mkpy

__all__ = ["environment", "mkpy"]

SERVER = """
import os, ssl, sys
from concurrent.futures import ThreadPoolExecutor

import grpc


class Shop(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/shop.Shop/Chat":
            return grpc.stream_stream_rpc_method_handler(self.chat)

    def chat(self, requests, context):
        for request in requests:
            yield os.environ["POD_NAME"].encode() + b" " + request


server = grpc.server(ThreadPoolExecutor(4), handlers=(Shop(),))
server.add_insecure_port(f"{os.environ['POD_IP']}:{os.environ['PORT']}")
server.start()
print("serving", flush=True)
server.wait_for_termination()
"""

MANIFEST = f"""
apiVersion: minikube-py/v1alpha1
kind: Cluster
images:
  acme/shop: {{command: [{sys.executable}, server.py]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: shop}}}}
  template:
    metadata: {{labels: {{app: shop}}}}
    spec:
      containers:
      - name: shop
        image: acme/shop
        ports: [{{containerPort: 50051}}]
        readinessProbe: {{tcpSocket: {{port: 50051}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: shop}}
spec: {{selector: {{app: shop}}, ports: [{{name: grpc, port: 50051}}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  annotations: {{nginx.ingress.kubernetes.io/backend-protocol: GRPC}}
spec:
  ingressClassName: nginx
  tls: [{{hosts: [grpc.example.org], secretName: made-here}}]
  rules:
  - host: grpc.example.org
    http:
      paths: [{{path: /shop.Shop, pathType: Prefix, backend: {{service: {{name: shop, port: {{name: grpc}}}}}}}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: hashicorp/http-echo, args: ["-text=open"]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 5678}}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web}}
spec:
  ingressClassName: nginx
  tls: [{{hosts: [web.example.org], secretName: made-here}}]
  rules:
  - host: web.example.org
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}
"""


@pytest.fixture
def facts(mkpy: Mkpy, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "cluster.yaml").write_text(MANIFEST)
    up = mkpy("up", "-d", "-f", "cluster.yaml", "-o", "json")
    assert up.returncode == 0, up.stderr
    return json.loads(up.stdout)


@pytest.mark.slow
def test_http2_and_grpc(mkpy: Mkpy, facts: dict[str, Any]) -> None:
    """`curl --http2 --cacert "$(mkpy ca)"` just works; grpcio's client chats with both pods through the same door."""
    ca = mkpy("ca").stdout.strip()
    port = urlsplit(facts["ingress"]["https"]).port
    words = ["curl", "-sS", "--http2", "-w", "%{http_version}", "--cacert", ca]
    words += ["--resolve", f"web.example.org:{port}:127.0.0.1", f"https://web.example.org:{port}/"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
    assert done.stdout.split() == ["open", "2"], done.stderr
    trust = grpc.ssl_channel_credentials(Path(ca).read_bytes())
    name = "grpc.example.org"
    options = (("grpc.ssl_target_name_override", name), ("grpc.default_authority", name))
    pods = set()
    with grpc.secure_channel(f"127.0.0.1:{port}", trust, options=options) as channel:
        for _ in range(2):
            chat = channel.stream_stream("/shop.Shop/Chat")(iter([b"one", b"two"]), timeout=20, wait_for_ready=True)
            answers = [each.decode().split() for each in chat]
            assert [word for _, word in answers] == ["one", "two"]
            pods.add(answers[0][0])
    assert len(pods) == 2
    log = mkpy("logs", "-n", "ingress-nginx", "deploy/ingress-nginx-controller").stdout
    assert '"POST /shop.Shop/Chat HTTP/2.0" 200' in log
