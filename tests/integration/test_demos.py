"""Every demo prints what its README says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = sorted(path.parent.name for path in (Path(__file__).parents[2] / "demos").glob("*/README.md"))


def play(demo: str, folder: Path, **environment: str) -> None:
    """Play a demo in a folder of its own; fail with what it printed if that is not what the README says."""
    folder.joinpath("run").mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-m", "minikube_py", "demo", demo, "--check"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder / "run"), "HOME": str(folder), **environment},
        check=False,
        timeout=55,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.needs("bash", "curl", "dig")
@pytest.mark.parametrize("demo", DEMOS)
def test_a_demo_plays_as_written(demo: str, tmp_path: Path) -> None:
    """`mkpy demo NAME --check` compares each command's real output with the README's."""
    play(demo, tmp_path)


@pytest.mark.slow
@pytest.mark.needs("bash", "curl", "dig")
@pytest.mark.parametrize("demo", DEMOS)
def test_a_demo_needs_no_kubectl(demo: str, tmp_path: Path) -> None:
    """The same, on a machine that has curl and dig but no kubectl: mkpy's own verbs do."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("curl", "dig", "bash", "sh", "grep", "sort", "uniq", "awk", "wc", "tail", "test", "echo"):
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)
    play(demo, tmp_path, PATH=str(tools))
