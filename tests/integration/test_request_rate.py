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
