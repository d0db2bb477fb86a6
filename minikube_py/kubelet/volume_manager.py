"""A pod's volumes: made when it starts, kept up to date, removed with it; and what they are made of.

Stands for the kubelet's volume manager with its reconciler, and for the token manager.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kubelet.environment import ConfigError, field_value, resource_value
from minikube_py.kubelet.mounts import PodFolders
from minikube_py.kubelet.sandbox import Sandbox
from minikube_py.kubelet.volumes import referenced, volume

if TYPE_CHECKING:
    from minikube_py.kubelet.agent import Kubelet

__all__ = ["VolumeManager", "container_specs"]

_RENEW = 0.8
"""Part of its lifetime after which a token is replaced; kubelet's token manager."""

logger = logging.getLogger(__name__)


def container_specs(pod: Object) -> list[Mapping[str, Any]]:
    """Return the specs of all containers of a pod, init and ephemeral ones too."""
    spec = meta.spec(pod)
    return [c for g in ("initContainers", "containers", "ephemeralContainers") for c in spec.get(g) or ()]


class VolumeManager:
    """One pod's volumes.

    Resource handling: `remove()` deletes the pod's own folders.
    """

    def __init__(self, kubelet: "Kubelet", pod: Object, sandbox: Sandbox) -> None:
        self._kubelet = kubelet
        self._sandbox = sandbox
        self._key = meta.key(pod)
        self._tokens: dict[tuple[int, str], tuple[float, str]] = {}
        """(seconds, audience) → when to ask for another one, token."""
        self.folders = PodFolders(kubelet.state_dir, uid=meta.uid(pod), node=kubelet.node)

    @property
    def used(self) -> bool:
        """Whether the pod has folders at all."""
        return self.folders.used

    def mount(self, pod: Object) -> None:
        """Make the volumes that containers mount, or bring them up to date.

        Error handling: ConfigError, in the kubelet's words, when an object that is not optional is missing.
        """
        spec = meta.spec(pod)
        if not spec.get("volumes"):
            return

        def downward(item: Mapping[str, Any]) -> str:
            return self._downward(pod, item)

        def token(seconds: int, audience: str) -> str:
            return self.token(pod, seconds, audience)

        for entry in referenced(spec):
            try:
                made = volume(entry, self._key.name, lookup=self.lookup, text=downward, token=token)
            except ConfigError as error:
                raise ConfigError(f'MountVolume.SetUp failed for volume "{entry["name"]}" : {error}') from None
            self.folders.put(entry["name"], made)

    def refresh(self, pod: Object) -> None:
        """What a volume shows has changed: its files follow, as the kubelet's sync does."""
        if not self.used:
            return
        try:
            self.mount(pod)
        except ConfigError as error:
            logger.debug("volume not refreshed pod=%s error=%s", self._key, error)

    def lookup(self, resource: str, name: str) -> Object | None:
        """Return an object that the pod refers to."""
        namespace = "" if resource == "persistentvolumes" else self._key.namespace
        return self._kubelet.api.get(resource, name, namespace)

    def token(self, pod: Object, seconds: int, audience: str = "") -> str:
        """Return a token of the pod's ServiceAccount; "" where nobody can make one."""
        if self._kubelet.identity is None:
            return ""
        now = self._kubelet.clock.now()
        renewed_at, token = self._tokens.get((seconds, audience), (0.0, ""))
        if now >= renewed_at or not token:
            account = str(meta.spec(pod).get("serviceAccountName") or "default")
            token = self._kubelet.identity.token(self._key.namespace, account, seconds=seconds, audience=audience)
            self._tokens[seconds, audience] = (now + _RENEW * seconds, token)
        return token

    def _downward(self, pod: Object, item: Mapping[str, Any]) -> str:
        if "fieldRef" in item:
            return field_value(item["fieldRef"].get("fieldPath", ""), pod, self._sandbox.ips)
        reference = item.get("resourceFieldRef") or {}
        name = reference.get("containerName")
        chosen = next((c for c in container_specs(pod) if c["name"] == name), {})
        return resource_value(reference, chosen, self._kubelet.capacity)

    def remove(self) -> None:
        self.folders.remove()
