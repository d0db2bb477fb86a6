"""The ConfigMap `kube-root-ca.crt` of every namespace: the certificate that clients in pods need.

Stands for kube-controller-manager's root-ca-certificate-publisher controller.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from minikube_py.apimachinery.meta import Key
from minikube_py.client import Action, Create, Event, Soon, Update, View
from minikube_py.client.api import Change
from minikube_py.controllers.namespace import is_live, live

__all__ = ["RootCAPublisher"]

_ROOT_CA = "kube-root-ca.crt"
_WHY = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the"
_ANNOTATIONS = {
    "kubernetes.io/description": f"{_WHY} internal service IP or kubernetes.default.svc. No other usage is guaranteed "
    "across distributions of Kubernetes clusters."
}


@final
class RootCAPublisher:
    """`certificate` is its PEM, asked for when it is written."""

    name = "root-ca-certificate-publisher-controller"

    def __init__(self, certificate: Callable[[], str]) -> None:
        self._certificate = certificate

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"namespaces": live, "configmaps": self._config_map}

    def _config_map(self, event: Event, view: View) -> Iterable[Key]:
        if event.key.name == _ROOT_CA and event.change is not Change.ADDED:
            yield Key("", event.key.namespace)

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        if not is_live(view, key.name):
            return ()
        data = {"ca.crt": self._certificate()}
        existing = view.get("configmaps", _ROOT_CA, key.name)
        if existing is None:
            metadata = {"name": _ROOT_CA, "namespace": key.name, "annotations": _ANNOTATIONS}
            return [Create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})]
        return () if existing.get("data") == data else [Update({**existing, "data": data})]
