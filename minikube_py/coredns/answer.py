"""What the cluster's zone answers to a question: the Kubernetes DNS specification 1.1 as CoreDNS implements it.

Stands for CoreDNS' kubernetes plugin (plugin/kubernetes) and plugin/backend_lookup.go. Pure: a question and a `Zone`
give an `Answer`. Left out: zone transfer, multicluster zones, topology-scoped names.

Where the specification and CoreDNS differ, CoreDNS wins, as it is what clusters run:
- AAAA of a headless Service with IPv4 endpoints only is NODATA (the specification's text says NXDOMAIN);
- any endpoint has a name under its Service (its hostname, or its IP with dashes), also under a ClusterIP Service;
- `_port._proto` also narrows A and AAAA, and SRV without it lists every port;
- PTR of an endpoint is that name, but a ClusterIP's PTR goes before.
Three names differ from CoreDNS on purpose: `dns-version.ZONE` and `dns.ZONE` exist for every type (NODATA, where
CoreDNS' NXDOMAIN would make caches forget what is there), and the zone's NS is always `ns.dns.ZONE`, the SOA's.
Sources: https://github.com/kubernetes/dns/blob/master/docs/specification.md, https://coredns.io/plugins/kubernetes/
"""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from minikube_py.apimachinery.meta import Key
from minikube_py.cni.addresses import is_ipv4
from minikube_py.coredns.message import Answer, Question, Record, parent_of
from minikube_py.coredns.zone import Endpoint, Port, ServiceEntry, Zone

__all__ = ["DNS_SCHEMA_VERSION", "Options", "answer", "endpoint_name", "reverse_address"]

DNS_SCHEMA_VERSION = "1.1.0"
_VERSION_TTL = 28800
_MAX_CHAIN = 8
"""CNAMEs followed inside the zone (backend_lookup.go)."""
_PLUGIN = "kubernetes"


@dataclass(frozen=True, slots=True)
class Options:
    """The Corefile's `kubernetes` block; the defaults are the plugin's own, not kubeadm's."""

    zones: tuple[str, ...] = ("cluster.local.",)
    pods: str = "disabled"
    """disabled, insecure or verified."""
    ttl: int = 5
    endpoint_pod_names: bool = False
    namespaces: frozenset[str] = frozenset()
    """Only these are exposed; empty: all."""
    no_endpoints: bool = False
    ignore_empty_service: bool = False
    fallthrough: tuple[str, ...] | None = None
    """Zones whose NXDOMAIN goes to the next plugin; None: none."""
    addresses: tuple[str, ...] = ()
    """CoreDNS' own: what ns.dns.ZONE is if no Service stands before it."""

    @property
    def primary(self) -> str:
        """The first zone that isn't a reverse one: where PTR records point."""
        return next((zone for zone in self.zones if not zone.endswith(".arpa.")), "cluster.local.")


class _NoSuchName(Exception):
    """NXDOMAIN."""


class _Target(NamedTuple):
    """One thing a name stands for: an address with a port, or another name."""

    host: str
    owner: str
    """The name of the service or endpoint, with the zone as the question spells it."""
    port: int = -1
    alias: bool = False


def answer(question: Question, zone: Zone, options: Options) -> Answer | None:
    """Answer a question about the cluster; None if it is none of the plugin's zones, or is to fall through."""
    domain = _zone_of(question.name, options.zones)
    if domain is None:
        return None
    if not zone.synced:
        return Answer(
            "SERVFAIL", authoritative=False, zone=domain, plugin=_PLUGIN, why="plugin/kubernetes: API not synced"
        )
    try:
        records, additional, chase = _records(question, domain, zone, options)
    except _NoSuchName:
        if options.fallthrough is not None and any(parent_of(question.name, z) for z in options.fallthrough):
            return None
        return Answer("NXDOMAIN", authority=(_soa(domain, zone, options),), zone=domain, plugin=_PLUGIN)
    if not records:
        return Answer("NOERROR", authority=(_soa(domain, zone, options),), zone=domain, plugin=_PLUGIN)
    return Answer("NOERROR", tuple(records), (), tuple(additional), zone=domain, chase=chase, plugin=_PLUGIN)


def _zone_of(name: str, zones: tuple[str, ...]) -> str | None:
    """Return the longest zone that holds `name`, spelled as in `name`."""
    found = max((zone for zone in zones if parent_of(name, zone)), key=len, default=None)
    return name[len(name) - len(found) :] if found not in (None, ".") else found


def _soa(domain: str, zone: Zone, options: Options) -> Record:
    ttl = min(300, options.ttl)
    data = f"ns.dns.{domain} hostmaster.{domain} {zone.modified} 7200 1800 86400 {options.ttl}"
    return Record(domain, ttl, "SOA", data)


