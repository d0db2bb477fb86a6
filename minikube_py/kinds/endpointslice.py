"""EndpointSlice."""

from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import endpoints as endpoints_kind
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age, listed

__all__ = ["KIND"]

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MOST_ENDPOINTS = 1000
_MOST_PORTS = 20000


def default(slice_: Object) -> None:
    """Ports always say name and protocol: kubectl's `describe` breaks without."""
    if slice_.get("endpoints") is None:
        slice_["endpoints"] = []
    for port in slice_.get("ports") or ():
        if port.get("name") is None:
            port["name"] = ""
        if not port.get("protocol"):
            port["protocol"] = "TCP"


@rules.collected
def validate(slice_: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(slice_, old)
    type_ = slice_.get("addressType")
    if not type_:
        yield errors.required("addressType")
    elif type_ not in _ADDRESS_TYPES:
        yield errors.not_supported("addressType", type_, _ADDRESS_TYPES)
    if old is not None:
        yield from rules.immutable(type_, old.get("addressType"), "addressType")
    found = slice_.get("endpoints") or ()
    if len(found) > _MOST_ENDPOINTS:
        yield errors.too_many("endpoints", len(found), _MOST_ENDPOINTS)
    for index, endpoint in enumerate(found):
        addresses = endpoint.get("addresses") or ()
        at = f"endpoints[{index}].addresses"
        if not addresses:
            yield errors.required(at, "must contain at least 1 address")
        elif len(addresses) > 100:
            yield errors.too_many(at, len(addresses), 100)
        for number, address in enumerate(addresses):
            if type_ == "FQDN":
                for why in names.dns_subdomain_errors(address):
                    yield errors.invalid_value(f"{at}[{number}]", address, why)
                continue
            problems = list(rules.ip(address, f"{at}[{number}]"))
            yield from problems
            if not problems and type_ == "IPv4" and ":" in address:
                yield errors.invalid_value(f"{at}[{number}]", address, "must be an IPv4 address")
            if not problems and (why_not := endpoints_kind.forbidden_address(address)):
                yield errors.invalid_value(f"{at}[{number}]", address, why_not)
        if hostname := endpoint.get("hostname"):
            for why in names.dns_label_errors(hostname):
                yield errors.invalid_value(f"endpoints[{index}].hostname", hostname, why)
    yield from _ports(slice_)


def _ports(slice_: Object) -> rules.Errors:
    ports = slice_.get("ports") or ()
    if len(ports) > _MOST_PORTS:
        yield errors.too_many("ports", len(ports), _MOST_PORTS)
    taken: set[str] = set()
    for index, port in enumerate(ports):
        name = port.get("name") or ""
        if name:
            for why in names.dns_label_errors(name):
                yield errors.invalid_value(f"ports[{index}].name", name, why)
        if name in taken:
            yield errors.duplicate(f"ports[{index}].name", name)
        taken.add(name)
        yield from rules.protocol(port.get("protocol"), f"ports[{index}].protocol")


def row(slice_: Object, now: float) -> list[Any]:
    ports = [_port(port) for port in slice_.get("ports") or ()]
    addresses = [address for e in slice_.get("endpoints") or () for address in e.get("addresses") or ()]
    return [
        meta.name(slice_),
        slice_.get("addressType", ""),
        listed(ports, none="<unset>", limit=3),
        listed(addresses, none="<unset>", limit=3),
        age(slice_, now),
    ]


def _port(port: Object) -> str:
    return str(port["port"]) if port.get("port") is not None else str(port.get("name") or "*")


KIND = Kind(
    group="discovery.k8s.io",
    version="v1",
    kind="EndpointSlice",
    plural="endpointslices",
    singular="endpointslice",
    columns=(NAME, Column("AddressType"), Column("Ports"), Column("Endpoints"), AGE),
    row=row,
    default=default,
    validate=validate,
    selectable={"metadata.name": meta.name},
    unsupported={
        "endpoints[].hints": "endpoints are picked without regard to zones",
        "addressType=IPv6": "addresses are IPv4 only",
    },
)
