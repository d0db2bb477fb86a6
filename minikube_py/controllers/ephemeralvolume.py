"""Generic ephemeral volumes: a claim for each pod, which goes with it.

Stands for the ephemeral-volume controller. A claim of that name that isn't the pod's is left alone; the pod waits.
Source: https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Event, Soon, View
from minikube_py.client.api import Change

__all__ = ["EphemeralVolumeController"]

_CLAIMS = "persistentvolumeclaims"


def _templates(pod: Object) -> list[tuple[str, Mapping[str, Any]]]:
    """Return claim name → template of a pod's generic ephemeral volumes."""
    volumes = meta.spec(pod).get("volumes") or ()
    return [
        (f"{meta.name(pod)}-{v['name']}", v["ephemeral"].get("volumeClaimTemplate") or {})
        for v in volumes
        if "ephemeral" in v
    ]


@final
class EphemeralVolumeController:
    """Makes the claims that pods' ephemeral volumes stand for."""

    name = "ephemeral-volume-controller"

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"pods": self._pod, _CLAIMS: self._claim}

    def _pod(self, event: Event, view: View) -> Iterable[Key]:
        return [event.key] if event.change is Change.ADDED and _templates(event.object) else ()

    def _claim(self, event: Event, view: View) -> Iterable[Key]:
        """A claim that was in a pod's way may be gone."""
        if event.change is not Change.DELETED:
            return ()
        pods = view.list("pods", event.key.namespace)
        return [meta.key(pod) for pod in pods if any(name == event.key.name for name, _ in _templates(pod))]

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        pod = view.get("pods", key.name, key.namespace)
        if pod is None or meta.terminating(pod):
            return ()
        return [
            Create(_made(pod, name, template), about=pod)
            for name, template in _templates(pod)
            if view.get(_CLAIMS, name, key.namespace) is None
        ]


def _made(pod: Object, name: str, template: Mapping[str, Any]) -> Object:
    given = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            **{field: given[field] for field in ("labels", "annotations") if given.get(field)},
            "name": name,
            "namespace": meta.namespace(pod),
            "ownerReferences": [meta.owner_reference(pod)],
        },
        "spec": dict(template.get("spec") or {}),
    }
