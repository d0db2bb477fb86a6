"""What every namespace contains: the `default` ServiceAccount and the ConfigMap `kube-root-ca.crt`; token Secrets.

Stands for the serviceaccount, serviceaccount-token and root-ca-certificate-publisher controllers of
kube-controller-manager.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key
from minikube_py.client import Action, Create, Delete, Event, Soon, Update, View
from minikube_py.client.api import Change

__all__ = ["RootCAPublisher", "ServiceAccountController", "TokenController"]

_TOKEN_TYPE = "kubernetes.io/service-account-token"
_ACCOUNT = "kubernetes.io/service-account.name"
_ACCOUNT_UID = "kubernetes.io/service-account.uid"

_ROOT_CA = "kube-root-ca.crt"
_WHY = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the"
_ANNOTATIONS = {
    "kubernetes.io/description": f"{_WHY} internal service IP or kubernetes.default.svc. No other usage is guaranteed "
    "across distributions of Kubernetes clusters."
}


def _namespace(event: Event, view: View) -> Iterable[Key]:
    if event.change is not Change.DELETED and not meta.terminating(event.object):
        yield event.key


def _alive(name: str, view: View) -> bool:
    namespace = view.get("namespaces", name)
    return namespace is not None and not meta.terminating(namespace)


@final
class ServiceAccountController:
    name = "service-account-controller"

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"namespaces": _namespace, "serviceaccounts": self._account}

    def _account(self, event: Event, view: View) -> Iterable[Key]:
        if event.change is Change.DELETED and event.key.name == "default":
            yield Key("", event.key.namespace)

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        if not _alive(key.name, view) or view.get("serviceaccounts", "default", key.name) is not None:
            return ()
        metadata = {"name": "default", "namespace": key.name}
        return [Create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})]


@final
class RootCAPublisher:
    """Publishes the certificate that clients in pods need; `certificate` is its PEM, asked for when it is written."""

    name = "root-ca-certificate-publisher-controller"

    def __init__(self, certificate: Callable[[], str]) -> None:
        self._certificate = certificate

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"namespaces": _namespace, "configmaps": self._config_map}

    def _config_map(self, event: Event, view: View) -> Iterable[Key]:
        if event.key.name == _ROOT_CA and event.change is not Change.ADDED:
            yield Key("", event.key.namespace)

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        if not _alive(key.name, view):
            return ()
        data = {"ca.crt": self._certificate()}
        existing = view.get("configmaps", _ROOT_CA, key.name)
        if existing is None:
            metadata = {"name": _ROOT_CA, "namespace": key.name, "annotations": _ANNOTATIONS}
            return [Create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})]
        return () if existing.get("data") == data else [Update({**existing, "data": data})]


@final
class TokenController:
    """Fills Secrets of the type kubernetes.io/service-account-token; they go with their account.

    `token` issues one for (namespace, account); `certificate` is the API server's authority.
    """

    name = "serviceaccount-token-controller"

    def __init__(self, token: Callable[[str, str], str], certificate: Callable[[], str]) -> None:
        self._token = token
        self._certificate = certificate

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"secrets": self._secret, "serviceaccounts": self._account}

    def _secret(self, event: Event, view: View) -> Iterable[Key]:
        if event.change is not Change.DELETED and event.object.get("type") == _TOKEN_TYPE:
            yield event.key

    def _account(self, event: Event, view: View) -> Iterable[Key]:
        if event.change is Change.MODIFIED:
            return
        for secret in view.list("secrets", event.key.namespace):
            if secret.get("type") == _TOKEN_TYPE and meta.annotations(secret).get(_ACCOUNT) == event.key.name:
                yield meta.key(secret)

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        secret = view.get("secrets", key.name, key.namespace)
        if secret is None or meta.terminating(secret):
            return ()
        annotations = meta.annotations(secret)
        account = view.get("serviceaccounts", annotations.get(_ACCOUNT, ""), key.namespace)
        if account is None or annotations.get(_ACCOUNT_UID) not in (None, meta.uid(account)):
            return [Delete("secrets", key, uid=meta.uid(secret))]
        data = dict(secret.get("data") or {})
        for field, value in (("ca.crt", self._certificate), ("namespace", lambda: key.namespace)):
            data.setdefault(field, base64.b64encode(value().encode()).decode())
        if not data.get("token"):
            data["token"] = base64.b64encode(self._token(key.namespace, meta.name(account)).encode()).decode()
        if data == secret.get("data") and _ACCOUNT_UID in annotations:
            return ()
        metadata = {**secret["metadata"], "annotations": {**annotations, _ACCOUNT_UID: meta.uid(account)}}
        return [Update({**secret, "metadata": metadata, "data": data})]
