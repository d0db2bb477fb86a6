"""`mkpy node`: machines come and go while the cluster runs.

Every verb is a write to a Node object, so kubectl can do the same (`cluster/machines.py` says which write does what).
"""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from minikube_py.apimachinery.meta import Object
from minikube_py.cli.console import ExitCode, Failure, note, step
from minikube_py.cli.selection import cluster_option, selected

if TYPE_CHECKING:
    from minikube_py.cli.api import Client

__all__ = ["command"]

_POLL = 0.05
"""Seconds between two requests for an eviction that a budget refuses: as kubectl drain, it is asked again."""


@click.group("node")
def command() -> None:
    """Add, remove, switch off and on, cordon and drain nodes."""


class _Nodes:
    """The nodes of a running cluster, over its API."""

    def __init__(self, cluster: str) -> None:
        from minikube_py.cli.api import Client

        self.client = Client(selected(cluster)[1])

    def path(self, name: str = "") -> str:
        return self.client.path(self.client.registry.by_resource("nodes"), None, name)

    def request(self, method: str, name: str = "", body: Any = None, **options: Any) -> Any:
        from minikube_py.apimachinery.errors import StatusError

        data = None if body is None else json.dumps(body).encode()
        try:
            return self.client.request(method, self.path(name), body=data, **options)
        except StatusError as error:
            raise Failure(error.message) from None

    def get(self, name: str) -> Object:
        node: Object = self.request("GET", name)
        return node

    def worker(self, name: str) -> Object:
        """Return a node that is not the control plane."""
        node = self.get(name)
        if "node-role.kubernetes.io/control-plane" in (node["metadata"].get("labels") or {}):
            raise Failure(f"node {name} is the control plane: the cluster's API server is on it, so it stays", 2)
        return node

    def until_ready(self, name: str, wanted: str, patience: float) -> None:
        have = ""
        for node in self.client.watch(self.client.registry.by_resource("nodes"), name, seconds=patience):
            if (have := _ready(node or {})) == wanted:
                return
        raise Failure(f"node {name} has Ready={have or 'unset'} after {patience:g} s", ExitCode.TIMEOUT)

    def change(self, name: str, change: Callable[[Object], None]) -> None:
        node = self.get(name)
        change(node)
        self.request("PUT", name, node)


def _ready(node: Object) -> str:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return next((str(c["status"]) for c in conditions if c["type"] == "Ready"), "")


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _taint(text: str) -> Object:
    """Read `key=value:Effect` or `key:Effect`, as kubectl taint does."""
    left, colon, effect = text.rpartition(":")
    if not colon:
        raise Failure(f'taint "{text}" must be written as key=value:Effect, such as gpu=yes:NoSchedule', 2)
    key, value = _pair(left)
    return {"key": key, **({"value": value} if value else {}), "effect": effect}


@command.command("add")
@cluster_option
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the node.")
@click.option("--taint", "taints", multiple=True, metavar="KEY=VALUE:EFFECT", help="A taint of the node.")
@click.argument("node", required=False)
def add(name: str, labels: tuple[str, ...], taints: tuple[str, ...], node: str | None) -> None:
    """Let a worker join; without NODE it gets kind's next name (worker3 …)."""
    from minikube_py.cluster.nodes import free_name, node_manifest

    nodes = _Nodes(name)
    chosen = node or free_name([item["metadata"]["name"] for item in nodes.client.list("nodes")])
    nodes.request("POST", body=node_manifest(chosen, dict(map(_pair, labels)), [_taint(text) for text in taints]))
    nodes.until_ready(chosen, "True", 5.0)
    step(f"node/{chosen} joined")


@command.command("remove")
@cluster_option
@click.argument("node")
def remove(name: str, node: str) -> None:
    """Take a worker away for good; its pods are deleted at once, and their controllers replace them elsewhere."""
    nodes = _Nodes(name)
    nodes.worker(node)
    nodes.request("DELETE", node)
    step(f"node/{node} removed")


