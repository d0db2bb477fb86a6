"""Which kinds exist: the built-in ones and, per cluster, the custom ones.

A `Registry` is a value of one cluster, never a global: CustomResourceDefinitions of one must not show in another.
"""

from collections.abc import Iterator

from minikube_py.apimachinery.errors import StatusError
from minikube_py.kinds import (
    adminnetworkpolicy,
    certificatesigningrequest,
    configmap,
    controllerrevision,
    cronjob,
    customresourcedefinition,
    daemonset,
    deployment,
    endpoints,
    endpointslice,
    event,
    gateway,
    horizontalpodautoscaler,
    ingress,
    ingressclass,
    job,
    lease,
    limitrange,
    namespace,
    networkpolicy,
    node,
    persistentvolume,
    persistentvolumeclaim,
    pod,
    poddisruptionbudget,
    priorityclass,
    rbac,
    replicaset,
    replicationcontroller,
    resourcequota,
    secret,
    service,
    serviceaccount,
    statefulset,
    storageclass,
    stored,
)
from minikube_py.kinds.kind import Kind

__all__ = ["BUILTIN", "Registry"]

BUILTIN: tuple[Kind, ...] = (
    # core/v1, in the order in which `kubectl api-resources` shows them
    configmap.KIND,
    endpoints.KIND,
    event.KIND,
    limitrange.KIND,
    resourcequota.KIND,
    namespace.KIND,
    node.KIND,
    persistentvolumeclaim.KIND,
    persistentvolume.KIND,
    pod.KIND,
    replicationcontroller.KIND,
    secret.KIND,
    serviceaccount.KIND,
    service.KIND,
    # the groups
    customresourcedefinition.KIND,
    controllerrevision.KIND,
    daemonset.KIND,
    deployment.KIND,
    replicaset.KIND,
    statefulset.KIND,
    horizontalpodautoscaler.KIND,
    cronjob.KIND,
    job.KIND,
    lease.KIND,
    endpointslice.KIND,
    ingressclass.KIND,
    ingress.KIND,
    networkpolicy.KIND,
    *adminnetworkpolicy.KINDS,
    *gateway.KINDS,
    poddisruptionbudget.KIND,
    *rbac.KINDS,
    priorityclass.KIND,
    certificatesigningrequest.KIND,
    storageclass.KIND,
    *stored.KINDS,
)


class Registry:
    """The kinds of one cluster.

    Error handling: `by_resource` and `by_gvk` raise StatusError 404 in kubectl's words for what is not served.
    """

    def __init__(self) -> None:
        self._by_resource: dict[str, Kind] = {}
        self._by_gvk: dict[tuple[str, str], Kind] = {}
        for kind in BUILTIN:
            self.add(kind)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_resource.values())

    def add(self, kind: Kind) -> None:
        """Serve a kind; of several versions of one resource, the first added is the one of the bare resource name."""
        self._by_resource.setdefault(kind.resource, kind)
        if self._by_resource[kind.resource].version == kind.version:
            self._by_resource[kind.resource] = kind
        self._by_gvk[kind.api_version, kind.kind] = kind

    def remove(self, kind: Kind) -> None:
        if self._by_resource.get(kind.resource, kind).version == kind.version:
            self._by_resource.pop(kind.resource, None)
        self._by_gvk.pop((kind.api_version, kind.kind), None)

    def kinds(self) -> Iterator[Kind]:
        """Return every kind in every version in which it is served."""
        return iter(self._by_gvk.values())

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
