"""Other clients than kubectl against a running cluster: the Python ones, an operator, Helm."""

import gc
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py import Cluster

from .manifests import CRONTABS

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "nginx:1.27", ports: [{containerPort: 80}]}]}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.minicluster(WEB, CRONTABS),
    # The clients' own: they leave sockets and event loops to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _leftovers() -> Iterator[None]:
    """Collect what the clients left before their warnings could reach another module's tests."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="module")
def core(minicluster_module: Cluster) -> Iterator[Any]:
    """The official client's CoreV1Api."""
    from kubernetes import client, config

    with config.new_client_from_config(minicluster_module.kubeconfig) as api_client:
        yield client.CoreV1Api(api_client)


@pytest.fixture
def pod(core: Any) -> str:
    return str(core.list_namespaced_pod("default", label_selector="app=web").items[0].metadata.name)


def test_official_client_writes_and_reads(core: Any) -> None:
    """create, list with selectors, patch, scale, delete; a missing object is an ApiException 404."""
    from kubernetes import client

    apps = client.AppsV1Api(core.api_client)
    labels = {"app": "py"}
    container = client.V1Container(name="c", image="nginx:1.27")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(selector=client.V1LabelSelector(match_labels=labels), template=template)
    apps.create_namespaced_deployment("default", client.V1Deployment(metadata={"name": "py"}, spec=spec))
    patched = apps.patch_namespaced_deployment("py", "default", {"spec": {"replicas": 3}})
    assert patched.spec.replicas == 3
    scaled = apps.patch_namespaced_deployment_scale("py", "default", {"spec": {"replicas": 2}})
    assert scaled.spec.replicas == 2
    assert [d.metadata.name for d in apps.list_deployment_for_all_namespaces(label_selector="!tier").items].count("py")
    apps.delete_namespaced_deployment("py", "default", propagation_policy="Foreground")
    with pytest.raises(client.ApiException) as missing:
        core.read_namespaced_pod("nope", "default")
    assert (missing.value.status, json.loads(missing.value.body)["message"]) == (404, 'pods "nope" not found')
    assert client.VersionApi(core.api_client).get_code().git_version.startswith("v1.32")


