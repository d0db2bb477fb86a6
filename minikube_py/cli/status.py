"""`mkpy status`: one cluster at a glance."""

import json

import click

from minikube_py.cli.console import table
from minikube_py.cli.report import addresses
from minikube_py.cli.selection import cluster_option, selected


@click.command("status")
@cluster_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format.")
def command(name: str, output: str) -> int:
    """Show nodes, pods, Services, URLs and problems of a cluster; exit 1 if there are problems."""
    from minikube_py.apimachinery import meta
    from minikube_py.cli.api import Client, RemoteView
    from minikube_py.cluster.problems import problems
    from minikube_py.cluster.targets import is_ready
    from minikube_py.cluster.urls import Doors, urls
    from minikube_py.cni.sockdiag import Listening

    _, facts = selected(name)
    view = RemoteView(Client(facts))
    found = problems(view, Listening(facts["low_port_offset"]).ports)
    facts["urls"] = urls(view, Doors.known(facts), real_port_offset=facts["low_port_offset"])
    pods = view.list("pods")
    if output == "json":
        click.echo(
            json.dumps(
                {
                    **{key: value for key, value in facts.items() if key != "token"},
                    "pods": [
                        {
                            "namespace": meta.namespace(p),
                            "name": meta.name(p),
                            "ip": meta.status(p).get("podIP"),
                            "node": meta.spec(p).get("nodeName"),
                            "ready": is_ready(p),
                        }
                        for p in pods
                    ],
                    "problems": [{"code": p.code, "about": p.about, "text": p.text} for p in found],
                },
                indent=2,
            )
        )
        return 1 if found else 0
    click.echo(
        f'cluster "{facts["name"]}"   API {facts["api"]}   DNS {facts["dns"]["address"]}:{facts["dns"]["port"]}\n'
    )
    nodes = []
    for node in view.list("nodes"):
        address = next(
            (a["address"] for a in meta.status(node).get("addresses") or () if a["type"] == "InternalIP"), ""
        )
        on_it = [p for p in pods if meta.spec(p).get("nodeName") == meta.name(node)]
        nodes.append((meta.name(node), "Ready" if is_ready(node) else "NotReady", address, len(on_it)))
    click.echo(table(nodes, ("NODE", "STATUS", "ADDRESS", "PODS")) + "\n")
    click.echo(
        table(
            [
                (
                    meta.namespace(p),
                    meta.name(p),
                    "Ready" if is_ready(p) else meta.status(p).get("phase", "Pending"),
                    meta.status(p).get("podIP", ""),
                    meta.spec(p).get("nodeName", ""),
                )
                for p in pods
            ],
            ("NAMESPACE", "POD", "STATUS", "IP", "NODE"),
        )
        + "\n"
    )
    click.echo(addresses(facts))
    if found:
        click.echo(f"\n{len(found)} problem{'s' if len(found) > 1 else ''}:")
        for problem in found:
            click.echo(f"  {problem}")
    return 1 if found else 0