def _records(question: Question, domain: str, zone: Zone, options: Options) -> tuple[list[Record], list[Record], str]:
    """Return answer, additional and the outside name to chase; raise _NoSuchName."""
    at_apex = question.name.lower() == domain.lower()
    match question.type:
        case "A" | "AAAA":
            return _addresses(question, domain, zone, options, ())
        case "SRV":
            records, additional = _srv(question, domain, zone, options)
            return records, additional, ""
        case "PTR" if (address := reverse_address(question.name)) is not None:
            return [Record(question.name, options.ttl, "PTR", n) for n in _pointers(address, zone, options)], [], ""
        case "CNAME":
            found = _lookup(question.name, domain, zone, options)
            aliases = [target for target in found[:1] if target.alias]
            return [Record(question.name, options.ttl, "CNAME", target.host) for target in aliases], [], ""
        case "TXT" if question.name.lower() == f"dns-version.{domain.lower()}":
            return [Record(question.name, _VERSION_TTL, "TXT", f'"{DNS_SCHEMA_VERSION}"')], [], ""
        case "SOA" if at_apex:
            return [_soa(domain, zone, options)], [], ""
        case "NS" if at_apex:
            name = f"ns.dns.{domain}"
            glue = [_address(name, ip, options.ttl) for ip in _nameserver_ips(zone, options)]
            return [Record(question.name, options.ttl, "NS", name)], glue, ""
        case _:
            _lookup(question.name, domain, zone, options)  # NODATA and NXDOMAIN differ
            return [], [], ""


def _address(name: str, ip: str, ttl: int) -> Record:
    return Record(name, ttl, "AAAA" if ":" in ip else "A", ip)


def _addresses(
    question: Question, domain: str, zone: Zone, options: Options, chain: tuple[str, ...]
) -> tuple[list[Record], list[Record], str]:
    """Answer A and AAAA; a CNAME into the zone is followed, one out of it is handed back to be chased."""
    records: list[Record] = []
    for target in _lookup(question.name, domain, zone, options):
        if target.alias:
            name = target.host
            if name.lower() in (*chain, question.name.lower()) or len(chain) >= _MAX_CHAIN:
                continue
            cname = Record(question.name, options.ttl, "CNAME", name)
            if not parent_of(name, domain):
                return [cname], [], name
            try:
                inner = question._replace(name=name)
                more, _, chase = _addresses(inner, domain, zone, options, (*chain, question.name.lower()))
            except _NoSuchName:
                continue
            if more:
                return [cname, *more], [], chase
        else:
            record = _address(question.name, target.host, options.ttl)
            if record.type == question.type and record not in records:
                records.append(record)
    return records, [], ""


