"""kubectl changes a whole cluster: roll out, scale, run, exec, copy, forward, debug, drain."""

import base64
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"
pytestmark = [pytest.mark.slow, pytest.mark.minicluster(CONFIGS / "coffee-shop.yaml", CONFIGS / "user-api.yaml")]

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: count}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "busybox:1.36", command: [sh, -c, "for i in 1 2 3; do echo line $i; done"]}]
"""
BOX = """
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: box}}
spec:
  initContainers: [{name: init, image: busybox, command: [echo, first]}]
  containers:
  - {name: main, image: "busybox:1.36", command: [sh, -c, "echo started; sleep 3600"]}
  - {name: web, image: "nginx:1.27", ports: [{containerPort: 80}]}
"""


@pytest.fixture(scope="module")
def box(kubectl_on: Any) -> str:
    """A pod with an init container, a shell and a web server."""
    kubectl_on("apply", "-f", "-", stdin=BOX)
    kubectl_on("wait", "--for=condition=Ready", "pod/box", "--timeout=10s")
    return "box"


def test_a_rollout_from_creation_to_undo(kubectl_on: Any) -> None:
    """create, set image, status, history, undo, pause, resume, restart: revisions as a real Deployment has them."""
    k = kubectl_on
    k("create", "deployment", "web", "--image=nginx:1.27", "--replicas=3", "--port=80")
    done = 'deployment "web" successfully rolled out\n'
    assert k("rollout", "status", "deploy/web", "--timeout=20s").endswith(done)
    assert k("set", "image", "deploy/web", "nginx=nginx:1.28") == "deployment.apps/web image updated\n"
    k("annotate", "deploy/web", "kubernetes.io/change-cause=the new one")
    assert k("rollout", "status", "deploy/web", "--timeout=20s").endswith(done)
    assert k("rollout", "history", "deploy/web").split()[3:] == ["1", "<none>", "2", "the", "new", "one"]
    assert "nginx:1.27" in k("rollout", "history", "deploy/web", "--revision=1")
    assert k("rollout", "undo", "deploy/web") == "deployment.apps/web rolled back\n"
    assert k("rollout", "status", "deploy/web", "--timeout=20s").endswith(done)
    sets = json.loads(k("get", "rs", "-l", "app=web", "-o", "json"))["items"]
    assert sorted(each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for each in sets) == ["2", "3"]
    k("rollout", "pause", "deploy/web")
    assert k.fails("rollout", "pause", "deploy/web") == 'error: deployments.apps "web" is already paused'
    k("rollout", "resume", "deploy/web")
    k("rollout", "restart", "deploy/web")
    assert k("rollout", "status", "deploy/web", "--timeout=20s").endswith(done)
    assert "unable to find specified revision 99" in k.fails("rollout", "undo", "deploy/web", "--to-revision=99")


def test_daemon_sets_and_stateful_sets_roll_out(kubectl_on: Any) -> None:
    """restart, status, history and undo read their ControllerRevisions."""
    k = kubectl_on
    daemons = ("ds/kube-proxy", "-n", "kube-system")
    k("rollout", "restart", *daemons)
    assert "successfully rolled out" in k("rollout", "status", *daemons, "--timeout=20s")
    assert k("rollout", "history", *daemons).split()[3:] == ["1", "<none>", "2", "<none>"]
    assert k("rollout", "undo", *daemons) == "daemonset.apps/kube-proxy rolled back\n"
    assert "successfully rolled out" in k("rollout", "status", *daemons, "--timeout=20s")


def test_scale_and_autoscale(kubectl_on: Any) -> None:
    """scale with a precondition; an autoscaler that describes itself; the scale sub-resource as a table."""
    k = kubectl_on
    assert k("scale", "deploy/order", "--replicas=4") == "deployment.apps/order scaled\n"
    assert "Expected replicas to be 2, was 4" in k.fails(
        "scale", "deploy/order", "--replicas=3", "--current-replicas=2"
    )
    k("scale", "deploy/order", "--replicas=2", "--current-replicas=4")
    k("wait", "deploy/order", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=10s")
    assert k("get", "deploy", "order", "--subresource=scale").split()[:5] == [
        "NAME",
        "DESIRED",
        "AVAILABLE",
        "AGE",
        "order",
    ]
    k("autoscale", "deploy", "order", "--min=2", "--max=5", "--cpu-percent=60")
    assert "Deployment/order" in k("get", "hpa", "order")
    assert "Min replicas:" in k("describe", "hpa", "order")
    k("delete", "hpa", "order")


def test_waiting(kubectl_on: Any) -> None:
    """wait for conditions, values, creation and deletion; a timeout is exit code 1 in kubectl's words."""
    k = kubectl_on
    assert k("wait", "--for=condition=Available", "deploy", "--all", "--timeout=10s").count("condition met") >= 3
    timed_out = k.fails("wait", "--for=condition=Nope", "deploy/tea-house", "--timeout=200ms")
    assert timed_out == "error: timed out waiting for the condition on deployments/tea-house"
    with k.started("wait", "--for=create", "pod/later", "--timeout=10s") as waiting:
        k("run", "later", "--image=nginx")
        assert waiting.communicate(timeout=10)[0] == "pod/later condition met\n"
    with k.started("wait", "--for=delete", "pod/later", "--timeout=10s") as waiting:
        k("delete", "pod", "later", "--wait=false")
        assert waiting.wait(timeout=10) == 0
    assert k.run("get", "pod", "later", "--ignore-not-found").out == ""


