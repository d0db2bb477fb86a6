"""Manifests whose images we don't have come up: init containers, entry points of ConfigMaps, Jobs."""

from minikube_py import Cluster

APP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: entry}
data:
  run.sh: |
    #!/usr/bin/env bash
    set -euo pipefail
    cd /opt/app
    bin/compile --all
    echo "started as $1" >&2
    exec bin/serve --port 8085
---
apiVersion: v1
kind: Service
metadata: {name: store}
spec: {selector: {app: store}, ports: [{port: 6000}]}
---
apiVersion: v1
kind: Pod
metadata: {name: store, labels: {app: store}}
spec: {containers: [{name: c, image: example.org/store:2}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      initContainers:
      - {name: wait, image: busybox, command: [sh, -c, "until nc -z store 6000; do sleep 0.1; done"]}
      - {name: tool, image: example.org/wait-for, args: ["store:6000"]}
      - {name: migrate, image: example.org/shop:3, command: [./migrate, up]}
      - {name: check, image: example.org/shop:3, command: [sh, -c, "until dbcheck; do sleep 1; done; seed --all"]}
      containers:
      - name: shop
        image: example.org/shop:3
        command: [/entry/run.sh, web]
        ports: [{containerPort: 8085}]
        readinessProbe: {httpGet: {path: /ready, port: 8085}, periodSeconds: 1}
        volumeMounts: [{name: entry, mountPath: /entry}]
      volumes: [{name: entry, configMap: {name: entry, defaultMode: 0o755}}]
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8085}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: report}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.org/report, command: [report]}]}}}
"""


def test_an_app_of_unknown_images_comes_up() -> None:
    """Init containers end, the ConfigMap's script runs until its server, which is stood for, and the Job completes."""
    with Cluster(APP) as c:
        c.wait("job/report", condition="Complete")
        with c.client(from_pod="store") as http:
            assert http.get("http://shop/").json()["image"] == "example.org/shop:3"
        pod = next(pod["metadata"]["name"] for pod in c.get("pods") if pod["metadata"]["name"].startswith("shop-"))
        assert "started as web" in c.logs(f"pod/{pod}")
        assert (c.get(f"pod/{pod}") or {})["status"]["containerStatuses"][0]["restartCount"] == 0
