"""StatefulSet."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podspec, rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.persistentvolumeclaim import default as default_claim
from minikube_py.kinds.tables import AGE, NAME, age, containers_and_images, template_spec

__all__ = ["KIND"]

_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
    "revisionHistoryLimit",
)


def prepare(stateful_set: Object, old: Object | None) -> None:
    if old is None:
        stateful_set["status"] = {"replicas": 0, "availableReplicas": 0}


def default(stateful_set: Object) -> None:
    spec = stateful_set.setdefault("spec", {})
    workload.default_replicas(spec)
    workload.default_template(spec)
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    strategy = spec.get("updateStrategy") or {}
    spec["updateStrategy"] = strategy
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        strategy["rollingUpdate"] = rolling
        if rolling.get("partition") is None:
            rolling["partition"] = 0
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Retain", "whenScaled": "Retain", **retention}
    if spec.get("revisionHistoryLimit") is None:
        spec["revisionHistoryLimit"] = 10
    for claim in spec.get("volumeClaimTemplates") or ():
        if isinstance(claim, dict):
            claim.setdefault("apiVersion", "v1")
            claim.setdefault("kind", "PersistentVolumeClaim")
            default_claim(claim)
            claim.setdefault("status", {}).setdefault("phase", "Pending")


@rules.collected
def validate(stateful_set: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(stateful_set, old)
    spec = meta.spec(stateful_set)
    yield from rules.one_of(
        spec.get("podManagementPolicy"), "spec.podManagementPolicy", ("OrderedReady", "Parallel"), needed=True
    )
    strategy = spec.get("updateStrategy") or {}
    match strategy.get("type"):
        case "OnDelete":
            if strategy.get("rollingUpdate") is not None:
                why = "only allowed for updateStrategy 'RollingUpdate'"
                yield errors.invalid_value("spec.updateStrategy.rollingUpdate", strategy["rollingUpdate"], why)
        case "RollingUpdate":
            rolling = strategy.get("rollingUpdate") or {}
            yield from rules.non_negative(rolling.get("partition"), "spec.updateStrategy.rollingUpdate.partition")
            at = "spec.updateStrategy.rollingUpdate.maxUnavailable"
            yield from rules.int_or_percent(rolling.get("maxUnavailable"), at, cap=True)
        case other:
            why = "must be 'RollingUpdate' or 'OnDelete'"
            yield errors.invalid_value("spec.updateStrategy", other or "", why)
    for key in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        yield from rules.non_negative(spec.get(key), f"spec.{key}")
    yield from rules.non_negative((spec.get("ordinals") or {}).get("start"), "spec.ordinals.start")
    # The claims become volumes of the same name, so mounts may name them.
    yield from workload.selected_template(_with_claims(stateful_set), None)
    if old is not None:
        was = meta.spec(old)
        if any(spec.get(key) != was.get(key) for key in {*spec, *was} - set(_MUTABLE)):
            why = (
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                "'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
            )
            yield errors.forbidden_field("spec", why)


def _with_claims(stateful_set: Object) -> Object:
    spec = meta.spec(stateful_set)
    claims = [claim.get("metadata", {}).get("name") for claim in spec.get("volumeClaimTemplates") or ()]
    template = spec.get("template")
    if not claims or not isinstance(template, dict):
        return stateful_set
    pod = template.get("spec") or {}
    volumes = [volume for volume in pod.get("volumes") or () if volume.get("name") not in claims]
    volumes += [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims if name]
    return {**stateful_set, "spec": {**spec, "template": {**template, "spec": {**pod, "volumes": volumes}}}}


def row(stateful_set: Object, now: float) -> list[Any]:
    spec, status = meta.spec(stateful_set), meta.status(stateful_set)
    return [
        meta.name(stateful_set),
        f"{workload.count(status, 'readyReplicas')}/{spec.get('replicas', 1)}",
        age(stateful_set, now),
        *containers_and_images(template_spec(stateful_set)),
    ]


KIND = Kind(
    group="apps",
    version="v1",
    kind="StatefulSet",
    plural="statefulsets",
    singular="statefulset",
    short_names=("sts",),
    categories=("all",),
    subresources=(workload.SCALE, workload.status_of("StatefulSet")),
    columns=(NAME, Column("Ready"), AGE, Column("Containers", priority=1), Column("Images", priority=1)),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    unsupported=podspec.unsupported("spec.template.spec"),
)
