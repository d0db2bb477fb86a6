"""ResourceQuotas: how much of a namespace's quota is used.

Stands for kube-controller-manager's resourcequota controller. Admission (`apiserver/resourcequota.py`) charges a
quota for what it lets in; here it is counted anew whenever something goes, ends or changes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import final

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key
from minikube_py.client import Action, Event, Soon, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.controllers import pods
from minikube_py.kinds import quota

__all__ = ["ResourceQuotaController"]

_RESOURCE = "resourcequotas"


@final
class ResourceQuotaController:
    name = "resourcequota-controller"

    def __init__(self) -> None:
        self._counts: dict[str, dict[Key, frozenset[str]]] = {}
        """Namespace → quota → the resources whose objects it counts."""

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"*": self._changed}

    def _changed(self, event: Event, view: View) -> Iterable[Key | Soon]:
        if event.resource == _RESOURCE:
            self._learn(event)
            if event.change is not Change.MODIFIED or event.old is None or event.old["spec"] != event.object["spec"]:
                yield event.key
        quotas = self._counts.get(event.key.namespace) if self._counts else None
        if not quotas or (event.old is not None and event.change is Change.MODIFIED and not _matters(event)):
            return
        for key, counted in quotas.items():
            if event.resource in counted:
                yield Soon(key, 0.05)

    def _learn(self, event: Event) -> None:
        here = self._counts.setdefault(event.key.namespace, {})
        if event.change is Change.DELETED:
            here.pop(event.key, None)
            if not here:
                del self._counts[event.key.namespace]
        else:
            here[event.key] = frozenset(map(quota.resource_of, meta.spec(event.object).get("hard") or ()))

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        limit = view.get(_RESOURCE, key.name, key.namespace)
        if limit is None:
            return ()
        hard = meta.spec(limit).get("hard") or {}
        used = {name: Fraction(0) for name in hard}
        for resource in {quota.resource_of(name) for name in hard}:
            for obj in view.list(resource, key.namespace):
                if quota.applies(limit, resource, obj):
                    for name, amount in quota.usage(resource, obj).items():
                        if name in used:
                            used[name] += amount
        status = {"hard": hard, "used": {name: quota.text(name, amount) for name, amount in used.items()}}
        return [UpdateStatus({**limit, "status": status})] if status != meta.status(limit) else ()


def _matters(event: Event) -> bool:
    """Tell whether a change of an object may change what it uses."""
    assert event.old is not None
    if event.resource == "pods":
        return pods.finished(event.object) and not pods.finished(event.old)
    return event.resource in ("services", "persistentvolumeclaims") and event.old.get("spec") != event.object.get(
        "spec"
    )
