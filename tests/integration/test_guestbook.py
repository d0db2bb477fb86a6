"""The guestbook tutorial: a PHP frontend, a redis leader and followers."""

from typing import Any

import httpx

from minikube_py import Cluster


def _workload(name: str, image: str, port: int, replicas: int = 1, **env: str) -> list[dict[str, Any]]:
    labels = {"app": name}
    container = {
        "name": name,
        "image": image,
        "ports": [{"containerPort": port}],
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": port}]},
        },
    ]


def test_what_is_written_to_the_leader_is_read_from_followers() -> None:
    """Messages go through the Services' names; without its leader the guestbook says what is away."""
    manifests = [
        *_workload("redis-leader", "docker.io/redis:6.0.5", 6379),
        *_workload("redis-follower", "us-docker.pkg.dev/google-samples/containers/gke/gb-redis-follower:v2", 6379, 2),
        *_workload(
            "frontend", "us-docker.pkg.dev/google-samples/containers/gke/gb-frontend:v5", 80, GET_HOSTS_FROM="dns"
        ),
    ]
    with (
        Cluster(*manifests) as cluster,
        httpx.Client(base_url=cluster.url("service/frontend"), trust_env=False) as http,
    ):
        query = {"cmd": "set", "key": "guestbook", "value": ",Ada,Grace"}
        assert http.get("/guestbook.php", params=query).json() == {"message": "Updated"}
        query = {"cmd": "get", "key": "guestbook"}
        assert [http.get("/guestbook.php", params=query).json() for _ in range(4)] == [{"data": ",Ada,Grace"}] * 4
        assert "<div>Ada</div><div>Grace</div>" in http.get("/").text
        cluster.delete("service/redis-leader")
        answer = http.get("/guestbook.php", params={"cmd": "set", "key": "guestbook", "value": "x"})
        assert (answer.status_code, "redis-leader" in answer.text) == (500, True)
