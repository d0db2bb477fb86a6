"""`mkpy node`, and what kubectl does to nodes, on a cluster in the background."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SHOP = Path(__file__).parents[2] / "configs" / "coffee-shop.yaml"
Mkpy = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def mkpy(tmp_path: Path) -> Iterator[Mkpy]:
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run"), "MKPY_CLUSTER": "default"}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "minikube_py", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    started = run("up", "-d", "-f", str(SHOP))
    assert started.returncode == 0, started.stderr
    yield run
    run("down", "--all")


def nodes(mkpy: Mkpy) -> dict[str, str]:
    """Return node → status as kubectl shows it."""
    lines = mkpy("get", "nodes").stdout.splitlines()[1:]
    return {line.split()[0]: line.split()[1] for line in lines}


def test_nodes_from_the_shell(mkpy: Mkpy) -> None:
    """add, down, up, drain, uncordon, remove: each says what it did, and the cluster serves on."""
    assert mkpy("node", "add", "--label", "disk=ssd").stderr.strip().endswith("node/worker3 joined")
    assert mkpy("node", "down", "worker").returncode == 0
    assert nodes(mkpy) == {"control-plane": "Ready", "worker": "NotReady", "worker2": "Ready", "worker3": "Ready"}
    assert mkpy("node", "up", "worker").returncode == 0
    drained = mkpy("node", "drain", "worker2")
    assert drained.stderr.strip().endswith("node/worker2 drained")
    assert nodes(mkpy)["worker2"] == "Ready,SchedulingDisabled"
    mkpy("node", "uncordon", "worker2")
    assert mkpy("node", "remove", "worker").returncode == 0
    assert nodes(mkpy) == {"control-plane": "Ready", "worker2": "Ready", "worker3": "Ready"}
    table = mkpy("wiring", "-o", "json")
    assert table.returncode == 0, table.stdout
    assert [row["text"] for row in json.loads(table.stdout)["services"]] == ["3 endpoints", "2 endpoints", "1 endpoint"]


def test_what_cannot_be_is_one_sentence(mkpy: Mkpy) -> None:
    """Exit code and words, never a traceback."""
    for arguments, code, words in (
        (("down", "control-plane"), 2, "is the control plane"),
        (("remove", "nope"), 1, 'nodes "nope" not found'),
        (("add", "worker"), 1, 'nodes "worker" already exists'),
        (("add", "x", "--taint", "gpu"), 2, "key=value:Effect"),
    ):
        done = mkpy("node", *arguments)
        assert done.returncode == code, arguments
        assert words in done.stderr
        assert "Traceback" not in done.stderr
