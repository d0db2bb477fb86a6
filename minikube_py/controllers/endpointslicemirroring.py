"""EndpointSliceMirroring: hand-written Endpoints of a selector-less Service become EndpointSlices.

Stands for kube-controller-manager's endpointslicemirroring controller.
Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Delete, Event, Soon, View
from minikube_py.client.api import Change
from minikube_py.controllers.endpoint import Port
from minikube_py.controllers.endpointslice import MANAGED_BY, SERVICE_NAME, SliceSet

__all__ = ["EndpointSliceMirroringController"]

_RESOURCE = "endpointslices.discovery.k8s.io"
_ME = "endpointslicemirroring-controller.k8s.io"
_SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_LIMIT = 1000
"""Addresses of one subset that are mirrored."""


@final
class EndpointSliceMirroringController:
    name = "endpoint-slice-mirroring-controller"

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {
            "services": lambda event, view: (event.key,),
            "endpoints": lambda event, view: (event.key,),
            _RESOURCE: self._slice,
        }

    def _slice(self, event: Event, view: View) -> Iterable[Key]:
        labels = meta.labels(event.object)
        if labels.get(MANAGED_BY) == _ME and event.change is not Change.ADDED and labels.get(SERVICE_NAME):
            yield Key(event.key.namespace, labels[SERVICE_NAME])

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        existing = list(
            view.list(_RESOURCE, key.namespace, Selector.from_map({SERVICE_NAME: key.name, MANAGED_BY: _ME}))
        )
        service = view.get("services", key.name, key.namespace)
        endpoints = view.get("endpoints", key.name, key.namespace)
        if service is None or endpoints is None or not _mirrored(service, endpoints):
            return [Delete(_RESOURCE, meta.key(found), uid=meta.uid(found)) for found in existing]
        wanted: dict[tuple[Port, ...], dict[str, Object]] = {}
        for subset in endpoints.get("subsets") or ():
            ports = tuple(
                Port(p.get("name") or "", p["port"], p.get("protocol") or "TCP", p.get("appProtocol"))
                for p in subset.get("ports") or ()
            )
            group = wanted.setdefault(ports, {})
            addresses = [(a, True) for a in subset.get("addresses") or ()]
            addresses += [(a, False) for a in subset.get("notReadyAddresses") or ()]
            for address, ready in addresses[:_LIMIT]:
                written = _written(address, ready)
                group[(address.get("targetRef") or {}).get("uid") or address["ip"]] = written
        labels = {k: v for k, v in meta.labels(endpoints).items() if k != MANAGED_BY}
        slices = SliceSet(
            owner=endpoints,
            labels={**labels, SERVICE_NAME: key.name, MANAGED_BY: _ME},
            chance=self._chance,
            view=view,
        )
        return slices.reconcile({ports: group for ports, group in wanted.items() if group}, existing)


def _mirrored(service: Object, endpoints: Object) -> bool:
    return (
        not meta.spec(service).get("selector")
        and meta.spec(service).get("type") != "ExternalName"
        and meta.labels(endpoints).get(_SKIP) != "true"
        and _LEADER not in meta.annotations(endpoints)
        and not meta.terminating(endpoints)
    )


def _written(address: Object, ready: bool) -> Object:
    written: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            written[field] = address[field]
    return written
