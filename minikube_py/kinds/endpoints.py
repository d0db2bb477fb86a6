"""Endpoints."""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age, listed

__all__ = ["KIND", "forbidden_address"]


def default(endpoints: Object) -> None:
    for subset in endpoints.get("subsets") or ():
        for port in subset.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"


def forbidden_address(address: str) -> str | None:
    """Return why an address can't be an endpoint.

    The real server also refuses 127.0.0.0/8; here every pod lives there, so only 127.0.0.0/16 is the host's own.
    """
    if address == "0.0.0.0":
        return "may not be unspecified (0.0.0.0 or ::)"
    if address.startswith("127.0."):
        return "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    if address.startswith("169.254."):
        return "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    if address.startswith("224.0.0."):
        return "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    return None


@rules.collected
def validate(endpoints: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(endpoints, old)
    for index, subset in enumerate(endpoints.get("subsets") or ()):
        yield from _subset(subset, f"subsets[{index}]")


def _subset(subset: Mapping[str, Any], path: str) -> rules.Errors:
    addresses, not_ready = subset.get("addresses") or (), subset.get("notReadyAddresses") or ()
    if not addresses and not not_ready:
        yield errors.required(path, "must specify `addresses` or `notReadyAddresses`")
    for key, group in (("addresses", addresses), ("notReadyAddresses", not_ready)):
        for index, address in enumerate(group):
            at = f"{path}.{key}[{index}]"
            ip = address.get("ip", "")
            problems = list(rules.ip(ip, f"{at}.ip"))
            yield from problems
            if not problems and (why := forbidden_address(ip)):
                yield errors.invalid_value(f"{at}.ip", ip, why)
            if hostname := address.get("hostname"):
                for why in names.dns_label_errors(hostname):
                    yield errors.invalid_value(f"{at}.hostname", hostname, why)
    ports = subset.get("ports") or ()
    for index, port in enumerate(ports):
        at = f"{path}.ports[{index}]"
        if name := port.get("name"):
            for why in names.dns_label_errors(name):
                yield errors.invalid_value(f"{at}.name", name, why)
        elif len(ports) > 1:
            yield errors.required(f"{at}.name")
        yield from rules.port_number(port.get("port"), f"{at}.port")
        yield from rules.protocol(port.get("protocol"), f"{at}.protocol")


def row(endpoints: Object, now: float) -> list[Any]:
    found: list[str] = []
    for subset in endpoints.get("subsets") or ():
        ports = subset.get("ports") or ()
        for address in subset.get("addresses") or ():
            if ports:
                found.extend(f"{address.get('ip')}:{port.get('port')}" for port in ports)
            else:
                found.append(str(address.get("ip")))
    return [meta.name(endpoints), listed(found, limit=3), age(endpoints, now)]


KIND = Kind(
    group="",
    version="v1",
    kind="Endpoints",
    plural="endpoints",
    singular="endpoints",
    short_names=("ep",),
    columns=(NAME, Column("Endpoints"), AGE),
    row=row,
    default=default,
    validate=validate,
)
