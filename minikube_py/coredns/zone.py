"""What the DNS knows of the cluster: an immutable `Zone`, compiled from Services, EndpointSlices, Namespaces and Pods.

Stands for the object cache of CoreDNS' kubernetes plugin (controller.go and object/). A change compiles only the
Service it touches; the indexes are copied, so whoever holds a `Zone` holds one consistent moment of the cluster.

Only what DNS needs is kept, and only *ready* endpoints (`conditions.ready` true or absent): the EndpointSlice
controller marks all endpoints of a Service with publishNotReadyAddresses as ready.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object

__all__ = ["Endpoint", "Port", "ServiceEntry", "Subset", "Zone", "compile_service", "exposed_pod", "service_of"]

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class Port(NamedTuple):
    name: str
    protocol: str
    number: int
    """-1: the object has no ports; such a record has addresses but no SRV."""


NO_PORTS = (Port("", "", -1),)


class Endpoint(NamedTuple):
    address: str
    hostname: str
    """The endpoint's own `hostname`; "" if it has none."""
    pod: str
    """The pod behind it; "" for endpoints written by hand."""


class Subset(NamedTuple):
    """One EndpointSlice: every endpoint has every port."""

    endpoints: tuple[Endpoint, ...]
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """One Service with its ready endpoints."""

    namespace: str
    name: str
    cluster_ips: tuple[str, ...] = ()
    """Empty for headless and ExternalName Services."""
    external_name: str | None = None
    """None: not an ExternalName Service."""
    headless: bool = False
    ports: tuple[Port, ...] = NO_PORTS
    subsets: tuple[Subset, ...] = ()

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)

    @property
    def endpoint_addresses(self) -> set[str]:
        return {endpoint.address for subset in self.subsets for endpoint in subset.endpoints}


def service_of(slice_: Object) -> Key | None:
    """Return the key of the Service to which an EndpointSlice belongs, if to any."""
    name = meta.labels(slice_).get(SERVICE_NAME_LABEL)
    return Key(meta.namespace(slice_), name) if name else None


def _ports(entries: Iterable[Mapping[str, object]]) -> tuple[Port, ...]:
    ports = tuple(
        Port(str(entry.get("name") or ""), str(entry.get("protocol") or "TCP"), int(str(entry.get("port") or 0)))
        for entry in entries
    )
    return ports or NO_PORTS


def _subset(slice_: Object) -> Subset:
    endpoints: list[Endpoint] = []
    for endpoint in slice_.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        target = endpoint.get("targetRef") or {}
        pod = str(target.get("name") or "")
        hostname = str(endpoint.get("hostname") or "")
        endpoints.extend(Endpoint(str(address), hostname, pod) for address in endpoint.get("addresses") or ())
    return Subset(tuple(endpoints), _ports(slice_.get("ports") or ()))


def compile_service(service: Object, slices: Sequence[Object] = ()) -> ServiceEntry:
    """Return what DNS knows of one Service and its EndpointSlices (FQDN slices have no addresses for it)."""
    spec = meta.spec(service)
    namespace, name = meta.key(service)
    if spec.get("type") == "ExternalName":
        return ServiceEntry(namespace, name, external_name=str(spec.get("externalName") or ""))
    addresses = tuple(str(ip) for ip in spec.get("clusterIPs") or (spec.get("clusterIP") or "",) if ip)
    headless = addresses[:1] == ("None",)
    return ServiceEntry(
        namespace,
        name,
        cluster_ips=() if headless else addresses,
        headless=headless,
        ports=_ports(spec.get("ports") or ()),
        subsets=tuple(_subset(slice_) for slice_ in slices if slice_.get("addressType", "IPv4") != "FQDN"),
    )


def exposed_pod(pod: Object) -> tuple[str, str] | None:
    """Return (namespace, IP) of a pod that `pods verified` vouches for; None once it has ended or is ending."""
    ip = meta.status(pod).get("podIP")
    if not ip or meta.terminating(pod) or meta.status(pod).get("phase") in ("Succeeded", "Failed"):
        return None
    return meta.namespace(pod), str(ip)


