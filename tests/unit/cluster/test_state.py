"""The state folder and its lock."""

import os
import stat
from pathlib import Path

import pytest

from minikube_py.cluster.state import ClusterExists, State, running, state_root


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_the_folder_is_private_and_says_who_runs() -> None:
    """An acquired folder has mode 0700, a pid file of mode 0600, and shows up as running."""
    state = State("shop")
    state.acquire()
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((state.path / "pid").stat().st_mode) == 0o600
    assert [(found.name, pid) for found, pid in running()] == [("shop", os.getpid())]
    state.release()
    assert not state.path.exists()


def test_a_second_cluster_of_the_name_is_refused() -> None:
    """Who comes second learns the first one's pid."""
    first, second = State("shop"), State("shop")
    first.acquire()
    with pytest.raises(ClusterExists) as refused:
        second.acquire()
    assert refused.value.pid == os.getpid()
    first.release()
    second.acquire()
    second.release()


def test_what_a_dead_cluster_left_is_no_cluster() -> None:
    """A folder whose lock is free counts as not running and is cleared by the next one."""
    state = State("shop")
    state.path.mkdir(parents=True)
    (state.path / "pid").write_text("1")
    (state.path / "kubeconfig").write_text("old")
    assert state.running() is None
    state.acquire()
    assert sorted(path.name for path in state.path.iterdir()) == ["pid"]
    state.release()


def test_facts_are_written_for_their_owner_alone() -> None:
    """cluster.json holds the token's neighbours: mode 0600, and empty facts before it exists."""
    state = State("shop")
    state.acquire()
    assert state.read() == {}
    state.write({"api": "https://127.0.0.1:6443"})
    assert state.read() == {"api": "https://127.0.0.1:6443"}
    assert stat.S_IMODE((state.path / "cluster.json").stat().st_mode) == 0o600
    state.release()


@pytest.mark.parametrize("name", ["", "Shop", "a/b", "..", "-x", "x" * 60], ids=repr)
def test_a_name_that_would_be_another_path_is_refused(name: str) -> None:
    """Names are DNS labels: no path can be smuggled in."""
    with pytest.raises(ValueError, match="cluster name"):
        State(name)


def test_without_a_runtime_folder_the_home_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fallback is ~/.local/state/minikube-py."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_root() == tmp_path / ".local" / "state" / "minikube-py"
