"""StorageClass."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["DEFAULT_CLASS", "KIND"]

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def default(storage_class: Object) -> None:
    if not storage_class.get("reclaimPolicy"):
        storage_class["reclaimPolicy"] = "Delete"
    if not storage_class.get("volumeBindingMode"):
        storage_class["volumeBindingMode"] = "Immediate"


@rules.collected
def validate(storage_class: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(storage_class, old)
    if not storage_class.get("provisioner"):
        yield errors.required("provisioner")
    yield from rules.one_of(storage_class.get("reclaimPolicy"), "reclaimPolicy", ("Delete", "Retain"))
    modes = ("Immediate", "WaitForFirstConsumer")
    yield from rules.one_of(storage_class.get("volumeBindingMode"), "volumeBindingMode", modes)
    if old is not None:
        for key in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
            if (storage_class.get(key) or {}) != (old.get(key) or {}):
                yield errors.forbidden_field(key, f"updates to {key} are forbidden.")


def row(storage_class: Object, now: float) -> list[Any]:
    is_default = meta.annotations(storage_class).get(DEFAULT_CLASS) == "true"
    return [
        meta.name(storage_class) + (" (default)" if is_default else ""),
        storage_class.get("provisioner", ""),
        storage_class.get("reclaimPolicy", "Delete"),
        storage_class.get("volumeBindingMode") or "<unset>",
        bool(storage_class.get("allowVolumeExpansion")),
        age(storage_class, now),
    ]


KIND = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="StorageClass",
    plural="storageclasses",
    singular="storageclass",
    namespaced=False,
    short_names=("sc",),
    columns=(
        NAME,
        Column("Provisioner"),
        Column("ReclaimPolicy"),
        Column("VolumeBindingMode"),
        Column("AllowVolumeExpansion", "boolean"),
        AGE,
    ),
    row=row,
    default=default,
    validate=validate,
)
