"""The guestbook tutorial: a PHP frontend, a redis leader and followers."""

import httpx

from minikube_py import Cluster

from .manifests import workload


def test_what_is_written_to_the_leader_is_read_from_followers() -> None:
    """Messages go through the Services' names; without its leader the guestbook says what is away."""
    manifests = [
        *workload("redis-leader", "docker.io/redis:6.0.5", 6379),
        *workload(
            "redis-follower", "us-docker.pkg.dev/google-samples/containers/gke/gb-redis-follower:v2", 6379, replicas=2
        ),
        *workload(
            "frontend",
            "us-docker.pkg.dev/google-samples/containers/gke/gb-frontend:v5",
            80,
            env=[{"name": "GET_HOSTS_FROM", "value": "dns"}],
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
