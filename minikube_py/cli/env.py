"""`mkpy env`: shell exports, for `eval "$(mkpy env)"`."""

import json
import shlex
from typing import Any

import click

from minikube_py.cli.selection import cluster_option, selected


def variables(facts: dict[str, Any]) -> dict[str, str]:
    """Return the environment that tools need to use a cluster."""
    ingress = facts.get("ingress") or {}
    found = {
        "KUBECONFIG": facts.get("kubeconfig"),
        "MKPY_CLUSTER": facts["name"],
        "MKPY_API": facts.get("api"),
        "MKPY_INGRESS": ingress.get("http"),
        "MKPY_INGRESS_HTTPS": ingress.get("https"),
        "MKPY_DNS": facts["dns"]["address"],
        "MKPY_DNS_PORT": str(facts["dns"]["port"]),
        "MKPY_CA": facts.get("ca"),
    }
    return {key: value for key, value in found.items() if value}


@click.command("env")
@cluster_option
@click.option("-o", "--output", type=click.Choice(["shell", "json"]), default="shell", help="Output format.")
def command(name: str, output: str) -> None:
    """Print shell exports: KUBECONFIG, ingress URL, DNS address."""
    _, facts = selected(name)
    found = variables(facts)
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        for key, value in found.items():
            click.echo(f"export {key}={shlex.quote(value)}")
