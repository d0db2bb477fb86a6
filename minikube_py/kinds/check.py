"""Check manifests without a cluster: all that an API server would refuse, and what has no effect here.

    Manifest ──► kind known? ──► structure (schema) ──► defaulted copy ──► Kind.validate ──► Report(errors, warnings)
                      └► nearest kind, or what replaced it          └► fields and kinds that aren't emulated

Everything is reported at once, each with file:line, so that nothing starts half. Left out: what only a running cluster
knows (taken node ports, missing namespaces).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from minikube_py.apimachinery import decoding, meta, names, schema
from minikube_py.apimachinery.manifests import Manifest, Problem, Report
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import clusterconfig, controllerkinds, custom, structural
from minikube_py.kinds.kind import Kind
from minikube_py.kinds.registry import Registry

__all__ = ["check", "for_kubectl", "not_emulated", "values_at"]

_ALSO_SERVED = {("autoscaling/v1", "HorizontalPodAutoscaler"), ("events.k8s.io/v1", "Event")}
"""Other versions of kinds, which the API server converts: their structure is checked, their meaning at apply."""

_REMOVED: Mapping[tuple[str, str], str] = {
    ("extensions/v1beta1", "DaemonSet"): "1.16",
    ("extensions/v1beta1", "Deployment"): "1.16",
    ("extensions/v1beta1", "Ingress"): "1.22",
    ("extensions/v1beta1", "NetworkPolicy"): "1.16",
    ("extensions/v1beta1", "ReplicaSet"): "1.16",
    ("apps/v1beta1", "Deployment"): "1.16",
    ("apps/v1beta1", "StatefulSet"): "1.16",
    ("apps/v1beta2", "DaemonSet"): "1.16",
    ("apps/v1beta2", "Deployment"): "1.16",
    ("apps/v1beta2", "ReplicaSet"): "1.16",
    ("apps/v1beta2", "StatefulSet"): "1.16",
    ("networking.k8s.io/v1beta1", "Ingress"): "1.22",
    ("networking.k8s.io/v1beta1", "IngressClass"): "1.22",
    ("batch/v1beta1", "CronJob"): "1.25",
    ("batch/v2alpha1", "CronJob"): "1.21",
    ("policy/v1beta1", "PodDisruptionBudget"): "1.25",
    ("policy/v1beta1", "PodSecurityPolicy"): "1.25",
    ("extensions/v1beta1", "PodSecurityPolicy"): "1.16",
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler"): "1.25",
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler"): "1.26",
    ("discovery.k8s.io/v1beta1", "EndpointSlice"): "1.25",
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRole"): "1.22",
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRoleBinding"): "1.22",
    ("rbac.authorization.k8s.io/v1beta1", "Role"): "1.22",
    ("rbac.authorization.k8s.io/v1beta1", "RoleBinding"): "1.22",
    ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition"): "1.22",
    ("storage.k8s.io/v1beta1", "StorageClass"): "1.22",
    ("scheduling.k8s.io/v1beta1", "PriorityClass"): "1.22",
    ("coordination.k8s.io/v1beta1", "Lease"): "1.22",
    ("flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema"): "1.26",
    ("flowcontrol.apiserver.k8s.io/v1beta2", "FlowSchema"): "1.29",
    ("flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema"): "1.32",
}
"""Source: https://kubernetes.io/docs/reference/using-api/deprecation-guide/."""

_KUSTOMIZE = "kustomize.config.k8s.io"
_KUSTOMIZE_HINT = (
    "left out: it is for kubectl, no object of the cluster, and what it would change (namespace, patches, images …) is "
    "not applied; for that: kubectl kustomize FOLDER | mkpy up -f -"
)


def for_kubectl(obj: Object) -> bool:
    """Tell whether a document says how to make manifests, rather than being one: a kustomization.yaml in a folder."""
    return meta.group_of(str(obj.get("apiVersion") or "")) == _KUSTOMIZE


