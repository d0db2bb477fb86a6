"""PersistentVolumeClaims find volumes, or volumes are made for them.

Stands for the persistentvolume-binder controller with a hostPath provisioner (minikube's "standard" class).
Leaves out resizing, snapshots, block devices, and the in-use protection finalizers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, final

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.apimachinery.quantities import quantity
from minikube_py.client import Action, Create, Delete, Emit, Event, Soon, Update, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.kinds.storageclass import DEFAULT_CLASS

__all__ = ["PersistentVolumeController"]

_CLAIMS = "persistentvolumeclaims"
_VOLUMES = "persistentvolumes"
_CLASSES = "storageclasses.storage.k8s.io"
_STANDARD = "standard"
"""The class that every cluster has, whether or not an object says so."""
_IS_DEFAULT = (DEFAULT_CLASS, "storageclass.beta.kubernetes.io/is-default-class")
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONER = "k8s.io/minikube-hostpath"


@final
class PersistentVolumeController:
    """Binds claims; `path(claim)` says which folder of the host a new volume for it stands on."""

    name = "persistentvolume-controller"

    def __init__(self, path: Callable[[Object], str]) -> None:
        self._path = path

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {
            _CLAIMS: self._claim,
            _VOLUMES: self._volume,
            _CLASSES: lambda event, view: [
                meta.key(c) for c in view.list(_CLAIMS) if meta.status(c).get("phase") != "Bound"
            ],
        }

    def _claim(self, event: Event, view: View) -> Iterable[Key]:
        yield event.key
        if event.change is Change.DELETED and (volume := meta.spec(event.object).get("volumeName")):
            yield Key("", volume)

    def _volume(self, event: Event, view: View) -> Iterable[Key]:
        yield event.key
        reference = meta.spec(event.object).get("claimRef")
        if reference:
            yield Key(reference["namespace"], reference["name"])
        else:
            yield from (meta.key(c) for c in view.list(_CLAIMS) if meta.status(c).get("phase") != "Bound")

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        if not key.namespace:
            volume = view.get(_VOLUMES, key.name)
            return list(self._settle(volume, view)) if volume is not None else ()
        claim = view.get(_CLAIMS, key.name, key.namespace)
        if claim is None or meta.terminating(claim):
            return ()
        return list(self._bind(claim, view))

    # Volumes

    def _settle(self, volume: Object, view: View) -> Iterable[Action]:
        """Bring the volume's phase in line with its claim."""
        if meta.terminating(volume):
            return
        reference = meta.spec(volume).get("claimRef")
        if not reference:
            yield from _phase(volume, "Available")
            return
        claim = view.get(_CLAIMS, reference["name"], reference["namespace"])
        if claim is not None and reference.get("uid") in (None, "", meta.uid(claim)):
            bound = meta.spec(claim).get("volumeName") == meta.name(volume)
            yield from _phase(volume, "Bound" if bound else "Available")
            return
        if not reference.get("uid"):
            yield from _phase(volume, "Available")
            return
        yield from _phase(volume, "Released")
        if meta.spec(volume).get("persistentVolumeReclaimPolicy", "Retain") == "Delete":
            yield Delete(_VOLUMES, meta.key(volume), uid=meta.uid(volume))

    # Claims

    def _bind(self, claim: Object, view: View) -> Iterable[Action]:
        spec = meta.spec(claim)
        name = spec.get("volumeName")
        if name:
            volume = view.get(_VOLUMES, name)
            if volume is None:
                yield from _phase(claim, "Lost" if meta.status(claim).get("phase") == "Bound" else "Pending")
            elif _free_for(volume, claim):
                yield from self._marry(claim, volume)
            return
        class_name = spec.get("storageClassName")
        if class_name is None:
            class_name = _default_class(view)
            if class_name:
                yield Update({**claim, "spec": {**spec, "storageClassName": class_name}})
                return
        volume = self._existing(claim, class_name or "", view)
        storage = view.get(_CLASSES, class_name) if class_name else None
        late = storage is not None and storage.get("volumeBindingMode") == "WaitForFirstConsumer"
        if late and _SELECTED_NODE not in meta.annotations(claim):
            text = "waiting for first consumer to be created before binding"
            yield from self._wait(claim, "Normal", "WaitForFirstConsumer", text)
            return
        if volume is not None:
            yield from self._marry(claim, volume)
            return
        if not class_name:
            text = "no persistent volumes available for this claim and no storage class is set"
            yield from self._wait(claim, "Normal", "FailedBinding", text)
            return
        if storage is None and class_name != _STANDARD:
            text = f'storageclass.storage.k8s.io "{class_name}" not found'
            yield from self._wait(claim, "Warning", "ProvisioningFailed", text)
            return
        if storage is not None and storage.get("provisioner") == "kubernetes.io/no-provisioner":
            text = "no persistent volumes available for this claim, and its class has no provisioner"
            yield from self._wait(claim, "Normal", "FailedBinding", text)
            return
        volume = self._provisioned(claim, class_name, storage)
        yield Create(volume, about=claim)
        text = f"Successfully provisioned volume {meta.name(volume)}"
        yield Emit(claim, "Normal", "ProvisioningSucceeded", text)
        # the new volume's event brings the look that binds

    def _wait(self, claim: Object, type_: str, reason: str, text: str) -> Iterable[Action]:
        yield from _phase(claim, "Pending")
        yield Emit(claim, type_, reason, text)

    def _existing(self, claim: Object, class_name: str, view: View) -> Object | None:
        """Return the smallest free volume that fits; one that was reserved for the claim comes first."""
        spec = meta.spec(claim)
        wanted = quantity(((spec.get("resources") or {}).get("requests") or {}).get("storage", 0))
        selector = Selector.from_object(spec["selector"]) if spec.get("selector") else None
        fitting: list[tuple[Fraction, int, Object]] = []
        for volume in view.list(_VOLUMES):
            offer = meta.spec(volume)
            if meta.terminating(volume) or not _free_for(volume, claim):
                continue
            if offer.get("claimRef"):
                return volume
            if (
                meta.status(volume).get("phase") in (None, "Available")
                and (offer.get("storageClassName") or "") == class_name
                and set(spec.get("accessModes") or ()) <= set(offer.get("accessModes") or ())
                and (offer.get("volumeMode") or "Filesystem") == (spec.get("volumeMode") or "Filesystem")
                and (selector is None or selector.matches(meta.labels(volume)))
                and (size := quantity((offer.get("capacity") or {}).get("storage", 0))) >= wanted
            ):
                fitting.append((size, len(fitting), volume))
        return min(fitting)[2] if fitting else None

    def _provisioned(self, claim: Object, class_name: str, storage: Object | None) -> Object:
        spec = meta.spec(claim)
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": f"pvc-{meta.uid(claim)}",
                "annotations": {"pv.kubernetes.io/provisioned-by": (storage or {}).get("provisioner", _PROVISIONER)},
            },
            "spec": {
                "capacity": {"storage": ((spec.get("resources") or {}).get("requests") or {}).get("storage", "1Gi")},
                "accessModes": spec.get("accessModes") or ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": (storage or {}).get("reclaimPolicy", "Delete"),
                "storageClassName": class_name,
                "volumeMode": spec.get("volumeMode") or "Filesystem",
                "hostPath": {"path": self._path(claim), "type": "DirectoryOrCreate"},
                "claimRef": _reference(claim),
            },
        }

    def _marry(self, claim: Object, volume: Object) -> Iterable[Action]:
        name = meta.name(volume)
        reference = _reference(claim)
        have = meta.spec(volume).get("claimRef") or {}
        if have.get("uid") != reference["uid"]:
            yield Update({**volume, "spec": {**meta.spec(volume), "claimRef": reference}})
        if meta.spec(claim).get("volumeName") != name:
            annotations = {
                **meta.annotations(claim),
                "pv.kubernetes.io/bind-completed": "yes",
                "pv.kubernetes.io/bound-by-controller": "yes",
            }
            metadata = {**claim["metadata"], "annotations": annotations}
            yield Update({**claim, "metadata": metadata, "spec": {**meta.spec(claim), "volumeName": name}})
        status: Object = {
            **meta.status(claim),
            "phase": "Bound",
            "accessModes": meta.spec(volume).get("accessModes") or [],
            "capacity": meta.spec(volume).get("capacity") or {},
        }
        if status != meta.status(claim):
            yield UpdateStatus({**_unversioned(claim), "status": status})
        if meta.status(volume).get("phase") != "Bound":
            yield UpdateStatus({**_unversioned(volume), "status": {**meta.status(volume), "phase": "Bound"}})


def _unversioned(obj: Object) -> Object:
    """The object for a status write after a write of its spec in the same look."""
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}


def _phase(obj: Object, phase: str) -> Iterable[Action]:
    if meta.status(obj).get("phase") != phase:
        yield UpdateStatus({**obj, "status": {**meta.status(obj), "phase": phase}})


def _reference(claim: Object) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta.namespace(claim),
        "name": meta.name(claim),
        "uid": meta.uid(claim),
    }


def _free_for(volume: Object, claim: Object) -> bool:
    reference = meta.spec(volume).get("claimRef")
    if not reference:
        return True
    return (
        reference["namespace"] == meta.namespace(claim)
        and reference["name"] == meta.name(claim)
        and reference.get("uid") in (None, "", meta.uid(claim))
    )


def _default_class(view: View) -> str | None:
    classes = view.list(_CLASSES)
    for storage in reversed(classes):
        if any(meta.annotations(storage).get(annotation) == "true" for annotation in _IS_DEFAULT):
            return meta.name(storage)
    return None if classes else _STANDARD
