"""Namespaces: empty those that are being deleted, then let them go.

Stands for kube-controller-manager's namespace controller. Leaves out the per-group discovery failures that its
conditions can report.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Delete, Event, Soon, Update, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.controllers import pods

__all__ = ["NamespaceController", "is_live", "live"]


_NEVER_WRONG = tuple(
    (type_, False, "", "", reason, text)
    for type_, reason, text in (
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
    )
)
"""Conditions that a real server has, too."""


def live(event: Event, view: View) -> Iterable[Key]:
    """Yield the namespace of an event while things may be made in it."""
    if event.change is not Change.DELETED and not meta.terminating(event.object):
        yield event.key


def is_live(view: View, name: str) -> bool:
    """Tell whether things may be made in a namespace: it exists and isn't being emptied."""
    namespace = view.get("namespaces", name)
    return namespace is not None and not meta.terminating(namespace)


@final
class NamespaceController:
    name = "namespace-controller"

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {"namespaces": lambda event, view: (event.key,), "*": self._content}

    def _content(self, event: Event, view: View) -> Iterable[Key | Soon]:
        """What leaves a terminating namespace may be the last."""
        if event.change is Change.DELETED and event.key.namespace:
            namespace = view.get("namespaces", event.key.namespace)
            if namespace is not None and meta.terminating(namespace):
                yield Soon(Key("", event.key.namespace))

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        namespace = view.get("namespaces", key.name)
        if namespace is None or not meta.terminating(namespace):
            return ()
        left = {r: found for r in view.resources() if (found := list(view.list(r, key.name)))}
        if not left:
            return [Update({**namespace, "spec": {**meta.spec(namespace), "finalizers": []}}, subresource="finalize")]
        actions: list[Action] = [
            Delete(resource, meta.key(obj), uid=meta.uid(obj))
            for resource, objects in left.items()
            for obj in objects
            if not meta.terminating(obj)
        ]
        lingering = {r: kept for r, found in left.items() if (kept := [o for o in found if meta.terminating(o)])}
        if lingering:
            actions.extend(self._conditions(namespace, lingering, now))
        return actions

    def _conditions(self, namespace: Object, left: Mapping[str, Sequence[Object]], now: float) -> Iterable[Action]:
        """Say what keeps the namespace from going."""
        held = Counter(f for objects in left.values() for o in objects for f in o["metadata"].get("finalizers") or ())
        counts = ", ".join(
            f"{resource}{'' if '.' in resource else '.'} has {len(objects)} resource instances"
            for resource, objects in left.items()
        )
        finalizers = ", ".join(f"{name} in {count} resource instances" for name, count in held.items())
        stamp = rfc3339(now)
        conditions: list[Object] = list(meta.status(namespace).get("conditions") or ())
        for type_, bad, bad_reason, bad_text, good_reason, good_text in (
            *_NEVER_WRONG,
            (
                "NamespaceContentRemaining",
                bool(left),
                "SomeResourcesRemain",
                f"Some resources are remaining: {counts}",
                "ContentRemoved",
                "All content successfully removed",
            ),
            (
                "NamespaceFinalizersRemaining",
                bool(held),
                "SomeFinalizersRemain",
                f"Some content in the namespace has finalizers remaining: {finalizers}",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
        ):
            conditions = pods.set_condition(
                conditions,
                {
                    "type": type_,
                    "status": "True" if bad else "False",
                    "reason": bad_reason if bad else good_reason,
                    "message": bad_text if bad else good_text,
                    "lastTransitionTime": stamp,
                },
            )
        status = {**meta.status(namespace), "phase": "Terminating", "conditions": conditions}
        if status != meta.status(namespace):
            yield UpdateStatus({**namespace, "status": status})
