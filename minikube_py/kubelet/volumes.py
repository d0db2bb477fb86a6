"""What a pod's volumes contain. Pure: `mounts.py` writes it to disk.

Stands for the volume plugins emptyDir, configMap, secret, downwardAPI, projected, hostPath and persistentVolumeClaim.
Leaves out: block devices, CSI drivers and cloud disks (an empty folder stands in), SELinux, ownership, size limits.
Source: https://kubernetes.io/docs/concepts/storage/volumes/
"""

import base64
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from msgspec import Struct

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kubelet.environment import ConfigError

__all__ = ["File", "Place", "Volume", "is_provisioned", "referenced", "volume"]

Lookup = Callable[[str, str], Object | None]
Field = Callable[[Mapping[str, Any]], str]
"""A downwardAPI item → its text."""
Token = Callable[[int, str], str]
"""(seconds, audience) → a token of the pod's ServiceAccount."""


class Place(Enum):
    """Whose folder it is, and so how long it lives."""

    POD = "pod"
    CLAIM = "claim"
    HOST = "host"


class File(NamedTuple):
    content: bytes
    mode: int


class Volume(Struct, frozen=True):
    """One volume of a pod."""

    place: Place = Place.POD
    path: str = ""
    """For CLAIM the PersistentVolume's name, for HOST the path on the node."""
    files: Mapping[str, File] | None = None
    """Relative path → file, for volumes that are made of API objects."""
    is_file: bool = False
    """A hostPath of type File or FileOrCreate."""


_MODE = 0o644
"""Kubernetes' defaultMode of all these volumes."""


def _mode(source: Mapping[str, Any], default: int) -> int:
    return default if (mode := source.get("mode")) is None else int(mode)


def _default_mode(source: Mapping[str, Any]) -> int:
    return _MODE if (mode := source.get("defaultMode")) is None else int(mode)


def _object_files(resource: str, name: str, source: Mapping[str, Any], mode: int, lookup: Lookup) -> dict[str, File]:
    """Return the keys of a ConfigMap or Secret as files: all of them, or the chosen `items`."""
    obj = lookup(resource, name)
    if obj is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'{resource.removesuffix("s")} "{name}" not found')
    if resource == "configmaps":
        data = {str(k): str(v).encode() for k, v in (obj.get("data") or {}).items()}
        data.update({str(k): base64.b64decode(v) for k, v in (obj.get("binaryData") or {}).items()})
    else:
        data = {str(k): base64.b64decode(v) for k, v in (obj.get("data") or {}).items()}
    if not source.get("items"):
        return {key: File(content, mode) for key, content in data.items()}
    found = {}
    for item in source["items"]:
        if item["key"] in data:
            found[str(item["path"])] = File(data[item["key"]], _mode(item, mode))
        elif not source.get("optional"):
            words = (
                "configmap references non-existent config"
                if resource == "configmaps"
                else ("references non-existent secret")
            )
            raise ConfigError(f"{words} key: {item['key']}")
    return found


def _downward_files(source: Mapping[str, Any], mode: int, text: Field) -> dict[str, File]:
    return {str(i["path"]): File(text(i).encode(), _mode(i, mode)) for i in source.get("items") or ()}


def _projected(source: Mapping[str, Any], mode: int, lookup: Lookup, text: Field, token: Token) -> dict[str, File]:
    if "configMap" in source:
        return _object_files("configmaps", source["configMap"].get("name", ""), source["configMap"], mode, lookup)
    if "secret" in source:
        return _object_files("secrets", source["secret"].get("name", ""), source["secret"], mode, lookup)
    if "downwardAPI" in source:
        return _downward_files(source["downwardAPI"], mode, text)
    if "serviceAccountToken" in source:
        wanted = source["serviceAccountToken"]
        value = token(int(wanted.get("expirationSeconds") or 3600), str(wanted.get("audience") or ""))
        return {str(wanted.get("path") or "token"): File(value.encode(), mode)}
    return {}


def volume(
    spec: Mapping[str, Any], pod_name: str, *, lookup: Lookup, text: Field, token: Token = lambda seconds, audience: ""
) -> Volume:
    """Return what one entry of `spec.volumes` holds.

    Error handling: ConfigError when an object that is not optional, or a claim, is missing.
    """
    if "configMap" in spec:
        source = spec["configMap"]
        return Volume(files=_object_files("configmaps", source.get("name", ""), source, _default_mode(source), lookup))
    if "secret" in spec:
        source = spec["secret"]
        return Volume(
            files=_object_files("secrets", source.get("secretName", ""), source, _default_mode(source), lookup)
        )
    if "downwardAPI" in spec:
        return Volume(files=_downward_files(spec["downwardAPI"], _default_mode(spec["downwardAPI"]), text))
    if "projected" in spec:
        merged: dict[str, File] = {}
        for source in spec["projected"].get("sources") or ():
            merged.update(_projected(source, _default_mode(spec["projected"]), lookup, text, token))
        return Volume(files=merged)
    if "hostPath" in spec:
        kind = spec["hostPath"].get("type") or ""
        return Volume(Place.HOST, str(spec["hostPath"].get("path", "/")), is_file=kind in ("File", "FileOrCreate"))
    if "persistentVolumeClaim" in spec or "ephemeral" in spec:
        if "ephemeral" in spec:
            claim = f"{pod_name}-{spec['name']}"
        else:
            claim = str(spec["persistentVolumeClaim"].get("claimName", ""))
        return _claimed(claim, lookup)
    return Volume()


def is_provisioned(persistent_volume: Object) -> bool:
    """Tell whether a PersistentVolume was made for its claim, and so is a folder of ours."""
    return "pv.kubernetes.io/provisioned-by" in meta.annotations(persistent_volume)


def _claimed(claim: str, lookup: Lookup) -> Volume:
    """Return the folder of a claim's volume: that of the node if somebody made it of a node's path by hand."""
    if (found := lookup("persistentvolumeclaims", claim)) is None:
        raise ConfigError(f'persistentvolumeclaim "{claim}" not found')
    bound = meta.spec(found).get("volumeName", "")
    if not bound or (made := lookup("persistentvolumes", bound)) is None:
        raise ConfigError(f"error processing PVC {meta.namespace(found)}/{claim}: PVC is not bound")
    source = meta.spec(made).get("hostPath") or meta.spec(made).get("local") or {}
    if source.get("path") and not is_provisioned(made):
        return Volume(Place.HOST, str(source["path"]))
    return Volume(Place.CLAIM, bound)


def referenced(pod_spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the volumes that some container mounts: only these get a folder."""
    mounted = {
        mount.get("name")
        for group in ("initContainers", "containers", "ephemeralContainers")
        for container in pod_spec.get(group) or ()
        for mount in container.get("volumeMounts") or ()
    }
    return [spec for spec in pod_spec.get("volumes") or () if spec.get("name") in mounted]
