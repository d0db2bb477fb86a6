"""What a pod's volumes must be, in Kubernetes' words, and the fields that volumes and variables may show.

Stands for ValidateVolumes of pkg/apis/core/validation. Left out: volume types that aren't mounted here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.apimachinery import errors
from minikube_py.kinds import rules
from minikube_py.kinds.rules import Errors

__all__ = ["field_ref", "local_path", "volumes"]

_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)


def field_ref(reference: Mapping[str, Any], at: str, fields: tuple[str, ...] = _FIELDS) -> Errors:
    field_path = reference.get("fieldPath") or ""
    if not field_path:
        yield errors.required(f"{at}.fieldPath")
        return
    root, bracket, _ = field_path.partition("['")
    if bracket and root in ("metadata.labels", "metadata.annotations"):
        return
    if root in ("metadata.labels", "metadata.annotations") and root in fields:
        return
    if field_path not in fields:
        yield errors.not_supported(f"{at}.fieldPath", field_path, fields)


def local_path(value: str, path: str) -> Errors:
    if value.startswith("/"):
        yield errors.invalid_value(path, value, "must be a relative path")
    if ".." in value.split("/"):
        yield errors.invalid_value(path, value, "must not contain '..'")


_REQUIRED_OF_VOLUMES: Mapping[str, tuple[str, ...]] = {
    "hostPath": ("path",),
    "secret": ("secretName",),
    "configMap": ("name",),
    "persistentVolumeClaim": ("claimName",),
    "nfs": ("server", "path"),
    "gcePersistentDisk": ("pdName",),
    "awsElasticBlockStore": ("volumeID",),
    "iscsi": ("targetPortal", "iqn"),
    "csi": ("driver",),
}


def volumes(given: Iterable[Mapping[str, Any]], path: str, found: dict[str, Mapping[str, Any]]) -> Errors:
    for index, volume in enumerate(given):
        at = f"{path}[{index}]"
        name = volume.get("name") or ""
        yield from rules.own_label(name, f"{at}.name", found)
        kinds = [key for key, value in volume.items() if key != "name" and value is not None]
        for kind in kinds[1:]:
            yield errors.forbidden_field(f"{at}.{kind}", "may not specify more than 1 volume type")
        if not kinds:
            yield errors.required(at, "must specify a volume type")
        for kind in kinds[:1]:
            for key in _REQUIRED_OF_VOLUMES.get(kind, ()):
                if not volume[kind].get(key):
                    yield errors.required(f"{at}.{kind}.{key}")
            yield from _volume_items(volume[kind], kind, f"{at}.{kind}")
        found[name] = volume


def _volume_items(source: Mapping[str, Any], kind: str, at: str) -> Errors:
    if kind in ("secret", "configMap"):
        for index, item in enumerate(source.get("items") or ()):
            for key in ("key", "path"):
                if not item.get(key):
                    yield errors.required(f"{at}.items[{index}].{key}")
            yield from local_path(item.get("path") or "", f"{at}.items[{index}].path")
    elif kind == "downwardAPI":
        yield from _downward_items(source.get("items") or (), f"{at}.items")
    elif kind == "projected":
        for index, part in enumerate(source.get("sources") or ()):
            for name in ("secret", "configMap"):
                if part.get(name) is not None and not part[name].get("name"):
                    yield errors.required(f"{at}.sources[{index}].{name}.name")
            downward = part.get("downwardAPI") or {}
            yield from _downward_items(downward.get("items") or (), f"{at}.sources[{index}].downwardAPI.items")
            token = part.get("serviceAccountToken")
            if token is not None and not token.get("path"):
                yield errors.required(f"{at}.sources[{index}].serviceAccountToken.path")


_DOWNWARD_FIELDS = ("metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid")


def _downward_items(items: Iterable[Mapping[str, Any]], path: str) -> Errors:
    for index, item in enumerate(items):
        at = f"{path}[{index}]"
        if not item.get("path"):
            yield errors.required(f"{at}.path")
        yield from local_path(item.get("path") or "", f"{at}.path")
        if item.get("fieldRef") is not None:
            yield from field_ref(item["fieldRef"], f"{at}.fieldRef", _DOWNWARD_FIELDS)
        elif item.get("resourceFieldRef") is None:
            yield errors.required(at, "one of fieldRef and resourceFieldRef is required")
