"""The pod (or the outside) that `mkpy curl` and `mkpy dig` call as."""

import socket
import time
from typing import Any

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.errors import StatusError
from minikube_py.cli.api import Client, RemoteView
from minikube_py.cli.console import ExitCode, Failure
from minikube_py.cluster.caller import Caller, outside, pod_caller
from minikube_py.cluster.targets import UnknownTarget, home_of, pod_of

__all__ = ["CommandCaller", "caller"]


class CommandCaller:
    """A `Caller` that can explain what went wrong."""

    def __init__(self, who: Caller, client: Client, view: RemoteView) -> None:
        self.who = who
        self.ip = who.ip
        self._client = client
        self._view = view
        self._begun = time.time()

    def locate(self, host: str, port: int) -> tuple[str, int]:
        return self.who.locate(host, port)

    def explain_name(self, host: str, error: socket.gaierror) -> str:
        """Say why a name doesn't resolve and which name would."""
        first = host.split(".")[0]
        services = self._view.list("services")
        same = [f"{meta.name(s)}.{meta.namespace(s)}" for s in services if meta.name(s) == first]
        if error.errno == socket.EAI_AGAIN:
            return (
                "no answer from the cluster's DNS: is CoreDNS running (mkpy get pods -n kube-system), "
                "or does a NetworkPolicy cut port 53?"
            )
        if same and host == first:
            return f'"{host}" was asked from namespace {self.who.namespace}; it lives elsewhere: use {same[0]}'
        nearest = names.nearest(first, [meta.name(s) for s in services])
        detail = error.__notes__[0] if getattr(error, "__notes__", None) else str(error.args[-1])
        return detail + (f"\ndid you mean {nearest}?" if nearest and nearest != first else "")

    def explain(self, symptom: str, target: str = "") -> str:
        """Say why a connection failed: the cluster's own record of denials first, then the walk to `target`
        (host:port), then the usual suspects.
        """
        query = {"source": self.who.ip or "127.0.0.1", "since": f"{self._begun - 0.01:.3f}"}
        try:
            if denials := self._client.request("GET", "/minikube-py/v1/denials", query=query):
                last = denials[-1]
                return f"DROPPED {self.who.name} -> {last['destination']}:{last['port']}: {last['because']}"
            if target:
                query = {"from": self.who.ip or "outside", "to": target, "probe": "0"}
                answer = self._client.request("GET", "/minikube-py/v1/why", query=query)
                if not answer["reachable"]:
                    return f"{answer['because']}\nnext: mkpy why {self.who.name} {target}"
        except (Failure, StatusError, OSError, ValueError, KeyError):
            pass  # the explanation is an extra: without it the symptom still stands
        return symptom


def caller(facts: dict[str, Any], from_pod: str | None, namespace: str | None) -> CommandCaller:
    """Return who calls.

    Error handling: Failure (exit code 2) naming the nearest pod when there is none of that name.
    """
    client = Client(facts)
    view = RemoteView(client)
    if from_pod is None:
        return CommandCaller(outside(view, facts), client, view)
    try:
        pod = pod_of(view, from_pod, namespace or home_of(view, from_pod))
    except UnknownTarget as error:
        raise Failure(str(error), ExitCode.USAGE) from None
    if not meta.status(pod).get("podIP"):
        raise Failure(f"pod {meta.name(pod)} has no address yet ({meta.status(pod).get('phase', 'Pending')})")
    return CommandCaller(pod_caller(pod, facts), client, view)
