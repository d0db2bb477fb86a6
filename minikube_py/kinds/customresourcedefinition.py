"""CustomResourceDefinition: checked here; the kinds that it defines come from `kinds/custom.py`."""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import NAME

__all__ = ["KIND"]


def prepare(crd: Object, old: Object | None) -> None:
    if old is None:
        spec = meta.spec(crd)
        stored = [v.get("name") for v in spec.get("versions") or () if v.get("storage")]
        crd["status"] = {"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}


def default(crd: Object) -> None:
    spec = crd.setdefault("spec", {})
    names_ = spec.setdefault("names", {})
    if names_.get("kind"):
        if not names_.get("singular"):
            names_["singular"] = names_["kind"].lower()
        if not names_.get("listKind"):
            names_["listKind"] = f"{names_['kind']}List"
    if spec.get("conversion") is None:
        spec["conversion"] = {"strategy": "None"}


@rules.collected
def validate(crd: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(crd, old)
    spec = meta.spec(crd)
    group, names_ = spec.get("group") or "", spec.get("names") or {}
    plural = names_.get("plural") or ""
    if meta.name(crd) != f"{plural}.{group}":
        why = 'must be spec.names.plural+"."+spec.group'
        yield errors.invalid_value("metadata.name", meta.name(crd), why)
    if not group:
        yield errors.required("spec.group")
    elif names.dns_subdomain_errors(group):
        yield errors.invalid_value("spec.group", group, names.dns_subdomain_errors(group)[0])
    elif "." not in group:
        yield errors.invalid_value("spec.group", group, "should be a domain with at least one dot")
    yield from rules.one_of(spec.get("scope"), "spec.scope", ("Cluster", "Namespaced"), needed=True)
    for key in ("plural", "kind"):
        if not names_.get(key):
            yield errors.required(f"spec.names.{key}")
    for key in ("plural", "singular"):
        if value := names_.get(key):
            for why in names.dns_1035_label_errors(value):
                yield errors.invalid_value(f"spec.names.{key}", value, why)
    yield from _versions(spec.get("versions") or ())
    if old is not None:
        was = meta.spec(old)
        yield from rules.immutable(group, was.get("group"), "spec.group")
        yield from rules.immutable(spec.get("scope"), was.get("scope"), "spec.scope")
        yield from rules.immutable(names_.get("kind"), (was.get("names") or {}).get("kind"), "spec.names.kind")


def _versions(versions: Any) -> rules.Errors:
    if not versions:
        why = "must have exactly one version marked as storage version"
        yield errors.invalid_value("spec.versions", errors.GoText("[]"), why)
    seen: set[str] = set()
    for index, version in enumerate(versions):
        at = f"spec.versions[{index}]"
        name = version.get("name") or ""
        for why in names.dns_1035_label_errors(name):
            yield errors.invalid_value(f"{at}.name", name, why)
        if name in seen:
            yield errors.duplicate(f"{at}.name", name)
        seen.add(name)
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            yield errors.required(f"{at}.schema.openAPIV3Schema", "schemas are required")
        elif isinstance(schema, Mapping) and schema.get("type") != "object":
            if schema.get("type"):
                yield errors.invalid_value(
                    f"{at}.schema.openAPIV3Schema.type", schema["type"], "must be object at the root"
                )
            else:
                yield errors.required(f"{at}.schema.openAPIV3Schema.type", "must not be empty at the root")
    if versions and sum(bool(version.get("storage")) for version in versions) != 1:
        shown = errors.GoText("[]apiextensions.CustomResourceDefinitionVersion{…}")
        yield errors.invalid_value("spec.versions", shown, "must have exactly one version marked as storage version")


def row(crd: Object, now: float) -> list[Any]:
    return [meta.name(crd), crd["metadata"].get("creationTimestamp") or "<unknown>"]


KIND = Kind(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    singular="customresourcedefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=(workload.status_of("CustomResourceDefinition", "apiextensions.k8s.io"),),
    columns=(NAME, Column("Created At")),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    unsupported={"spec.conversion.webhook": "objects are served in every version as they are stored"},
)
