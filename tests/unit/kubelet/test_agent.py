"""Pods on a node: real addresses, real probes, graceful ends."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from minikube_py.apimachinery.errors import StatusError
from minikube_py.images.container import Container
from minikube_py.kubelet.lag import watch_loop

from .nodes import Cluster


async def test_node_is_registered(cluster: Cluster) -> None:
    """The node has its address, capacity, pod range and is Ready."""
    node = cluster.api.get("nodes", "worker")
    assert node is not None
    assert node["status"]["addresses"][0] == {"type": "InternalIP", "address": cluster.addresses.node_ip(1)}
    assert node["spec"]["podCIDR"] == str(cluster.addresses.pod_cidr(1))
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "worker"
    assert next(c for c in node["status"]["conditions"] if c["type"] == "Ready")["status"] == "True"


async def test_pod_runs_with_one_write(cluster: Cluster) -> None:
    """A pod gets an address of the node's range, answers, and costs one status write."""
    cluster.create("web")
    await cluster.until(lambda: cluster.ready("web"))
    pod = cluster.pod("web")
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["podIP"].startswith(str(cluster.addresses.pod_cidr(1)).rpartition(".")[0])
    assert "Hostname: web" in (await cluster.get("web")).text
    await cluster.until(lambda: "Started" in cluster.reasons("web"))
    assert cluster.reasons("web") == ["Pulled", "Created", "Started"]
    assert [line.text for line in cluster.runtime.log("default", "web", "main").lines()] == ["Starting up on port 80"]


async def test_deleted_pod_leaves_endpoints_first(cluster: Cluster) -> None:
    """A deleted pod waits until endpoints are out, ends gracefully, and gives its address back last."""
    cluster.create("web")
    await cluster.until(lambda: cluster.ready("web"))
    ip = cluster.pod("web")["status"]["podIP"]
    slow = asyncio.create_task(cluster.get("web", "/?wait=200ms"))
    await cluster.asked("web")
    cluster.api.delete("pods", "web", "default")
    assert cluster.kubelet.pool.owner(ip) == "default/web"
    await cluster.until(lambda: cluster.api.get("pods", "web", "default") is None)
    assert (await slow).status_code == 200
    assert cluster.published == ["published"]
    assert cluster.kubelet.pool.owner(ip) is None
    cluster.create("web")
    await cluster.until(lambda: cluster.ready("web"))
    assert cluster.pod("web")["status"]["podIP"] != ip


async def test_forced_deletion_lets_requests_finish(cluster: Cluster) -> None:
    """A pod deleted with grace period 0 still answers what is in flight."""
    cluster.create("web")
    await cluster.until(lambda: cluster.ready("web"))
    slow = asyncio.create_task(cluster.get("web", "/?wait=200ms"))
    await cluster.asked("web")
    cluster.api.delete("pods", "web", "default", grace_period=0)
    assert cluster.api.get("pods", "web", "default") is None
    assert (await slow).status_code == 200


async def test_grace_period_ends_a_stubborn_program() -> None:
    """A program that ignores SIGTERM is ended when the grace period is over."""
    ended = []

    async def stubborn(container: Container) -> int:
        container.started()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(container.terminated.is_set())
        return 0

    cluster = Cluster({"stubborn": stubborn})
    await cluster.start()
    try:
        cluster.create("web", "stubborn", spec={"terminationGracePeriodSeconds": 1})
        await cluster.until(lambda: cluster.ready("web"))
        cluster.api.delete("pods", "web", "default")
        await cluster.until(lambda: cluster.api.get("pods", "web", "default") is None)
        assert ended == [True]
    finally:
        await cluster.close()


async def test_failing_program_is_restarted_and_its_log_kept() -> None:
    """A program that raises is exit code 1 with the error in the log; `--previous` shows it."""
    runs = []

    async def flaky(container: Container) -> int:
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("no coffee")
        container.started()
        await container.terminated.wait()
        return 0

    cluster = Cluster({"flaky": flaky})
    await cluster.start()
    try:
        cluster.create("web", "flaky")
        await cluster.until(lambda: cluster.ready("web"))
        last = cluster.main("web")["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"], last["message"]) == (1, "Error", "ValueError: no coffee")
        assert cluster.main("web")["restartCount"] == 1
        previous = cluster.runtime.log("default", "web", "main", previous=True)
        assert "ValueError: no coffee" in [line.text for line in previous.lines()]
    finally:
        await cluster.close()


