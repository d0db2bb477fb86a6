"""AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1): the administrator's policies.

Built in, though a real cluster has them only as CustomResourceDefinitions; whoever applies those, too, gets the same.
Source: https://network-policy-api.sigs.k8s.io/reference/spec/. Left out: `domainNames` peers (accepted, match nothing)
and the status conditions that a CNI's controller writes.
"""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.custom import from_crd
from minikube_py.kinds.kind import Kind

__all__ = ["KINDS"]

_GROUP, _VERSION = "policy.networking.k8s.io", "v1alpha1"
_RULES = 100
_PRIORITY = 1000
"""Highest; 0 is asked first."""

_STRING: Mapping[str, Any] = {"type": "string"}
_SELECTOR: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "matchLabels": {"type": "object", "additionalProperties": _STRING},
        "matchExpressions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["key", "operator"],
                "properties": {
                    "key": _STRING,
                    "operator": _STRING,
                    "values": {"type": "array", "items": _STRING},
                },
            },
        },
    },
}
_PODS: Mapping[str, Any] = {
    "type": "object",
    "required": ["namespaceSelector", "podSelector"],
    "properties": {"namespaceSelector": _SELECTOR, "podSelector": _SELECTOR},
}
_NUMBER: Mapping[str, Any] = {"type": "integer", "minimum": 1, "maximum": 65535}
_PROTOCOL: Mapping[str, Any] = {"type": "string", "default": "TCP", "enum": ["TCP", "UDP", "SCTP"]}
_PORT: Mapping[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {
        "namedPort": _STRING,
        "portNumber": {
            "type": "object",
            "required": ["port", "protocol"],
            "properties": {"port": _NUMBER, "protocol": _PROTOCOL},
        },
        "portRange": {
            "type": "object",
            "required": ["start", "end"],
            "properties": {"start": _NUMBER, "end": _NUMBER, "protocol": _PROTOCOL},
        },
    },
}


def _peers(*, egress: bool) -> Mapping[str, Any]:
    properties: dict[str, Any] = {"namespaces": _SELECTOR, "pods": _PODS}
    if egress:
        properties |= {
            "nodes": _SELECTOR,
            "networks": {"type": "array", "minItems": 1, "maxItems": 25, "items": _STRING},
            "domainNames": {"type": "array", "items": _STRING},
        }
    peer = {"type": "object", "minProperties": 1, "maxProperties": 1, "properties": properties}
    return {"type": "array", "minItems": 1, "maxItems": _RULES, "items": peer}


def _rules(peers: str, actions: list[str]) -> Mapping[str, Any]:
    return {
        "type": "array",
        "maxItems": _RULES,
        "items": {
            "type": "object",
            "required": ["action", peers],
            "properties": {
                "name": {"type": "string", "maxLength": 100},
                "action": {"type": "string", "enum": actions},
                peers: _peers(egress=peers == "to"),
                "ports": {"type": "array", "maxItems": _RULES, "items": _PORT},
            },
        },
    }


def _crd(kind: str, short: str, *, baseline: bool) -> Object:
    actions = ["Allow", "Deny"] if baseline else ["Allow", "Deny", "Pass"]
    properties: dict[str, Any] = {
        "subject": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "properties": {"namespaces": _SELECTOR, "pods": _PODS},
        },
        "ingress": _rules("from", actions),
        "egress": _rules("to", actions),
    }
    if not baseline:
        properties["priority"] = {"type": "integer", "minimum": 0, "maximum": _PRIORITY}
    schema = {
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {
            "apiVersion": _STRING,
            "kind": _STRING,
            "metadata": {"type": "object"},
            "spec": {
                "type": "object",
                "required": ["subject"] if baseline else ["subject", "priority"],
                "properties": properties,
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    columns = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    if not baseline:
        columns.insert(0, {"name": "Priority", "type": "string", "jsonPath": ".spec.priority"})
    return {
        "spec": {
            "group": _GROUP,
            "scope": "Cluster",
            "names": {"kind": kind, "plural": f"{kind.lower()[:-1]}ies", "shortNames": [short]},
            "versions": [
                {
                    "name": _VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "additionalPrinterColumns": columns,
                    "subresources": {"status": {}},
                }
            ],
        }
    }


def _kind(kind: str, short: str, *, baseline: bool) -> Kind:
    [known] = from_crd(_crd(kind, short, baseline=baseline))
    structural = known.validate

    @rules.collected
    def validate(policy: Object, old: Object | None) -> rules.Errors:
        if found := list(structural(policy, old)):
            yield from found
            return  # the rest reads what the schema promises
        if baseline and meta.name(policy) != "default":
            why = 'Only one baseline admin network policy with metadata.name="default" can be created in the cluster'
            yield errors.invalid_value("metadata.name", meta.name(policy), why)
        spec = meta.spec(policy)
        for field, peers in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(spec.get(field) or ()):
                at = f"spec.{field}[{index}]"
                for number, peer in enumerate(rule.get(peers) or ()):
                    for place, cidr in enumerate(peer.get("networks") or ()):
                        yield from _network(cidr, f"{at}.{peers}[{number}].networks[{place}]")
                for number, port in enumerate(rule.get("ports") or ()):
                    span = port.get("portRange") or {}
                    if span.get("start", 0) > span.get("end", 65535):
                        why = "must not be smaller than start"
                        yield errors.invalid_value(f"{at}.ports[{number}].portRange.end", span["end"], why)

    return replace(known, validate=validate)


def _network(cidr: str, path: str) -> rules.Errors:
    try:
        ip_network(cidr, strict=False)
    except ValueError:
        yield errors.invalid_value(path, cidr, "Invalid CIDR format provided")


KINDS = (
    _kind("AdminNetworkPolicy", "anp", baseline=False),
    _kind("BaselineAdminNetworkPolicy", "banp", baseline=True),
)
