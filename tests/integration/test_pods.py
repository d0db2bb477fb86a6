"""Pods live and die as in Kubernetes: a whole cluster, real sockets, real signals."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import ClientSession, web

from minikube_py import Cluster
from minikube_py.images.container import Container


def _pod(name: str, image: str, **more: Any) -> dict[str, Any]:
    """Return a pod with one container named as the pod; `spec` and `metadata` go where they belong."""
    spec, metadata = more.pop("spec", {}), more.pop("metadata", {})
    container = {"name": name, "image": image, **more}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}, **metadata},
        "spec": {"containers": [container], **spec},
    }


def _until(holds: Callable[[], Any], timeout: float = 30.0) -> Any:
    """Wait for a fact of the cluster, seen from outside."""
    deadline = time.monotonic() + timeout
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)
    return found


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=30, trust_env=False)


def _status(cluster: Cluster, name: str) -> dict[str, Any]:
    pod = next((p for p in cluster.get("pods") if p["metadata"]["name"] == name), None)
    return dict(pod["status"]) if pod else {}


def _port(number: int) -> dict[str, Any]:
    return {"ports": [{"containerPort": number}]}


def _claim(name: str, **spec: Any) -> dict[str, Any]:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {**wanted, **spec},
    }


def _volume(cluster: Cluster, claim: str) -> str:
    """Return the name of the volume that a claim is bound to."""
    return str(next(c for c in cluster.get("pvc") if c["metadata"]["name"] == claim)["spec"]["volumeName"])


async def front() -> web.Application:
    """Make the app that asks its neighbour in the same pod."""

    async def ask(request: web.Request) -> web.Response:
        async with ClientSession() as session, session.get("http://localhost:9000/") as answer:
            return web.Response(text=await answer.text())

    app = web.Application()
    app.router.add_get("/", ask)
    return app


async def failing(container: Container) -> int:
    print("about to fail")
    raise RuntimeError("no beans left")


async def stubborn(container: Container) -> int:
    """Ignore SIGTERM."""
    import asyncio

    container.started()
    await asyncio.Event().wait()
    return 0


IMAGES: dict[str, Any] = {
    "acme/front": {"aiohttp": front},
    "acme/failing": failing,
    "acme/stubborn": stubborn,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(
        images=IMAGES, config={"apiVersion": "minikube-py/v1alpha1", "kind": "Cluster", "nodes": 2}
    ) as running:
        yield running


def test_containers_of_a_pod_meet_at_localhost(cluster: Cluster) -> None:
    """One container calls the other at localhost; both have the pod's address."""
    pod = _pod("pair", "acme/front", **_port(8080))
    pod["spec"]["containers"].append(
        {"name": "back", "image": "traefik/whoami", "args": ["--port=9000"], **_port(9000)}
    )
    cluster.apply(pod)
    cluster.wait("pod/pair", condition="Ready")
    ip = _status(cluster, "pair")["podIP"]
    text = _get(f"http://{ip}:8080/").text
    assert f"RemoteAddr: {ip}:" in text
    assert f"RemoteAddr: {ip}:" in _get(f"http://{ip}:9000/").text or "RemoteAddr: 127." in text


def test_two_pods_use_the_same_port(cluster: Cluster) -> None:
    """Ports belong to pods, not to the machine."""
    for name in ("twin-a", "twin-b"):
        cluster.apply(_pod(name, "traefik/whoami", args=["--port=9001"], **_port(9001)))
    for name in ("twin-a", "twin-b"):
        cluster.wait(f"pod/{name}", condition="Ready")
        assert f"Hostname: {name}" in _get(f"http://{_status(cluster, name)['podIP']}:9001/").text


