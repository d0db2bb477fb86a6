"""PersistentVolume; what it shares with its claim is in `persistentvolumeclaim.py`."""

from typing import Any

from minikube_py.apimachinery import errors, meta, quantities
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podspec, rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.persistentvolumeclaim import (
    ACCESS_MODES,
    CLASS_COLUMNS,
    MODE_COLUMN,
    access_modes_cell,
    class_cells,
    phase_cell,
    prepare,
)
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["KIND"]

_OWN = frozenset(
    (
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    )
)


def default(volume: Object) -> None:
    spec = volume.setdefault("spec", {})
    if not spec.get("persistentVolumeReclaimPolicy"):
        spec["persistentVolumeReclaimPolicy"] = "Retain"
    if not spec.get("volumeMode"):
        spec["volumeMode"] = "Filesystem"
    if (host_path := spec.get("hostPath")) is not None and host_path.get("type") is None:
        host_path["type"] = ""
    podspec.canonical_quantities(spec.get("capacity"))


@rules.collected
def validate(volume: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(volume, old)
    spec = meta.spec(volume)
    modes = spec.get("accessModes") or ()
    if not modes:
        yield errors.required("spec.accessModes")
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield errors.not_supported("spec.accessModes", mode, ACCESS_MODES)
    capacity = spec.get("capacity") or {}
    if not capacity:
        yield errors.required("spec.capacity")
    elif set(capacity) != {"storage"}:
        yield errors.not_supported("spec.capacity", ",".join(sorted(capacity)), ("storage",))
    elif quantities.quantity(capacity["storage"]) <= 0:
        yield errors.invalid_value("spec.capacity[storage]", str(capacity["storage"]), "must be greater than zero")
    sources = [key for key in spec if key not in _OWN]
    if not sources:
        yield errors.required("spec", "must specify a volume type")
    for key in sources[1:]:
        yield errors.forbidden_field(f"spec.{key}", "may not specify more than 1 volume type")
    yield from rules.one_of(
        spec.get("persistentVolumeReclaimPolicy"),
        "spec.persistentVolumeReclaimPolicy",
        ("Delete", "Recycle", "Retain"),
    )
    if old is not None and any(spec.get(key) != meta.spec(old).get(key) for key in sources):
        why = "spec.persistentvolumesource is immutable after creation"
        yield errors.forbidden_field("spec.persistentvolumesource", why)


def row(volume: Object, now: float) -> list[Any]:
    spec, status = meta.spec(volume), meta.status(volume)
    claim = spec.get("claimRef") or {}
    return [
        meta.name(volume),
        str((spec.get("capacity") or {}).get("storage") or ""),
        access_modes_cell(spec.get("accessModes") or ()),
        spec.get("persistentVolumeReclaimPolicy") or "",
        phase_cell(volume),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        *class_cells(spec),
        status.get("reason") or "",
        age(volume, now),
        spec.get("volumeMode") or "<unset>",
    ]


KIND = Kind(
    group="",
    version="v1",
    kind="PersistentVolume",
    plural="persistentvolumes",
    singular="persistentvolume",
    namespaced=False,
    short_names=("pv",),
    subresources=(workload.status_of("PersistentVolume", ""),),
    columns=(
        NAME,
        Column("Capacity"),
        Column("Access Modes"),
        Column("Reclaim Policy"),
        Column("Status"),
        Column("Claim"),
        *CLASS_COLUMNS,
        Column("Reason"),
        AGE,
        MODE_COLUMN,
    ),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
)
