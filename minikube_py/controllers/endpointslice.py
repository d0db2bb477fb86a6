"""EndpointSlices: what kube-proxy, DNS and ingress controllers read.

Stands for kube-controller-manager's endpointslice controller (k8s.io/endpointslice). One group of slices for each
set of ports, at most 100 endpoints a slice; an endpoint stays in its slice, so that few slices change.
Leaves out topology-aware hints.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Delete, Event, Soon, Update, View
from minikube_py.client.api import Change
from minikube_py.controllers import endpoint, pods
from minikube_py.controllers.endpoint import Endpoint, Port, Services

__all__ = ["MANAGED_BY", "SERVICE_NAME", "EndpointSliceController", "SliceSet"]

_RESOURCE = "endpointslices.discovery.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_ME = "endpointslice-controller.k8s.io"
_HEADLESS = "service.kubernetes.io/headless"
_LIMIT = 100
"""Endpoints per slice (kube-controller-manager --max-endpoints-per-slice)."""


@final
class EndpointSliceController:
    name = "endpoint-slice-controller"

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._services = Services(_written)
        self._stored: dict[Key, StoredSlice] = {}

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"services": self._services.service, "pods": self._services.pod, _RESOURCE: self._slice}

    def _slice(self, event: Event, view: View) -> Iterable[Key | Soon]:
        """Somebody else touched a slice of ours: look again (our own writes, found to be right, are in no hurry)."""
        if event.change is Change.DELETED:
            self._stored.pop(event.key, None)
        labels = meta.labels(event.object)
        if labels.get(MANAGED_BY) == _ME and event.change is not Change.ADDED and labels.get(SERVICE_NAME):
            key = Key(event.key.namespace, labels[SERVICE_NAME])
            yield key if event.change is Change.DELETED else Soon(key, pods.pace(0))

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        service = view.get("services", key.name, key.namespace)
        mine = Selector.from_map({SERVICE_NAME: key.name, MANAGED_BY: _ME})
        existing = [found for found in view.list(_RESOURCE, key.namespace, mine) if not meta.terminating(found)]
        if service is None or meta.terminating(service) or not endpoint.has_selector(service):
            return [Delete(_RESOURCE, meta.key(found), uid=meta.uid(found)) for found in existing]
        wanted = self._services.endpoints(service, view, endpoint.zones(view))
        headless = {_HEADLESS: ""} if meta.spec(service).get("clusterIP") == "None" else {}
        slices = SliceSet(
            owner=service,
            labels={**_copied(meta.labels(service)), **headless, SERVICE_NAME: key.name, MANAGED_BY: _ME},
            chance=self._chance,
            view=view,
            stored=self._stored,
        )
        return slices.reconcile(wanted, existing)


def _copied(labels: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in labels.items() if k not in (_HEADLESS, SERVICE_NAME, MANAGED_BY)}


def _written(found: Endpoint) -> Object:
    written: Object = {
        "addresses": [found.address],
        "conditions": {"ready": found.ready, "serving": found.serving, "terminating": found.terminating},
        "targetRef": found.target,
    }
    if found.node:
        written["nodeName"] = found.node
    if found.zone:
        written["zone"] = found.zone
    if found.hostname:
        written["hostname"] = found.hostname
    return written


def _identity(written: Object) -> str:
    """Return what tells an endpoint in a slice from all others."""
    return str((written.get("targetRef") or {}).get("uid") or written["addresses"][0])


class StoredSlice:
    """A slice as it is stored, read once: of ten thousand endpoints few have changed when they are looked at again."""

    __slots__ = ("_endpoints", "identities", "object")

    def __init__(self, found: Object) -> None:
        self.object = found
        self._endpoints: Sequence[Object] = found.get("endpoints") or []
        self.identities = [_identity(entry) for entry in self._endpoints]

    def holds(self, content: list[Object]) -> bool:
        if content != self._endpoints:
            return False
        self._endpoints = [*content]  # equal, and next time most likely the same objects: those compare at once
        return True


class SliceSet:
    """The slices of one owner: brings what is to what is wanted with few writes.

    `stored` is what a controller remembers of slices from one look to the next.
    """

    def __init__(
        self,
        *,
        owner: Object,
        labels: Mapping[str, str],
        chance: random.Random,
        view: View,
        stored: dict[Key, StoredSlice] | None = None,
    ) -> None:
        self._owner = owner
        self._labels = dict(labels)
        self._chance = chance
        self._view = view
        self._stored = {} if stored is None else stored
        self._taken: set[str] = set()

    def reconcile(
        self, wanted: Mapping[tuple[Port, ...], Mapping[str, Object]], existing: Sequence[Object]
    ) -> list[Action]:
        """Return the writes; `wanted` maps ports to endpoints by identity (pod UID or address)."""
        by_ports: dict[tuple[Port, ...], list[Object]] = {}
        for found in existing:
            by_ports.setdefault(_ports(found), []).append(found)
        actions: list[Action] = []
        empty = [found for ports, slices in by_ports.items() if ports not in wanted for found in slices]
        created = kept = 0
        for ports, endpoints in wanted.items():
            writes, emptied, left = self._group(ports, endpoints, by_ports.get(ports, []))
            actions.extend(writes)
            empty.extend(emptied)
            kept += left
            created += sum(isinstance(write, Create) for write in writes)
        if not kept and not created:  # a Service without endpoints still has one slice: an empty one
            spare = next((found for found in empty if not _ports(found) and not (found.get("endpoints") or ())), None)
            if spare is None:
                actions.append(Create(self._new((), [])))
            else:
                empty.remove(spare)
                if meta.labels(spare) != self._labels:
                    actions.append(Update(self._changed(spare, [])))
        for index, action in enumerate(actions):
            if isinstance(action, Create) and empty:  # as the real one: rather another use than one less and one more
                actions[index] = Update(self._reused(empty.pop(0), action.object))
        actions.extend(Delete(_RESOURCE, meta.key(found), uid=meta.uid(found)) for found in empty)
        return actions

    def _group(
        self, ports: tuple[Port, ...], endpoints: Mapping[str, Object], slices: Sequence[Object]
    ) -> tuple[list[Action], list[Object], int]:
        """Return (writes, slices that became empty, slices that stay) for one set of ports."""
        left = dict(endpoints)
        contents: list[tuple[StoredSlice, list[Object]]] = []
        for found in map(self._read, slices):
            contents.append((found, [new for each in found.identities if (new := left.pop(each, None)) is not None]))
        queue = list(left.values())
        # First into slices that change anyway, then into the fullest with room.
        order = sorted(contents, key=lambda pair: (pair[0].holds(pair[1]), -len(pair[1])))
        for _, content in order:
            room = _LIMIT - len(content)
            if queue and room > 0 and content:
                content.extend(queue[:room])
                del queue[:room]
        for _, content in contents:  # before an emptied slice is deleted, it may serve again
            if queue and not content:
                content.extend(queue[:_LIMIT])
                del queue[:_LIMIT]
        writes: list[Action] = []
        emptied: list[Object] = []
        for found, content in contents:
            if not content:
                emptied.append(found.object)
            elif not found.holds(content) or meta.labels(found.object) != self._labels:
                writes.append(Update(self._changed(found.object, content)))
        while queue:
            writes.append(Create(self._new(ports, queue[:_LIMIT]), about=self._owner))
            del queue[:_LIMIT]
        return writes, emptied, len(contents) - len(emptied)

    def _read(self, found: Object) -> StoredSlice:
        key = meta.key(found)
        known = self._stored.get(key)
        if known is None or known.object is not found:
            known = self._stored[key] = StoredSlice(found)
        return known

    def _changed(self, found: Object, content: list[Object]) -> Object:
        return {**found, "metadata": {**found["metadata"], "labels": self._labels}, "endpoints": content}

    def _reused(self, found: Object, new: Object) -> Object:
        return {**self._changed(found, new["endpoints"]), "ports": new["ports"]}

    def _new(self, ports: tuple[Port, ...], content: list[Object]) -> Object:
        prefix = f"{meta.name(self._owner)}-"
        namespace = meta.namespace(self._owner)
        name = names.generated(prefix, self._chance)
        while name in self._taken or self._view.get(_RESOURCE, name, namespace) is not None:
            name = names.generated(prefix, self._chance)
        self._taken.add(name)
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "generateName": prefix,
                "namespace": namespace,
                "labels": self._labels,
                "ownerReferences": [meta.owner_reference(self._owner)],
            },
            "addressType": "IPv4",
            "endpoints": content,
            "ports": [_written_port(port) for port in ports],
        }


def _written_port(port: Port) -> dict[str, Any]:
    written: dict[str, Any] = {"name": port.name, "protocol": port.protocol, "port": port.port}
    if port.app_protocol:
        written["appProtocol"] = port.app_protocol
    return written


def _ports(found: Object) -> tuple[Port, ...]:
    return tuple(
        Port(port.get("name") or "", port.get("port") or 0, port.get("protocol") or "TCP", port.get("appProtocol"))
        for port in found.get("ports") or ()
    )
