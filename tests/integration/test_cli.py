"""mkpy as its user runs it: as a program, from another folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "configs" / "coffee-shop.yaml"

Mkpy = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    return {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "HOME": str(tmp_path), "NO_COLOR": "1"}


@pytest.fixture
def mkpy(environment: dict[str, str], tmp_path: Path) -> Iterator[Mkpy]:
    def run(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "minikube_py", *arguments],
            env=environment,
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )

    yield run
    run("down", "--all")


@pytest.mark.slow
@pytest.mark.needs("curl")
def test_the_show_from_up_to_down(mkpy: Mkpy, environment: dict[str, str]) -> None:
    """`up -d`, curl by Ingress, ClusterIP and name, kill a pod, curl on, `down`; nothing stays."""
    up = mkpy("up", "-d", "-f", str(SHOP), "-o", "json")
    assert up.returncode == 0, up.stderr
    facts = json.loads(up.stdout)
    ingress = facts["ingress"]["http"]

    def order() -> str:
        done = subprocess.run(
            ["curl", "-s", "-H", "Host: coffee.com", f"{ingress}/order"], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    assert order() == "One coffee, coming up."
    assert mkpy("curl", "-s", "http://coffee.com/order").stdout.strip() == "One coffee, coming up."
    assert mkpy("curl", "--from", "deployment/order", "-s", "http://tea-house/").stdout.strip() == "Tea, on floor 3."
    assert "coffee-shop.default" in mkpy("dig", "coffee-shop.default.svc.cluster.local").stdout
    assert mkpy("kill", "deployment/order").returncode == 0
    assert order() == "One coffee, coming up."
    assert mkpy("ls", "-o", "name").stdout == "default\n"
    assert "coffee-shop" in mkpy("status").stdout
    assert "KUBECONFIG=" in mkpy("env").stdout
    folder = Path(mkpy("kubeconfig").stdout.strip()).parent
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir() if path.is_file()}[
        "kubeconfig"
    ] == "0o600"
    pid = json.loads(mkpy("ls", "-o", "json").stdout)[0]["pid"]
    assert mkpy("down").returncode == 0
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(ingress.rsplit(":", 1)[1])), timeout=1)
    assert mkpy("down").returncode == 0


@pytest.mark.slow
@pytest.mark.needs("curl")
def test_a_command_runs_against_the_ready_cluster(mkpy: Mkpy) -> None:
    """`-- CMD` has KUBECONFIG and the addresses; its status is ours; the cluster is gone afterwards."""
    script = 'test -r "$KUBECONFIG" && curl -s -H "Host: tea.com" $MKPY_INGRESS/; exit 7'
    done = mkpy("up", "-f", str(SHOP), "--", "sh", "-c", script)
    assert done.returncode == 7, done.stderr
    assert "Tea, on floor 3." in done.stdout
    assert mkpy("ls", "-o", "name").stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("minikube_py.cli.entry", id="at its first line"),
        pytest.param("click", id="among the imports"),
        pytest.param("minikube_py.cluster.settings", id="before anything is made"),
        pytest.param("minikube_py.cli.serve", id="once its folder is made"),
        pytest.param("minikube_py.cluster.composition", id="while the cluster starts"),
        pytest.param("minikube_py.images.web", id="while its pods start"),
        pytest.param("", id="once it runs"),
    ],
)
def test_ctrl_c_at_any_moment_leaves_nothing(environment: dict[str, str], tmp_path: Path, moment: str) -> None:
    """Interrupted when this module has been imported, or all is ready: exit code 130, no process, no folder."""
    told = {"PYTHONPROFILEIMPORTTIME": "1"} if moment else {}
    process = _begin({**environment, **told}, "up", "-f", str(SHOP))
    assert process.stdout
    assert process.stderr
    if moment:
        assert any(line.rpartition("|")[2].strip() == moment for line in process.stderr)
    else:
        assert "http://" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert list((tmp_path / "run").glob("minikube-py/*")) == []


def _begin(environment: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "minikube_py", *arguments],
        env=environment,
        cwd=environment["HOME"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


STUBBORN = """\
apiVersion: minikube-py/v1alpha1
kind: Cluster
images:
  stubborn: {command: [sh, -c, "trap '' TERM; echo $$$$ > program.pid.new; mv program.pid.new program.pid; sleep 600"]}
---
apiVersion: v1
kind: Pod
metadata: {name: stubborn}
spec:
  containers: [{name: c, image: stubborn, readinessProbe: {exec: {command: ["false"]}}}]
