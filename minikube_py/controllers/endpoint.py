"""Which pods stand behind a Service, as values: the pure core that EndpointSlices and Endpoints are written from.

    Service.spec.selector → pods → (address, ready, serving, terminating) × the ports as each pod resolves them

**The law** (https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions):
1. A pod without an address, or one that has finished, is no endpoint.
2. serving = the pod is ready; terminating = it has a deletionTimestamp, from the very moment it is set.
3. ready = serving and not terminating; publishNotReadyAddresses makes it always true.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Event, Soon, View
from minikube_py.client.api import Change
from minikube_py.controllers import pods
from minikube_py.controllers.membership import SelectorIndex

__all__ = ["Endpoint", "Port", "Services", "endpoint_of", "has_selector", "ports_of"]


T = TypeVar("T")


class Port(Struct, frozen=True):
    """One port of a Service as a pod resolves it."""

    name: str
    port: int
    protocol: str = "TCP"
    app_protocol: str | None = None


class Endpoint(Struct, frozen=True):
    address: str
    ready: bool
    serving: bool
    terminating: bool
    pod: Key
    uid: str
    node: str = ""
    zone: str = ""
    hostname: str = ""

    @property
    def identity(self) -> str:
        """What tells it from all others, and stays when its conditions change."""
        return self.uid or self.address

    @property
    def target(self) -> Object:
        return {"kind": "Pod", "namespace": self.pod.namespace, "name": self.pod.name, "uid": self.uid}


def has_selector(service: Mapping[str, Any]) -> bool:
    """Tell whether a controller (rather than the user) writes the Service's endpoints."""
    spec = meta.spec(service)
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def ports_of(service: Mapping[str, Any], pod: Mapping[str, Any]) -> tuple[Port, ...]:
    """Resolve the Service's ports for one pod; a name that the pod doesn't know leaves its port out."""
    found = []
    for port in meta.spec(service).get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        target = port.get("targetPort")
        if isinstance(target, str) and target.isdigit():
            target = int(target)
        number = _named(pod, target, protocol) if isinstance(target, str) and target else (target or port["port"])
        if number is not None:
            found.append(Port(port.get("name") or "", int(number), protocol, port.get("appProtocol")))
    return tuple(found)


def _named(pod: Mapping[str, Any], name: str, protocol: str) -> int | None:
    spec = meta.spec(pod)
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("name") == name and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return None


def endpoint_of(service: Mapping[str, Any], pod: Object, zone: str = "") -> Endpoint | None:
    """Return the endpoint that the pod is of the Service now; None if it is none."""
    status = meta.status(pod)
    address = status.get("podIP")
    if not address or status.get("phase") in ("Succeeded", "Failed"):
        return None
    terminating = meta.terminating(pod)
    serving = pods.ready(pod)
    spec = meta.spec(pod)
    hostname = spec.get("hostname") or ""
    named = hostname and spec.get("subdomain") == meta.name(service)
    return Endpoint(
        address=address,
        ready=bool(meta.spec(service).get("publishNotReadyAddresses")) or (serving and not terminating),
        serving=serving,
        terminating=terminating,
        pod=meta.key(pod),
        uid=meta.uid(pod),
        node=spec.get("nodeName") or "",
        zone=zone,
        hostname=hostname if named else "",
    )


def zones(view: View) -> dict[str, str]:
    return {
        meta.name(node): zone
        for node in view.list("nodes")
        if (zone := meta.labels(node).get("topology.kubernetes.io/zone"))
    }


