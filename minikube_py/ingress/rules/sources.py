"""The objects that a routing table is made of, indexed as they come from a watch.

`apply` says what an event makes stale: nothing, some backends, or the rules themselves. So a pod that comes or goes
costs one backend's look-up, whatever the number of rules.
"""

from collections.abc import Iterable, Mapping

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Change, Event

__all__ = ["CONFIG_MAPS", "INGRESSES", "INGRESS_CLASSES", "RESOURCES", "SECRETS", "SERVICES", "SLICES", "Sources"]

INGRESSES = "ingresses.networking.k8s.io"
INGRESS_CLASSES = "ingressclasses.networking.k8s.io"
SERVICES = "services"
SLICES = "endpointslices.discovery.k8s.io"
SECRETS = "secrets"
CONFIG_MAPS = "configmaps"
NAMESPACES = "namespaces"
GATEWAY_CLASSES = "gatewayclasses.gateway.networking.k8s.io"
GATEWAYS = "gateways.gateway.networking.k8s.io"
ROUTES = "httproutes.gateway.networking.k8s.io"
GRPC_ROUTES = "grpcroutes.gateway.networking.k8s.io"
TLS_ROUTES = "tlsroutes.gateway.networking.k8s.io"
TCP_ROUTES = "tcproutes.gateway.networking.k8s.io"
UDP_ROUTES = "udproutes.gateway.networking.k8s.io"
GATEWAY_ROUTES = (ROUTES, GRPC_ROUTES, TLS_ROUTES, TCP_ROUTES, UDP_ROUTES)
"""What attaches to a Gateway, or is told that it can't."""
GRANTS = "referencegrants.gateway.networking.k8s.io"
RESOURCES = (INGRESS_CLASSES, INGRESSES, SERVICES, SLICES, SECRETS, CONFIG_MAPS)
GATEWAY_RESOURCES = (GATEWAY_CLASSES, GATEWAYS, *GATEWAY_ROUTES, GRANTS, NAMESPACES, SERVICES, SLICES, SECRETS)
"""What a Gateway is made of."""

_SERVICE_NAME = "kubernetes.io/service-name"


class Sources:
    """The current objects. Never mutates one of them."""

    def __init__(self, objects: Iterable[tuple[str, Object]] = ()) -> None:
        self._objects: dict[str, dict[Key, Object]] = {}
        self._slices: dict[Key, dict[str, Object]] = {}
        for resource, obj in objects:
            self._put(resource, meta.key(obj), obj)

    def apply(self, event: Event) -> Key | None:
        """Take one event; return the Service whose endpoints changed, or None if it was something else."""
        if event.change is Change.DELETED:
            self._remove(event.resource, event.key)
        else:
            self._put(event.resource, event.key, event.object)
        if event.resource == SLICES:
            return _service_of(event.object)
        return event.key if event.resource == SERVICES else None

    def _put(self, resource: str, key: Key, obj: Object) -> None:
        if resource == SLICES:
            self._remove(resource, key)
            self._slices.setdefault(_service_of(obj), {})[key.name] = obj
        self._objects.setdefault(resource, {})[key] = obj

    def _remove(self, resource: str, key: Key) -> None:
        old = self._objects.get(resource, {}).pop(key, None)
        if old is not None and resource == SLICES:
            of_service = self._slices[_service_of(old)]
            of_service.pop(key.name, None)
            if not of_service:
                del self._slices[_service_of(old)]

    def all(self, resource: str) -> Mapping[Key, Object]:
        return self._objects.get(resource, {})

    def get(self, resource: str, key: Key) -> Object | None:
        return self._objects.get(resource, {}).get(key)

    def only(self, resource: str, keys: Iterable[Key]) -> "Sources":
        """Return the same objects with no others of one resource than those at `keys`."""
        found = Sources()
        every = self._objects.get(resource, {})
        found._objects = {**self._objects, resource: {key: every[key] for key in keys if key in every}}
        found._slices = self._slices
        return found

    def slices(self, service: Key) -> Iterable[Object]:
        """Return the EndpointSlices of one Service, in order of name."""
        found = self._slices.get(service)
        return [found[name] for name in sorted(found)] if found else ()


def _service_of(slice_: Object) -> Key:
    return Key(meta.namespace(slice_), meta.labels(slice_).get(_SERVICE_NAME, ""))
