"""`mkpy why`: whether A reaches B, hop by hop, and a real probe beside it."""

import json

import click

from minikube_py.cli.console import ExitCode, Failure
from minikube_py.cli.selection import cluster_option, selected


@click.command("why")
@cluster_option
@click.option("-n", "--namespace", default="default", help="Namespace of FROM and TO (default: default).")
@click.option("--probe/--no-probe", "measured", default=True, help="Make a real connection, too (the default).")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@click.argument("source", metavar="FROM")
@click.argument("destination", metavar="TO[:PORT]", default="")
def command(name: str, namespace: str, measured: bool, output: str, source: str, destination: str) -> int:
    """Say why FROM reaches TO or not: DNS, egress, Service, ingress, listener, and a real probe.

    FROM is a pod, a workload, namespace/name, or "outside". TO is a Service, a pod, a name or an address; PORT is a
    number or a name, with /udp for UDP. A URL alone (http://coffee.com/menu) asks the ingress: which rule, backend and
    pod answer it. Exit 0: reachable, 1: not, 2: unknown name, 4: model and probe disagree.
    """
    from minikube_py.apimachinery.errors import StatusError
    from minikube_py.cli.api import Client

    _, facts = selected(name)
    if "://" in source and not destination:
        source, destination = "outside", source
    if not destination:
        raise Failure("say where to: mkpy why FROM TO[:PORT], or mkpy why http://host/path", ExitCode.USAGE)
    query = {"from": source, "to": destination, "namespace": namespace, "probe": "1" if measured else "0"}
    try:
        answer = Client(facts).request("GET", "/minikube-py/v1/why", query=query)
    except StatusError as error:
        raise Failure(error.message, ExitCode.USAGE if error.code == 404 else ExitCode.NO) from None
    code = int(answer.pop("exitCode"))
    text = answer.pop("text")
    click.echo(json.dumps(answer, indent=2) if output == "json" else text)
    return code
