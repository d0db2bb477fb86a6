"""The README's transcript is what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minikube_py.cli.demo import matches, steps

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.needs("bash", "curl", "dig", "kubectl")
def test_the_session_in_the_readme_is_true(tmp_path: Path) -> None:
    """Every command of the session, in one shell, prints what the README says; the ports may differ."""
    text = ROOT.joinpath("README.md").read_text()
    session = text[text.index("<!-- transcript") :]
    commands = list(steps(session))
    door = "http://127.0.0.1:8080"
    script = "\n".join(
        f"echo '>>>{i}'\n{step.command.replace(door, '$MKPY_INGRESS')}" for i, step in enumerate(commands)
    )
    script = script.replace("\necho '>>>1'", "\neval \"$(mkpy env)\"\necho '>>>1'", 1)
    tmp_path.joinpath("run").mkdir(mode=0o700)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=50,
    )
    subprocess.run([sys.executable, "-m", "minikube_py", "down", "--all"], env=environment, check=False)
    outputs = re.split(r"^>>>\d+\n", done.stdout, flags=re.MULTILINE)[1:]
    moved = re.search(r"http://127\.0\.0\.1:\d+", outputs[0])  # 8080, unless another program has it
    assert moved, outputs[0]
    for step, got in zip(commands, outputs, strict=True):
        expected = step.expected.replace(door, moved[0])
        shown = "\n".join(line for line in got.splitlines() if not _progress(line, expected))
        assert matches(expected, shown), f"$ {step.command}\n{got}\n--- README says:\n{expected}"


def _progress(line: str, expected: str) -> bool:
    """Progress and advice (stderr) are not in the README, but where a command prints nothing else."""
    return line.startswith((" ✓", " !", "Creating", "next:", "using the shipped")) and line.split()[0] not in expected