@command.command("down")
@cluster_option
@click.option("--out-of-service", is_flag=True, help="Delete its pods at once, as if somebody had given up on it.")
@click.argument("node")
def down(name: str, out_of_service: bool, node: str) -> None:
    """Cut a worker's power: NotReady; its pods leave after their tolerationSeconds (300 unless they say so)."""
    from minikube_py.cluster.nodes import switched

    nodes = _Nodes(name)
    nodes.worker(node)
    nodes.change(node, lambda found: switched(found, on=False, out_of_service=out_of_service))
    nodes.until_ready(node, "Unknown", 5.0)
    step(f"node/{node} is down")
    if not out_of_service:
        note("next: its pods are replaced when their tolerationSeconds end; at once: --out-of-service")


@command.command("up")
@cluster_option
@click.argument("node")
def up(name: str, node: str) -> None:
    """Switch a worker on again; what is still bound to it starts anew."""
    from minikube_py.cluster.nodes import switched

    nodes = _Nodes(name)
    nodes.change(node, lambda found: switched(found, on=True))
    nodes.until_ready(node, "True", 5.0)
    step(f"node/{node} is up")


@command.command("cordon")
@cluster_option
@click.argument("node")
def cordon(name: str, node: str) -> None:
    """Let no new pods onto a node."""
    _unschedulable(_Nodes(name), node, True)
    step(f"node/{node} cordoned")


@command.command("uncordon")
@cluster_option
@click.argument("node")
def uncordon(name: str, node: str) -> None:
    """Let new pods onto a node again."""
    _unschedulable(_Nodes(name), node, None)
    step(f"node/{node} uncordoned")


def _unschedulable(nodes: _Nodes, node: str, value: bool | None) -> None:
    patch = {"spec": {"unschedulable": value}}
    nodes.request("PATCH", node, patch, content_type="application/merge-patch+json")


@command.command("drain")
@cluster_option
@click.option("--timeout", "patience", type=float, default=30.0, help="Seconds to wait (default 30).")
@click.argument("node")
def drain(name: str, patience: float, node: str) -> None:
    """Cordon a node and evict its pods within their PodDisruptionBudgets; DaemonSets' pods stay."""
    from minikube_py.apimachinery import meta
    from minikube_py.cluster.nodes import leaves

    nodes = _Nodes(name)
    client = nodes.client
    _unschedulable(nodes, node, True)
    deadline = time.monotonic() + patience
    left = {
        meta.uid(pod): pod for pod in client.list("pods", None, fieldSelector=f"spec.nodeName={node}") if leaves(pod)
    }
    refused = ""
    evicted: set[str] = set()
    while left:
        for uid, pod in list(left.items()):
            if uid not in evicted:
                if why := _refusal(client, pod):
                    refused = f"; pod {meta.namespace(pod)}/{meta.name(pod)}: {why}"
                    continue
                evicted.add(uid)
            found = client.get("pods", meta.name(pod), meta.namespace(pod))
            if found is None or meta.uid(found) != uid:
                del left[uid]
                step(f"pod/{meta.name(pod)} evicted")
        if left:
            if time.monotonic() > deadline:
                names = ", ".join(meta.name(pod) for pod in left.values())
                raise Failure(f"node {node} is not drained after {patience:g} s: {names}{refused}", ExitCode.TIMEOUT)
            time.sleep(_POLL)
    step(f"node/{node} drained")


def _refusal(client: "Client", pod: Object) -> str:
    """Ask for a pod's eviction; return why its budget refuses that now, or "" if it goes or is gone."""
    from minikube_py.apimachinery import meta
    from minikube_py.apimachinery.errors import StatusError

    about = {"name": meta.name(pod), "namespace": meta.namespace(pod)}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about}
    path = client.path(client.registry.by_resource("pods"), meta.namespace(pod), meta.name(pod))
    try:
        client.request("POST", f"{path}/eviction", body=json.dumps(eviction).encode())
    except StatusError as error:
        if error.code == 429:
            return error.message
        if error.code != 404:
            raise Failure(error.message) from None
    return ""