def test_two_containers_that_want_one_port(cluster: Cluster) -> None:
    """The second one fails with the sentence, in its status, in an event and in `mkpy status`."""
    pod = _pod("clash", "traefik/whoami", args=["--port=9002"], **_port(9002))
    pod["spec"]["containers"].append({"name": "late", "image": "traefik/whoami", "args": ["--port=9002"]})
    cluster.apply(pod)

    def crashed() -> Any:
        late = next((s for s in _status(cluster, "clash").get("containerStatuses", ()) if s["name"] == "late"), {})
        return (late.get("lastState") or {}).get("terminated") or (late.get("state") or {}).get("terminated")

    message = _until(crashed)["message"]
    assert "cannot listen on TCP port 9002" in message
    assert "a container of this pod listens on it already" in message
    _until(lambda: any(message in event["message"] for event in cluster.get("events")))
    _until(lambda: "listens on it already" in "\n".join(map(str, cluster.local.problems())))
    cluster.delete("pod/clash")


def test_a_failing_container_backs_off_and_says_why(cluster: Cluster) -> None:
    """CrashLoopBackOff with exit code, reason, message, restart count, and both logs."""
    cluster.apply(_pod("crash", "acme/failing"))

    def waiting() -> Any:
        status = _status(cluster, "crash").get("containerStatuses", [{}])[0]
        reason = status.get("state", {}).get("waiting", {}).get("reason")
        return status if reason == "CrashLoopBackOff" and status.get("restartCount") else None

    status = _until(waiting)
    last = status["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (1, "Error", "RuntimeError: no beans left")
    assert "about to fail" in cluster.logs("pod/crash")
    cluster.delete("pod/crash")


@pytest.mark.parametrize(
    ("image", "command", "code"),
    [
        pytest.param("busybox", ["sh", "-c", "exit 3"], 3, id="exit 3"),
        pytest.param("busybox", ["true"], 0, id="success"),
        pytest.param("busybox", ["/no/such/program"], 128, id="no such program"),
    ],
)
def test_exit_codes(cluster: Cluster, image: str, command: list[str], code: int) -> None:
    """A pod that is not restarted ends as Succeeded or Failed, with the code of its program."""
    name = f"exit-{code}"
    cluster.apply(_pod(name, image, command=command, spec={"restartPolicy": "Never"}))
    _until(lambda: _status(cluster, name).get("phase") in ("Succeeded", "Failed"))
    status = _status(cluster, name)
    terminated = status["containerStatuses"][0]["state"]["terminated"]
    assert terminated["exitCode"] == code
    assert status["phase"] == ("Succeeded" if code == 0 else "Failed")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param({}, "beans are out\n", id="File"),
        pytest.param({"terminationMessagePath": "/tmp/why"}, "", id="another path"),
        pytest.param({"terminationMessagePolicy": "FallbackToLogsOnError"}, "beans are out\n", id="file before log"),
        pytest.param(
            {"terminationMessagePath": "/tmp/why", "terminationMessagePolicy": "FallbackToLogsOnError"},
            "grinding",
            id="log where the file is empty",
        ),
    ],
)
def test_last_words(cluster: Cluster, more: dict[str, str], message: str) -> None:
    """What is written to terminationMessagePath is in the status; the log's end stands in if asked to."""
    script = "echo grinding; echo beans are out > /dev/termination-log; exit 1"
    spec = {"restartPolicy": "Never"}
    cluster.apply(_pod("words", "busybox", command=["sh", "-c", script], spec=spec, **more))
    _until(lambda: _status(cluster, "words").get("phase") == "Failed")
    terminated = _status(cluster, "words")["containerStatuses"][0]["state"]["terminated"]
    assert terminated.get("message", "") == message
    cluster.delete("pod/words")
    cluster.wait_gone("pod/words")


def test_what_ignores_sigterm_is_killed(cluster: Cluster) -> None:
    """After the grace period the pod is gone, whatever its program thinks of it."""
    cluster.apply(_pod("mule", "acme/stubborn", spec={"terminationGracePeriodSeconds": 1}))
    cluster.wait("pod/mule", condition="Ready")
    started = time.monotonic()
    cluster.delete("pod/mule")
    cluster.wait_gone("pod/mule")
    assert 0.9 < time.monotonic() - started < 3