def _srv(question: Question, domain: str, zone: Zone, options: Options) -> tuple[list[Record], list[Record]]:
    targets = [target for target in _lookup(question.name, domain, zone, options) if not target.alias]
    weight = max(100 // len(targets), 1) if targets else 0
    records: dict[Record, None] = {}
    additional: dict[Record, None] = {}
    for target in targets:
        if target.port == -1:
            continue
        records[Record(question.name, options.ttl, "SRV", f"0 {weight} {target.port} {target.owner}")] = None
        additional[_address(target.owner, target.host, options.ttl)] = None
    return list(records), list(additional)


def _lookup(name: str, domain: str, zone: Zone, options: Options) -> list[_Target]:
    """Return what a name stands for; an empty list is a name without such records, _NoSuchName none at all.

    [_port._proto.|endpoint.]service.namespace.svc.ZONE        a-b-c-d.namespace.pod.ZONE
    """
    prefix = name[: len(name) - len(domain)].removesuffix(".").lower()
    if prefix == "ns.dns":
        return [_Target(ip, name) for ip in _nameserver_ips(zone, options)]
    if prefix in ("", "svc", "pod", "dns", "dns-version"):
        if domain.endswith(".arpa.") and prefix:
            raise _NoSuchName
        return []
    labels = prefix.split(".")
    kind = labels.pop()
    if kind not in ("svc", "pod") or len(labels) > 4:
        raise _NoSuchName
    namespace = labels.pop()
    if namespace not in zone.namespaces or (options.namespaces and namespace not in options.namespaces):
        raise _NoSuchName
    if not labels:
        return []
    service = labels.pop()
    if kind == "pod":
        return _pod(service, namespace, zone, options, name) if not labels else _nothing()
    entry = zone.services.get(Key(namespace, service))
    if entry is None:
        raise _NoSuchName
    endpoint = labels[0] if len(labels) == 1 else ""
    port, protocol = (label.removeprefix("_") for label in labels) if len(labels) == 2 else ("", "")
    return _service(entry, endpoint, port, protocol, f"svc.{domain}", options)


def _nothing() -> list[_Target]:
    raise _NoSuchName


def _pod(label: str, namespace: str, zone: Zone, options: Options, name: str) -> list[_Target]:
    text = label.replace("-", "." if label.count("-") == 3 and "--" not in label else ":")
    try:
        ip = str(IPv6Address(text) if ":" in text else IPv4Address(text))
    except AddressValueError:
        raise _NoSuchName from None
    if options.pods == "insecure" or (options.pods == "verified" and (namespace, ip) in zone.pods):
        return [_Target(ip, name)]
    raise _NoSuchName


def _service(
    entry: ServiceEntry, endpoint: str, port: str, protocol: str, suffix: str, options: Options
) -> list[_Target]:
    owner = f"{entry.name}.{entry.namespace}.{suffix}"
    if entry.external_name is not None:
        if endpoint or port or protocol or not entry.external_name:
            raise _NoSuchName
        return [_external(entry.external_name, owner, suffix.removeprefix("svc."))]
    found: list[_Target] = []
    if entry.headless or endpoint:
        for subset in entry.subsets if not options.no_endpoints else ():
            for one in subset.endpoints:
                own = endpoint_name(one, options.endpoint_pod_names)
                if endpoint and endpoint != own.lower():
                    continue
                found += [
                    _Target(one.address, f"{own}.{owner}", p.number)
                    for p in subset.ports
                    if _matches(p, port, protocol)
                ]
    elif not (options.ignore_empty_service and not entry.endpoint_addresses):
        found = [
            _Target(ip, owner, p.number) for p in entry.ports if _matches(p, port, protocol) for ip in entry.cluster_ips
        ]
    if not found:
        raise _NoSuchName
    return found


def _external(name: str, owner: str, domain: str) -> _Target:
    """Return an ExternalName's target, the zone in it spelled as in the question.

    One that looks like an address is an address, as CoreDNS reads it.
    """
    host = name.removesuffix(".")
    if is_ipv4(host):
        return _Target(host, owner)
    target = f"{host}."
    if parent_of(target, domain):
        target = target[: len(target) - len(domain)] + domain
    return _Target(target, owner, alias=True)


def _matches(port: Port, name: str, protocol: str) -> bool:
    return (not name or name == port.name.lower()) and (not protocol or protocol == port.protocol.lower())


def endpoint_name(endpoint: Endpoint, pod_names: bool = False) -> str:
    """Return the label under which an endpoint is found: hostname, or (endpoint_pod_names) pod, or dashed address."""
    if endpoint.hostname:
        return endpoint.hostname
    if pod_names and endpoint.pod:
        return endpoint.pod
    return endpoint.address.replace(".", "-").replace(":", "-")


def reverse_address(name: str) -> str | None:
    """Return the address that an in-addr.arpa or ip6.arpa name asks for; None if it is not a whole one."""
    lower = name.lower()
    try:
        if lower.endswith(".in-addr.arpa."):
            labels = lower.removesuffix(".in-addr.arpa.").split(".")
            return str(IPv4Address(".".join(reversed(labels))))
        if lower.endswith(".ip6.arpa."):
            nibbles = lower.removesuffix(".ip6.arpa.").split(".")
            if len(nibbles) != 32 or any(len(nibble) != 1 for nibble in nibbles):
                return None
            digits = "".join(reversed(nibbles))
            return str(IPv6Address(":".join(digits[i : i + 4] for i in range(0, 32, 4))))
    except AddressValueError:
        return None
    return None


def _pointers(address: str, zone: Zone, options: Options) -> list[str]:
    """Return the names of an address: its Service's, else those of its endpoints."""
    shown = options.namespaces

    def exposed(key: Key) -> bool:
        return not shown or key.namespace in shown

    for key in zone.services_by_ip.get(address, ()):
        if exposed(key):
            return [f"{key.name}.{key.namespace}.svc.{options.primary}"]
    names: dict[str, None] = {}
    for key in zone.endpoints_by_ip.get(address, ()) if not options.no_endpoints else ():
        if not exposed(key):
            continue
        for subset in zone.services[key].subsets:
            for endpoint in subset.endpoints:
                if endpoint.address == address:
                    label = endpoint_name(endpoint, options.endpoint_pod_names)
                    names[f"{label}.{key.name}.{key.namespace}.svc.{options.primary}"] = None
    if not names:
        raise _NoSuchName
    return list(names)


def _nameserver_ips(zone: Zone, options: Options) -> list[str]:
    """Return the addresses of the Services before this CoreDNS, or its own."""
    found = [
        ip
        for own in options.addresses
        for key in zone.endpoints_by_ip.get(own, ())
        for ip in zone.services[key].cluster_ips or sorted(zone.services[key].endpoint_addresses)
    ]
    return list(dict.fromkeys(found or options.addresses))
