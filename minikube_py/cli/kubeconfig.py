"""`mkpy kubeconfig`: where the kubeconfig is."""

import click

from minikube_py.cli.console import note
from minikube_py.cli.selection import cluster_option, selected


@click.command("kubeconfig")
@cluster_option
@click.option("--merge", is_flag=True, help="Also merge it into the user's own kubeconfig (context mkpy-NAME).")
def command(name: str, merge: bool) -> None:
    """Print the kubeconfig's path."""
    state, _ = selected(name)
    click.echo(state.kubeconfig)
    if merge:
        from minikube_py.cli.merge import merge_into_own

        note(f"merged into {merge_into_own(state.kubeconfig)}; use: kubectl --context mkpy-{name}")