def test_init_containers_run_in_order_before_the_main_one(cluster: Cluster) -> None:
    """What an init container writes into a shared volume, the main one serves."""
    mount = {"name": "pages", "mountPath": "/usr/share/nginx/html"}
    init = {
        "name": "fetch",
        "image": "busybox",
        "command": ["sh", "-c", "echo the menu of $HOSTNAME > /usr/share/nginx/html/index.html"],
        "volumeMounts": [mount],
    }
    spec = {"initContainers": [init], "volumes": [{"name": "pages", "emptyDir": {}}]}
    cluster.apply(_pod("menu", "nginx", volumeMounts=[mount], spec=spec, **_port(80)))
    cluster.wait("pod/menu", condition="Ready")
    with cluster.client(from_pod="twin-a") as http:
        assert http.get(f"http://{_status(cluster, 'menu')['podIP']}/").text == "the menu of menu\n"


def test_hostport_answers_on_the_nodes_address(cluster: Cluster) -> None:
    """A hostPort is the pod's port on its node, and is closed with the pod."""
    port = {"ports": [{"containerPort": 9003, "hostPort": 9903}]}
    cluster.apply(_pod("door", "traefik/whoami", args=["--port=9003"], **port))
    cluster.wait("pod/door", condition="Ready")
    node = _status(cluster, "door")["hostIP"]
    assert "Hostname: door" in _get(f"http://{node}:9903/").text
    cluster.delete("pod/door")
    cluster.wait_gone("pod/door")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((node, 9903), timeout=2)


def test_hostport_takes_datagrams_and_keeps_to_its_host_ip(cluster: Cluster) -> None:
    """A UDP hostPort answers from the node's address; hostIP 127.0.0.1 is the node's own loopback, others are told."""
    ports = [
        {"containerPort": 9010, "hostPort": 9910, "protocol": "UDP"},
        {"containerPort": 9011, "hostPort": 9911, "hostIP": "127.0.0.1"},
        {"containerPort": 9012, "hostPort": 9912, "hostIP": "192.0.2.1"},
    ]
    args = ["netexec", "--http-port=9011", "--udp-port=9010"]
    cluster.apply(_pod("udp", "registry.k8s.io/e2e-test-images/agnhost:2.53", args=args, ports=ports))
    cluster.wait("pod/udp", condition="Ready")
    node = _status(cluster, "udp")["hostIP"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"hostname", (node, 9910))
        assert client.recvfrom(100) == (b"udp", (node, 9910))
    with pytest.raises(httpx.TransportError):
        _get(f"http://{node}:9911/hostname")
    conflict = _until(lambda: [e for e in cluster.get("events") if e["reason"] == "HostPortConflict"])[0]
    assert conflict["message"].startswith("hostPort 9912: hostIP 192.0.2.1 is no address of node")


def test_hostnetwork_pod_is_at_the_nodes_address(cluster: Cluster) -> None:
    """It has the node's address and name, and its port is the node's."""
    pod = _pod("agent", "traefik/whoami", args=["--port=9904"], spec={"hostNetwork": True}, **_port(9904))
    cluster.apply(pod)
    cluster.wait("pod/agent", condition="Ready")
    status = _status(cluster, "agent")
    assert status["podIP"] == status["hostIP"]
    assert "Hostname: worker" in _get(f"http://{status['hostIP']}:9904/").text
    cluster.delete("pod/agent")
    cluster.wait_gone("pod/agent")


def test_service_account_files(cluster: Cluster) -> None:
    """Token, authority and namespace are where every client library looks; the token is the account's."""
    files = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = f"cat {files}/namespace; echo; head -n 1 {files}/ca.crt; cat {files}/token"
    result = cluster.exec("pod/twin-a", ["sh", "-c", script])
    namespace, first, token = result.stdout.splitlines()
    assert (namespace, first) == ("default", "-----BEGIN CERTIFICATE-----")
    assert token.count(".") == 2


