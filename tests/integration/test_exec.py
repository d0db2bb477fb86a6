"""Commands in pods: the built-in shell and its tools act as the pod, by the handles and by the real kubectl."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minikube_py import Cluster

from .conftest import find_kubectl

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: production}
---
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: box}}
spec:
  containers:
  - name: box
    image: busybox:1.36
    command: [sh, -c, "echo up; while true; do sleep 1; done"]
    volumeMounts:
    - {name: config, mountPath: /etc/app}
    - {name: data, mountPath: /data}
  volumes:
  - {name: config, configMap: {name: settings}}
  - {name: data, emptyDir: {}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue}
---
apiVersion: v1
kind: Pod
metadata: {name: caller}
spec:
  containers:
  - name: c
    image: busybox:1.36
    command: [sh, -c, 'while true; do wget -qO- http://user-api.production/ | grep ^Hostname; sleep 0.2; done']
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: user-api, namespace: production}
spec:
  replicas: 2
  selector: {matchLabels: {app: user-api}}
  template:
    metadata: {labels: {app: user-api}}
    spec:
      containers: [{name: api, image: traefik/whoami, ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: user-api, namespace: production}
spec: {selector: {app: user-api}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-box, namespace: production}
spec:
  podSelector: {matchLabels: {app: locked}}
  policyTypes: [Ingress]
---
apiVersion: v1
kind: Pod
metadata: {name: locked, namespace: production, labels: {app: locked}}
spec:
  containers: [{name: c, image: traefik/whoami, ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]
"""
pytestmark = pytest.mark.minicluster(MANIFEST)