@pytest.mark.parametrize(
    "probe",
    [
        pytest.param({"httpGet": {"path": "/health", "port": "web"}}, id="httpGet by port name"),
        pytest.param({"tcpSocket": {"port": 8001}}, id="tcpSocket"),
        pytest.param({"exec": {"command": ["true"]}}, id="exec"),
    ],
)
async def test_readiness_probe_succeeds(cluster: Cluster, probe: dict[str, Any]) -> None:
    """Probes over real sockets make a pod ready."""
    ports = [{"name": "web", "containerPort": 8001}]
    cluster.create("web", args=["--port=8001"], ports=ports, readinessProbe=probe)
    await cluster.until(lambda: cluster.ready("web"))


async def test_grpc_probe_passes_on_the_generic_app(cluster: Cluster) -> None:
    """A gRPC probe of an unknown image succeeds, from the node's address."""
    cluster.create("web", "acme/grpc", readinessProbe={"grpc": {"port": 50051}})
    await cluster.until(lambda: cluster.ready("web"))


async def test_https_probe_passes_on_the_generic_app(cluster: Cluster) -> None:
    """The generic app speaks TLS to the probe, which looks at no certificate; another image says what it speaks."""
    probe = {"httpGet": {"scheme": "HTTPS", "path": "/healthz", "port": 8443}}
    cluster.create("web", "acme/secure", readinessProbe=probe)
    cluster.create("plain", args=["--port=8443"], readinessProbe=probe)
    await cluster.until(lambda: cluster.ready("web"))
    await cluster.until(lambda: "Unhealthy" in cluster.reasons("plain"))
    message = next(e["message"] for e in cluster.api.list("events") if e["reason"] == "Unhealthy")
    assert message.endswith("http: server gave HTTP response to HTTPS client")


async def test_readiness_probe_fails(cluster: Cluster) -> None:
    """A refused probe keeps the pod running but not ready, and says why."""
    cluster.create("web", readinessProbe={"httpGet": {"path": "/", "port": 81}, "periodSeconds": 1})
    await cluster.until(lambda: "Unhealthy" in cluster.reasons("web"))
    message = next(e["message"] for e in cluster.api.list("events") if e["reason"] == "Unhealthy")
    ip = cluster.pod("web")["status"]["podIP"]
    assert message == (f'Readiness probe failed: Get "http://{ip}:81/": dial tcp {ip}:81: connect: connection refused')
    assert (cluster.pod("web")["status"]["phase"], cluster.ready("web")) == ("Running", False)


async def test_absent_image() -> None:
    """An image marked as absent is ErrImagePull."""
    cluster = Cluster({"acme/gone": {"absent": True}})
    await cluster.start()
    try:
        cluster.create("web", "acme/gone:1")
        await cluster.until(lambda: cluster.main("web")["state"].get("waiting", {}).get("reason") == "ErrImagePull")
        with pytest.raises(StatusError, match="trying and failing to pull image"):
            cluster.runtime.log("default", "web", "main")
    finally:
        await cluster.close()


async def test_missing_config_map_then_there(cluster: Cluster) -> None:
    """A container that needs a missing ConfigMap waits, and starts once it is there."""
    entry = {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "level"}}}
    cluster.create("web", env=[entry])
    await cluster.until(
        lambda: cluster.main("web")["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError"
    )
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "conf", "namespace": "default"},
            "data": {"level": "debug"},
        }
    )
    await cluster.until(lambda: cluster.ready("web"))
    assert "LEVEL=debug" in (await cluster.get("web", "/?env=true")).text


async def test_config_map_volume(tmp_path: Path) -> None:
    """nginx serves a mounted ConfigMap, and its change; the folder goes with the pod."""
    cluster = Cluster(state_dir=tmp_path)
    await cluster.start()
    try:
        page = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "page", "namespace": "default"},
            "data": {"index.html": "one"},
        }
        cluster.api.create(page)
        mount = {"name": "html", "mountPath": "/usr/share/nginx/html"}
        volumes = [{"name": "html", "configMap": {"name": "page"}}]
        cluster.create("web", "nginx", volumeMounts=[mount], spec={"volumes": volumes})
        await cluster.until(lambda: cluster.ready("web"))
        assert (await cluster.get("web")).text == "one"
        cluster.api.modify("configmaps", "page", "default", lambda o: o["data"].update({"index.html": "two"}))
        while (await cluster.get("web")).text != "two":
            pass  # the folder follows in one of the loop's next turns
        cluster.api.delete("pods", "web", "default")
        await cluster.until(lambda: cluster.api.get("pods", "web", "default") is None)
        assert os.listdir(tmp_path / "pods") == []
    finally:
        await cluster.close()


