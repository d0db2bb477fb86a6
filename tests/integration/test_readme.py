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
def test_the_session_in_the_readme_is_true(tmp_path: Path) -> None:
    """Every command of the session, in one shell, prints what the README says; the ports may differ."""
    text = ROOT.joinpath("README.md").read_text()
    session = text[text.index("<!-- transcript") :]
    commands = list(steps(session))
    script = "\n".join(f"echo '>>>{i}'\n{step.command}" for i, step in enumerate(commands))
    tmp_path.joinpath("run").mkdir(mode=0o700)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "HOME": str(tmp_path),
    }
    ports = _moved_ports(environment, tmp_path)
    for usual, real in ports.items():
        script = script.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{real}")
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
    for step, got in zip(commands, outputs, strict=True):
        expected = step.expected
        for usual, real in ports.items():
            expected = expected.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{real}")
        shown = "\n".join(line for line in got.splitlines() if not _progress(line, expected))
        assert matches(expected, shown), f"$ {step.command}\n{got}\n--- README says:\n{expected}"


def _progress(line: str, expected: str) -> bool:
    """Progress and advice (stderr) are not in the README, but where a command prints nothing else."""
    return line.startswith((" ✓", " !", "Creating", "next:", "using the shipped")) and line.split()[0] not in expected


def _moved_ports(environment: dict[str, str], folder: Path) -> dict[int, int]:
    """Return where 8080 is today, in case another cluster of this machine has it."""
    import json

    up = [sys.executable, "-m", "minikube_py", "up", "--wait", "0", "-d", "-o", "json"]
    facts = json.loads(
        subprocess.run(up, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    )
    subprocess.run([sys.executable, "-m", "minikube_py", "down"], env=environment, capture_output=True, check=True)
    return {8080: int(facts["ingress"]["http"].rsplit(":", 1)[1])}
