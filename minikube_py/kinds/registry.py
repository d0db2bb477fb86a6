"""Which kinds exist: the built-in ones and, per cluster, the custom ones.

A `Registry` is a value of one cluster, never a global: CustomResourceDefinitions of one must not show in another.
"""

from collections.abc import Iterator

from minikube_py.apimachinery.errors import StatusError
from minikube_py.kinds.kind import Kind

__all__ = ["Registry"]

# Identity of every kind, until its own file says more: (group, version, kind, plural, namespaced, short names).
_PLAIN: tuple[tuple[str, str, str, str, bool, tuple[str, ...]], ...] = (
    ("", "v1", "Namespace", "namespaces", False, ("ns",)),
    ("", "v1", "Node", "nodes", False, ("no",)),
    ("", "v1", "Pod", "pods", True, ("po",)),
    ("", "v1", "Service", "services", True, ("svc",)),
    ("", "v1", "Endpoints", "endpoints", True, ("ep",)),
    ("", "v1", "Event", "events", True, ("ev",)),
    ("", "v1", "ConfigMap", "configmaps", True, ("cm",)),
    ("", "v1", "Secret", "secrets", True, ()),
    ("", "v1", "ServiceAccount", "serviceaccounts", True, ("sa",)),
    ("", "v1", "ReplicationController", "replicationcontrollers", True, ("rc",)),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, ("pvc",)),
    ("", "v1", "PersistentVolume", "persistentvolumes", False, ("pv",)),
    ("apps", "v1", "Deployment", "deployments", True, ("deploy",)),
    ("apps", "v1", "ReplicaSet", "replicasets", True, ("rs",)),
    ("apps", "v1", "StatefulSet", "statefulsets", True, ("sts",)),
    ("apps", "v1", "DaemonSet", "daemonsets", True, ("ds",)),
    ("apps", "v1", "ControllerRevision", "controllerrevisions", True, ()),
    ("batch", "v1", "Job", "jobs", True, ()),
    ("batch", "v1", "CronJob", "cronjobs", True, ("cj",)),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True, ()),
    ("networking.k8s.io", "v1", "Ingress", "ingresses", True, ("ing",)),
    ("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False, ()),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, ("netpol",)),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, ("hpa",)),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ("pdb",)),
    ("coordination.k8s.io", "v1", "Lease", "leases", True, ()),
)


class Registry:
    """The kinds of one cluster.

    Error handling: `by_resource` and `by_gvk` raise StatusError 404 in kubectl's words for what is not served.
    """

    def __init__(self) -> None:
        self._by_resource: dict[str, Kind] = {}
        self._by_gvk: dict[tuple[str, str], Kind] = {}
        for group, version, kind, plural, namespaced, short in _PLAIN:
            self.add(
                Kind(group=group, version=version, kind=kind, plural=plural, namespaced=namespaced, short_names=short)
            )

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_resource.values())

    def add(self, kind: Kind) -> None:
        self._by_resource[kind.resource] = kind
        self._by_gvk[kind.api_version, kind.kind] = kind

    def remove(self, kind: Kind) -> None:
        self._by_resource.pop(kind.resource, None)
        self._by_gvk.pop((kind.api_version, kind.kind), None)

    def by_resource(self, resource: str) -> Kind:
        """Return the kind served as `pods`, `deployments.apps`, …"""
        try:
            return self._by_resource[resource]
        except KeyError:
            raise StatusError(404, "NotFound", "the server could not find the requested resource") from None

    def by_gvk(self, api_version: str, kind: str) -> Kind:
        """Return the kind that a manifest with this apiVersion and kind is."""
        try:
            return self._by_gvk[api_version, kind]
        except KeyError:
            raise StatusError(404, "NotFound", f'no matches for kind "{kind}" in version "{api_version}"') from None
