"""Which pods stand behind a Service, as values: the pure core that EndpointSlices and Endpoints are written from.

    Service.spec.selector → pods → (address, ready, serving, terminating) × the ports as each pod resolves them

**The law** (https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions):
1. A pod without an address, or one that has finished, is no endpoint.
2. serving = the pod is ready; terminating = it has a deletionTimestamp, from the very moment it is set.
3. ready = serving and not terminating; publishNotReadyAddresses makes it always true.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Event, Soon, View
from minikube_py.client.api import Change
from minikube_py.controllers import pods
from minikube_py.controllers.membership import SelectorIndex

__all__ = ["Endpoint", "Port", "Services", "endpoint_of", "has_selector", "ports_of"]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a Service as a pod resolves it."""

    name: str
    port: int
    protocol: str = "TCP"
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
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


@dataclass(frozen=True, slots=True)
class _Compiled(Generic[T]):
    """What a Service's endpoints were made of when they were looked at last."""

    service: Object
    zones: Mapping[str, str]
    pods: Mapping[str, tuple[Object, tuple[Port, ...], T | None]]
    """UID → the pod, its ports, and what it is written as; None: it is no endpoint."""


class Services(Generic[T]):
    """What endpoint controllers share: from a pod's event to its Services, from a Service to its endpoints."""

    def __init__(self, form: Callable[[Endpoint], T], pace: float = 1.0) -> None:
        """`form` makes of an endpoint what the controller writes; it is asked once for each version of a pod."""
        self._form = form
        self._index = SelectorIndex()
        self._compiled: dict[Key, _Compiled[T]] = {}
        self._pace = pace
        """Factor of how long pods that become ready one after the other wait for each other, to share a write."""

    def endpoints(self, service: Object, view: View, zones: Mapping[str, str]) -> dict[tuple[Port, ...], list[T]]:
        """Group the Service's endpoints by the ports that their pods resolve alike; `zones` maps nodes to zones."""
        before = self._compiled.get(meta.key(service))
        known = before.pods if before and before.service is service and before.zones == zones else {}
        by_name = any(isinstance(p.get("targetPort"), str) for p in meta.spec(service).get("ports") or ())
        fixed = None if by_name else ports_of(service, {})
        groups: dict[tuple[Port, ...], list[T]] = {}
        seen: dict[str, tuple[Object, tuple[Port, ...], T | None]] = {}
        for pod in view.list("pods", meta.namespace(service), Selector.from_map(meta.spec(service).get("selector"))):
            uid = pod["metadata"]["uid"]
            entry = known.get(uid)
            if entry is None or entry[0] is not pod:
                found = endpoint_of(service, pod, zones.get(meta.spec(pod).get("nodeName") or "", ""))
                ports = ports_of(service, pod) if fixed is None else fixed
                entry = pod, ports, None if found is None else self._form(found)
            seen[uid] = entry
            if entry[2] is not None:
                groups.setdefault(entry[1], []).append(entry[2])
        self._compiled[meta.key(service)] = _Compiled(service, zones, seen)
        return groups

    def service(self, event: Event, view: View) -> Iterable[Key]:
        if event.change is Change.DELETED or not has_selector(event.object):
            self._index.discard(event.key)
            self._compiled.pop(event.key, None)
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
            size = len(self._compiled[key].pods) if key in self._compiled else 0
            yield key if urgent else Soon(key, self._pace * pods.pace(size))
        if old is not None and meta.labels(old) != labels:
            yield from self._index.matching(namespace, meta.labels(old))


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