def check(manifests: Sequence[Manifest], registry: Registry) -> Report:
    """Check every manifest on its own; kinds defined by CustomResourceDefinitions among them are known."""
    errors: list[Problem] = []
    warnings: list[Problem] = []
    own: Manifest | None = None
    defined = {(kind.api_version, kind.kind): kind for kind in (*_of_controllers(manifests), *_defined(manifests))}
    for manifest in manifests:
        if manifest.object.get("apiVersion") == clusterconfig.API_VERSION:
            errors.extend(manifest.problem(e.path, e.message) for e in clusterconfig.check(manifest.object))
            if own is not None:
                errors.append(manifest.problem("", f"there is one at {own.file}:{own.line}, and there can be one only"))
            own = manifest
            continue
        if for_kubectl(manifest.object):
            warnings.append(manifest.problem("", _KUSTOMIZE_HINT))
            continue
        found = list(_errors(manifest, registry, defined))
        errors.extend(found)
        if not found:
            warnings.extend(_warnings(manifest, registry))
    return Report(tuple(errors), tuple(warnings))


def _of_controllers(manifests: Sequence[Manifest]) -> list[Kind]:
    """Return the kinds of the ingress controllers that will run: those listed, or all that manifests ask for."""
    groups = {meta.group_of(str(each.object.get("apiVersion") or "")) for each in manifests}
    asked = {controller for group, controller in controllerkinds.GROUPS.items() if group in groups}
    for each in manifests:
        if each.object.get("apiVersion") == clusterconfig.API_VERSION:
            ingress = each.object.get("ingress")
            if isinstance(ingress, dict) and isinstance(ingress.get("controllers"), list):
                asked &= set(map(str, ingress["controllers"]))
    return controllerkinds.kinds(sorted(asked))


def _defined(manifests: Iterable[Manifest]) -> Iterator[Kind]:
    for manifest in manifests:
        obj = manifest.object
        if obj.get("kind") == "CustomResourceDefinition" and not decoding.check(obj):
            try:
                yield from custom.from_crd(obj)
            except (KeyError, TypeError, ValueError):
                continue  # what is wrong with it is said where it is checked


def _errors(manifest: Manifest, registry: Registry, defined: Mapping[tuple[str, str], Kind]) -> Iterator[Problem]:
    obj = manifest.object
    missing = False
    for key in ("apiVersion", "kind"):
        if not isinstance(obj.get(key), str) or not obj[key]:
            missing = True
            near = names.nearest(key, (str(k) for k in obj if k not in ("metadata", "spec", "data", "status")))
            text = "Required value" + (f' (there is "{near}")' if near and near != key else "")
            yield manifest.problem(key, text + (_what_else(manifest) if key == "kind" else ""))
    if missing:
        return
    api_version, kind_name = obj["apiVersion"], obj["kind"]
    also = (api_version, kind_name) in _ALSO_SERVED
    kind = defined.get((api_version, kind_name)) or _known(registry, api_version, kind_name)
    if kind is None and not also:
        yield manifest.problem("", _unknown(registry, defined, api_version, kind_name))
        return
    wrong = structural.check(kind.schema, obj) if kind is not None and kind.schema is not None else decoding.check(obj)
    for error in wrong:
        if error.kind == "type":
            yield manifest.problem(error.path, error.message + _advice(manifest, error))
        else:
            hint = f', did you mean "{error.suggestion}"?' if error.suggestion else ""
            yield manifest.problem(error.path, f"unknown field{hint}")
    if kind is None or any(error.kind == "type" for error in wrong):
        return
    yield from _semantic(manifest, kind)


def _what_else(manifest: Manifest) -> str:
    """Return what to do about a file that is no manifest but something else that people keep beside them."""
    folder, _, name = manifest.file.rpartition("/")
    if name in ("Chart.yaml", "Chart.yml"):
        return f"; {folder or '.'} is a Helm chart: helm template {folder or '.'} | mkpy up -f -"
    if isinstance(manifest.object.get("services"), dict):
        return f"; this is a Compose file: convert it with: kompose convert -f {manifest.file}"
    return ""


