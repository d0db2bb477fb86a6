"""`mkpy validate`: check manifests without starting anything."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from minikube_py.cli.console import ExitCode, Failure, note, step, warn
from minikube_py.cli.shipped import located

if TYPE_CHECKING:
    from minikube_py.apimachinery.manifests import Manifest, Report

__all__ = ["checked"]


def checked(paths: tuple[str, ...], *, strict: bool) -> "tuple[list[Manifest], Report]":
    """Load and check manifests; print every warning.

    Error handling: Failure with every error found, one a line (exit code 2); with `strict`, for warnings too.
    """
    from minikube_py.apimachinery import manifests
    from minikube_py.ingress.advice import advise
    from minikube_py.kinds.check import check
    from minikube_py.kinds.registry import Registry

    try:
        loaded = manifests.load([located(path) for path in paths], stdin=sys.stdin if "-" in paths else None)
    except manifests.ManifestError as error:
        raise Failure(str(error), ExitCode.USAGE) from None
    registry = Registry()
    advise(registry)
    report = check(loaded, registry)
    errors = [str(problem) for problem in report.errors]
    if strict:
        errors += [f"{problem} (--strict)" for problem in report.warnings]
    if errors:
        raise Failure("\n       ".join(errors), ExitCode.USAGE)
    for warning in report.warnings:
        warn(str(warning))
    return loaded, report


@click.command("validate")
@click.option("-f", "--filename", "paths", multiple=True, required=True, metavar="PATH", help="File, folder, or - .")
@click.option("--strict", is_flag=True, help="Warnings are errors.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format.")
def command(paths: tuple[str, ...], strict: bool, output: str) -> None:
    """Check manifests without starting anything."""
    loaded, report = checked(paths, strict=strict)
    if output == "json":
        summary: dict[str, Any] = {"objects": len(loaded), "warnings": [str(w) for w in report.warnings]}
        click.echo(json.dumps(summary, indent=2))
        return
    if not loaded:
        note("No objects found.")
    step(f"{len(loaded)} objects are valid" + (f", {len(report.warnings)} warnings" if report.warnings else ""))
