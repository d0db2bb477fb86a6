"""What a pod's volumes contain. Pure: `mounts.py` writes it to disk.

Stands for the volume plugins emptyDir, configMap, secret, downwardAPI, projected, hostPath and persistentVolumeClaim.
Leaves out: block devices, CSI drivers and cloud disks (an empty folder stands in), SELinux, ownership, size limits.
Source: https://kubernetes.io/docs/concepts/storage/volumes/
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kubelet.environment import ConfigError

__all__ = ["Place", "Volume", "is_provisioned", "referenced", "volume"]

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


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume of a pod."""

    place: Place = Place.POD
    path: str = ""
    """For CLAIM the PersistentVolume's name, for HOST the path on the node."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Relative path → content, for volumes that are made of API objects."""
    mode: int = 0o644
    is_file: bool = False
    """A hostPath of type File or FileOrCreate."""


def _picked(data: Mapping[str, bytes], source: Mapping[str, Any], what: str) -> dict[str, bytes]:
    items = source.get("items")
    if not items:
        return dict(data)
    found = {}
    for item in items:
        if item["key"] not in data:
            if source.get("optional"):
                continue
            raise ConfigError(f"{what} references non-existent config key: {item['key']}")
        found[item["path"]] = data[item["key"]]
    return found


def _object_files(resource: str, name: str, source: Mapping[str, Any], lookup: Lookup) -> dict[str, bytes]:
    word = resource.removesuffix("s")
    obj = lookup(resource, name)
    if obj is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'{word} "{name}" not found')
    if resource == "configmaps":
        data = {str(k): str(v).encode() for k, v in (obj.get("data") or {}).items()}
        data.update({str(k): base64.b64decode(v) for k, v in (obj.get("binaryData") or {}).items()})
    else:
        data = {str(k): base64.b64decode(v) for k, v in (obj.get("data") or {}).items()}
    return _picked(data, source, word)


def _projected(source: Mapping[str, Any], lookup: Lookup, text: Field, token: Token) -> dict[str, bytes]:
    if "configMap" in source:
        return _object_files("configmaps", source["configMap"].get("name", ""), source["configMap"], lookup)
    if "secret" in source:
        return _object_files("secrets", source["secret"].get("name", ""), source["secret"], lookup)
    if "downwardAPI" in source:
        return {item["path"]: text(item).encode() for item in source["downwardAPI"].get("items") or ()}
    if "serviceAccountToken" in source:
        wanted = source["serviceAccountToken"]
        value = token(int(wanted.get("expirationSeconds") or 3600), str(wanted.get("audience") or ""))
        return {wanted.get("path") or "token": value.encode()}
    return {}


def volume(
    spec: Mapping[str, Any], pod_name: str, *, lookup: Lookup, text: Field, token: Token = lambda seconds, audience: ""
) -> Volume:
    """Return what one entry of `spec.volumes` holds.

    Error handling: ConfigError when an object that is not optional, or a claim, is missing.
    """
    if "configMap" in spec:
        source = spec["configMap"]
        files = _object_files("configmaps", source.get("name", ""), source, lookup)
        return Volume(files=files, mode=int(source.get("defaultMode") or 0o644))
    if "secret" in spec:
        source = spec["secret"]
        files = _object_files("secrets", source.get("secretName", ""), source, lookup)
        return Volume(files=files, mode=int(source.get("defaultMode") or 0o644))
    if "downwardAPI" in spec:
        return Volume(files={i["path"]: text(i).encode() for i in spec["downwardAPI"].get("items") or ()})
    if "projected" in spec:
        merged: dict[str, bytes] = {}
        for source in spec["projected"].get("sources") or ():
            merged.update(_projected(source, lookup, text, token))
        return Volume(files=merged, mode=int(spec["projected"].get("defaultMode") or 0o644))
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