def test_jobs_and_their_logs(kubectl_on: Any) -> None:
    """A Job's pod is found by its labels; a Job made from a CronJob runs at once."""
    k = kubectl_on
    k("apply", "-f", "-", stdin=JOB)
    k("wait", "--for=condition=complete", "job/count", "--timeout=10s")
    assert k("logs", "job/count") == "line 1\nline 2\nline 3\n"
    assert k("get", "job", "count", "--no-headers").split()[1:3] == ["Complete", "1/1"]
    k("create", "cronjob", "tick", "--image=busybox", "--schedule=0 0 1 1 *", "--", "echo", "now")
    k("create", "job", "tock", "--from=cronjob/tick")
    k("wait", "--for=condition=complete", "job/tock", "--timeout=10s")
    assert k("logs", "job/tock") == "now\n"


def test_logs_of_each_container(kubectl_on: Any, box: str) -> None:
    """-c, --all-containers, --prefix, --tail, -l; a container that never restarted has no previous log."""
    k = kubectl_on
    assert k("logs", box) == "started\n"
    assert k("logs", box, "-c", "init") == "first\n"
    assert "[pod/box/init] first\n" in k("logs", box, "--all-containers", "--prefix")
    assert k("logs", "-l", "app=box", "--tail=1", "-c", "main") == "started\n"
    previous = k.fails("logs", box, "-c", "main", "--previous")
    assert previous.endswith('previous terminated container "main" in pod "box" not found')


def test_exec_runs_as_the_pod(kubectl_on: Any, box: str) -> None:
    """Exit codes, stdin, environment, the pod's resolver; a missing program is 127."""
    k = kubectl_on
    assert k("exec", box, "-c", "web", "--", "hostname") == "box\n"
    assert "nameserver" in k("exec", box, "--", "cat", "/etc/resolv.conf")
    assert "user-api.production.svc.cluster.local" in k("exec", box, "--", "nslookup", "user-api.production")
    assert k("exec", "deploy/order", "--", "sh", "-c", "echo $KUBERNETES_SERVICE_PORT") == "443\n"
    assert k("exec", "-i", box, "--", "sh", "-c", "wc -c", stdin="12345").strip() == "5"
    failed = k.run("exec", box, "-c", "main", "--", "sh", "-c", "exit 3")
    assert (failed.code, failed.err) == (3, "command terminated with exit code 3\n")
    assert k.run("exec", box, "--", "nosuchprogram").code == 127
    assert "container nope is not valid for pod box" in k.fails("exec", box, "-c", "nope", "--", "true")


def test_files_are_copied_both_ways(kubectl_on: Any, box: str, tmp_path: Path) -> None:
    """cp of files and folders, through the box's tar."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data.bin").write_bytes(os.urandom(200_000))
    kubectl_on("cp", str(tmp_path / "folder"), f"{box}:/tmp/folder", "-c", "main")
    kubectl_on("cp", f"{box}:/tmp/folder/data.bin", str(tmp_path / "back.bin"), "-c", "main")
    assert (tmp_path / "back.bin").read_bytes() == (tmp_path / "folder" / "data.bin").read_bytes()


def test_run_attaches_and_hands_over_the_exit_code(kubectl_on: Any) -> None:
    """run -i with stdin, --rm, and the code of the container."""
    k = kubectl_on
    assert k("run", "hello", "--image=busybox", "--rm", "-i", "--restart=Never", "--", "echo", "hi").startswith("hi\n")
    counted = k.run(
        "run",
        "count",
        "--image=busybox",
        "--rm",
        "-i",
        "--restart=Never",
        "--",
        "sh",
        "-c",
        "wc -c; exit 7",
        stdin="abc",
    )
    assert (counted.code, counted.out.split()[0]) == (7, "3")
    assert "pods" not in k("get", "pods", "-l", "run=count", "-o", "name")


@pytest.mark.parametrize(
    "arguments", [["-s", "http://order"], ["sh", "-c", "curl -s http://order"]], ids=["curl", "sh"]
)
def test_the_curl_image_takes_options_or_a_program(kubectl_on: Any, arguments: list[str]) -> None:
    """Its entry point puts curl before options, as the image's own script does, and runs a program as it is."""
    run = ("run", "caller", "--image=curlimages/curl:8.10.1", "--rm", "-i", "--restart=Never", "--")
    assert kubectl_on(*run, *arguments).startswith("One coffee, coming up.\n")