@pytest.fixture
def sh(minicluster_module: Cluster) -> Callable[[str], tuple[int, str, str]]:
    """Run a script in the pod `box`."""

    def run(script: str) -> tuple[int, str, str]:
        result = minicluster_module.exec("pod/box", ["sh", "-c", script])
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def kubectl(minicluster_module: Cluster, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real kubectl."""
    program = find_kubectl()
    environment = {**os.environ, "KUBECONFIG": minicluster_module.kubeconfig, "HOME": str(tmp_path)}

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments],
            input=stdin,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


Sh = Callable[[str], tuple[int, str, str]]
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


def test_nslookup_asks_the_clusters_dns(minicluster_module: Cluster, sh: Sh) -> None:
    """The full name and, by the search list, the short one lead to the ClusterIP, as busybox prints it."""
    c = minicluster_module
    address = c.get("service/user-api", namespace="production")["spec"]["clusterIP"]
    server = c.addresses.dns_ip
    name = "user-api.production.svc.cluster.local"
    expected = f"Server:\t\t{server}\nAddress:\t{server}:53\n\nName:\t{name}\nAddress: {address}\n\n"
    for asked in (name, "user-api.production"):
        assert sh(f"nslookup {asked}") == (0, expected, "")
    code, out, _ = sh("nslookup user-api")
    assert code == 1
    assert "** server can't find user-api.default.svc.cluster.local: NXDOMAIN" in out


def test_dig_host_and_getent_agree(minicluster_module: Cluster, sh: Sh) -> None:
    """Every resolver tool tells the same address."""
    address = minicluster_module.get("service/user-api", namespace="production")["spec"]["clusterIP"]
    name = "user-api.production.svc.cluster.local"
    assert sh(f"dig +short {name}")[1] == f"{address}\n"
    assert sh("dig +short +search user-api.production")[1] == f"{address}\n"
    assert sh(f"host {name}")[1] == f"{name} has address {address}\n"
    assert sh("getent hosts user-api.production")[1].split() == [address, "user-api.production"]
    assert sh(f"dig +short -x {address}")[1] == f"{name}.\n"
    text = sh(f"dig {name}")[1]
    assert f"{name}.\t5\tIN\tA\t{address}" in text or re.search(rf"{name}\.\s+\d+\tIN\tA\t{address}", text)
    assert "status: NOERROR" in text
    assert "status: NXDOMAIN" in sh("dig nope.default.svc.cluster.local")[1]


def test_resolv_conf_is_the_pods(minicluster_module: Cluster, sh: Sh) -> None:
    """What the kubelet writes is what `cat` shows."""
    assert sh("cat /etc/resolv.conf")[1] == (
        "search default.svc.cluster.local svc.cluster.local cluster.local\n"
        f"nameserver {minicluster_module.addresses.dns_ip}\noptions ndots:5\n"
    )
    address = minicluster_module.get("pod/box")["status"]["podIP"]
    assert sh("hostname -i; hostname")[1] == f"{address}\nbox\n"
    assert f"{address}\tbox\n" in sh("cat /etc/hosts")[1]
    assert sh("echo $USER_API_SERVICE_HOST$KUBERNETES_SERVICE_PORT")[1] == "443\n"


def test_wget_and_curl_call_as_the_pod(minicluster_module: Cluster, sh: Sh) -> None:
    """The server sees the pod's address; the answers are the server's."""
    address = minicluster_module.get("pod/box")["status"]["podIP"]
    for tool in ("wget -qO-", "curl -s"):
        code, out, _ = sh(f"{tool} http://user-api.production/")
        assert code == 0
        assert f"RemoteAddr: {address}:" in out
    assert sh('curl -s -o /dev/null -w "%{http_code}" http://user-api.production')[1] == "200"


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("curl -sS http://nope", 6, "curl: (6) Could not resolve host: nope\n"),
        ("curl -sS -m 0.3 http://$LOCKED", 28, "curl: (28) Connection timed out after "),
        (
            "curl -sS http://user-api.production:81",
            7,
            "curl: (7) Failed to connect to user-api.production port 81 after",
        ),
        ("curl -sSf http://127.0.0.1:8099", 7, "Could not connect to server\n"),
        ("wget -q http://nope", 1, "wget: bad address 'nope'\n"),
        ("wget -q -T 1 http://$LOCKED", 1, "wget: download timed out\n"),
        ("wget -qO- http://user-api.production:81", 1, "wget: can't connect to remote host ("),
        ("nc -z -v -w 1 user-api.production 80", 0, ":80) open\n"),
        ("nc -z -v -w 1 user-api.production 81", 1, "Connection refused\n"),
        ("nc -z -v -w 1 $LOCKED 80", 1, "Connection timed out\n"),
        ("ping -c 1 -W 1 nope", 1, "ping: bad address 'nope'\n"),
    ],
)
def test_failures_are_told_as_the_real_tools_tell_them(
    minicluster_module: Cluster, sh: Sh, command: str, code: int, message: str
) -> None:
    """No name, no answer, no listener, denied by policy: each with its own exit code and words."""
    locked = minicluster_module.get("pod/locked", namespace="production")["status"]["podIP"]
    result = sh(command.replace("$LOCKED", locked))
    assert result[0] == code
    assert message in result[2]


def test_ping_reaches_pods_and_not_cluster_ips(minicluster_module: Cluster, sh: Sh) -> None:
    """Pods answer; a ClusterIP does not, as with kube-proxy's iptables mode; policy keeps pings out, too."""
    c = minicluster_module
    pod = c.get("pods", selector="app=user-api", namespace="production")[0]["status"]["podIP"]
    code, out, _ = sh(f"ping -c 2 -i 0.01 {pod}")
    assert code == 0
    assert f"64 bytes from {pod}: seq=1 ttl=64" in out
    assert "2 packets transmitted, 2 packets received, 0% packet loss" in out
    locked = c.get("pod/locked", namespace="production")["status"]["podIP"]
    for silent in ("user-api.production", locked):
        code, out, _ = sh(f"ping -c 1 -W 0.1 {silent}")
        assert code == 1
        assert "100% packet loss" in out


def test_nc_serves_and_netstat_shows_it(minicluster_module: Cluster, sh: Sh) -> None:
    """A listener in the pod is the pod's: other pods reach it, netstat lists it."""
    address = minicluster_module.get("pod/box")["status"]["podIP"]
    script = (
        "echo answer | nc -l -p 9000 & while ! netstat -tln | grep -q :9000; do sleep 0.01; done; "
        "echo question | nc 127.0.0.1 9000; wait"
    )
    code, out, err = sh(script)
    assert code == 0, err
    assert sorted(out.split()) == ["answer", "question"]
    assert address in sh("ip addr")[1]


def test_volumes_are_the_containers_folders(sh: Sh) -> None:
    """A config map is read-only, an emptyDir keeps what is written, /tmp is the container's own."""
    assert sh("cat /etc/app/color")[1] == "blue"
    assert "Read-only file system" in sh("echo x > /etc/app/color")[2]
    assert sh("echo kept > /data/note && ls /data && cat /data/note")[1] == "note\nkept\n"
    assert sh("df | grep -c /data")[1] == "1\n"


def test_a_shell_images_command_really_calls(minicluster_module: Cluster) -> None:
    """`sh -c "while true; do wget …"` reaches the Service again and again, from its own pod."""
    deadline = time.monotonic() + 5
    while len(minicluster_module.logs("pod/caller").split()) < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert re.search(r"Hostname: user-api-\w+-\w+\nHostname: user-api", minicluster_module.logs("pod/caller"))


def test_nginx_serves_what_a_session_wrote(minicluster_module: Cluster, sh: Sh) -> None:
    """The tutorial's `echo … > /usr/share/nginx/html/index.html` changes the page."""
    c = minicluster_module
    assert "Welcome to nginx!" in c.exec("pod/web", ["cat", "/usr/share/nginx/html/index.html"]).stdout
    c.exec("pod/web", ["sh", "-c", "echo changed > /usr/share/nginx/html/index.html"]).check()
    address = c.get("pod/web")["status"]["podIP"]
    assert sh(f"wget -qO- {address}")[1] == "changed\n"


def test_a_command_that_does_not_end_is_named(minicluster_module: Cluster) -> None:
    """With where it ran and how to give it longer."""
    with pytest.raises(TimeoutError, match=r"'sleep 60' in pod/box did not end within 0\.05 s; .*timeout="):
        minicluster_module.exec("pod/box", ["sleep", "60"], timeout=0.05)


# The real kubectl


def test_kubectl_exec_passes_exit_codes_and_streams(kubectl: Kubectl) -> None:
    """stdout, stderr, stdin and the exit code are the command's."""
    done = kubectl("exec", "-i", "box", "--", "sh", "-c", "cat; echo oops >&2; exit 3", stdin="over\n")
    assert (done.returncode, done.stdout) == (3, "over\n")
    assert done.stderr == "oops\ncommand terminated with exit code 3\n"


def test_kubectl_exec_of_an_unknown_program(kubectl: Kubectl) -> None:
    """The container runtime's own words."""
    done = kubectl("exec", "box", "--", "nope")
    assert done.returncode == 127
    assert done.stderr == (
        'OCI runtime exec failed: exec failed: unable to start container process: exec: "nope": '
        "executable file not found in $PATH: unknown\ncommand terminated with exit code 127\n"
    )


def test_kubectl_cp_both_ways(kubectl: Kubectl, tmp_path: Path) -> None:
    """Files and folders go into the pod and come back."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("first")
    (folder / "deep" / "b.bin").write_bytes(bytes(range(256)) * 500)
    assert kubectl("cp", "in", "box:/data/copied").returncode == 0
    done = kubectl("exec", "box", "--", "find", "/data/copied", "-type", "f")
    assert sorted(done.stdout.split()) == ["/data/copied/a.txt", "/data/copied/deep/b.bin"]
    assert kubectl("cp", "box:/data/copied", "out").returncode == 0
    assert (tmp_path / "out" / "deep" / "b.bin").read_bytes() == bytes(range(256)) * 500
    assert kubectl("cp", "in/a.txt", "box:/tmp/one").returncode == 0
    assert kubectl("exec", "box", "--", "cat", "/tmp/one").stdout == "first"


def test_kubectl_run_rm_prints_the_answer(minicluster_module: Cluster, kubectl: Kubectl) -> None:
    """The documents' first aid: a throw-away pod that looks up a name."""
    command = ("run", "dns-debug", "--image=busybox:1.36", "--rm", "-i", "--restart=Never", "--")
    done = kubectl(*command, "nslookup", "kubernetes.default")
    assert done.returncode == 0, done.stderr
    assert f"Address: {minicluster_module.addresses.kubernetes_ip}\n" in done.stdout
    assert 'pod "dns-debug" deleted' in done.stdout


def test_a_script_on_stdin(kubectl: Kubectl) -> None:
    """`kubectl exec -i pod -- sh < script` runs commands as they come."""
    done = kubectl(
        "exec", "-i", "box", "--", "sh", stdin="x=1\nfor i in a b; do\n  echo $i$x\ndone\ncat <<E\nhere\nE\n"
    )
    assert (done.returncode, done.stdout) == (0, "a1\nb1\nhere\n")


class _Screen:
    """A terminal with kubectl on it."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.text = ""

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, wanted: str, seconds: float = 10) -> str:
        """Read until `wanted` appears; return what came up to it."""
        deadline = time.monotonic() + seconds
        while wanted not in self.text:
            ready = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))[0]
            assert ready, f"{wanted!r} never appeared; so far: {self.text!r}"
            try:
                self.text += os.read(self._master, 4096).decode()
            except OSError:
                raise AssertionError(f"{wanted!r} never appeared before the end: {self.text!r}") from None
        before, _, self.text = self.text.partition(wanted)
        return before


@contextmanager
def _terminal(kubeconfig: str, home: Path, *arguments: str) -> Iterator[tuple[_Screen, "subprocess.Popen[bytes]"]]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [find_kubectl(), *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "KUBECONFIG": kubeconfig, "HOME": str(home)},
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield _Screen(master), process
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_a_conversation_on_a_terminal(minicluster_module: Cluster, tmp_path: Path) -> None:
    """`kubectl exec -it -- sh`: prompt, echo, backspace, Ctrl-C, history, and the exit code of `exit`."""
    with _terminal(minicluster_module.kubeconfig, tmp_path, "exec", "-it", "box", "--", "sh") as (screen, process):
        screen.until("/ # ")
        screen.type("echo hix\x7f there\r")
        assert screen.until("hi there\r\n/ # ").endswith("\r\n")
        screen.type("sleep 100\r")
        screen.until("sleep 100\r\n")
        screen.type("\x03")
        screen.until("^C\r\n/ # ")
        screen.type("echo $?\r")
        screen.until("130\r\n/ # ")
        screen.type("\x1b[A\x1b[A\r")
        screen.until("sleep 100\r\n")
        screen.type("\x03")
        screen.until("/ # ")
        screen.type("cd /tmp\r")
        screen.until("/tmp # ")
        screen.type("for i in 1 2\rdo echo n$i\rdone\r")
        screen.until("n1\r\nn2\r\n/tmp # ")
        screen.type("exit 4\r")
        assert process.wait(10) == 4


def test_ctrl_d_ends_a_shell(minicluster_module: Cluster, tmp_path: Path) -> None:
    """The end of input on an empty line is the end of the session."""
    with _terminal(minicluster_module.kubeconfig, tmp_path, "exec", "-it", "box", "--", "sh") as (screen, process):
        screen.until("/ # ")
        screen.type("\x04")
        assert process.wait(10) == 0


def test_the_classic_session(minicluster_module: Cluster, tmp_path: Path) -> None:
    """`kubectl run --rm -it --image=busybox -- sh`, then nslookup and cat."""
    address = minicluster_module.get("service/user-api", namespace="production")["spec"]["clusterIP"]
    command = ("run", "shell", "--image=busybox:1.36", "--rm", "-it", "--restart=Never", "--", "sh")
    with _terminal(minicluster_module.kubeconfig, tmp_path, *command) as (screen, process):
        screen.until("/ # ")
        screen.type("nslookup user-api.production.svc.cluster.local\r")
        screen.until(f"Address: {address}")
        screen.until("/ # ")
        screen.type("cat /etc/resolv.conf\r")
        screen.until("options ndots:5\r\n/ # ")
        screen.type("exit\r")
        screen.until('pod "shell" deleted')
        assert process.wait(10) == 0
