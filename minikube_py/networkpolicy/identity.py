"""What policies know of a pod: its identity (namespace, labels, ports) and the endpoint that has it at an address.

A thousand replicas share one identity, so what is compiled for one is compiled for all: the idea of Cilium's
security identities. Pods with `hostNetwork: true` have none: they are their node.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakValueDictionary

from msgspec import Struct

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object

__all__ = ["Endpoint", "Identities", "Identity", "NamedPort", "namespace_labels", "pod_ip"]

_NAME_LABEL = "kubernetes.io/metadata.name"

_NOISE = frozenset(
    {
        "pod-template-hash",
        "controller-revision-hash",
        "pod-template-generation",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "controller-uid",
        "batch.kubernetes.io/controller-uid",
    }
)
"""Labels that controllers add: nobody writes a policy with them, so no reason is told with them."""


class NamedPort(NamedTuple):
    name: str
    port: int
    protocol: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Identity:
    """All that decides which rules select or admit a pod. Interned: equal ones are the same object."""

    namespace: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    ports: tuple[NamedPort, ...]
    """containerPorts, also those without a name."""

    @property
    def words(self) -> str:
        """The labels as one writes them: `app=batch,tier=back`; "" if it has none of its own."""
        return ",".join(f"{key}={value}" for key, value in sorted(self.labels.items()) if key not in _NOISE)


class Endpoint(Struct, frozen=True):
    """One pod at one address."""

    ip: str
    name: str
    uid: str
    node: str
    host_ip: str
    identity: Identity

    @property
    def namespace(self) -> str:
        return self.identity.namespace

    def __str__(self) -> str:
        return f"{self.identity.namespace}/{self.name}"


def namespace_labels(name: str, labels: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return a namespace's labels with the one that every namespace has (KEP-2161)."""
    return {**(labels or {}), _NAME_LABEL: name}


def pod_ip(pod: Object) -> str:
    """Return the address under which policies know a pod: none on the host's network or when it has ended."""
    status = meta.status(pod)
    if meta.spec(pod).get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return ""
    return str(status.get("podIP") or "")


def _ports(pod: Object) -> tuple[NamedPort, ...]:
    spec = meta.spec(pod)
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    return tuple(
        NamedPort(port.get("name") or "", int(port["containerPort"]), port.get("protocol") or "TCP")
        for container in (*sidecars, *(spec.get("containers") or ()))
        for port in container.get("ports") or ()
        if port.get("containerPort")
    )


class Identities:
    """The interning table; it forgets identities that nobody has any more."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: WeakValueDictionary[object, Identity] = WeakValueDictionary()

    def intern(
        self,
        namespace: str,
        labels: Mapping[str, str],
        namespace_labels: Mapping[str, str],
        ports: tuple[NamedPort, ...],
    ) -> Identity:
        key = (namespace, frozenset(labels.items()), frozenset(namespace_labels.items()), ports)
        if (known := self._known.get(key)) is None:
            known = self._known[key] = Identity(namespace, dict(labels), dict(namespace_labels), ports)
        return known

    def of_pod(self, pod: Object, of_namespace: Mapping[str, str]) -> Identity:
        return self.intern(meta.namespace(pod) or "default", meta.labels(pod), of_namespace, _ports(pod))