def test_labels_in_a_volume_follow_the_pod(cluster: Cluster) -> None:
    """A downwardAPI volume shows a new label without a restart."""
    item = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    spec = {"volumes": [{"name": "me", "downwardAPI": {"items": [item]}}]}
    pod = _pod(
        "mirror", "busybox", command=["sleep", "600"], volumeMounts=[{"name": "me", "mountPath": "/me"}], spec=spec
    )
    cluster.apply(pod)
    cluster.wait("pod/mirror", condition="Ready")
    assert cluster.exec("pod/mirror", ["cat", "/me/labels"]).stdout.strip() == 'app="mirror"'
    cluster.apply({**pod, "metadata": {"name": "mirror", "labels": {"app": "mirror", "tier": "gold"}}})
    _until(lambda: 'tier="gold"' in cluster.exec("pod/mirror", ["cat", "/me/labels"]).stdout)
    assert _status(cluster, "mirror")["containerStatuses"][0]["restartCount"] == 0


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_a_claims_data_goes_as_its_reclaim_policy_says(cluster: Cluster, policy: str) -> None:
    """Delete removes the folder with the claim, Retain keeps it; a claim made anew under the same name is empty."""
    name = f"shelf-{policy.lower()}"
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "k8s.io/minikube-hostpath",
        "reclaimPolicy": policy,
    }
    claim = _claim(name, storageClassName=name)
    spec = {"restartPolicy": "Never", "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": name}}]}
    mount = {"volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    fill = _pod("fill", "busybox", command=["sh", "-c", "echo tea > /d/leaves"], spec=spec, **mount)
    look = _pod("look", "busybox", command=["sh", "-c", "ls /d"], spec=spec, **mount)
    cluster.apply(storage, claim, fill)
    _until(lambda: _status(cluster, "fill").get("phase") == "Succeeded")
    first = cluster.local.state_dir / "claims" / _volume(cluster, name)
    assert (first / "leaves").read_text() == "tea\n"
    cluster.delete("pod/fill")
    cluster.delete(f"pvc/{name}")
    _until(lambda: first.exists() == (policy == "Retain"))
    cluster.apply(claim, look)
    _until(lambda: _status(cluster, "look").get("phase") == "Succeeded")
    assert cluster.logs("pod/look") == ""
    assert first.exists() == (policy == "Retain")
    cluster.delete("pod/look")


def test_folders_and_processes_end_with_the_cluster(tmp_path: Path, cluster: Cluster, no_leaks: None) -> None:
    """Volumes are gone and host programs have ended when the `with` block is left."""
    marker = tmp_path / "pid"
    program = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    claim = _claim("data")
    spec = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
    pod = _pod("prog", "acme/prog", volumeMounts=[{"name": "data", "mountPath": "/data"}], spec=spec)
    with Cluster(claim, pod, images={"acme/prog": {"command": [sys.executable, "-c", program]}}) as running:
        pid = int(_until(lambda: marker.exists() and marker.read_text()))
        folder = running.local.state_dir
        assert [path.name for path in (folder / "claims").iterdir()] == [_volume(running, "data")]
    assert not folder.exists()
    assert subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode == 1


def test_liveness_restarts_and_the_previous_log_stays(cluster: Cluster) -> None:
    """A failing liveness probe kills the container; `logs --previous` shows what it said."""
    probe = {"exec": {"command": ["cat", "/tmp/healthy"]}, "periodSeconds": 1, "failureThreshold": 1}
    ill = "touch /tmp/healthy; sleep 1; rm /tmp/healthy; while true; do sleep 0.05; done"
    script = f"trap 'echo asked to stop; exit 0' TERM; echo alive; {ill}"
    pod = _pod(
        "patient",
        "busybox",
        command=["sh", "-c", script],
        livenessProbe=probe,
        spec={"terminationGracePeriodSeconds": 1},
    )
    cluster.apply(pod)
    _until(lambda: _status(cluster, "patient").get("containerStatuses", [{}])[0].get("restartCount"), 15)
    _until(lambda: any(e["reason"] == "Unhealthy" and "Liveness" in e["message"] for e in cluster.get("events")))
    previous = cluster.local.runtime.log("default", "patient", "patient", previous=True)
    assert [line.text for line in previous.lines()] == ["alive", "asked to stop"]
    cluster.delete("pod/patient")


def test_startup_probe_gates_readiness(cluster: Cluster) -> None:
    """Readiness isn't asked before the startup probe has succeeded."""
    mount = {"name": "state", "mountPath": "/state"}
    pod = _pod(
        "slow",
        "busybox",
        command=["sh", "-c", "sleep 600"],
        volumeMounts=[mount],
        startupProbe={"exec": {"command": ["cat", "/state/up"]}, "periodSeconds": 1, "failureThreshold": 30},
        readinessProbe={"exec": {"command": ["sh", "-c", "echo asked >> /state/asked"]}, "periodSeconds": 1},
        spec={"volumes": [{"name": "state", "emptyDir": {}}]},
    )
    cluster.apply(pod)
    _until(lambda: any(e["reason"] == "Unhealthy" and "Startup" in e["message"] for e in cluster.get("events")))
    assert _status(cluster, "slow")["containerStatuses"][0]["started"] is False
    assert cluster.exec("pod/slow", ["sh", "-c", "ls /state"]).stdout == ""
    cluster.exec("pod/slow", ["touch", "/state/up"])
    cluster.wait("pod/slow", condition="Ready")
    assert "asked" in cluster.exec("pod/slow", ["cat", "/state/asked"]).stdout


def test_prestop_runs_before_sigterm(cluster: Cluster) -> None:
    """The hook's output file is there when the program is told to end."""
    claim = _claim("diary")
    script = "trap 'echo sigterm >> /d/diary; exit 0' TERM; while true; do sleep 0.05; done"
    pod = _pod(
        "writer",
        "busybox",
        command=["sh", "-c", script],
        lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "echo prestop >> /d/diary"]}}},
        volumeMounts=[{"name": "d", "mountPath": "/d"}],
        spec={
            "terminationGracePeriodSeconds": 3,
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "diary"}}],
        },
    )
    cluster.apply(claim, pod)
    cluster.wait("pod/writer", condition="Ready")
    cluster.delete("pod/writer")
    cluster.wait_gone("pod/writer")
    diary = cluster.local.state_dir / "claims" / _volume(cluster, "diary") / "diary"
    assert diary.read_text().split() == ["prestop", "sigterm"]


