"""CustomResourceDefinitions that a controller brings, without their schemas: fields are kept as they are given."""

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.apimachinery.meta import Object

__all__ = ["definition", "resource_of"]

_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_ANY = {"x-kubernetes-preserve-unknown-fields": True}
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def definition(
    group: str,
    versions: Sequence[str],
    kind: str,
    plural: str,
    *,
    short: Sequence[str] = (),
    cluster: bool = False,
    columns: Mapping[str, str] = {},  # read only
    fields: Sequence[str] = ("spec", "status"),
) -> Object:
    """Return a definition; the first version is stored, `columns` are printed (name → JSONPath)."""
    own = {name: _OPEN if name in ("spec", "status") else _ANY for name in fields}
    schema = {"type": "object", "properties": own}
    printed = [{"name": name, "type": "string", "jsonPath": path} for name, path in columns.items()]
    made: list[dict[str, Any]] = [
        {
            "name": version,
            "served": True,
            "storage": version == versions[0],
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
            "additionalPrinterColumns": [*printed, _AGE],
        }
        for version in versions
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster" if cluster else "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": list(short),
            },
            "versions": made,
        },
    }


def resource_of(definition: Object) -> str:
    """Return the resource that a definition defines, `middlewares.traefik.io`."""
    name: str = definition["metadata"]["name"]
    return name