def test_a_pod_may_ask_the_api_with_its_own_token(kubectl_on: Any, box: str) -> None:
    """The mounted token is the ServiceAccount's: it may read the version, and what a role gives."""
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    ask = (
        f'curl -s --cacert {account}/ca.crt -H "Authorization: Bearer $(cat {account}/token)" '
        "https://kubernetes.default.svc"
    )
    in_box = ("exec", box, "-c", "main", "--", "sh", "-c")
    assert '"minor":"32"' in kubectl_on(*in_box, f"{ask}/version")
    services = f"{ask}/api/v1/namespaces/default/services"
    assert '"code":403' in kubectl_on(*in_box, services)
    kubectl_on("create", "rolebinding", "look", "--clusterrole=view", "--serviceaccount=default:default")
    assert '"kind":"ServiceList"' in kubectl_on(*in_box, services)


def test_a_session_at_a_terminal(kubectl_on: Any) -> None:
    """`run --rm -it -- sh`: a prompt, echo, name resolution as the pod, Ctrl-C, the shell's exit code."""
    arguments = ["run", "debug", "--image=busybox:1.36", "--rm", "-it", "--restart=Never", "--", "sh"]
    child, terminal = pty.fork()
    if child == 0:
        os.execve(kubectl_on.program, ["kubectl", *arguments], kubectl_on.environment)
    seen = ""

    def read_until(words: str) -> None:
        nonlocal seen
        deadline = time.monotonic() + 15
        while words not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    seen += os.read(terminal, 4096).decode()
                except OSError:  # the child has closed the terminal
                    assert words in seen, seen
        seen = seen[seen.index(words) + len(words) :]

    try:
        read_until("/ # ")
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        os.kill(child, signal.SIGWINCH)
        os.write(terminal, b"while ! stty size | grep '33 101'; do sleep 0.1; done\r")
        read_until("\r\n33 101\r\n")
        read_until("/ # ")
        os.write(terminal, b"nslookup kubernetes.default\r")
        read_until("Name:\tkubernetes.default.svc.cluster.local\r\n")
        read_until("/ # ")
        os.write(terminal, b"sleep 100\r")
        read_until("sleep 100")
        os.write(terminal, b"\x03")
        read_until("/ # ")
        os.write(terminal, b"exit 3\r")
        read_until('pod "debug" deleted')
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    finally:
        os.close(terminal)


def test_debug(kubectl_on: Any, box: str) -> None:
    """An ephemeral container in the pod, a copy of the pod, a pod on a node."""
    k = kubectl_on
    assert k("debug", box, "--image=busybox:1.36", "-i", "-c", "dbg", "--", "hostname").endswith("box\n")
    assert "busybox:1.36" in k("get", "pod", box, "-o", "jsonpath={.spec.ephemeralContainers[0].image}")
    k("debug", box, "--copy-to=copy", "--image=busybox", "--attach=false", "-c", "dbg", "--", "sleep", "100")
    k("wait", "--for=condition=Ready", "pod/copy", "--timeout=10s")
    made = k.run("debug", "node/worker", "--image=busybox", "--attach=false", "--", "sleep", "100")
    name = re.search(r"node-debugger-worker-\w+", made.out + made.err)
    assert name is not None
    assert k("get", "pod", name[0], "-o", "jsonpath={.spec.nodeName}") == "worker"
    k("delete", "pod", "copy", name[0], "--now")


@pytest.mark.parametrize(("what", "port"), [("deploy/order", 5678), ("svc/order", 80), ("pod/box", 80)])
def test_port_forward(kubectl_on: Any, box: str, what: str, port: int) -> None:
    """To a pod, a Deployment, a Service, by the ports that each of them names."""
    with kubectl_on.started("port-forward", what, f":{port}") as forwarding:
        local = re.search(r":(\d+) ->", forwarding.stdout.readline())
        assert local is not None
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{local[1]}/", timeout=5) as answer:
                assert answer.status == 200


def test_proxy(kubectl_on: Any) -> None:
    """`kubectl proxy` adds the credentials; Services are reached through the API server."""
    with kubectl_on.started("proxy", "--port=0") as proxy:
        address = proxy.stdout.readline().split()[-1]
        with urllib.request.urlopen(
            f"http://{address}/api/v1/namespaces/default/services/order:80/proxy/", timeout=5
        ) as answer:
            assert b"coffee" in answer.read()


