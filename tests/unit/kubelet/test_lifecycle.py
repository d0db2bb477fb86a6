"""Hooks, sidecars and what can't start, on a node with real sockets."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from minikube_py.images.container import Container

from .nodes import Cluster

said: list[str] = []
"""What the programs of the running test have done, in order."""


async def talker(container: Container) -> int:
    """Say when it starts and when it is told to end."""
    said.append(f"{container.name} up")
    container.started()
    await container.terminated.wait()
    said.append(f"{container.name} term")
    return 0


@pytest.fixture
async def node() -> AsyncIterator[Cluster]:
    """A node on which `talker` is an image."""
    said.clear()
    made = Cluster({"talker": talker})
    await made.start()
    yield made
    await made.close()


def messages(node: Cluster, name: str, reason: str) -> list[str]:
    found = (e for e in node.api.list("events") if e["involvedObject"]["name"] == name and e["reason"] == reason)
    return [e["message"] for e in found]


async def gone(node: Cluster, name: str) -> None:
    node.api.delete("pods", name, "default")
    await node.until(lambda: node.api.get("pods", name, "default") is None)


async def test_sidecars_end_after_the_others_the_last_one_first(node: Cluster) -> None:
    """preStop hooks of all run at once; then the main containers get SIGTERM, then sidecars in reverse order."""
    hook = {"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "true"]}}}}
    sidecars = [{"name": name, "image": "talker", "restartPolicy": "Always", **hook} for name in ("one", "two")]
    node.create("web", "talker", spec={"initContainers": sidecars, "terminationGracePeriodSeconds": 5})
    await node.until(lambda: node.ready("web"))
    await gone(node, "web")
    assert said == ["one up", "two up", "main up", "main term", "two term", "one term"]


async def test_post_start_holds_its_container_and_the_next_one_back(node: Cluster) -> None:
    """Until the hook has ended the container is being created, and the next one doesn't start."""
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "while ! [ -e /gate/open ]; do sleep 0.02; done"]}}}
    mount = {"volumeMounts": [{"name": "gate", "mountPath": "/gate"}]}
    main = {"name": "main", "image": "talker", "lifecycle": hook, **mount}
    containers = [main, {"name": "next", "image": "talker", **mount}]
    node.create("web", spec={"containers": containers, "volumes": [{"name": "gate", "emptyDir": {}}]})
    await node.until(lambda: "Started" in node.reasons("web"))
    assert (said, node.pod("web")["status"].get("phase", "Pending")) == (["main up"], "Pending")
    worker = node.kubelet.worker("default", "web")
    assert worker is not None
    (worker.instances["main"].container.files["/gate"] / "open").touch()
    await node.until(lambda: node.ready("web"))
    assert said == ["main up", "next up"]


async def test_a_failed_post_start_hook_kills_the_container(node: Cluster) -> None:
    """The container is ended and restarted with back-off."""
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo no key; exit 4"]}}}
    node.create("web", "talker", lifecycle=hook)
    await node.until(lambda: node.main("web")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")
    await node.until(lambda: len(messages(node, "web", "Killing")) == 1)
    assert messages(node, "web", "FailedPostStartHook") == ["PostStartHook failed: no key\n"]
    assert messages(node, "web", "Killing") == ["FailedPostStartHook"]


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        pytest.param({"exec": {"command": ["sh", "-c", "exit 3"]}}, "command exited with status 3", id="exec"),
        pytest.param({"httpGet": {"port": 81}}, "connection refused", id="httpGet"),
        pytest.param({"tcpSocket": {"port": 80}}, "invalid handler: tcpSocket", id="tcpSocket"),
        pytest.param({"sleep": {"seconds": 60}}, "it did not complete in the grace period", id="too long"),
    ],
)
async def test_a_failed_pre_stop_hook_is_told(node: Cluster, hook: dict[str, Any], message: str) -> None:
    """The container gets its SIGTERM all the same."""
    node.create("web", "talker", lifecycle={"preStop": hook}, spec={"terminationGracePeriodSeconds": 1})
    await node.until(lambda: node.ready("web"))
    await gone(node, "web")
    await node.until(lambda: messages(node, "web", "FailedPreStopHook"))
    assert messages(node, "web", "FailedPreStopHook")[0].endswith(message)
    assert said == ["main up", "main term"]


async def test_what_cannot_start(node: Cluster) -> None:
    """A command that isn't there, an image name that can't be one, with the words of containerd and the kubelet."""
    node.create("lost", "busybox", command=["nosuch"], spec={"restartPolicy": "Never"})
    node.create("odd", "Acme/Web:1")
    node.create("template", "<your-image>")
    await node.until(lambda: node.pod("lost")["status"].get("phase") == "Failed")
    ended = node.main("lost")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["startedAt"]) == (128, "StartError", "1970-01-01T00:00:00Z")
    assert ended["message"].endswith('exec: "nosuch": executable file not found in $PATH: unknown')
    await node.until(lambda: "Failed" in node.reasons("lost") and "InspectFailed" in node.reasons("odd"))
    assert "Started" not in node.reasons("lost")
    assert node.main("odd")["state"]["waiting"] == {
        "reason": "InvalidImageName",
        "message": 'Failed to apply default image tag "Acme/Web:1": couldn\'t parse image name "Acme/Web:1": '
        "invalid reference format: repository name (Acme/Web) must be lowercase",
    }
    await node.until(lambda: node.ready("template"))


async def test_a_missing_volume_is_mounted_once_it_is_there(node: Cluster) -> None:
    """Until then the container is being created, and an event says what is missing."""
    volumes = [{"name": "v", "secret": {"secretName": "key", "items": [{"key": "a", "path": "b"}]}}]
    node.create("web", "talker", volumeMounts=[{"name": "v", "mountPath": "/v"}], spec={"volumes": volumes})
    await node.until(lambda: "FailedMount" in node.reasons("web"))
    assert messages(node, "web", "FailedMount")[0] == 'MountVolume.SetUp failed for volume "v" : secret "key" not found'
    key = {"metadata": {"name": "key", "namespace": "default"}, "data": {"a": "b25l"}}
    node.api.create({"apiVersion": "v1", "kind": "Secret", **key})
    await node.until(lambda: node.ready("web"))
    worker = node.kubelet.worker("default", "web")
    assert worker is not None
    assert (worker.instances["main"].container.files["/v"] / "b").read_text() == "one"


async def test_a_pod_past_its_deadline_fails(node: Cluster) -> None:
    """Its containers get SIGTERM; only when they have ended the pod is Failed, with the reason."""
    node.create("web", "talker", spec={"activeDeadlineSeconds": 1})
    await node.until(lambda: node.pod("web")["status"].get("phase") == "Failed")
    status = node.pod("web")["status"]
    assert (status["reason"], said) == ("DeadlineExceeded", ["main up", "main term"])
