"""`mkpy kill`: a pod dies at once, as if its node had lost it."""

import click

from minikube_py.cli.console import Failure, step
from minikube_py.cli.selection import cluster_option, selected


@click.command("kill")
@cluster_option
@click.option("-n", "--namespace", default="default", help="Namespace of the pod.")
@click.argument("target", metavar="POD")
def command(name: str, namespace: str, target: str) -> None:
    """Kill a pod (`web-7d9…`, `pod/web-7d9…`) or one pod of a workload (`deployment/web`), without grace."""
    from minikube_py.apimachinery import meta
    from minikube_py.apimachinery.errors import StatusError
    from minikube_py.cli.api import Client, RemoteView
    from minikube_py.cluster.targets import UnknownTarget, pod_of

    _, facts = selected(name)
    client = Client(facts)
    try:
        pod = pod_of(RemoteView(client), target, namespace)
        path = client.path(client.registry.by_resource("pods"), meta.namespace(pod), meta.name(pod))
        client.request("DELETE", path, query={"gracePeriodSeconds": "0"})
    except UnknownTarget as error:
        raise Failure(str(error), 2) from None
    except StatusError as error:
        raise Failure(error.message) from None
    step(f"pod/{meta.name(pod)} killed")
