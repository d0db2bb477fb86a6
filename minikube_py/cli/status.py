"""`mkpy status`: one cluster at a glance."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from minikube_py.cli.console import table
from minikube_py.cli.report import addresses
from minikube_py.cli.selection import cluster_option, selected

if TYPE_CHECKING:
    from minikube_py.apimachinery.meta import Object
    from minikube_py.cluster.problems import Problem


@click.command("status")
@cluster_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format.")
def command(name: str, output: str) -> int:
    """Show nodes, pods, Services, URLs and problems of a cluster; exit 1 if there are problems."""
    from minikube_py.cli.api import Client, RemoteView
    from minikube_py.cluster.problems import Problem
    from minikube_py.cluster.urls import Doors, urls

    _, facts = selected(name)
    client = Client(facts)
    view = RemoteView(client)
    found = [Problem(**each) for each in client.request("GET", "/minikube-py/v1/problems")]
    facts["urls"] = urls(view, Doors.known(facts), real_port_offset=facts["low_port_offset"])
    pods = view.list("pods")
    if output == "json":
        click.echo(json.dumps(_as_json(facts, pods, found), indent=2))
    else:
        click.echo(_as_text(facts, view.list("nodes"), pods, found))
    return 1 if found else 0


def _as_json(facts: dict[str, Any], pods: "Sequence[Object]", found: "Sequence[Problem]") -> dict[str, Any]:
    from minikube_py.apimachinery import meta
    from minikube_py.cluster.targets import is_ready

    return {
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
    }


def _as_text(
    facts: dict[str, Any], nodes: "Sequence[Object]", pods: "Sequence[Object]", found: "Sequence[Problem]"
) -> str:
    from minikube_py.apimachinery import meta
    from minikube_py.cluster.targets import is_ready

    dns = facts["dns"]
    machines = []
    for node in nodes:
        told = meta.status(node).get("addresses") or ()
        address = next((a["address"] for a in told if a["type"] == "InternalIP"), "")
        on_it = [p for p in pods if meta.spec(p).get("nodeName") == meta.name(node)]
        machines.append((meta.name(node), "Ready" if is_ready(node) else "NotReady", address, len(on_it)))
    rows = [
        (
            meta.namespace(p),
            meta.name(p),
            "Ready" if is_ready(p) else meta.status(p).get("phase", "Pending"),
            meta.status(p).get("podIP", ""),
            meta.spec(p).get("nodeName", ""),
        )
        for p in pods
    ]
    parts = [
        f'cluster "{facts["name"]}"   API {facts["api"]}   DNS {dns["address"]}:{dns["port"]}\n',
        table(machines, ("NODE", "STATUS", "ADDRESS", "PODS")) + "\n",
        table(rows, ("NAMESPACE", "POD", "STATUS", "IP", "NODE")) + "\n",
        addresses(facts),
    ]
    if found:
        parts.append(f"\n{len(found)} problem{'s' if len(found) > 1 else ''}:")
        parts += (f"  {problem}" for problem in found)
    return "\n".join(parts)