_Owners = Mapping[str, tuple[Key, ...]]


@dataclass(frozen=True, slots=True)
class Zone:
    """The cluster at one moment, as DNS sees it. Names are compared in lower case, as Kubernetes writes them."""

    services: Mapping[Key, ServiceEntry] = field(default_factory=dict)
    namespaces: frozenset[str] = frozenset()
    pods: frozenset[tuple[str, str]] = frozenset()
    """(namespace, IP); kept only for `pods verified`."""
    services_by_ip: _Owners = field(default_factory=dict)
    endpoints_by_ip: _Owners = field(default_factory=dict)
    generation: int = 0
    """Grows with every change; a finished answer is good for one generation."""
    modified: int = 0
    """Seconds since the epoch of the last change; the SOA's serial."""
    synced: bool = False
    """False until all objects were seen once: before, every cluster name is SERVFAIL."""

    @classmethod
    def compile(
        cls,
        services: Iterable[Object] = (),
        slices: Iterable[Object] = (),
        namespaces: Iterable[Object] = (),
        pods: Iterable[Object] = (),
        *,
        now: float = 0.0,
    ) -> "Zone":
        """Build a zone from whole lists of objects."""
        by_service: dict[Key, list[Object]] = {}
        for slice_ in slices:
            if owner := service_of(slice_):
                by_service.setdefault(owner, []).append(slice_)
        return cls(synced=True).with_changes(
            services={meta.key(s): compile_service(s, by_service.get(meta.key(s), ())) for s in services},
            namespaces=frozenset(map(meta.name, namespaces)),
            pods=frozenset(filter(None, map(exposed_pod, pods))),
            now=now,
        )

    def with_changes(
        self,
        *,
        services: Mapping[Key, ServiceEntry | None] | None = None,
        namespaces: frozenset[str] | None = None,
        pods: frozenset[tuple[str, str]] | None = None,
        synced: bool | None = None,
        now: float = 0.0,
    ) -> "Zone":
        """Return the zone after a change: `services` holds only those that changed, None for one that is gone.

        What is as before costs nothing: the same zone with the same generation is returned.
        """
        changed = {key: entry for key, entry in (services or {}).items() if self.services.get(key) != entry}
        new_namespaces = self.namespaces if namespaces is None else namespaces
        new_pods = self.pods if pods is None else pods
        new_synced = self.synced if synced is None else synced
        if not changed and (new_namespaces, new_pods, new_synced) == (self.namespaces, self.pods, self.synced):
            return self
        entries, by_ip, by_endpoint = self.services, self.services_by_ip, self.endpoints_by_ip
        if changed:
            entries, by_ip, by_endpoint = dict(entries), dict(by_ip), dict(by_endpoint)
            for key, entry in changed.items():
                old = entries.pop(key, None)
                _reindex(by_ip, key, old.cluster_ips if old else (), entry.cluster_ips if entry else ())
                _reindex(
                    by_endpoint,
                    key,
                    old.endpoint_addresses if old else (),
                    entry.endpoint_addresses if entry else (),
                )
                if entry:
                    entries[key] = entry
        return replace(
            self,
            services=entries,
            services_by_ip=by_ip,
            endpoints_by_ip=by_endpoint,
            namespaces=new_namespaces,
            pods=new_pods,
            synced=new_synced,
            generation=self.generation + 1,
            modified=int(now) or self.modified,
        )


def _reindex(index: dict[str, tuple[Key, ...]], key: Key, old: Iterable[str], new: Iterable[str]) -> None:
    old, new = set(old), set(new)
    for address in old - new:
        left = tuple(owner for owner in index[address] if owner != key)
        if left:
            index[address] = left
        else:
            del index[address]
    for address in new - old:
        index[address] = (*index.get(address, ()), key)
