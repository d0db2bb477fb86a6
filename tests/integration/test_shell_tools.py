"""The tools that talk to an address, the exec probes of stand-ins, and what exec says of a program that isn't there."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from minikube_py import Cluster

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: box}
spec: {containers: [{name: c, image: "busybox:1.36", command: [sleep, infinity]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: app, labels: {app: app}}
spec:
  containers:
  - name: c
    image: example.com/team/app:1
    ports: [{containerPort: 8080}, {containerPort: 5353, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec:
  selector: {app: app}
  ports: [{name: web, port: 80, targetPort: 8080}, {name: echo, port: 5353, protocol: UDP}]
---
apiVersion: v1
kind: Pod
metadata: {name: store, labels: {app: store}}
spec:
  containers:
  - name: c
    image: redis:7
    ports: [{containerPort: 6379}]
    readinessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: store}
spec: {selector: {app: store}, ports: [{port: 6379}]}
"""
pytestmark = pytest.mark.minicluster(MANIFEST)

Sh = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def sh(minicluster_module: Cluster) -> Sh:
    """Run a script in the pod `box`."""

    def run(script: str) -> tuple[int, str, str]:
        result = minicluster_module.exec("pod/box", ["sh", "-c", script])
        return result.exit_code, result.stdout, result.stderr

    return run


def test_redis_cli_speaks_with_a_service(minicluster_module: Cluster, sh: Sh) -> None:
    """Answers are printed as without a terminal; errors give 1; commands may come on stdin."""
    assert sh("redis-cli -h store set k v; redis-cli -h store get k; redis-cli -h store incr n") == (
        0,
        "OK\nv\n1\n",
        "",
    )
    assert sh("redis-cli -h store rpush l a b; redis-cli -h store lrange l 0 -1; redis-cli -h store get nope")[1] == (
        "2\na\nb\n\n"
    )
    code, out, _ = sh("redis-cli -h store nope")
    assert code == 1
    assert out.startswith("ERR unknown command 'nope'")
    assert sh("printf 'set x 1\\nget x\\nquit\\nget x\\n' | redis-cli -h store")[1] == "OK\n1\n"
    assert minicluster_module.exec("pod/store", ["redis-cli", "ping"]).stdout == "PONG\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("redis-cli -h nope ping", "Could not connect to Redis at nope:6379: Name does not resolve\n"),
        ("redis-cli -h app ping", "Could not connect to Redis at app:6379: Connection refused\n"),
        ("telnet nope 80", "telnet: bad address 'nope'\n"),
        ("traceroute nope", "traceroute: bad address 'nope'\n"),
        ("nc -u -w 1 nope 53", "nc: bad address 'nope'\n"),
    ],
)
def test_clients_say_why_they_cannot(sh: Sh, command: str, message: str) -> None:
    """No name and no listener have their own words, and exit code 1."""
    code, _, err = sh(command)
    assert (code, err) == (1, message)


def test_telnet_connects_and_is_refused(minicluster_module: Cluster, sh: Sh) -> None:
    """telnet carries both directions until the other side closes; a closed port is refused by address."""
    code, out, _ = sh("nc -l -p 9100 -e cat & printf 'hi\\n' | telnet 127.0.0.1 9100; wait")
    assert out.startswith("\nConnected to 127.0.0.1\n\nEntering character mode\nEscape character is '^]'.\n\n")
    assert "hi\n" in out
    address = minicluster_module.get("service/app")["spec"]["clusterIP"]
    code, _, err = sh("telnet app 81")
    assert (code, err) == (1, f"telnet: can't connect to remote host ({address}): Connection refused\n")


def test_nc_speaks_udp(sh: Sh) -> None:
    """A datagram goes through the Service and comes back; a listener prints what it gets; -z tells a closed port."""
    assert sh("echo hello | nc -u -w 1 app 5353") == (0, "hello\n", "")
    assert sh(
        "nc -u -l -p 9101 > /tmp/got & sleep 0.1; echo datagram | nc -u -w 0.1 127.0.0.1 9101; wait; cat /tmp/got"
    )[1].endswith("datagram\n")
    code, _, err = sh("nc -zvu -w 1 app 5353")
    assert code == 0
    assert err.endswith(":5353) open\n")
    assert sh("nc -zvu -w 1 127.0.0.1 9109")[0] == 1


