"""The Gateway API's standard channel: GatewayClass, Gateway, HTTPRoute, ReferenceGrant.

In a real cluster these are CustomResourceDefinitions that somebody installs; here they are served from the start, and
installing the definitions replaces these kinds by theirs. Fields are stored as given, without the definitions' schemas.
Source: https://gateway-api.sigs.k8s.io/reference/spec/
"""

from collections.abc import Sequence
from typing import Any

from minikube_py.kinds.custom import from_crd
from minikube_py.kinds.kind import Kind

__all__ = ["KINDS"]

_GROUP = "gateway.networking.k8s.io"
_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def _column(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "type": "string", "jsonPath": path}


def _kinds(
    kind: str,
    plural: str,
    short: Sequence[str],
    columns: Sequence[dict[str, Any]],
    *,
    scope: str = "Namespaced",
    versions: Sequence[str] = ("v1", "v1beta1"),
    status: bool = True,
) -> list[Kind]:
    schema = {"type": "object", "properties": {"spec": _OPEN, "status": _OPEN}}
    crd = {
        "spec": {
            "group": _GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": list(short),
                "categories": ["gateway-api"],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[0],
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}} if status else {},
                    "additionalPrinterColumns": [*columns, _AGE],
                }
                for version in versions
            ],
        }
    }
    return from_crd(crd)


_ACCEPTED = _column("Accepted", '.status.conditions[?(@.type=="Accepted")].status')
_PROGRAMMED = _column("Programmed", '.status.conditions[?(@.type=="Programmed")].status')

KINDS: tuple[Kind, ...] = (
    *_kinds(
        "GatewayClass",
        "gatewayclasses",
        ("gc",),
        (_column("Controller", ".spec.controllerName"), _ACCEPTED),
        scope="Cluster",
    ),
    *_kinds(
        "Gateway",
        "gateways",
        ("gtw",),
        (
            _column("Class", ".spec.gatewayClassName"),
            _column("Address", ".status.addresses[*].value"),
            _PROGRAMMED,
        ),
    ),
    *_kinds("HTTPRoute", "httproutes", (), (_column("Hostnames", ".spec.hostnames"),)),
    *_kinds("ReferenceGrant", "referencegrants", ("refgrant",), (), versions=("v1beta1",), status=False),
)
