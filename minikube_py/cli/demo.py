"""`mkpy demo`: play a folder of demos/, with its manifests applied and its commands run for real.

A demo is a folder with a README.md and its manifests: those that the README's comment `<!-- mkpy up -f PATH ... -->`
names, else the folder's own *.yaml. In the README, ```console blocks hold commands (`$ …`) and below
each what it prints (`...` stands for anything). Playing runs them; `--check` compares.
"""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click

from minikube_py.cli.console import ExitCode, Failure, table
from minikube_py.cli.shipped import folder

__all__ = ["Step", "steps"]


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a demo and what it is to print; `prose` is the text above it."""

    prose: str
    command: str
    expected: str


_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps(text: str) -> Iterator[Step]:
    """Yield the steps of a README, in order."""
    position = 0
    for block in _BLOCK.finditer(text):
        prose = text[position : block.start()].strip()
        position = block.end()
        for part in re.split(r"^\$ ", block[1], flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            taken = 1
            while lines[taken - 1].endswith("\\"):
                taken += 1
            yield Step(prose, "\n".join(lines[:taken]), "\n".join(lines[taken:]).rstrip("\n"))
            prose = ""


def matches(expected: str, got: str) -> bool:
    """Tell whether an output is as expected; `...` stands for anything, runs of white space are one."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected.strip() + "\n", got.strip() + "\n", flags)


def _demos() -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted(folder("demos").glob("*/README.md"))}


def _title(path: Path) -> str:
    return path.joinpath("README.md").read_text().split("\n", 1)[0].lstrip("# ")


@click.command("demo")
@click.argument("demo", required=False)
@click.option("--check", is_flag=True, help="Compare each output with the README's; exit 1 if one differs.")
@click.option("--keep", is_flag=True, help="Leave the cluster running afterwards.")
@click.option("--steps-only", is_flag=True, hidden=True)
def command(demo: str | None, check: bool, keep: bool, steps_only: bool) -> int:
    """Play one of the demos (without a name: list them)."""
    known = _demos()
    if demo is None:
        click.echo(table([(name, _title(path)) for name, path in known.items()], ("DEMO", "ABOUT")))
        return 0
    if demo not in known:
        from minikube_py.apimachinery.names import nearest

        like = nearest(demo, known)
        raise Failure(
            f'there is no demo "{demo}"' + (f"; did you mean {like}?" if like else f"; there are: {', '.join(known)}"),
            ExitCode.USAGE,
        )
    path = known[demo]
    if steps_only:
        return _play(path, check=check)
    mkpy = [sys.executable, "-m", "minikube_py"]
    manifests = _manifests(path)
    up = [
        *mkpy,
        "up",
        "--name",
        os.environ.get("MKPY_CLUSTER", "demo"),
        *(x for file in manifests for x in ("-f", file)),
    ]
    play = [*mkpy, "demo", demo, "--steps-only", *(("--check",) if check else ())]
    if keep:
        code = subprocess.run([*up, "-d"], check=False).returncode
        return code or subprocess.run(play, env={**os.environ, "MKPY_CLUSTER": "demo"}, check=False).returncode
    os.execv(up[0], [*up, "--", *play])
    raise AssertionError("execv returned")


_UP = re.compile(r"<!-- mkpy up (.*?) -->")


def _manifests(path: Path) -> list[str]:
    """Return the manifests of a demo."""
    if found := _UP.search(path.joinpath("README.md").read_text()):
        words = found[1].split()
        return [str((path / word).resolve()) for before, word in pairwise(words) if before == "-f"]
    return [str(file) for file in sorted(path.glob("*.yaml"))]


def _play(path: Path, *, check: bool) -> int:
    """Run the steps one after the other; the output is the real one."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "NO_COLOR": "1",
    }
    failed = 0
    for step in steps(_UP.sub("", path.joinpath("README.md").read_text())):
        if step.prose:
            click.echo(f"\n{step.prose}\n")
        click.echo(f"$ {step.command}")
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        click.echo(done.stdout, nl=not done.stdout.endswith("\n") and bool(done.stdout))
        if check and not matches(step.expected, done.stdout):
            failed += 1
            click.echo(f"--- expected instead:\n{step.expected}\n---", err=True)
    if failed:
        raise Failure(f"{failed} steps printed something else")
    return 0
