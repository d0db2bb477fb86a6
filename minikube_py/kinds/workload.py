"""What the kinds that make pods from a template share: scale, columns, rules about the template."""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.errors import GoText
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podrules, podspec, rules
from minikube_py.kinds.kind import Subresource
from minikube_py.kinds.tables import containers_and_images, label_selector_cell, template_spec

__all__ = ["SCALE", "default_replicas", "reset_status", "selected_template", "status_of", "wide_cells"]

SCALE = Subresource("scale", "Scale", "autoscaling", "v1")


def status_of(kind: str, group: str = "apps") -> Subresource:
    return Subresource("status", kind, group, "v1")


def reset_status(obj: Object, old: Object | None) -> None:
    """A status is the controller's word: what a creator says of it is dropped."""
    if old is None:
        obj["status"] = {}


def default_replicas(spec: dict[str, Any]) -> None:
    if spec.get("replicas") is None:
        spec["replicas"] = 1


def default_template(spec: dict[str, Any]) -> None:
    if isinstance(template := spec.get("template"), dict):
        podspec.default_template(template)


def selected_template(obj: Object, old: Object | None, *, change_selector: bool = False) -> rules.Errors:
    """Check selector and template of an apps/v1 workload and how they fit; the selector is immutable."""
    spec = meta.spec(obj)
    yield from rules.workload_selector(spec)
    if spec.get("template") is not None and spec.get("selector"):
        yield from rules.selector_matches_template(spec)
    yield from podrules.pod_template(spec, "spec.template")
    if old is not None and not change_selector:
        selector, before = spec.get("selector"), meta.spec(old).get("selector")
        if selector != before:
            yield errors.invalid_value("spec.selector", GoText.selector(selector), rules.IMMUTABLE)


def wide_cells(obj: Object) -> list[Any]:
    """Return the cells Containers, Images and Selector."""
    return [*containers_and_images(template_spec(obj)), label_selector_cell(meta.spec(obj).get("selector"))]


def count(status: Mapping[str, Any], key: str) -> int:
    return int(status.get(key) or 0)
