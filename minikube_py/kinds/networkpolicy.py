"""NetworkPolicy."""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age, label_selector_cell

__all__ = ["KIND"]


def default(policy: Object) -> None:
    spec = policy.setdefault("spec", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in (rule or {}).get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"


@rules.collected
def validate(policy: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(policy, old)
    spec = meta.spec(policy)
    yield from rules.label_selector(spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            at = f"spec.{direction}[{index}]"
            for number, port in enumerate((rule or {}).get("ports") or ()):
                yield from _port(port, f"{at}.ports[{number}]")
            for number, peer in enumerate((rule or {}).get(peers) or ()):
                yield from _peer(peer, f"{at}.{peers}[{number}]")
    types = spec.get("policyTypes") or ()
    if len(types) > 2:
        why = "may not specify more than two policyTypes"
        yield errors.invalid_value("spec.policyTypes", list(types), why)
        return
    for index, type_ in enumerate(types):
        if type_ not in ("Egress", "Ingress"):
            yield errors.not_supported(f"spec.policyTypes[{index}]", type_, ("Egress", "Ingress"))


def _port(port: Mapping[str, Any], at: str) -> rules.Errors:
    yield from rules.one_of(port.get("protocol"), f"{at}.protocol", ("TCP", "UDP", "SCTP"))
    number, end = port.get("port"), port.get("endPort")
    if number is not None:
        yield from rules.port_name_or_number(number, f"{at}.port")
    if end is None:
        return
    if number is None:
        yield errors.required(f"{at}.port", "must be specified when `endPort` is specified")
    elif isinstance(number, str):
        yield errors.forbidden_field(f"{at}.endPort", "may not be specified when `port` is non-numeric")
        return
    elif end < number:
        yield errors.invalid_value(f"{at}.endPort", end, "must be greater than or equal to `port`")
    yield from rules.port_number(end, f"{at}.endPort")


def _peer(peer: Mapping[str, Any], at: str) -> rules.Errors:
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    yield from rules.label_selector(peer.get("podSelector"), f"{at}.podSelector")
    yield from rules.label_selector(peer.get("namespaceSelector"), f"{at}.namespaceSelector")
    if not given:
        yield errors.required(at, "must specify a peer")
    elif "ipBlock" in given:
        if len(given) > 1:
            yield errors.forbidden_field(at, "may not specify both ipBlock and another peer")
        yield from _ip_block(peer["ipBlock"], f"{at}.ipBlock")


def _ip_block(block: Mapping[str, Any], at: str) -> rules.Errors:
    cidr = block.get("cidr") or ""
    if not cidr:
        yield errors.required(f"{at}.cidr")
        return
    problems = list(rules.network(cidr, f"{at}.cidr"))
    yield from problems
    for index, hole in enumerate(block.get("except") or ()):
        path = f"{at}.except[{index}]"
        wrong = list(rules.network(hole, path))
        yield from wrong
        if problems or wrong:
            continue
        inside, outside = ip_network(hole, strict=False), ip_network(cidr, strict=False)
        if (
            inside.version != outside.version
            or inside.prefixlen <= outside.prefixlen
            or inside.network_address not in outside
        ):
            yield errors.invalid_value(path, hole, "must be a strict subset of `cidr`")


def row(policy: Object, now: float) -> list[Any]:
    return [meta.name(policy), label_selector_cell(meta.spec(policy).get("podSelector")), age(policy, now)]


KIND = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    singular="networkpolicy",
    short_names=("netpol",),
    columns=(NAME, Column("Pod-Selector"), AGE),
    row=row,
    default=default,
    validate=validate,
)
