"""agnhost netexec pods, Services before them, and callers that are real programs or bare sockets."""

import os
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from minikube_py import Cluster
from minikube_py.apimachinery.errors import StatusError

Object = dict[str, Any]

HTTP, UDP = 8080, 8081
OUTSIDE = f"127.{97 + os.getpid() % 30}"
"""The first half of addresses that no cluster has, nor another run of these tests beside this one."""


def pod(name: str, app: str = "web", *, node: str = "", **spec: Any) -> Object:
    """A netexec pod: HTTP on 8080 (`/hostname`, `/clientip`), UDP on 8081 (`hostname`, `clientip`)."""
    container = {
        "name": "netexec",
        "image": "registry.k8s.io/e2e-test-images/agnhost:2.53",
        "args": ["netexec", f"--http-port={HTTP}", f"--udp-port={UDP}"],
        "ports": [{"name": "http", "containerPort": HTTP}, {"name": "dg", "containerPort": UDP, "protocol": "UDP"}],
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
            **spec,
        },
    }


def service(name: str = "web", app: str | None = "web", *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    """A Service on port 8000 before the HTTP port, unless `spec` says otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            **({"selector": {"app": app}} if app else {}),
            "ports": [{"name": "http", "port": 8000, "targetPort": "http" if app else HTTP}],
            **spec,
        },
    }


def endpoint_slice(of: str, ip: str, port: int, *, name: str = "http", protocol: str = "TCP") -> Object:
    """A slice written by hand."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{of}-by-hand", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": protocol}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}}],
    }


def start(cluster: Cluster, namespace: str, *objects: Object) -> None:
    """Apply objects and wait until their pods are ready and published."""
    cluster.apply(*objects, namespace=namespace)
    for one in objects:
        if one["kind"] == "Pod":
            cluster.wait(f"pod/{one['metadata']['name']}", condition="Ready", namespace=namespace)
    cluster.settle()


def refusal(cluster: Cluster, obj: Object, namespace: str) -> str:
    """Return why the API server refuses an object: with 422, or the test fails."""
    obj = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
    with pytest.raises(StatusError) as refused:
        cluster._session.call(lambda: cluster.local.operations.create(obj))
    cause = refused.value
    assert cause.code == 422
    return cause.message


def change(cluster: Cluster, target: str, namespace: str, **spec: Any) -> Object:
    """Set fields of an object's spec, as `kubectl edit` does (None removes one); return what is stored then."""
    obj: Object = cluster.get(target, namespace=namespace)
    for key, value in spec.items():
        if value is None:
            obj["spec"].pop(key, None)
        else:
            obj["spec"][key] = value
    local = cluster.local

    def write() -> None:
        local.operations.update(obj)

    cluster._session.call(write)
    cluster.settle()
    stored: Object = cluster.get(target, namespace=namespace)
    return stored


def ip_of(cluster: Cluster, name: str, namespace: str) -> str:
    return str(cluster.get(f"pod/{name}", namespace=namespace)["status"]["podIP"])


def node_ip(cluster: Cluster, name: str) -> str:
    return str(cluster.get(f"node/{name}")["status"]["addresses"][0]["address"])


def curl(url: str, *options: str, source: str = "", timeout: float = 5) -> tuple[int, str]:
    """Return curl's exit status and what it printed: 0 answered, 7 refused, 28 timed out, 56 reset."""
    caller = ["--interface", source] if source else []
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--max-time", str(timeout), *caller, *options, url],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip() or done.stderr.strip()


REFUSED, SILENT = 7, 28


def hostname(address: str, port: int, *, source: str = "") -> str:
    """Return which pod answers at an address."""
    code, text = curl(f"http://{address}:{port}/hostname", source=source)
    assert code == 0, text
    return text


def hostnames(address: str, port: int, calls: int, *, source: str = "") -> list[str]:
    return [hostname(address, port, source=source) for _ in range(calls)]


def client_ip(address: str, port: int, *, source: str = "") -> str:
    code, text = curl(f"http://{address}:{port}/clientip", source=source)
    assert code == 0, text
    return text.rpartition(":")[0] or text


def eventually(holds: Callable[[], bool], *, timeout: float = 30) -> None:
    """Wait until something holds that the kernel tells the cluster of a moment later, such as a caller's hang-up."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.005)


class Datagrams:
    """A UDP client that keeps its port, so that all it sends is one flow."""

    def __init__(self, address: str, port: int, *, source: str = "") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if source:
            self._socket.bind((source, 0))
        self._socket.connect((address, port))

    def __enter__(self) -> "Datagrams":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, text: str = "hostname", *, timeout: float = 5) -> str | None:
        """Return the answer to one datagram; None if there is none (dropped, or refused)."""
        self._socket.settimeout(timeout)
        try:
            self._socket.send(text.encode())
            return self._socket.recv(4096).decode()
        except (TimeoutError, ConnectionRefusedError):
            return None


def external_ips(cluster: Cluster, name: str, namespace: str) -> list[str]:
    status = cluster.get(f"service/{name}", namespace=namespace)["status"]
    return [one["ip"] for one in status["loadBalancer"].get("ingress") or ()]
