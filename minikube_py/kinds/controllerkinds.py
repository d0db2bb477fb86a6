"""Custom kinds that come with an ingress controller: they are served while it runs, as after its installation.

Without the schemas of the real definitions: fields are kept as they are given. What they mean is `ingress.resources`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.apimachinery.meta import Object
from minikube_py.kinds.custom import from_crd
from minikube_py.kinds.kind import Kind

__all__ = ["GROUPS", "WITHOUT_EFFECT", "definitions", "kinds", "resource"]

GROUPS: Mapping[str, str] = {
    "traefik.io": "traefik",
    "configuration.konghq.com": "kong",
    "networking.istio.io": "istio",
    "security.istio.io": "istio",
    "telemetry.istio.io": "istio",
    "projectcontour.io": "contour",
    "networking.gke.io": "gce",
    "cloud.google.com": "gce",
}
"""API group → the controller that brings it."""
_STORED: Mapping[str, tuple[tuple[str, ...], Sequence[tuple[str, str]]]] = {
    "traefik.io": (
        ("v1alpha1",),
        (
            ("IngressRouteTCP", "ingressroutetcps"),
            ("IngressRouteUDP", "ingressrouteudps"),
            ("MiddlewareTCP", "middlewaretcps"),
            ("ServersTransport", "serverstransports"),
            ("ServersTransportTCP", "serverstransporttcps"),
            ("TLSOption", "tlsoptions"),
            ("TLSStore", "tlsstores"),
        ),
    ),
    "configuration.konghq.com": (
        ("v1", "v1beta1", "v1alpha1"),
        (
            ("KongConsumerGroup", "kongconsumergroups"),
            ("KongIngress", "kongingresses"),
            ("KongUpstreamPolicy", "kongupstreampolicies"),
            ("KongVault", "kongvaults"),
            ("TCPIngress", "tcpingresses"),
            ("UDPIngress", "udpingresses"),
        ),
    ),
    "networking.istio.io": (
        ("v1", "v1beta1", "v1alpha3"),
        (
            ("DestinationRule", "destinationrules"),
            ("EnvoyFilter", "envoyfilters"),
            ("ServiceEntry", "serviceentries"),
            ("Sidecar", "sidecars"),
            ("WorkloadEntry", "workloadentries"),
            ("WorkloadGroup", "workloadgroups"),
        ),
    ),
    "security.istio.io": (
        ("v1", "v1beta1"),
        (
            ("AuthorizationPolicy", "authorizationpolicies"),
            ("PeerAuthentication", "peerauthentications"),
            ("RequestAuthentication", "requestauthentications"),
        ),
    ),
    "networking.gke.io": (("v1", "v1beta1"), (("ManagedCertificate", "managedcertificates"),)),
    "cloud.google.com": (("v1", "v1beta1"), (("BackendConfig", "backendconfigs"),)),
    "telemetry.istio.io": (("v1", "v1alpha1"), (("Telemetry", "telemetries"),)),
    "projectcontour.io": (
        ("v1", "v1alpha1"),
        (
            ("ContourConfiguration", "contourconfigurations"),
            ("ExtensionService", "extensionservices"),
            ("TLSCertificateDelegation", "tlscertificatedelegations"),
        ),
    ),
}
"""Group → its versions, and (kind, plural) of what an installation brings but has no effect here."""
WITHOUT_EFFECT = frozenset(f"{plural}.{group}" for group, (_, found) in _STORED.items() for _, plural in found)
_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_ANY = {"x-kubernetes-preserve-unknown-fields": True}
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_ISTIO = ("v1", "v1beta1", "v1alpha3")
_PLUGIN = (
    "plugin", "config", "disabled", "protocols", "instance_name", "ordering", "run_on", "configFrom", "configPatches",
    "status",
)  # fmt: skip


def _definition(
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
    """Return a CustomResourceDefinition; the first version is stored, `columns` are printed (name → JSONPath)."""
    own = {name: _OPEN if name in ("spec", "status") else _ANY for name in fields}
    printed = [{"name": name, "type": "string", "jsonPath": path} for name, path in columns.items()]
    made: list[dict[str, Any]] = [
        {
            "name": version,
            "served": True,
            "storage": version == versions[0],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": own}},
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


def _traefik(group: str) -> Iterable[Object]:
    yield _definition(group, ("v1alpha1",), "Middleware", "middlewares")
    yield _definition(group, ("v1alpha1",), "IngressRoute", "ingressroutes")
    yield _definition(group, ("v1alpha1",), "TraefikService", "traefikservices")


def _kong(group: str) -> Iterable[Object]:
    shown = {"Plugin-Type": ".plugin"}
    yield _definition(
        group, ("v1",), "KongPlugin", "kongplugins", short=("kp",), columns=shown, fields=_PLUGIN
    )  # fmt: skip
    yield _definition(
        group, ("v1",), "KongClusterPlugin", "kongclusterplugins", short=("kcp",), cluster=True, columns=shown,
        fields=_PLUGIN,
    )  # fmt: skip
    yield _definition(
        group, ("v1",), "KongConsumer", "kongconsumers", short=("kc",), columns={"Username": ".username"},
        fields=("username", "custom_id", "credentials", "consumerGroups", "status"),
    )  # fmt: skip


def _istio(group: str) -> Iterable[Object]:
    yield _definition(group, _ISTIO, "Gateway", "gateways", short=("gw",))
    yield _definition(
        group, _ISTIO, "VirtualService", "virtualservices", short=("vs",),
        columns={"Gateways": ".spec.gateways", "Hosts": ".spec.hosts"},
    )  # fmt: skip


def _contour(group: str) -> Iterable[Object]:
    yield _definition(
        group, ("v1",), "HTTPProxy", "httpproxies", short=("proxy", "proxies"),
        columns={
            "FQDN": ".spec.virtualhost.fqdn",
            "TLS Secret": ".spec.virtualhost.tls.secretName",
            "Status": ".status.currentStatus",
            "Status Description": ".status.description",
        },
    )  # fmt: skip


def _gce(group: str) -> Iterable[Object]:
    yield _definition(group, ("v1beta1",), "FrontendConfig", "frontendconfigs")


_MADE_BY = {
    "networking.gke.io": _gce,
    "traefik.io": _traefik,
    "configuration.konghq.com": _kong,
    "networking.istio.io": _istio,
    "projectcontour.io": _contour,
}


def definitions(controller: str) -> tuple[Object, ...]:
    """Return the CustomResourceDefinitions that installing a controller brings."""
    found: list[Object] = []
    for group in (group for group, name in GROUPS.items() if name == controller):
        found += _MADE_BY[group](group) if group in _MADE_BY else ()
        versions, stored = _STORED[group]
        found += (_definition(group, versions, kind, plural) for kind, plural in stored)
    return tuple(found)


def kinds(controllers: Iterable[str]) -> list[Kind]:
    """Return the kinds that are served while these controllers run."""
    return [kind for each in controllers for made in definitions(each) for kind in from_crd(made)]


def resource(definition: Object) -> str:
    """Return the resource that a definition defines, `middlewares.traefik.io`."""
    name: str = definition["metadata"]["name"]
    return name