def test_sidecar_starts_first_and_ends_last(cluster: Cluster) -> None:
    """A Job's pod with a restartable init container completes: the sidecar is stopped after the main container."""
    sidecar = {"name": "proxy", "image": "traefik/whoami", "args": ["--port=9005"], "restartPolicy": "Always"}
    sidecar["startupProbe"] = {"tcpSocket": {"port": 9005}, "periodSeconds": 1}  # type: ignore[assignment]
    main = ["sh", "-c", "wget -qO- http://localhost:9005/ | grep Hostname"]
    spec = {"initContainers": [sidecar], "restartPolicy": "Never"}
    cluster.apply(_pod("batch", "busybox", command=main, spec=spec))
    _until(lambda: _status(cluster, "batch").get("phase") == "Succeeded")
    assert cluster.logs("pod/batch", container="batch") == "Hostname: batch\n"


def test_readiness_gate_holds_back_traffic(cluster: Cluster) -> None:
    """The pod's containers are ready, the pod is not, until somebody sets the gate's condition."""
    spec = {"readinessGates": [{"conditionType": "acme.example/approved"}]}
    cluster.apply(_pod("gated", "traefik/whoami", args=["--port=9006"], spec=spec))
    conditions = _until(
        lambda: (
            {c["type"]: c["status"] for c in _status(cluster, "gated").get("conditions", ())}
            if _status(cluster, "gated").get("phase") == "Running"
            else None
        )
    )
    assert (conditions["ContainersReady"], conditions["Ready"]) == ("True", "False")
