"""`mkpy ca`: where the certificate of the cluster's authority is, for `curl --cacert "$(mkpy ca)"`."""

import click

from minikube_py.cli.console import ExitCode, Failure
from minikube_py.cli.selection import cluster_option, selected


@click.command("ca")
@cluster_option
def command(name: str) -> None:
    """Print the path of the CA certificate that signs the API server's and the Ingresses' certificates."""
    _, facts = selected(name)
    if not facts.get("ca"):
        raise Failure(f'cluster "{name}" serves no API, so it has no CA file; start it with mkpy up', ExitCode.NO)
    click.echo(facts["ca"])
