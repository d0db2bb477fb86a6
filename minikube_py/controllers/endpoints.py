"""Endpoints: the older form of EndpointSlices, one object per Service.

Stands for kube-controller-manager's endpoints controller. Pods that are going away leave at once, except when
publishNotReadyAddresses is set; more than 1,000 addresses are cut off.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from msgspec import Struct

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Delete, Event, Soon, Update, View
from minikube_py.controllers import endpoint
from minikube_py.controllers.endpoint import Endpoint, Port, Services

__all__ = ["EndpointsController"]

_RESOURCE = "endpoints"
_HEADLESS = "service.kubernetes.io/headless"
_LIMIT = 1000
_OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
_PACE = 4.0
"""How much longer than the slices newcomers wait: nothing in the data plane reads this object."""


@final
class EndpointsController:
    name = "endpoint-controller"

    def __init__(self) -> None:
        self._services = Services(_placed, _PACE)

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"services": self._services.service, "pods": self._services.pod}

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        service = view.get("services", key.name, key.namespace)
        existing = view.get(_RESOURCE, key.name, key.namespace)
        if service is None or meta.terminating(service):
            return [Delete(_RESOURCE, key, uid=meta.uid(existing))] if existing else ()
        if not endpoint.has_selector(service):
            return ()
        groups = self._services.endpoints(service, view, {})
        keep_going = bool(meta.spec(service).get("publishNotReadyAddresses"))
        subsets, cut = _subsets(groups, keep_going)
        labels = dict(meta.labels(service))
        labels.pop(_HEADLESS, None)
        if meta.spec(service).get("clusterIP") == "None":
            labels[_HEADLESS] = ""
        if existing is None:
            metadata: Object = {"name": key.name, "namespace": key.namespace, "labels": labels}
            if cut:
                metadata["annotations"] = {_OVER_CAPACITY: "truncated"}
            return [Create({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets})]
        annotations = {k: v for k, v in meta.annotations(existing).items() if k != _OVER_CAPACITY}
        if cut:
            annotations[_OVER_CAPACITY] = "truncated"
        if (
            (existing.get("subsets") or []) == subsets
            and meta.labels(existing) == labels
            and meta.annotations(existing) == annotations
        ):
            return ()
        metadata = {**existing["metadata"], "labels": labels, "annotations": annotations}
        return [Update({**existing, "metadata": metadata, "subsets": subsets})]


class _Placed(Struct, frozen=True):
    """An endpoint with its place among others: ready ones first, then in order of address."""

    found: Endpoint
    place: tuple[object, ...]


def _placed(found: Endpoint) -> _Placed:
    return _Placed(found, (not found.ready, *map(int, found.address.split("."))))


def _subsets(groups: Mapping[tuple[Port, ...], Mapping[str, _Placed]], keep_going: bool) -> tuple[list[Object], bool]:
    """Return the subsets and whether addresses were cut off."""
    left = _LIMIT
    cut = False
    subsets = []
    for ports, endpoints in sorted(groups.items(), key=lambda item: [(p.name, p.port) for p in item[0]]):
        staying = [e for e in endpoints.values() if keep_going or not e.found.terminating]
        staying.sort(key=lambda e: e.place)
        cut = cut or len(staying) > left
        here = [e.found for e in staying[:left]]
        left -= len(here)
        if not here:
            continue
        subset: dict[str, Any] = {}
        if ready := [_address(e) for e in here if e.ready]:
            subset["addresses"] = ready
        if waiting := [_address(e) for e in here if not e.ready]:
            subset["notReadyAddresses"] = waiting
        if ports:
            subset["ports"] = [_port(port) for port in ports]
        subsets.append(subset)
    return subsets, cut


def _address(found: Endpoint) -> Object:
    written: Object = {"ip": found.address, "targetRef": found.target}
    if found.node:
        written["nodeName"] = found.node
    if found.hostname:
        written["hostname"] = found.hostname
    return written


def _port(port: Port) -> Object:
    written: Object = {"port": port.port, "protocol": port.protocol}
    if port.name:
        written["name"] = port.name
    if port.app_protocol:
        written["appProtocol"] = port.app_protocol
    return written
