"""`mkpy matrix`: who reaches whom, computed from the policies and, with --probe, measured."""

import json

import click

from minikube_py.cli.console import ExitCode, Failure
from minikube_py.cli.selection import cluster_option, selected


@click.command("matrix")
@cluster_option
@click.option("-n", "--namespace", default="", help="Only pods of this namespace (default: all but the system's).")
@click.option("--probe", "measured", is_flag=True, help="Make every connection, too, and compare.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format.")
def command(name: str, namespace: str, measured: bool, output: str) -> int:
    """Print who reaches whom: rows call, columns are called; exit 4 if policies and probes disagree."""
    from minikube_py.cli.api import Client

    _, facts = selected(name)
    client = Client(facts)
    if namespace and client.get("namespaces", namespace) is None:
        raise Failure(f'there is no namespace "{namespace}"; see: mkpy get namespaces', ExitCode.USAGE)
    query = {"namespace": namespace, "probe": "1" if measured else "0"}
    answer = client.request("GET", "/minikube-py/v1/matrix", query=query)
    code = int(answer.pop("exitCode"))
    text = answer.pop("text")
    click.echo(json.dumps(answer, indent=2) if output == "json" else text)
    return code
