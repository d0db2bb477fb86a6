"""What the autoscaler reads of a pod: how often it is called, counted by the kernel."""

import time

import httpx
import pytest

from minikube_py import Cluster

WEB = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]},
}


@pytest.mark.minicluster(WEB)
def test_requests_are_counted_on_new_and_kept_connections(minicluster: Cluster) -> None:
    """Each request counts once, whether it has a connection of its own or not; the rate is that of the counter."""
    local, url = minicluster.local, minicluster.url("pod/web")

    def read() -> tuple[int, float | None]:
        usage = local.runtime.pod_usage("default", "web") or {}
        worker = next(w for k in local.kubelets.values() if (w := k.worker("default", "web")))
        return worker.namespace.stats.requests, usage.get("requests-per-second")

    begun = time.monotonic()
    count, rate = minicluster._session.call(read)
    assert rate is None
    with httpx.Client() as http:
        for _ in range(30):
            http.get(url)
    for _ in range(10):
        httpx.get(url)
    time.sleep(max(1.1 - (time.monotonic() - begun), 0))
    after, rate = minicluster._session.call(read)
    assert after - count == 40
    assert rate == pytest.approx(40 / (time.monotonic() - begun), rel=0.2)


def autoscaler(window: int) -> dict[str, object]:
    metric = {"metric": {"name": "requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "1"}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "api"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [{"type": "Pods", "pods": metric}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": window}},
        },
    }


def test_the_autoscaler_follows_the_request_rate(minicluster: Cluster) -> None:
    """As long as its pods are called more often than wanted, the autoscaler adds some, up to its maximum."""
    labels = {"app": "api"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    minicluster.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "api"},
            "spec": {"selector": labels, "ports": [{"port": 80}]},
        },
    )
    minicluster.wait("deployment/api", ready=1)
    until = time.monotonic() + 20
    url, looks = minicluster.url("service/api"), 0
    with httpx.Client() as http:
        while minicluster.get("deployment/api")["spec"]["replicas"] < 3 and time.monotonic() < until:
            looks += 1  # the autoscaler looks every 15 s; or when it is changed
            minicluster.apply(autoscaler(looks))
            for _ in range(50):
                http.get(url)
    minicluster.wait("deployment/api", ready=3)
    told = {c["type"]: c["reason"] for c in minicluster.get("hpa/api")["status"]["conditions"]}
    assert told["ScalingActive"] == "ValidMetricFound"
