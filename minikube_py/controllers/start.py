"""The one list of all controllers, in the order in which they are started."""

import random
from collections.abc import Callable, Mapping

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.client import Reconciler
from minikube_py.controllers.autoscalermetrics import Metrics
from minikube_py.controllers.cronjob import CronJobController
from minikube_py.controllers.daemonset import DaemonSetController
from minikube_py.controllers.deployment import DeploymentController
from minikube_py.controllers.endpoints import EndpointsController
from minikube_py.controllers.endpointslice import EndpointSliceController
from minikube_py.controllers.endpointslicemirroring import EndpointSliceMirroringController
from minikube_py.controllers.ephemeralvolume import EphemeralVolumeController
from minikube_py.controllers.garbagecollector import GarbageCollector
from minikube_py.controllers.horizontalpodautoscaler import HorizontalPodAutoscalerController
from minikube_py.controllers.job import JobController
from minikube_py.controllers.namespace import NamespaceController
from minikube_py.controllers.nodelifecycle import NodeLifecycleController
from minikube_py.controllers.persistentvolume import PersistentVolumeController
from minikube_py.controllers.poddisruptionbudget import PodDisruptionBudgetController
from minikube_py.controllers.replicaset import ReplicaSetController
from minikube_py.controllers.resourcequota import ResourceQuotaController
from minikube_py.controllers.rootcacertpublisher import RootCAPublisher
from minikube_py.controllers.serviceaccount import ServiceAccountController
from minikube_py.controllers.serviceaccounttoken import TokenController
from minikube_py.controllers.serviceloadbalancer import AddressPool, ServiceLoadBalancerController
from minikube_py.controllers.statefulset import StatefulSetController

__all__ = ["reconcilers"]


def _not_measured(namespace: str, pod: str) -> Mapping[str, float] | None:
    return None


def _volume_path(claim: Object) -> str:
    """minikube's place for dynamically provisioned volumes; the kubelet maps it into the cluster's folder."""
    return f"/tmp/hostpath-provisioner/{meta.namespace(claim)}/{meta.name(claim)}"


def _no_certificate() -> str:
    return ""


def _no_token(namespace: str, account: str) -> str:
    return ""


def reconcilers(
    *,
    chance: random.Random,
    load_balancers: AddressPool | None,
    metrics: Metrics = _not_measured,
    volume_path: Callable[[Object], str] = _volume_path,
    root_certificate: Callable[[], str] = _no_certificate,
    token: Callable[[str, str], str] = _no_token,
) -> tuple[Reconciler, ...]:
    """Return every controller.

    `load_balancers` is the pool of LoadBalancer addresses (None: no provider, Services stay pending), `metrics` what
    the autoscaler reads, `volume_path` the host's folder for a new volume, `root_certificate` the API server's CA;
    `token` issues a ServiceAccount's.
    """
    return (
        ServiceAccountController(),
        RootCAPublisher(root_certificate),
        TokenController(token, root_certificate),
        NamespaceController(),
        GarbageCollector(),
        ResourceQuotaController(),
        NodeLifecycleController(),
        EphemeralVolumeController(),
        PersistentVolumeController(volume_path),
        DeploymentController(),
        ReplicaSetController("ReplicaSet"),
        ReplicaSetController("ReplicationController"),
        StatefulSetController(),
        DaemonSetController(),
        JobController(),
        CronJobController(),
        EndpointSliceController(chance),
        EndpointsController(),
        EndpointSliceMirroringController(chance),
        ServiceLoadBalancerController(load_balancers),
        PodDisruptionBudgetController(),
        HorizontalPodAutoscalerController(metrics),
    )
