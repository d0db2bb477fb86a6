"""Gateway: listeners at addresses, to which routes are attached."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from minikube_py.apimachinery.errors import FieldError
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.gateway.schema import (
    CONDITIONS,
    HOSTNAME,
    LABELS,
    NAME,
    PORT,
    SECTION,
    array,
    broken,
    choice,
    column,
    group,
    integer,
    items,
    kind_,
    kinds,
    reference,
    struct,
    text,
    waiting,
)

__all__ = ["KINDS"]

_TERM = struct(
    "", ("key", "operator"), None, key=text(), operator=text(), values={"type": "array", "items": text()}
)  # fmt: skip
_SELECTOR = struct(
    "Labels of the namespaces.",
    (),
    None,
    matchLabels={"type": "object", "additionalProperties": {"type": "string"}},
    matchExpressions={"type": "array", "items": _TERM},
)
_ROUTE_KIND = struct("", ("kind",), None, group=group(default="gateway.networking.k8s.io"), kind=kind_())
_ALLOWED = struct(
    "Which routes may be attached.",
    (),
    {"namespaces": {"from": "Same"}},
    kinds=array("Their kinds; by default those that fit the protocol.", _ROUTE_KIND, most=8),
    namespaces=struct(
        "Their namespaces.",
        (),
        {"from": "Same"},
        **{"from": choice("All, Selector or Same.", "All", "Selector", "Same", default="Same")},
        selector=_SELECTOR,
    ),
)
_TLS = struct(
    "How TLS ends here, for HTTPS and TLS.",
    (),
    None,
    mode=choice("Terminate or Passthrough.", "Terminate", "Passthrough", default="Terminate"),
    certificateRefs=array("Secrets with certificate and key.", reference("Secret"), most=64),
    options={"type": "object", "additionalProperties": {"type": "string", "maxLength": 4096}, "maxProperties": 16},
)
_LISTENER = struct(
    "",
    ("name", "port", "protocol"),
    None,
    name=SECTION,
    hostname=HOSTNAME,
    port=PORT,
    protocol=text(
        "HTTP, HTTPS, TLS, TCP, UDP, or one of the controller's own.",
        least=1,
        most=255,
        pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9]+$",
    ),
    tls=_TLS,
    allowedRoutes=_ALLOWED,
)
_TYPE = text(
    "IPAddress, Hostname, or one of the controller's own.",
    least=1,
    most=253,
    default="IPAddress",
    pattern=r"^Hostname|IPAddress|NamedAddress|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
)
_ADDRESS = struct("", (), None, type=_TYPE, value=text("The address; empty lets the controller choose.", most=253))
_SPEC = struct(
    "What the Gateway shall listen to.",
    ("gatewayClassName", "listeners"),
    None,
    gatewayClassName=NAME,
    listeners=array("Port, protocol and hostname of each.", _LISTENER, least=1, most=64, keys=("name",)),
    addresses=array("Addresses that are asked for.", _ADDRESS, most=16),
    infrastructure=struct(
        "What the objects that are made for the Gateway carry.",
        (),
        None,
        labels=LABELS,
        annotations=LABELS,
        parametersRef=struct("", ("group", "kind", "name"), None, group=group(), kind=kind_(), name=NAME),
    ),
)
_STATUS = struct(
    "What the controller made of it.",
    (),
    waiting("Accepted", "Programmed"),
    addresses=array(
        "Where it is reached.", struct("", ("value",), None, type=_TYPE, value=text(least=1, most=253)), most=16
    ),
    conditions=CONDITIONS,
    listeners=array(
        "What became of each listener.",
        struct(
            "",
            ("attachedRoutes", "conditions", "name"),
            None,
            name=SECTION,
            supportedKinds=array("", _ROUTE_KIND, most=8),
            attachedRoutes=integer("How many routes it serves.", 0, 2**31 - 1),
            conditions=CONDITIONS,
        ),
        most=64,
        keys=("name",),
    ),
)


def _check(gateway: Object, old: Object | None) -> Iterator[FieldError]:
    spec = gateway["spec"]
    yield from _listeners(spec["listeners"])
    seen: set[tuple[str, str]] = set()
    for at, each in items(spec, "spec", "addresses"):
        type_, value = each.get("type") or "IPAddress", each.get("value") or ""
        if type_ == "IPAddress" and value and not _is_address(value):
            yield broken(at, f"Invalid value: {value}", "object")
        if type_ == "Hostname" and value and not re.search(HOSTNAME["pattern"], value):
            yield broken(
                at, f"Hostname value must be empty or contain only valid characters (matching {HOSTNAME['pattern']})"
            )
        if value and (type_, value) in seen:
            yield broken("spec.addresses", f"{type_} values must be unique", "array")
        seen.add((type_, value))


def _is_address(value: str) -> bool:
    try:
        return bool(ip_address(value))
    except ValueError:
        return False


def _listeners(found: list[Mapping[str, Any]]) -> Iterator[FieldError]:
    at = "spec.listeners"
    places = [(each["port"], each["protocol"], each.get("hostname")) for each in found]
    for wrong, why in (
        (
            any(each["protocol"] in ("HTTP", "TCP", "UDP") and "tls" in each for each in found),
            "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
        ),
        (
            any(each["protocol"] == "HTTPS" and (each.get("tls") or {}).get("mode") == "Passthrough" for each in found),
            "tls mode must be Terminate for protocol HTTPS",
        ),
        (
            any(each["protocol"] in ("TCP", "UDP") and each.get("hostname") for each in found),
            "hostname must not be specified for protocols ['TCP', 'UDP']",
        ),
        (len({each["name"] for each in found}) < len(found), "Listener name must be unique within the Gateway"),
        (
            len(set(places)) < len(places),
            "Combination of port, protocol and hostname must be unique for each listener",
        ),
    ):
        if wrong:
            yield broken(at, why, "array")
    for index, each in enumerate(found):
        tls = each.get("tls")
        if tls and tls.get("mode") == "Terminate" and not tls.get("certificateRefs") and not tls.get("options"):
            yield broken(f"{at}[{index}].tls", "certificateRefs or options must be specified when mode is Terminate")


KINDS = kinds(
    "Gateway",
    "gateways",
    _SPEC,
    about="Gateway is an instance of service-traffic handling infrastructure: listeners bound to addresses.",
    status=_STATUS,
    check=_check,
    short=("gtw",),
    columns=(
        column("Class", ".spec.gatewayClassName"),
        column("Address", ".status.addresses[*].value"),
        column("Programmed", '.status.conditions[?(@.type=="Programmed")].status'),
    ),
)
