"""What a Gateway is made of: a Deployment of the data plane and a LoadBalancer Service, owned by it. Pure.

Names and labels are those of GEP-1762; labels and annotations of `spec.infrastructure` go to all of them (GEP-1867).
Source: https://gateway-api.sigs.k8s.io/geps/gep-1762/
"""

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object

if TYPE_CHECKING:
    from minikube_py.ingress.gateway.compile import Compiled

__all__ = ["IMAGE", "MADE_FROM", "METRICS", "name_of", "objects", "selector", "updated", "wanted_addresses"]

IMAGE = "minikube-py/gateway"
MADE_FROM = "gateway.minikube-py.dev/made-from"
"""Annotation: a hash of what the object was made from; another one means that it has to change."""

_LABEL = "gateway.networking.k8s.io/gateway-name"
_CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name"
_APP = {"HTTP": "http", "TLS": "https", "TCP": "tcp"}
METRICS = 10254
"""`ingress.health.PORT`; that module loads aiohttp, which a start without a Gateway doesn't pay."""
_DNS_1035 = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def name_of(gateway: Object) -> str:
    """Return `<gateway>-<class>`, shortened with a hash where a Service can't have that name."""
    wanted = f"{meta.name(gateway)}-{meta.spec(gateway).get('gatewayClassName')}"
    if len(wanted) <= 63 and _DNS_1035.fullmatch(wanted):
        return wanted
    return f"gateway-{re.sub('[^a-z0-9]+', '-', meta.name(gateway))[:40].strip('-')}-{_hash(wanted)}"


def _value(name: str) -> str:
    return name if len(name) <= 63 else f"{name[:52]}-{_hash(name)}"


def selector(gateway: Object) -> dict[str, str]:
    """Return the labels by which its pods are found."""
    class_ = str(meta.spec(gateway).get("gatewayClassName"))
    return {_LABEL: _value(meta.name(gateway)), _CLASS_LABEL: _value(class_)}


def wanted_addresses(gateway: Object) -> list[str]:
    """Return the IP addresses that are asked for."""
    found = meta.spec(gateway).get("addresses") or ()
    return [each["value"] for each in found if each.get("value") and (each.get("type") or "IPAddress") == "IPAddress"]


def objects(gateway: Object, compiled: "Compiled") -> Sequence[Object]:
    """Return the Service and the Deployment; none while no listener serves."""
    if not compiled.ports:
        return ()
    ours = selector(gateway)
    infrastructure = meta.spec(gateway).get("infrastructure") or {}
    labels = {**(infrastructure.get("labels") or {}), **ours}
    annotations = dict(infrastructure.get("annotations") or {})
    found = [_service(gateway, compiled, ours), _deployment(gateway, ours, labels, annotations)]
    for each in found:
        each["metadata"] = {
            "name": name_of(gateway),
            "namespace": meta.namespace(gateway),
            "labels": labels,
            "annotations": {**annotations, MADE_FROM: _hash(repr((labels, annotations, each["spec"])))},
            "ownerReferences": [
                {
                    "apiVersion": gateway["apiVersion"],
                    "kind": "Gateway",
                    "name": meta.name(gateway),
                    "uid": meta.uid(gateway),
                    "controller": True,
                }
            ],
        }
    return found


def updated(found: Object, wanted: Object) -> Object | None:
    """Return the object as it has to become; None if it was made from the same."""
    if meta.annotations(found).get(MADE_FROM) == meta.annotations(wanted)[MADE_FROM]:
        return None
    changed: Object = meta.copy(found)
    for field in ("labels", "annotations"):
        changed["metadata"][field] = {**(changed["metadata"].get(field) or {}), **wanted["metadata"][field]}
    for field, value in wanted["spec"].items():
        if field != "selector" or wanted["kind"] == "Service":  # a Deployment's can't change
            changed["spec"][field] = value
    if wanted["kind"] == "Service" and "loadBalancerIP" not in wanted["spec"]:
        changed["spec"].pop("loadBalancerIP", None)
    return changed


def _service(gateway: Object, compiled: "Compiled", ours: dict[str, str]) -> Object:
    ports = [
        {"name": f"port-{port}", "port": port, "targetPort": port, "protocol": "TCP",
         "appProtocol": _APP[how]}
        for port, how in compiled.ports.items()
    ]  # fmt: skip
    spec: Object = {"type": "LoadBalancer", "selector": ours, "ports": ports}
    if addresses := wanted_addresses(gateway):
        spec["loadBalancerIP"] = addresses[0]
    return {"apiVersion": "v1", "kind": "Service", "spec": spec}


def _deployment(gateway: Object, ours: dict[str, str], labels: Object, annotations: Object) -> Object:
    container = {
        "name": "gateway",
        "image": f"{IMAGE}:v1",
        "args": [f"--gateway={meta.namespace(gateway)}/{meta.name(gateway)}"],
        "ports": [{"name": "metrics", "containerPort": METRICS, "protocol": "TCP"}],
    }
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"replicas": 1, "selector": {"matchLabels": ours}, "template": template},
    }