def test_traceroute_sees_pods_one_hop_away(minicluster_module: Cluster, sh: Sh) -> None:
    """A pod is one hop away; a ClusterIP answers nobody."""
    pod = minicluster_module.get("pod/app")["status"]["podIP"]
    assert sh(f"traceroute -n {pod}")[1] == (
        f"traceroute to {pod} ({pod}), 30 hops max, 46 byte packets\n 1  {pod}  0.010 ms  0.008 ms  0.007 ms\n"
    )
    code, out, _ = sh("traceroute app")
    assert code == 1
    assert out.endswith(" 1  *  *  *\n")


@pytest.mark.parametrize(
    ("options", "url", "host"),
    [
        ("--resolve shop.example:8080:$POD", "http://shop.example:8080/x", "shop.example:8080"),
        ("--resolve '*:8080:$POD'", "http://any.example:8080/x", "any.example:8080"),
        ("--connect-to shop.example:80:app:80", "http://shop.example/x", "shop.example"),
        ("--connect-to ::app:80", "http://shop.example:999/x", "shop.example:999"),
        ("-H 'Host: other.example'", "http://app/x", "other.example"),
    ],
)
def test_curl_goes_elsewhere_and_keeps_the_host(
    minicluster_module: Cluster, sh: Sh, options: str, url: str, host: str
) -> None:
    """--resolve and --connect-to change where the connection goes, not what the server is asked for."""
    pod = minicluster_module.get("pod/app")["status"]["podIP"]
    code, out, err = sh(f"curl -sS {options.replace('$POD', pod)} {url}")
    assert code == 0, err
    assert f'"host": "{host}"' in out


def test_curl_retries_until_somebody_listens(sh: Sh) -> None:
    """--retry-connrefused waits for a listener that comes late; without it, a refusal is final."""
    serve = "{ sleep 0.1; printf 'HTTP/1.0 200 OK\\r\\n\\r\\nlate' | nc -l -p 9102 > /dev/null; } & "
    options = "--retry 50 --retry-delay 0.05 --retry-connrefused"
    assert sh(f"{serve} curl -sS {options} http://127.0.0.1:9102/; wait") == (0, "late", "")
    code, _, err = sh("curl -sS --retry 5 http://app:81")
    assert code == 7
    assert err.startswith("curl: (7) Failed to connect to app port 81 after ")


def test_pods_call_the_api_server(minicluster_module: Cluster, sh: Sh) -> None:
    """https://kubernetes.default answers: unknown issuer without -k, with the mounted CA by every name of its."""
    assert minicluster_module.kubeconfig  # the API server listens from now on
    url = "https://kubernetes.default"
    code, out, _ = sh(f"curl -sk {url}/version")
    assert code == 0
    assert '"gitVersion"' in out
    code, _, err = sh(f"curl -sS {url}/version")
    assert code == 60
    assert err.startswith("curl: (60) SSL certificate problem: unable to get local issuer certificate\n")
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    call = f'curl -s --cacert {folder}/ca.crt -H "Authorization: Bearer $(cat {folder}/token)"'
    for name in ("kubernetes.default", "kubernetes.default.svc", "$KUBERNETES_SERVICE_HOST"):
        out = sh(f"{call} https://{name}/api/v1/namespaces/default/pods")[1]
        assert 'User \\"system:serviceaccount:default:default\\" cannot list resource \\"pods\\"' in out
    assert '"gitVersion"' in sh(f"wget -qO- --no-check-certificate {url}/version")[1]


