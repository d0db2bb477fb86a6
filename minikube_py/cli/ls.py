"""`mkpy ls`: the running clusters."""

import json

import click

from minikube_py.cli.console import note, table
from minikube_py.cluster.state import running


@click.command("ls")
@click.option("-o", "--output", type=click.Choice(["table", "json", "name"]), default="table", help="Output format.")
def command(output: str) -> None:
    """List the running clusters."""
    found = [(state.name, pid, state.read()) for state, pid in running()]
    match output:
        case "json":
            click.echo(json.dumps([{"name": name, "pid": pid, **facts} for name, pid, facts in found], indent=2))
        case "name":
            for name, _, _ in found:
                click.echo(name)
        case _ if not found:
            note("No clusters are running. Start one: mkpy up -f FILE")
        case _:
            rows = [
                (
                    name,
                    "Running" if facts else "Starting",
                    facts.get("nodes_count", ""),
                    facts.get("api", ""),
                    (facts.get("ingress") or {}).get("http", "-"),
                    pid,
                )
                for name, pid, facts in found
            ]
            click.echo(table(rows, ("NAME", "STATUS", "NODES", "API", "INGRESS", "PID")))
