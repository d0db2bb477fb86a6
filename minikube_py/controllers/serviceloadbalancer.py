"""LoadBalancer Services: an address of their own from a pool.

Stands for the service controller with a cloud provider, or MetalLB in layer-2 mode. Leaves out the finalizer of
clouds: the address is free as soon as the Service is gone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, final

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Emit, Event, Soon, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.cni.ipam import Exhausted, InUse

__all__ = ["AddressPool", "ServiceLoadBalancerController"]

_WANTED = ("metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs")
"""MetalLB's annotations for what `spec.loadBalancerIP` (deprecated) says too."""


class AddressPool(Protocol):
    """Where the addresses come from: `cni.ipam.Pool`."""

    def lease(self, owner: str) -> str:
        """Give the next free address; raise `Exhausted` when there is none."""
        ...

    def reserve(self, address: str, owner: str) -> str:
        """Give exactly this address; raise `InUse`, or ValueError when it is none of the pool."""
        ...

    def release(self, address: str) -> None: ...


@final
class ServiceLoadBalancerController:
    """Gives addresses to Services of type LoadBalancer; with `pool=None` there is no provider: they stay pending."""

    name = "service-controller"

    def __init__(self, pool: AddressPool | None) -> None:
        self._pool = pool
        self._held: dict[Key, str] = {}
        self._waiting: dict[Key, None] = {}
        """Who was given none, because it is taken or none is left."""

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"services": self._service}

    def _service(self, event: Event, view: View) -> Iterable[Key]:
        held = self._held.get(event.key)
        if held is not None or meta.spec(event.object).get("type") == "LoadBalancer":
            yield event.key
        if held is not None and (
            event.change is Change.DELETED or not _wants(event.object) or _asked(event.object) not in ("", held)
        ):
            yield from [*self._waiting]  # in the order they came, after the one that gives its address back

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        if self._pool is None:
            return ()
        service = view.get("services", key.name, key.namespace)
        wants = service is not None and _wants(service)
        self._waiting.pop(key, None)
        if service is None or not wants:
            actions: list[Action] = []
            if (held := self._held.pop(key, None)) is not None:
                if held:
                    self._pool.release(held)
                if service is not None:
                    status = {**meta.status(service), "loadBalancer": {}}
                    actions.append(UpdateStatus({**service, "status": status}))
                    actions.append(Emit(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer"))
            return actions
        return self._ensure(key, service, view, self._pool)

    def _reclaim(self, address: str, view: View, pool: AddressPool) -> None:
        """Take an address back from a Service that has no right to it any more, but whose turn is still to come."""
        for key, held in self._held.items():
            if held == address:
                holder = view.get("services", key.name, key.namespace)
                if holder is None or not _wants(holder):
                    pool.release(held)
                    self._held[key] = ""
                    return

    def _ensure(self, key: Key, service: Object, view: View, pool: AddressPool) -> Sequence[Action]:
        given = [entry.get("ip") for entry in (meta.status(service).get("loadBalancer") or {}).get("ingress") or ()]
        address = self._held.get(key) or None
        asked = _asked(service)
        if asked and asked != address:
            self._reclaim(asked, view, pool)
        actions: list[Action] = []
        if address is None or (asked and asked != address):
            try:
                if asked:
                    new = pool.reserve(asked, str(key))
                elif given and given[0]:
                    new = pool.reserve(given[0], str(key))  # as it was before a restart
                else:
                    new = pool.lease(str(key))
            except (InUse, Exhausted, ValueError) as error:
                self._waiting[key] = None
                text = f"Error syncing load balancer: failed to ensure load balancer: {error}"
                return [Emit(service, "Warning", "SyncLoadBalancerFailed", text)]
            if address is not None:
                pool.release(address)
            else:
                actions.append(Emit(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer"))
                actions.append(Emit(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer"))
            address = self._held[key] = new
        status = {**meta.status(service), "loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}
        if status != meta.status(service):
            actions.insert(0, UpdateStatus({**service, "status": status}))
        return actions


def _wants(service: Object) -> bool:
    spec = meta.spec(service)
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and not meta.terminating(service)


def _asked(service: Object) -> str:
    for annotation in _WANTED:
        if value := meta.annotations(service).get(annotation):
            return value.split(",")[0].strip()
    return str(meta.spec(service).get("loadBalancerIP") or "")