@pytest.mark.parametrize(
    ("program", "code", "why"),
    [
        ("healthcheck", 127, 'exec: "healthcheck": executable file not found in $PATH'),
        ("/app/server", 127, 'exec: "/app/server": stat /app/server: no such file or directory'),
        ("python3", 127, 'exec: "python3": executable file not found in $PATH'),
        ("/etc", 126, 'exec: "/etc": is a directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_exec_of_what_is_no_program(minicluster_module: Cluster, program: str, code: int, why: str) -> None:
    """A stand-in has none of its image's programs, and exec says so in the container runtime's words."""
    result = minicluster_module.exec("pod/app", [program])
    assert result.exit_code == code
    assert result.stderr == (
        f"OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown\n"
    )


def test_a_shell_in_a_stand_in_has_the_tools_and_not_the_images_programs(minicluster_module: Cluster) -> None:
    """`sh -c` works in any container; what the image would bring is not found, and once it is told how to get it."""
    result = minicluster_module.exec("pod/app", ["sh", "-c", "hostname; python3 -c 1; echo $?; cat /app/settings"])
    assert result.stdout == "app\n127\n"
    missing, hint, rest = result.stderr.splitlines()
    assert (missing, rest) == ("sh: python3: not found", "cat: can't open '/app/settings': No such file or directory")
    assert "python3 is not among the built-in tools" in hint
    assert "images:" in hint


def _pod(name: str, image: str, probe: list[str], **container: Any) -> dict[str, Any]:
    spec = {
        "name": "c",
        "image": image,
        "readinessProbe": {"exec": {"command": probe}, "periodSeconds": 1, "timeoutSeconds": 5},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{**spec, **container}]},
    }


SLEEP = {"command": ["sleep", "infinity"]}
PROBES = {
    "an image's own program is forgiven": (_pod("p1", "example.com/a", ["/app/healthcheck", "--fast"]), True),
    "also in a script": (_pod("p2", "example.com/a", ["sh", "-c", "healthcheck --now"]), True),
    "a file of an unknown image is forgiven": (_pod("p3", "example.com/a", ["cat", "/tmp/healthy"]), True),
    "a known image's tool is forgiven": (_pod("p4", "nginx", ["nginx-status"]), True),
    "a known image's missing file is not": (_pod("p5", "nginx", ["cat", "/tmp/healthy"]), False),
    "what an unknown program would say is forgiven": (
        _pod("q1", "example.com/a", ["sh", "-c", "ls / | grep UP"]),
        True,
    ),
    "its process is forgiven": (_pod("q2", "example.com/a", ["pgrep", "-f", "celery"]), True),
    "what a known one doesn't say is not": (_pod("q3", "nginx", ["sh", "-c", "ls / | grep UP"]), False),
    "a failing condition is not": (_pod("p6", "example.com/a", ["sh", "-c", "exit 1"]), False),
    "a tool box knows all its programs": (_pod("p7", "busybox", ["healthcheck"], **SLEEP), False),
    "nor is a tool box's file forgiven": (_pod("p8", "busybox", ["cat", "/tmp/healthy"], **SLEEP), False),
    "a tool that succeeds is success": (_pod("p9", "example.com/a", ["sh", "-c", "test -n $HOSTNAME"]), True),
}


@pytest.mark.parametrize("name", PROBES)
def test_what_an_exec_probe_forgives(minicluster_module: Cluster, name: str) -> None:
    """Only what a stand-in can't have is forgiven: its image's programs, and files that an unknown image may write."""
    c = minicluster_module
    manifest, passes = PROBES[name]
    pod = manifest["metadata"]["name"]
    c.apply(manifest)
    if passes:
        c.wait(f"pod/{pod}", timeout=10)
        return
    deadline = time.monotonic() + 10
    while not (
        events := [e for e in c.get("events") if e["involvedObject"]["name"] == pod and e["reason"] == "Unhealthy"]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert events[0]["message"].startswith(("Readiness probe failed: ", "Readiness probe errored "))
    conditions = {one["type"]: one["status"] for one in c.get(f"pod/{pod}")["status"]["conditions"]}
    assert conditions["Ready"] == "False"


def test_a_session_can_make_a_probe_pass(minicluster_module: Cluster) -> None:
    """The tutorial's `touch /tmp/healthy` in the running container turns the pod ready."""
    c = minicluster_module
    c.apply(_pod("switched", "busybox", ["cat", "/tmp/healthy"], **SLEEP))
    while c.get("pod/switched")["status"].get("phase") != "Running":
        time.sleep(0.02)
    c.exec("pod/switched", ["touch", "/tmp/healthy"]).check()
    c.wait("pod/switched", timeout=10)
