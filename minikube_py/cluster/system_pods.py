"""The control plane's own pods in kube-system: what `kubectl get pods -n kube-system` shows, with their real logs.

The components themselves are parts of this process and run without these pods; a pod here is the component's face:
its log is what the component reports (its Events, and its log records at INFO and above). Deleting one changes
nothing but that. They come with the API server, because only its users look at them.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from minikube_py.aiokit.clock import Clock
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import API, Change, Event
from minikube_py.images.container import Container, Main
from minikube_py.networkpolicy.profiles import Profile, SystemPods

__all__ = ["IMAGES", "components", "programs"]

_VERSION = "v1.32.4"

IMAGES: Mapping[str, tuple[str, ...]] = {
    "registry.k8s.io/kube-apiserver": ("minikube_py.apiserver",),
    "registry.k8s.io/kube-controller-manager": ("minikube_py.controllers", "minikube_py.client"),
    "registry.k8s.io/kube-scheduler": ("minikube_py.scheduler",),
    "registry.k8s.io/kube-proxy": ("minikube_py.kube_proxy", "minikube_py.cni"),
}
"""Image → the loggers whose records are its log."""


def components(node: str, cni: Profile) -> list[Object]:
    """Return the control plane's static pods, kube-proxy's DaemonSet and the CNI plugin's workloads, as kubeadm and
    the plugin lay them out."""
    return [
        *(_static_pod(name, node) for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")),
        _workload(SystemPods("kube-proxy", f"registry.k8s.io/kube-proxy:{_VERSION}", {"k8s-app": "kube-proxy"})),
        *(_workload(pods) for pods in cni.pods),
    ]


def _static_pod(name: str, node: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{node}",
            "namespace": "kube-system",
            "labels": {"component": name, "tier": "control-plane"},
            "annotations": {"kubernetes.io/config.source": "file"},
        },
        "spec": {
            "nodeName": node,
            "hostNetwork": True,
            "priorityClassName": "system-node-critical",
            "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
            "containers": [{"name": name, "image": f"registry.k8s.io/{name}:{_VERSION}"}],
        },
    }


def _workload(pods: SystemPods) -> Object:
    labels = dict(pods.labels)
    containers = [{"name": pods.name, "image": pods.image}]
    containers += [{"name": name, "image": image} for name, image in pods.more_images.items()]
    return {
        "apiVersion": "apps/v1",
        "kind": pods.kind,
        "metadata": {"name": pods.name, "namespace": "kube-system", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "hostNetwork": pods.host_network,
                    "priorityClassName": "system-node-critical",
                    "tolerations": [{"operator": "Exists"}],
                    "containers": containers,
                },
            },
        },
    }


def programs(api: API, clock: Clock, cni: Profile) -> dict[str, Main]:
    """Return the program of each component's image; the CNI plugin's log is where denials are told."""
    loggers = dict(IMAGES)
    for pods in cni.pods:
        for image in (pods.image, *pods.more_images.values()):
            loggers[image.rpartition(":")[0]] = ("minikube_py.networkpolicy",)
    return {image: _program(api, clock, image.rpartition("/")[2], names) for image, names in loggers.items()}


def _program(api: API, clock: Clock, component: str, loggers: tuple[str, ...]) -> Main:
    async def main(container: Container) -> int:
        def say(level: str, source: str, text: str) -> None:
            """Write a line in klog's format."""
            now = datetime.fromtimestamp(clock.now(), UTC)
            container.print(f"{level}{now:%m%d %H:%M:%S.%f}       1 {source}] {text}")

        handler = _Handler(say)
        watched, reports = _REPORTS.get(component, ((), _nothing))
        subscription = api.subscribe(watched, lambda event: _tell(say, reports(event)))
        for name in loggers:
            logging.getLogger(name).addHandler(handler)
        try:
            say("I", "server.go", f'"Starting" component="{component}" version="{_VERSION}"')
            container.started()
            await container.terminated.wait()
        finally:
            subscription.cancel()
            for name in loggers:
                logging.getLogger(name).removeHandler(handler)
        return 0

    return main


def _tell(say: Callable[[str, str, str], None], line: tuple[str, str, str] | None) -> None:
    if line:
        say(*line)


class _Handler(logging.Handler):
    """Copies the records of one cluster: each cluster's loop has a thread of its own."""

    def __init__(self, say: Callable[[str, str, str], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._say(record.levelname[0], f"{record.module}.py:{record.lineno}", record.getMessage())


def _nothing(event: Event) -> None:
    return None


def _reported_by(belongs: Callable[[str], bool]) -> Callable[[Event], tuple[str, str, str] | None]:
    """Tell the Events that a component recorded."""

    def report(event: Event) -> tuple[str, str, str] | None:
        source = (event.object.get("source") or {}).get("component", "")
        if event.change is Change.DELETED or not belongs(source):
            return None
        about = event.object["involvedObject"]
        named = f"{about.get('namespace', '')}/{about['name']}".lstrip("/")
        level = "I" if event.object.get("type") == "Normal" else "W"
        return (
            level,
            "event.go",
            (
                f'"Event occurred" controller="{source}" object="{named}" kind="{about["kind"]}" '
                f'reason="{event.object.get("reason")}" message="{event.object.get("message")}"'
            ),
        )

    return report


def _endpoints(event: Event) -> tuple[str, str, str] | None:
    """Tell how many endpoints a Service has after a change of one of its slices."""
    service = meta.labels(event.object).get("kubernetes.io/service-name")
    if not service:
        return None
    endpoints = () if event.change is Change.DELETED else event.object.get("endpoints") or ()
    ready = sum(1 for endpoint in endpoints if (endpoint.get("conditions") or {}).get("ready", True))
    return "I", "proxier.go", f'"Endpoints updated" service="{meta.namespace(event.object)}/{service}" ready={ready}'


_CONTROLLER_MANAGER = _reported_by(lambda source: source.endswith("-controller") or source == "controllermanager")
_SCHEDULER = _reported_by(lambda source: source == "default-scheduler")

_REPORTS: Mapping[str, tuple[tuple[str, ...], Callable[[Event], tuple[str, str, str] | None]]] = {
    "kube-controller-manager": (("events",), _CONTROLLER_MANAGER),
    "kube-scheduler": (("events",), _SCHEDULER),
    "kube-proxy": (("endpointslices.discovery.k8s.io",), _endpoints),
}
