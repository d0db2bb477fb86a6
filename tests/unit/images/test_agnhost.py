"""agnhost's subcommands beyond netexec, as tutorials and Kubernetes' own network tests call them."""

import asyncio
import json
from pathlib import Path

import pytest

from minikube_py.images.agnhost.connect import seconds
from minikube_py.images.grpc_health import check

from .pods import Pods

AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.45"


@pytest.mark.parametrize(
    ("text", "expected"), [("1s", 1.0), ("1m30s", 90.0), ("500ms", 0.5), ("2", 2.0), ("0s", 0.0)], ids=str
)
def test_durations_are_gos(text: str, expected: float) -> None:
    """Units may be combined; a bare number is seconds."""
    assert seconds(text) == expected


async def test_connect_by_exec(pods: Pods) -> None:
    """`kubectl exec POD -- /agnhost connect` judges a connection by its exit code, as policy tutorials do."""
    server = await pods.run("traefik/whoami", args=("--port=8003",), name="server")
    pod = await pods.run(AGNHOST, name="client")
    assert (await pod.exec("/agnhost", "connect", f"{server.ip}:8003", "--timeout=2s")).code == 0
    refused = await pod.exec("/agnhost", "connect", f"{server.ip}:8004", "--timeout=2s", "--protocol=tcp")
    assert (refused.code, refused.out) == (1, "REFUSED\n")
    sctp = await pod.exec("/agnhost", "connect", f"{server.ip}:8003", "--protocol=sctp")
    assert (sctp.code, "SCTP" in sctp.out) == (1, True)


async def test_only_its_own_image_has_it(pods: Pods) -> None:
    """In other containers /agnhost is not found."""
    from minikube_py.images.exec import NotFound

    pod = await pods.run("busybox", command=("sleep", "60"))
    with pytest.raises(NotFound):
        await pod.exec("/agnhost", "pause")


async def test_printers(pods: Pods, tmp_path: Path) -> None:
    """Subcommands about DNS and files print and end."""
    (tmp_path / "resolv.conf").write_text("search a.svc b.local\nnameserver 10.96.0.10\n")
    (tmp_path / "hosts").write_text("127.0.0.1\tlocalhost\n")
    (tmp_path / "f").write_text("text")
    files = {"/etc/resolv.conf": tmp_path / "resolv.conf", "/etc/hosts": tmp_path / "hosts", "/vol": tmp_path}
    pod = await pods.run(AGNHOST, files=files)
    assert (await pod.exec("/agnhost", "dns-suffix")).out == "a.svc,b.local\n"
    assert (await pod.exec("/agnhost", "dns-server-list")).out == "10.96.0.10\n"
    assert (await pod.exec("/agnhost", "etc-hosts")).out == "127.0.0.1\tlocalhost\n"
    shown = await pod.exec("/agnhost", "mounttest", "--file_content=/vol/f")
    assert shown.out == 'content of file "/vol/f": text\n'
    ended = await pods.run(AGNHOST, args=("entrypoint-tester", "a", "b"), name="pod-1")
    assert (await ended.task, ended.log) == (0, "[/agnhost entrypoint-tester a b]\n")


@pytest.mark.parametrize("name", ["webhook", "resource-consumer", "nettest"])
async def test_what_is_missing_says_so(name: str, pods: Pods) -> None:
    """A subcommand that this stand-in lacks ends with the way to the real one."""
    pod = await pods.run(AGNHOST, args=(name,))
    assert await pod.task == 1
    assert "images:" in pod.log


async def test_grpc_health_may_change(pods: Pods) -> None:
    """grpc-health-checking is ill and well again on request, several calls on one connection."""
    pod = await pods.run(AGNHOST, args=("grpc-health-checking", "--port=5000", "--http-port=8080"))
    assert await check(pod.ip, 5000) == (True, "service healthy")
    await pod.get("/make-not-serving", 8080)
    assert (await check(pod.ip, 5000))[0] is False
    await pod.get("/make-serving", 8080)
    assert (await check(pod.ip, 5000))[0] is True


async def test_guestbook_replicates(pods: Pods) -> None:
    """What is set at the leader is read at its replica."""
    leader = await pods.run(AGNHOST, args=("guestbook", "--http-port=6379"), name="leader")
    replica = await pods.run(
        AGNHOST, args=("guestbook", f"--replicaof={leader.ip}", "--http-port=6379"), name="replica"
    )
    await leader.get("/set?key=a&value=1", 6379)
    for _ in range(200):  # it registers on its own time
        if (await replica.get("/get?key=a", 6379)).json() == {"data": "1"}:
            break
    assert (await leader.get("/set?key=b&value=2", 6379)).json() == {"data": "Updated"}
    assert (await replica.get("/get?key=b", 6379)).json() == {"data": "2"}


async def test_no_snat(pods: Pods) -> None:
    """Pods see each other's own address: the test's answer is 200."""
    first = await pods.run(AGNHOST, args=("no-snat-test", "--port=8080"), name="a")
    second = await pods.run(AGNHOST, args=("no-snat-test", "--port=8080"), name="b")
    answer = await first.get(f"/checknosnat?ips={second.ip}", 8080)
    assert (answer.status_code, answer.text) == (200, "200")


async def test_port_forward_tester(pods: Pods) -> None:
    """It takes what is expected and sends its chunks, then ends."""
    env = {"BIND_PORT": "8090", "EXPECTED_CLIENT_DATA": "abc", "CHUNKS": "3", "CHUNK_SIZE": "4", "CHUNK_INTERVAL": "1"}
    pod = await pods.run(AGNHOST, args=("port-forward-tester",), env=env)
    assert await pod.talk(b"abc", 8090) == b"x" * 12
    assert await asyncio.wait_for(pod.task, 5) == 0


async def test_netexec_keeps_uploads(pods: Pods) -> None:
    """/upload writes into the container's own files, where /shell runs it."""
    pod = await pods.run(AGNHOST, args=("netexec", "--http-port=8090"))
    kept = await pod.get("/upload", 8090, "POST", files={"file": ("f.sh", b"echo ran $1")})
    path = json.loads(kept.text)["output"]
    assert (await pod.get(f"/shell?cmd={path}%20here", 8090)).json() == {"output": "ran here\n"}