def test_watching(kubectl_on: Any) -> None:
    """get -w shows a pod's life, line by line, from the table to its end."""
    kubectl_on("run", "early", "--image=nginx", "--labels=run=brief")
    kubectl_on("wait", "--for=condition=Ready", "pod/early")
    with kubectl_on.started("get", "pods", "-w", "-l", "run=brief", "--output-watch-events") as watching:
        header, early = (watching.stdout.readline().split() for _ in range(2))  # listed: no later event is missed
        kubectl_on("run", "brief", "--image=nginx")
        kubectl_on("wait", "--for=condition=Ready", "pod/brief")
        kubectl_on("delete", "pod", "brief")
        lines = []
        while not lines or lines[-1][0] != "DELETED":
            lines.append(watching.stdout.readline().split())
    kubectl_on("delete", "pod", "early")
    assert (header[:3], early[1]) == (["EVENT", "NAME", "READY"], "early")
    assert lines[0][3] == "Pending"
    assert {"Running", "Terminating"} <= {line[3] for line in lines}


def test_edit_writes_what_the_editor_saved(kubectl_on: Any) -> None:
    """edit patches, and does nothing when nothing was changed; what is invalid stays in a file."""
    k = kubectl_on
    k("create", "configmap", "paint", "--from-literal=colour=blue")
    editor = {"KUBE_EDITOR": "sed -i s/blue/red/"}
    assert k("edit", "cm", "paint", **editor) == "configmap/paint edited\n"
    assert k("get", "cm", "paint", "-o", "jsonpath={.data.colour}") == "red"
    assert "no changes made" in k.run("edit", "cm", "paint", **editor).err
    broken = k.run("edit", "deploy", "tea-house", KUBE_EDITOR="sed -i s/replicas:/replicass:/")
    assert broken.code == 1
    assert "A copy of your changes has been stored" in broken.err


def test_from_client_side_to_server_side_apply(kubectl_on: Any) -> None:
    """A Job that `apply` made is taken over: what admission filled in, its selector, was never the client's."""
    k = kubectl_on
    manifest = JOB.replace("{name: count}", "{name: moved}")
    k("apply", "-f", "-", stdin=manifest)
    for _ in range(2):
        moved = k.run("apply", "--server-side", "-f", "-", stdin=manifest)
        assert (moved.code, moved.out, moved.err) == (0, "job.batch/moved serverside-applied\n", "")
    assert k("apply", "-f", "-", stdin=manifest) == "job.batch/moved unchanged\n"


def test_a_node_is_emptied_and_comes_back(kubectl_on: Any) -> None:
    """cordon, drain with its refusals, uncordon, taint."""
    k = kubectl_on
    k("run", "lonely", "--image=nginx", "--overrides", '{"spec":{"nodeName":"worker"}}')
    assert "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)" in k.fails("drain", "worker")
    assert "SchedulingDisabled" in k("get", "node", "worker")
    drained = k("drain", "worker", "--ignore-daemonsets", "--force", "--delete-emptydir-data", timeout=60)
    assert drained.endswith("node/worker drained\n")
    owners = "jsonpath={.items[*].metadata.ownerReferences[*].kind}"  # one is left, or two while it is replaced
    left = k("get", "pods", "-A", "--field-selector=spec.nodeName=worker", "-o", owners)
    assert set(left.split()) == {"DaemonSet"}
    assert k("uncordon", "worker") == "node/worker uncordoned\n"
    k("taint", "node", "worker2", "dedicated=tea:NoSchedule")
    assert "dedicated=tea:NoSchedule" in k("describe", "node", "worker2")
    assert k("taint", "node", "worker2", "dedicated-") == "node/worker2 untainted\n"


def test_certificates_are_approved(kubectl_on: Any, tmp_path: Path) -> None:
    """certificate approve and deny set the conditions that get csr shows."""
    out = str(tmp_path / "ann.csr")
    command = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=ann"]
    subprocess.run([*command, "-out", out], check=True, capture_output=True)
    request = base64.b64encode((tmp_path / "ann.csr").read_bytes()).decode()
    spec = {"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}
    for name in ("ann", "bob"):
        body = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "spec": spec}
        kubectl_on("create", "-f", "-", stdin=json.dumps({**body, "metadata": {"name": name}}))
    assert "Pending" in kubectl_on("get", "csr", "ann")
    assert "approved" in kubectl_on("certificate", "approve", "ann")
    assert "denied" in kubectl_on("certificate", "deny", "bob")
    assert ["Approved" in kubectl_on("get", "csr", "ann"), "Denied" in kubectl_on("get", "csr", "bob")] == [True, True]