def test_official_client_watches(core: Any) -> None:
    """A watch sees a pod from its creation to Running."""
    from kubernetes import watch

    pod = {
        "metadata": {"name": "seen", "labels": {"seen": "yes"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    }
    version = core.list_namespaced_pod("default").metadata.resource_version
    core.create_namespaced_pod("default", pod)
    phases: list[tuple[str, str]] = []
    stream = watch.Watch()
    for event in stream.stream(
        core.list_namespaced_pod, "default", label_selector="seen=yes", resource_version=version, timeout_seconds=10
    ):
        phases.append((event["type"], event["object"].status.phase))
        if phases[-1][1] == "Running":
            stream.stop()
    assert (phases[0], phases[-1]) == (("ADDED", "Pending"), ("MODIFIED", "Running"))


def test_official_client_executes(core: Any, pod: str) -> None:
    """Streams over WebSocket in both directions, with the exit code."""
    from kubernetes.stream import stream

    run = core.connect_get_namespaced_pod_exec
    assert stream(run, pod, "default", command=["echo", "hi"], stdout=True, stderr=True, stdin=False) == "hi\n"
    command = ["sh", "-c", "read word; echo got $word; exit 3"]
    shell = stream(run, pod, "default", command=command, stdin=True, stdout=True, stderr=True, _preload_content=False)
    shell.write_stdin("tea\n")
    shell.run_forever(timeout=5)
    assert (shell.read_stdout(), shell.returncode) == ("got tea\n", 3)


def test_official_client_forwards_a_port(core: Any, pod: str) -> None:
    """HTTP through the API server to the pod's own port."""
    from kubernetes.stream import portforward

    forward = portforward(core.connect_get_namespaced_pod_portforward, pod, "default", ports="80")
    connection = forward.socket(80)
    connection.setblocking(True)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
    answer = b""
    while data := connection.recv(4096):
        answer += data
    connection.close()
    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_kr8s(minicluster_module: Cluster) -> None:
    """Objects with verbs: create, wait, scale, logs, exec, label, watch, delete."""
    import kr8s.asyncio
    from kr8s.asyncio.objects import Deployment

    api = await kr8s.asyncio.api(kubeconfig=minicluster_module.kubeconfig)
    labels = {"app": "kr8s"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx:1.27"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    deployment = await Deployment({"metadata": {"name": "kr8s", "namespace": "default"}, "spec": spec}, api=api)
    await deployment.create()
    await deployment.wait("condition=Available", timeout=10)
    await deployment.scale(2)
    (pod, *_) = await deployment.pods()
    assert (await pod.exec(["hostname"])).stdout.decode().strip() == pod.name
    await pod.label({"colour": "blue"})
    async for kind, found in api.watch("pods", namespace="default", label_selector={"colour": "blue"}):
        assert (kind, found.name) == ("ADDED", pod.name)
        break
    await deployment.delete()
    await deployment.wait("delete", timeout=10)
    assert not await deployment.exists()


OPERATOR = """
import kopf

@kopf.on.create("stable.example.com", "v1", "crontabs")
def create(spec, body, patch, **_):
    patch.status["message"] = "runs " + spec["schedule"]
    kopf.event(body, type="Normal", reason="Greeting", message="hello from the operator")

@kopf.on.update("stable.example.com", "v1", "crontabs", field="spec.schedule")
def update(new, patch, **_):
    patch.status["message"] = "now runs " + new

@kopf.on.delete("stable.example.com", "v1", "crontabs")
def delete(**_):
    print("GOODBYE", flush=True)
"""


def test_kopf_operator(minicluster_module: Cluster, core: Any, tmp_path: Path) -> None:
    """An operator sees creation, change and deletion of its custom resource; its finalizer delays the deletion."""
    from kubernetes import client

    def eventually(question: Any, wanted: Any) -> None:
        deadline, found = time.monotonic() + 15, None
        while time.monotonic() < deadline:
            if (found := question()) == wanted:
                return
            time.sleep(0.05)  # another process does the work; its results can only be polled
        raise AssertionError(f"{found!r} is not {wanted!r}: {log.read_text()}")

    custom = client.CustomObjectsApi(core.api_client)
    where = ("stable.example.com", "v1", "default", "crontabs")
    (tmp_path / "crontabs.py").write_text(OPERATOR)
    log = tmp_path / "log"
    environment = {**os.environ, "KUBECONFIG": minicluster_module.kubeconfig}
    command = [sys.executable, "-W", "ignore", "-m", "kopf", "run", "--standalone", "-n", "default", "crontabs.py"]
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output) as operator,
    ):
        try:
            body = {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "nightly"}}
            custom.create_namespaced_custom_object(*where, {**body, "spec": {"schedule": "0 0 * * *"}})

            def message() -> Any:
                return custom.get_namespaced_custom_object(*where, "nightly").get("status", {}).get("message")

            eventually(message, "runs 0 0 * * *")
            custom.patch_namespaced_custom_object(*where, "nightly", {"spec": {"schedule": "5 5 * * *"}})
            eventually(message, "now runs 5 5 * * *")
            events = "involvedObject.kind=CronTab,reason=Greeting"
            eventually(lambda: len(core.list_namespaced_event("default", field_selector=events).items), 1)
            custom.delete_namespaced_custom_object(*where, "nightly")
            eventually(lambda: custom.list_namespaced_custom_object(*where)["items"], [])
            assert "GOODBYE" in log.read_text()
        finally:
            operator.terminate()


HELM = """
import json, sys
import helm_python as helm

chart = helm.Chart.create("shop", ".")
config = helm.Config(kubeconfig_path=sys.argv[1], namespace="default")
steps = {}
options = {"wait": "watcher", "timeout": 20}
steps["installed"] = config.install("shop", "mine", {"replicaCount": 2}, **options)["status"]
steps["upgraded"] = config.upgrade("shop", "mine", {"replicaCount": 3}, **options)["revision"]
config.rollback("mine", version=1, **options)
steps["revisions"] = [release["status"] for release in config.history("mine")]
steps["tested"] = config.test("mine")["release"]["status"]
steps["listed"] = [release["name"] for release in config.list()]
config.uninstall("mine", **options)
steps["left"] = config.list()
print(json.dumps(steps))
"""


def test_helm(minicluster_module: Cluster, core: Any, tmp_path: Path) -> None:
    """Helm's default chart: install, upgrade, rollback, test (its pod calls the Service), uninstall."""
    # In a process of its own: Helm's library brings the Go runtime, which wants the process's signal handlers.
    done = subprocess.run(
        [sys.executable, "-c", HELM, minicluster_module.kubeconfig],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "installed": "deployed",
        "upgraded": 2,
        "revisions": ["superseded", "superseded", "deployed"],
        "tested": "deployed",
        "listed": ["mine"],
        "left": [],
    }
    left = core.list_namespaced_service("default", label_selector="app.kubernetes.io/instance=mine").items
    assert left == []
