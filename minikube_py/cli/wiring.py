"""`mkpy wiring`: does what the manifests wire together really connect?

With `-f` it is a corpus runner: a cluster of its own for these manifests, the table, and the cluster is gone.
"""

import json
import os
import sys
from typing import Any

import click

from minikube_py.cli.console import ExitCode
from minikube_py.cli.selection import cluster_option, selected
from minikube_py.cli.up import duration

__all__ = ["command"]


@click.command("wiring")
@cluster_option
@click.option("-f", "--filename", "paths", multiple=True, metavar="PATH", help="Manifests for a cluster of its own.")
@click.option("--wait", "patience", default="10s", callback=duration, metavar="DURATION", help="For readiness (10s).")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@click.pass_context
def command(ctx: click.Context, name: str, paths: tuple[str, ...], patience: float, output: str) -> int:
    """Try everything: workloads ready, Services with their endpoints, env edges that connect, Ingress rows that answer.

    The requests are real: one to each Ingress row, a connection to each endpoint and edge; apps and logs see them
    (User-Agent: mkpy-wiring). Exit 1 if anything is not as the manifests mean it; every finding says why.
    """
    if paths:
        return _with_cluster_of_its_own(ctx, paths, patience, output)
    from minikube_py.cli.api import Client

    _, facts = selected(name)
    answer: dict[str, Any] = Client(facts).request("GET", "/minikube-py/v1/wiring", query={"wait": str(patience)})
    click.echo(json.dumps(answer, indent=2) if output == "json" else answer["text"])
    return ExitCode.NO if answer["findings"] else ExitCode.OK


def _with_cluster_of_its_own(ctx: click.Context, paths: tuple[str, ...], patience: float, output: str) -> int:
    from minikube_py.cli.up import command as up

    again = (sys.executable, "-m", "minikube_py", "wiring", "--wait", str(patience), "-o", output)
    code: int = ctx.invoke(
        up,
        paths=paths,
        name=f"wiring-{os.getpid()}",
        nodes=None,
        config=None,
        detach=False,
        patience=0.0,
        kubeconfig=None,
        strict=False,
        output="text",
        child=again,
    )
    return code
