"""What becomes of a container that takes more memory than it may."""

from typing import Any

from minikube_py import Cluster


def pod(name: str, memory: str, image: str, *command: str) -> dict[str, Any]:
    container = {"name": "c", "image": image, "command": list(command), "resources": {"limits": {"memory": memory}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }


def test_a_container_beyond_its_limit_is_oom_killed() -> None:
    """stress says what it would take, a shell's variable grows: 137, OOMKilled; within the limit a container runs."""
    grows = "x=0123456789abcdef; while true; do x=$x$x; done"
    with Cluster(
        pod("fits", "200Mi", "polinux/stress", "stress", "--vm", "1", "--vm-bytes", "150M", "--vm-hang", "1"),
        pod("takes", "100Mi", "polinux/stress", "stress", "--vm", "1", "--vm-bytes", "250M", "--vm-hang", "1"),
        pod("grows", "20Mi", "busybox", "sh", "-c", grows),
        wait=0,
    ) as cluster:
        cluster.wait("pod/fits")
        for name in ("takes", "grows"):
            cluster.wait(f"pod/{name}", condition="Ready=False")
            cluster.settle()
            [status] = cluster.get(f"pod/{name}")["status"]["containerStatuses"]
            ended = status["state"]["terminated"]
            assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled"), name
        assert cluster.exec("pod/fits", ["sh", "-c", "echo lives"]).stdout == "lives\n"