async def test_pods_without_volumes_make_no_folder(tmp_path: Path) -> None:
    """No folder is made for a pod that mounts nothing."""
    cluster = Cluster(state_dir=tmp_path)
    await cluster.start()
    try:
        cluster.create("web")
        await cluster.until(lambda: cluster.ready("web"))
        assert os.listdir(tmp_path) == []
    finally:
        await cluster.close()


async def test_completed_pod(cluster: Cluster) -> None:
    """A pod that ends well and isn't restarted is Succeeded."""
    cluster.create("job", "busybox", command=["true"], spec={"restartPolicy": "Never"})
    await cluster.until(lambda: cluster.pod("job")["status"].get("phase") == "Succeeded")
    assert cluster.main("job")["state"]["terminated"]["reason"] == "Completed"


async def test_service_that_comes_later_opens_its_port(cluster: Cluster) -> None:
    """A generic pod listens on the targetPort of a Service that was made after it."""
    cluster.create("web", "acme/api", ports=[{"containerPort": 8080}])
    await cluster.until(lambda: cluster.ready("web"))
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 9090}]},
        }
    )
    await cluster.soon(lambda: cluster.fabric.answers(cluster.pod("web")["status"]["podIP"], 9090))
    assert (await cluster.get("web", "/", 9090)).json()["pod"] == "web"


async def test_exec(cluster: Cluster) -> None:
    """Exec runs the shell's commands and refuses what it doesn't have with 127."""
    cluster.create("web")
    await cluster.until(lambda: cluster.ready("web"))
    assert await cluster.run("web", "echo", "a", "b") == (0, "a b\n", "")
    code, _, err = await cluster.run("web", "no-such-program")
    assert (code, "executable file not found" in err or "not found" in err) == (127, True)


async def test_port_forward(cluster: Cluster) -> None:
    """A forwarded connection comes from the pod itself."""
    cluster.create("web")
    await cluster.until(lambda: cluster.ready("web"))
    reader, writer = await cluster.runtime.connect("default", "web", 80)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert f"RemoteAddr: {cluster.pod('web')['status']['podIP']}:" in (await reader.read()).decode()
    writer.close()


async def test_init_container_and_sidecar(cluster: Cluster) -> None:
    """Init containers run first; a sidecar shares the pod's address."""
    init = [
        {"name": "setup", "image": "busybox", "command": ["echo", "done"]},
        {"name": "side", "image": "traefik/whoami", "args": ["--port=8002"], "restartPolicy": "Always"},
    ]
    cluster.create("web", spec={"initContainers": init})
    await cluster.until(lambda: cluster.ready("web"))
    assert [line.text for line in cluster.runtime.log("default", "web", "setup").lines()] == ["done"]
    assert (await cluster.get("web", "/", 8002)).status_code == 200


async def test_stop_leaves_nothing() -> None:
    """Stopping a node ends its pods' tasks and sockets."""
    cluster = Cluster()
    await cluster.start()
    for number in range(5):
        cluster.create(f"web-{number}")
    await cluster.until(lambda: all(cluster.ready(f"web-{n}") for n in range(5)))
    await cluster.close()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    assert not cluster.kubelet.pool.leases


async def test_blocking_pod_is_named() -> None:
    """A pod whose code blocks the loop is named by an event and in its own log."""

    async def blocker(container: Container) -> int:
        container.started()
        await asyncio.sleep(0.02)
        time.sleep(0.3)  # noqa: ASYNC251  blocking is the point
        await container.terminated.wait()
        return 0

    cluster = Cluster({"blocker": blocker})
    await cluster.start()
    watchdog = watch_loop(lambda: [cluster.kubelet], limit=0.05)
    try:
        cluster.create("slow", "blocker")
        await cluster.until(lambda: "BlockedLoop" in cluster.reasons("slow"))
        log = "\n".join(line.text for line in cluster.runtime.log("default", "slow", "main").lines())
        assert "blocked for" in log
        assert "default/slow/main" in log
    finally:
        watchdog.close()
        await cluster.close()
