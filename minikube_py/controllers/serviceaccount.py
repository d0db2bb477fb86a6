"""ServiceAccounts: every namespace has a `default` one.

Stands for kube-controller-manager's serviceaccount controller.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from minikube_py.apimachinery.meta import Key
from minikube_py.client import Action, Create, Event, Soon, View
from minikube_py.client.api import Change
from minikube_py.controllers.namespace import is_live, live

__all__ = ["ServiceAccountController"]


@final
class ServiceAccountController:
    name = "service-account-controller"

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"namespaces": live, "serviceaccounts": self._account}

    def _account(self, event: Event, view: View) -> Iterable[Key]:
        if event.change is Change.DELETED and event.key.name == "default":
            yield Key("", event.key.namespace)

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        if not is_live(view, key.name) or view.get("serviceaccounts", "default", key.name) is not None:
            return ()
        metadata = {"name": "default", "namespace": key.name}
        return [Create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})]