class _Members(Generic[T]):
    """What the pods of a Service are written as, by the ports that they resolve alike."""

    def __init__(self, service: Object, zones: Mapping[str, str], form: Callable[[Endpoint], T]) -> None:
        self.service = service
        self.zones = zones
        self.groups: dict[tuple[Port, ...], dict[str, T]] = {}
        self.stale: dict[Key, None] = {}
        """Pods that changed since."""
        self._form = form
        self._selector = Selector.from_map(meta.spec(service).get("selector"))
        self._where: dict[Key, tuple[tuple[Port, ...], str]] = {}
        by_name = any(isinstance(p.get("targetPort"), str) for p in meta.spec(service).get("ports") or ())
        self._fixed = None if by_name else ports_of(service, {})

    def __len__(self) -> int:
        return len(self._where)

    def fill(self, view: View) -> None:
        for pod in view.list("pods", meta.namespace(self.service), self._selector):
            self._add(meta.key(pod), pod)

    def refresh(self, view: View) -> None:
        """Bring the pods that changed up to date."""
        for key in self.stale:
            if (place := self._where.pop(key, None)) is not None:
                ports, identity = place
                del self.groups[ports][identity]
                if not self.groups[ports]:
                    del self.groups[ports]
            pod = view.get("pods", key.name, key.namespace)
            if pod is not None and self._selector.matches(meta.labels(pod)):
                self._add(key, pod)
        self.stale.clear()

    def _add(self, key: Key, pod: Object) -> None:
        found = endpoint_of(self.service, pod, self.zones.get(meta.spec(pod).get("nodeName") or "", ""))
        if found is not None:
            ports = ports_of(self.service, pod) if self._fixed is None else self._fixed
            self._where[key] = ports, found.identity
            self.groups.setdefault(ports, {})[found.identity] = self._form(found)


class Services(Generic[T]):
    """What endpoint controllers share: from a pod's event to its Services, from a Service to its endpoints."""

    def __init__(self, form: Callable[[Endpoint], T], pace: float = 1.0) -> None:
        """`form` makes of an endpoint what the controller writes; it is asked once for each change of a pod."""
        self._form = form
        self._index = SelectorIndex()
        self._members: dict[Key, _Members[T]] = {}
        self._pace = pace
        """Factor of how long pods that become ready one after the other wait for each other, to share a write."""

    def endpoints(
        self, service: Object, view: View, zones: Mapping[str, str]
    ) -> Mapping[tuple[Port, ...], Mapping[str, T]]:
        """Return the Service's endpoints: ports as pods resolve them → identity → form; `zones` maps nodes to zones."""
        key = meta.key(service)
        members = self._members.get(key)
        if members is None or members.service is not service or members.zones != zones:
            members = self._members[key] = _Members(service, zones, self._form)
            members.fill(view)
        members.refresh(view)
        return members.groups

    def service(self, event: Event, view: View) -> Iterable[Key]:
        if event.change is Change.DELETED or not has_selector(event.object):
            self._index.discard(event.key)
            self._members.pop(event.key, None)
        else:
            self._index.set(event.key, Selector.from_map(meta.spec(event.object).get("selector")))
        return (event.key,)

    def pod(self, event: Event, view: View) -> Iterable[Key | Soon]:
        old, new = event.old, event.object
        namespace = event.key.namespace
        gone = event.change is Change.DELETED
        if old is not None and not gone and _bearing(old) == _bearing(new):
            return
        labels = meta.labels(new)
        # what takes traffic must be left at once; what comes, or is no longer sent anything, may share a write
        was = old is not None and pods.ready(old) and not meta.terminating(old)
        urgent = was and (gone or not pods.ready(new) or meta.terminating(new) or pods.finished(new))
        for key in self._index.matching(namespace, labels):
            size = self._changed(key, event.key)
            yield key if urgent else Soon(key, self._pace * pods.pace(size))
        if old is not None and meta.labels(old) != labels:
            for key in self._index.matching(namespace, meta.labels(old)):
                self._changed(key, event.key)
                yield key

    def _changed(self, service: Key, pod: Key) -> int:
        """Note that a pod bears on a Service; return how many the Service has."""
        if (members := self._members.get(service)) is None:
            return 0
        members.stale[pod] = None
        return len(members)


def _bearing(pod: Object) -> tuple[object, ...]:
    """What of a pod bears on endpoints."""
    return (
        meta.labels(pod),
        meta.status(pod).get("podIP"),
        pods.finished(pod),
        pods.ready(pod),
        meta.terminating(pod),
        meta.spec(pod).get("nodeName"),
    )
