"""Temporary folders: removed at the end, swept up after a kill."""

import time
from pathlib import Path

import pytest

from minikube_py.cluster.folder import Folder, sweep


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_folder_is_private_and_goes_with_its_cluster() -> None:
    """Mode 0700, and nothing is left after `remove`, however often it is called."""
    folder = Folder("shop")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_the_folders_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path: Path) -> None:
    """Only an old folder that nobody holds is removed; other folders are none of our business."""
    alive = Folder("alive")
    dead, other = tmp_path / "minikube-py-run-dead-x", tmp_path / "elsewhere"
    for path in (dead, other):
        path.mkdir()
    sweep(now=time.time())
    assert dead.exists()  # it may be one that is just being made
    sweep(now=time.time() + 3600)
    assert not dead.exists()
    assert alive.path.exists()
    assert other.exists()
    alive.remove()
