"""Deleting the folder of a volume that was made for a claim, when it goes.

Stands for the deleting half of minikube's storage-provisioner: the volume controller deletes the PersistentVolume if
its reclaim policy is Delete, and keeps it with Retain; what was deleted takes its data along.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from minikube_py.apimachinery import meta
from minikube_py.client.api import API, Change, Event
from minikube_py.kubelet.mounts import CLAIMS
from minikube_py.kubelet.volumes import is_provisioned

__all__ = ["Provisioner"]


class Provisioner:
    """Watches PersistentVolumes.

    Resource handling: `stop()` ends the subscription; folders stay, they are the cluster's.
    """

    def __init__(self, api: API, state_dir: Callable[[], Path]) -> None:
        self._state_dir = state_dir
        self._subscription = api.subscribe(("persistentvolumes",), self._changed)

    def stop(self) -> None:
        self._subscription.cancel()

    def _changed(self, event: Event) -> None:
        volume = event.object
        if event.change is not Change.DELETED or not is_provisioned(volume):
            return
        if meta.spec(volume).get("persistentVolumeReclaimPolicy") == "Delete":
            shutil.rmtree(self._state_dir() / CLAIMS / meta.name(volume), ignore_errors=True)
