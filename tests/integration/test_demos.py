"""Every demo prints what its README says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = sorted(path.parent.name for path in (Path(__file__).parents[2] / "demos").glob("*/README.md"))


@pytest.mark.slow
@pytest.mark.parametrize("demo", DEMOS)
def test_a_demo_plays_as_written(demo: str, tmp_path: Path) -> None:
    """`mkpy demo NAME --check` compares each command's real output with the README's."""
    tmp_path.joinpath("run").mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-m", "minikube_py", "demo", demo, "--check"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run"), "HOME": str(tmp_path)},
        check=False,
        timeout=55,
    )
    assert done.returncode == 0, done.stdout + done.stderr
