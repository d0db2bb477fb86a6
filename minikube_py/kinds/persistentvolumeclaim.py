"""PersistentVolumeClaim, and what it shares with the volume."""

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.apimachinery import errors, meta, quantities
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podspec, rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = [
    "ACCESS_MODES",
    "CLASS_COLUMNS",
    "KIND",
    "MODE_COLUMN",
    "access_modes_cell",
    "class_cells",
    "default",
    "phase_cell",
    "prepare",
]

CLASS_COLUMNS = (Column("StorageClass"), Column("VolumeAttributesClass"))
MODE_COLUMN = Column("VolumeMode", priority=1)

ACCESS_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def access_modes_cell(modes: Iterable[str]) -> str:
    given = set(modes)
    return ",".join(short for mode, short in ACCESS_MODES.items() if mode in given)


def class_cells(spec: Mapping[str, Any]) -> tuple[str, str]:
    return spec.get("storageClassName") or "", spec.get("volumeAttributesClassName") or "<unset>"


def phase_cell(obj: Object) -> str:
    return "Terminating" if meta.terminating(obj) else meta.status(obj).get("phase") or "Pending"


def prepare(obj: Object, old: Object | None) -> None:
    if old is None:
        obj["status"] = {"phase": "Pending"}


def default(claim: Object) -> None:
    spec = claim.setdefault("spec", {})
    if not spec.get("volumeMode"):
        spec["volumeMode"] = "Filesystem"
    podspec.canonical_resources(spec.get("resources") or {})


@rules.collected
def validate(claim: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(claim, old)
    spec = meta.spec(claim)
    modes = spec.get("accessModes") or ()
    if not modes:
        yield errors.required("spec.accessModes", "at least 1 access mode is required")
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield errors.not_supported("spec.accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        why = "may not use ReadWriteOncePod with other access modes"
        yield errors.forbidden_field("spec.accessModes", why)
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        yield errors.required("spec.resources[storage]")
    elif quantities.quantity(storage) <= 0:
        yield errors.invalid_value("spec.resources[storage]", str(storage), "must be greater than zero")
    yield from rules.one_of(spec.get("volumeMode"), "spec.volumeMode", ("Block", "Filesystem"))
    yield from rules.label_selector(spec.get("selector"), "spec.selector")
    if old is not None:
        was = dict(meta.spec(old))
        now = dict(spec)
        for key in ("resources", "volumeName", "volumeAttributesClassName"):  # the binder fills in volumeName
            if key == "volumeName" and was.get("volumeName"):
                continue
            was.pop(key, None)
            now.pop(key, None)
        if was.get("storageClassName") is None:
            now.pop("storageClassName", None)
        if was != now:
            why = "spec is immutable after creation except resources.requests for bound claims"
            yield errors.forbidden_field("spec", why)


def row(claim: Object, now: float) -> list[Any]:
    spec, status = meta.spec(claim), meta.status(claim)
    bound = bool(spec.get("volumeName"))
    return [
        meta.name(claim),
        phase_cell(claim),
        spec.get("volumeName") or "",
        str((status.get("capacity") or {}).get("storage") or "") if bound else "",
        access_modes_cell(status.get("accessModes") or ()) if bound else "",
        *class_cells(spec),
        age(claim, now),
        spec.get("volumeMode") or "<unset>",
    ]


KIND = Kind(
    group="",
    version="v1",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    singular="persistentvolumeclaim",
    short_names=("pvc",),
    subresources=(workload.status_of("PersistentVolumeClaim", ""),),
    columns=(
        NAME,
        Column("Status"),
        Column("Volume"),
        Column("Capacity"),
        Column("Access Modes"),
        *CLASS_COLUMNS,
        AGE,
        MODE_COLUMN,
    ),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    unsupported={
        "spec.volumeMode=Block": "volumes are folders",
        "spec.dataSource": "new volumes start empty",
        "spec.dataSourceRef": "new volumes start empty",
    },
)
