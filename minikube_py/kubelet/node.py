"""The Node object that a kubelet registers. Pure.

A node is as big as a good laptop for each: 8 CPUs, 32 GiB and, for pods, as many as its /24 of addresses has room for
(`PODS`); requests are counted against it as on a real cluster, though nothing here is ever throttled.
Leaves out: images, volumes.
"""

import uuid
from collections.abc import Mapping

from msgspec import Struct

from minikube_py.aiokit.clock import rfc3339, rfc3339_micro
from minikube_py.apimachinery.meta import Object

__all__ = ["LEASE_SECONDS", "Registration", "lease_object", "node_object"]

_VERSION = "v1.32.4"
"""What `kubectl get nodes` shows; the API version that we follow."""

_CAPACITY = {"cpu": "8", "ephemeral-storage": "100Gi", "hugepages-2Mi": "0", "memory": "32Gi", "pods": "250"}
"""Capacity and allocatable of a node; 250 pods, because its pod range 127.244.i.0/24 has 254 addresses."""

LEASE_SECONDS = 40
"""kubelet's nodeLeaseDurationSeconds; it renews four times in that span."""

_HEALTHY = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


_MACHINES = uuid.UUID("6d6b7079-0000-4000-8000-000000000000")


class Registration(Struct, frozen=True, kw_only=True):
    """What a kubelet says of its node when it registers it."""

    name: str
    control_plane: bool = False
    tainted: bool = False
    """Whether the control plane keeps ordinary pods away."""
    given: Mapping[str, str] = {}
    """Capacity that differs from the usual."""
    version: str = _VERSION

    @property
    def capacity(self) -> dict[str, str]:
        """What pods may ask for together."""
        return {**_CAPACITY, **self.given}


def node_object(registration: Registration, ip: str, pod_cidr: str, now: float) -> Object:
    """Return a node as kind and kubeadm set it up.

    Source: https://kubernetes.io/docs/reference/labels-annotations-taints/
    """
    name, version, capacity = registration.name, registration.version, registration.capacity
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    spec: Object = {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr], "providerID": f"minikube-py://{name}"}
    if registration.control_plane:
        labels["node-role.kubernetes.io/control-plane"] = ""
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    if registration.tainted:
        spec["taints"] = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
    time = rfc3339(now)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"node.alpha.kubernetes.io/ttl": "0"}},
        "spec": spec,
        "status": {
            "addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}],
            "allocatable": dict(capacity),
            "capacity": capacity,
            "conditions": [
                {
                    "type": kind,
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastHeartbeatTime": time,
                    "lastTransitionTime": time,
                }
                for kind, status, reason, message in _HEALTHY
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": str(uuid.uuid5(_MACHINES, f"{name} {now}")),
                "containerRuntimeVersion": "minikube-py://0.1.0",
                "kernelVersion": "asyncio",
                "kubeProxyVersion": version,
                "kubeletVersion": version,
                "machineID": uuid.uuid5(_MACHINES, name).hex,
                "operatingSystem": "linux",
                "osImage": "minikube-py (one Python process)",
                "systemUUID": str(uuid.uuid5(_MACHINES, name)),
            },
        },
    }


def lease_object(node: Object, now: float) -> Object:
    """Return the Lease by whose renewal a kubelet shows that it lives.

    Source: https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
    """
    metadata = node["metadata"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": metadata["name"], "namespace": "kube-node-lease", "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": metadata["name"],
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": rfc3339_micro(now),
        },
    }