def _advice(manifest: Manifest, error: decoding.SchemaError) -> str:
    """Return what to write instead, for the type errors that YAML itself lays as traps."""
    value: Any = manifest.object
    for step in re.findall(r"[^.\[\]]+", error.path):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, bool) and error.message.endswith("of type string"):
        return ": YAML reads yes, no, on, off, y and n as true or false; put it in quotes"
    if isinstance(value, int | float) and error.message.endswith("of type string"):
        return f': put it in quotes: "{manifest.text_of(error.path) or value}"'
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value) and "int" in error.message.rpartition(" ")[2]:
        return f": write {value} without quotes"
    return ""


def _semantic(manifest: Manifest, kind: Kind) -> Iterator[Problem]:
    obj = schema.prune(meta.copy(manifest.object))
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = obj["metadata"] = {}
    if kind.namespaced:
        metadata.setdefault("namespace", "default")
    kind.prepare(obj, None)
    kind.default(obj)
    for error in kind.validate(obj, None):
        yield manifest.problem(error.path, error.message + manifest.advice(error.path))


def _known(registry: Registry, api_version: str, kind: str) -> Kind | None:
    return next((k for k in registry.kinds() if k.kind == kind and k.api_version == api_version), None)


def _unknown(registry: Registry, defined: Mapping[tuple[str, str], Kind], api_version: str, kind_name: str) -> str:
    text = f'no matches for kind "{kind_name}" in version "{api_version}"'
    every = [*registry.kinds(), *defined.values()]
    if meta.group_of(api_version) == meta.group_of(clusterconfig.API_VERSION):
        return f"{text}: use apiVersion: {clusterconfig.API_VERSION}, kind: Cluster"
    same = [k for k in every if k.kind == kind_name]
    removed = _REMOVED.get((api_version, kind_name))
    if removed and same:
        return f"{text}: removed in Kubernetes {removed}; use apiVersion: {same[0].api_version}"
    if removed:
        return f"{text}: removed in Kubernetes {removed} without a successor"
    if same:
        return f"{text}: use apiVersion: {same[0].api_version}"
    group = meta.group_of(api_version)
    if any(k.group == group for k in every) and (near := names.nearest(kind_name, (k.kind for k in every))):
        versions = sorted({k.api_version for k in every if k.kind == near})
        return f'{text}, did you mean "{near}" ({versions[0]})?'
    if controller := controllerkinds.GROUPS.get(group):
        return f"{text}: it comes with the ingress controller {controller}; add that to ingress.controllers"
    return f"{text}; ensure CRDs are installed first: add the file with its CustomResourceDefinition with -f"


# What is known, but has no effect.


def _warnings(manifest: Manifest, registry: Registry) -> Iterator[Problem]:
    obj = manifest.object
    kind = _known(registry, obj["apiVersion"], obj["kind"])
    if kind is None:
        return
    for path, why in not_emulated(kind, obj):
        yield manifest.problem(path, why)


def not_emulated(kind: Kind, obj: Object) -> Iterator[tuple[str, str]]:
    """Yield (field path, sentence) for what an object asks for and doesn't get; path "" is the object itself."""
    if not kind.emulated:
        yield "", f"kind {kind.kind} is stored without effect here"
    for pattern, why in kind.unsupported.items():
        if (path := next(values_at(obj, pattern), None)) is not None:
            yield path, f"is not emulated: {why}"
    if kind.advice is not None:
        yield from kind.advice(obj)


_STEP = re.compile(r"([^.\[\]]+)|(\[\])")


def values_at(obj: Object, pattern: str) -> Iterator[str]:
    """Return the paths that a pattern of `Kind.unsupported` finds in an object: `spec.containers[].image`, `a.b=c`."""
    path, equals, wanted = pattern.partition("=")
    steps = [found.group() for found in _STEP.finditer(path)]
    for at, value in _walk(obj, steps, ""):
        if (equals and str(value) == wanted) or (not equals and value not in (None, "", False) and value != {}):
            yield at


def _walk(value: Any, steps: Sequence[str], path: str) -> Iterator[tuple[str, Any]]:
    if not steps:
        yield path, value
    elif steps[0] == "[]":
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from _walk(item, steps[1:], f"{path}[{index}]")
    elif isinstance(value, dict) and steps[0] in value:
        yield from _walk(value[steps[0]], steps[1:], f"{path}.{steps[0]}" if path else steps[0])
