"""The ingress controllers of a cluster: what runs, where it is reached, and who writes the statuses.

Each is a Namespace, an IngressClass, a LoadBalancer Service and a Deployment of its own; several run side by side.
The first of the cluster file's list has the default class and the doors on 127.0.0.1.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from minikube_py.aiokit.clock import Clock
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import API
from minikube_py.client.reconcile import Agent as ReconcilerAgent
from minikube_py.images.container import Main
from minikube_py.ingress import server
from minikube_py.ingress.agent import Agent, ResourceReconciler
from minikube_py.ingress.flavors import Flavor, flavor
from minikube_py.ingress.gateway import provision
from minikube_py.ingress.gateway import server as gateway_server
from minikube_py.ingress.gateway.agent import GatewayReconciler
from minikube_py.ingress.tls.certificates import CertificateAuthority
from minikube_py.kinds.ingressclass import DEFAULT_CLASS

__all__ = ["absent", "addresses", "agents", "answers", "gateway_class", "objects", "programs"]


def objects(name: str, *, default: bool, replicas: int = 1) -> list[Object]:
    """Return what installs one controller, as its own manifests do."""
    it = flavor(name)
    labels = dict(it.labels)
    annotations = {DEFAULT_CLASS: "true"} if default else {}
    ports = [("http", 80), ("https", 443)]
    service: Object = {
        "type": "LoadBalancer",
        "selector": labels,
        "externalTrafficPolicy": "Local",
        "ports": [{"name": n, "port": p, "protocol": "TCP", "targetPort": n, "appProtocol": n} for n, p in ports],
    }
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": 300,
        "containers": [
            {
                "name": it.container,
                "image": it.image,
                **({"args": list(it.args)} if it.args else {}),
                "ports": [
                    {"name": n, "containerPort": p, "protocol": "TCP"}
                    for n, p in (*ports, ("metrics", provision.METRICS))
                ],
            }
        ],
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": it.namespace}}
    return [
        *it.definitions,
        *([] if it.namespace == "kube-system" else [namespace]),
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": it.name, "labels": labels, "annotations": annotations},
            "spec": {"controller": it.controller},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": it.service, "namespace": it.namespace, "labels": labels},
            "spec": service,
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": it.workload, "namespace": it.namespace, "labels": labels},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]


def programs(
    names: Sequence[str],
    api: API,
    clock: Clock,
    authority: CertificateAuthority,
    *,
    https_port: Callable[[], int],
    outside_https_port: Callable[[], int],
) -> dict[str, Main]:
    """Return the controllers' images and what runs in them.

    Callers outside find HTTPS at `https_port()` of 127.0.0.1 (the first controller's door), and at
    `outside_https_port()` of the cluster's addresses.
    """
    found: dict[str, Main] = {}
    if names:
        found[provision.IMAGE] = gateway_server.program(
            api, clock, certificate_authority=authority, https_port=outside_https_port
        )
    for name in names:
        it = flavor(name)
        found[it.image.rpartition(":")[0]] = server.program(
            api, clock, flavor=it, certificate_authority=authority, https_port=https_port
        )
    return found


def addresses(api: API, it: Flavor) -> list[str]:
    """Return where a controller's Service is reached: what each Ingress's status says."""
    service = api.get("services", it.service, it.namespace)
    entries = (meta.status(service).get("loadBalancer") or {}).get("ingress") if service else None
    return [entry.get("ip") or entry.get("hostname", "") for entry in entries or ()]


def answers(api: API, service: Key) -> bool:
    """Tell whether somebody is behind a Service; pods that end go on where there are no others (KEP-1669)."""
    for each in api.list("endpointslices.discovery.k8s.io", service.namespace):
        if meta.labels(each).get("kubernetes.io/service-name") == service.name:
            states = [endpoint.get("conditions") or {} for endpoint in each.get("endpoints") or ()]
            if any(state.get("serving", state.get("ready", True)) for state in states):
                return True
    return False


def absent(api: API, it: Flavor) -> str:
    """Return why no pod of a controller runs; "" while one does, or is on its way."""
    workload = api.get("deployments.apps", it.workload, it.namespace)
    if (workload is not None and meta.spec(workload).get("replicas")) or answers(api, Key(it.namespace, it.service)):
        return ""
    where = f"deployment {it.namespace}/{it.workload}"
    return f"{where} of the controller {it.name} " + ("does not exist" if workload is None else "has 0 replicas")


def gateway_class() -> Object:
    """Return the class of Gateways that is there from the start."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": "minikube-py"},
        "spec": {"controllerName": "minikube-py.dev/gateway-controller"},
    }


def agents(names: Sequence[str], api: API, clock: Clock) -> list[Agent | ReconcilerAgent]:
    """Return who writes statuses and Events: one for each controller and its custom resources, one for Gateways.

    The first also tells of Ingresses that nobody serves, and without a controller that is all there is.
    """
    flavors = [flavor(name) for name in names]
    running = frozenset(each.controller for each in flavors)
    if not flavors:
        return [Agent(api, clock, list, flavor=None, running=running)]
    custom = [ResourceReconciler(each, of, partial(addresses, api, each)) for each in flavors for of in each.resources]
    return [
        *(ReconcilerAgent(each, api, clock) for each in custom),
        *(
            Agent(
                api,
                clock,
                partial(addresses, api, each),
                flavor=each,
                reports_orphans=index == 0,
                running=running,
                absent=partial(absent, api, each),
            )
            for index, each in enumerate(flavors)
        ),
        ReconcilerAgent(GatewayReconciler(), api, clock),
    ]
