"""Secrets of the type kubernetes.io/service-account-token: filled, and deleted with their account.

Stands for kube-controller-manager's serviceaccount-token controller.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key
from minikube_py.client import Action, Delete, Event, Soon, Update, View
from minikube_py.client.api import Change

__all__ = ["TokenController"]

_TOKEN_TYPE = "kubernetes.io/service-account-token"
_ACCOUNT = "kubernetes.io/service-account.name"
_ACCOUNT_UID = "kubernetes.io/service-account.uid"


@final
class TokenController:
    """`token` issues one for (namespace, account); `certificate` is the API server's authority."""

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