"""


@pytest.mark.slow
@pytest.mark.parametrize("detached", [False, True], ids=["in the foreground", "while it goes to the background"])
@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGHUP)], ids=["Ctrl-C", "TERM"]
)
def test_the_second_signal_ends_all_at_once(
    environment: dict[str, str], tmp_path: Path, detached: bool, signals: tuple[signal.Signals, signal.Signals]
) -> None:
    """A program that ignores SIGTERM goes, too; no process that nobody knows of stays in the background."""
    (tmp_path / "stubborn.yaml").write_text(STUBBORN)
    process = _begin(environment, "up", "-f", "stubborn.yaml", *(("-d",) if detached else ()))
    _until((tmp_path / "program.pid").exists)
    program = int((tmp_path / "program.pid").read_text())
    cluster = int((tmp_path / "run" / "minikube-py" / "default" / "pid").read_text())
    assert not _gone(program)
    assert (cluster != process.pid) == detached
    process.send_signal(signals[0])
    time.sleep(0.1)  # two signals at once are one
    process.send_signal(signals[1])
    _, err = process.communicate(timeout=20)
    assert process.returncode in (130, 128 + signals[0]), err
    _until(lambda: _gone(program) and _gone(cluster))
    assert not (tmp_path / "run" / "minikube-py" / "default").exists()


def test_a_second_cluster_of_the_name_is_refused_with_advice(mkpy: Mkpy) -> None:
    """One sentence, the ways on, exit code 2."""
    assert mkpy("up", "-d").returncode == 0
    again = mkpy("up", "-d")
    assert again.returncode == 2
    assert "already runs" in again.stderr
    assert "mkpy down" in again.stderr
    other = mkpy("up", "-d", "--name", "other")
    assert other.returncode == 0, other.stderr
    assert mkpy("ls", "-o", "name").stdout.split() == ["default", "other"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        pytest.param(["up", "-f", "nope.yaml"], "", 2, "nope.yaml", id="a file that isn't there"),
        pytest.param(["up", "-f", "-"], "a: [", 2, "not valid YAML", id="not YAML"),
        pytest.param(
            ["validate", "-f", "-"],
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - port: 80\n"
            "    taragetPort: 8080\n",
            2,
            "targetPort",
            id="a misspelled field",
        ),
        pytest.param(["frobnicate"], "", 2, "no command", id="an unknown verb"),
        pytest.param(["statsu"], "", 2, "did you mean: mkpy status", id="a misspelled verb"),
        pytest.param(["status"], "", 3, 'no cluster "default" is running', id="no cluster"),
        pytest.param(["curl", "-c", "x", "http://a"], "", 3, 'no cluster "x"', id="no cluster of that name"),
        pytest.param(["up", "--wait", "soon"], "", 2, "duration", id="not a duration"),
        pytest.param(["up", "--name", "../x"], "", 2, "cluster name", id="a name that is a path"),
        pytest.param(["demo", "cofee-shop"], "", 2, "did you mean coffee-shop", id="a misspelled demo"),
    ],
)
def test_what_is_wrong_is_one_sentence(mkpy: Mkpy, arguments: list[str], stdin: str, code: int, words: str) -> None:
    """The exit code says whose fault it is; the sentence says what to do; never a traceback."""
    done = mkpy(*arguments, stdin=stdin)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_no_bug_of_ours(environment: dict[str, str]) -> None:
    """It is told in the system's words."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "minikube_py", "--help"],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: No space left on device; ")


def test_errors_name_file_line_field_and_nearest_name(mkpy: Mkpy, tmp_path: Path) -> None:
    """`taragetPort` → file:line, field path, did you mean targetPort."""
    (tmp_path / "svc.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: api\nspec:\n  ports:\n  - port: 80\n    taragetPort: 8080\n"
    )
    done = mkpy("up", "-f", "svc.yaml")
    assert done.returncode == 2
    for words in ("svc.yaml:8", "spec.ports[0].taragetPort", "targetPort"):
        assert words in done.stderr


@pytest.mark.slow
def test_pods_that_do_not_get_ready_end_the_wait(mkpy: Mkpy) -> None:
    """Exit code 5, with the reason; the cluster is stopped, and it says how to keep it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "picky"},
        "spec": {"nodeSelector": {"disk": "ssd"}, "containers": [{"name": "c", "image": "nginx"}]},
    }
    done = mkpy("up", "-d", "--wait", "500ms", "-f", "-", stdin=json.dumps(pod))
    assert done.returncode == 5, done.stderr
    assert "nodes are available" in done.stderr
    assert "mkpy up --wait 0" in done.stderr
    assert mkpy("ls", "-o", "name").stdout == ""


def test_images_may_name_modules_of_the_folder(environment: dict[str, str], tmp_path: Path) -> None:
    """`images:` finds a module of the folder that `mkpy up` is called in, as uvicorn does."""
    (tmp_path / "kiosk.py").write_text(
        "async def handle(reader, writer):\n    writer.write(b'HTTP/1.0 200 OK\\r\\n\\r\\nat the kiosk')\n"
    )
    (tmp_path / "all.yaml").write_text(
        'apiVersion: minikube-py/v1alpha1\nkind: Cluster\nimages: {acme/kiosk: {tcp: "kiosk:handle"}}\n---\n'
        "apiVersion: v1\nkind: Pod\nmetadata: {name: kiosk}\n"
        "spec: {containers: [{name: c, image: acme/kiosk, ports: [{containerPort: 8000}]}]}\n"
    )
    mkpy = [sys.executable, "-P", "-m", "minikube_py"]  # -P: as an installed script, without the folder on sys.path
    done = subprocess.run(
        [*mkpy, "up", "-f", "all.yaml", "--", *mkpy, "curl", "-s", "--from", "kiosk", "http://localhost:8000/"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.stdout.endswith("at the kiosk"), done.stderr


@pytest.mark.needs("kubectl")
def test_the_help_of_kubectls_verbs_needs_no_cluster(mkpy: Mkpy) -> None:
    """As that of our own."""
    done = mkpy("get", "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_no_arguments_show_the_help(mkpy: Mkpy) -> None:
    """mkpy alone shows its help, and that it was called with too little by its exit code."""
    done = mkpy()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ")
