"""ReplicationController: the ReplicaSet's elder, with a plain map as its selector."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.errors import GoText
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podrules, podspec, replicaset, rules, workload
from minikube_py.kinds.kind import Kind
from minikube_py.kinds.tables import containers_and_images, map_cell, template_spec

__all__ = ["KIND"]


def default(controller: Object) -> None:
    """Selector and labels default to the template's labels, as in no later kind."""
    spec = controller.setdefault("spec", {})
    workload.default_replicas(spec)
    workload.default_template(spec)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not controller["metadata"].get("labels"):
            controller["metadata"]["labels"] = dict(labels)


@rules.collected
def validate(controller: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(controller, old)
    spec = meta.spec(controller)
    yield from replicaset.size_errors(spec)
    selector = spec.get("selector")
    if not selector:
        yield errors.required("spec.selector")
    yield from rules.labels(selector, "spec.selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if selector and spec.get("template") is not None and any(labels.get(k) != v for k, v in selector.items()):
        why = "`selector` does not match template `labels`"
        yield errors.invalid_value("spec.template.metadata.labels", GoText.string_map(labels or None), why)
    yield from podrules.pod_template(spec, "spec.template")


def row(controller: Object, now: float) -> list[Any]:
    images = containers_and_images(template_spec(controller))
    return [*replicaset.cells(controller, now), *images, map_cell(meta.spec(controller).get("selector"))]


KIND = Kind(
    group="",
    version="v1",
    kind="ReplicationController",
    plural="replicationcontrollers",
    singular="replicationcontroller",
    short_names=("rc",),
    categories=("all",),
    subresources=(workload.SCALE, workload.status_of("ReplicationController", "")),
    columns=replicaset.COLUMNS,
    row=row,
    prepare=replicaset.prepare,
    default=default,
    validate=validate,
    selectable=replicaset.SELECTABLE,
    unsupported=podspec.unsupported("spec.template.spec"),
)
