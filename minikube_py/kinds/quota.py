"""What objects use of a ResourceQuota: the arithmetic that admission and the quota's controller share.

Stands for pkg/quota/v1/evaluator/core. Leaves out dynamic resource allocation and VolumeAttributesClass.
Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from minikube_py.apimachinery import meta, quantities
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podresources

__all__ = ["applies", "missing", "resource_of", "text", "usage"]

_COUNTED = frozenset(
    ("configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services")
)
_STORAGE_CLASS = ".storageclass.storage.k8s.io/"
_SHORT = ("cpu", "memory", "ephemeral-storage")
"""Compute resources whose request may be written without `requests.`"""
_COMPUTE = frozenset(("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"))
"""What every container has to say once a quota limits it."""


def resource_of(name: str) -> str:
    """Return the resource whose objects use the quota's `name`: `limits.cpu` is of pods."""
    if name.startswith("count/"):
        return name.removeprefix("count/")
    if name in _COUNTED:
        return name
    if name.startswith("services."):
        return "services"
    return "persistentvolumeclaims" if name == "requests.storage" or _STORAGE_CLASS in name else "pods"


def usage(resource: str, obj: Object) -> dict[str, Fraction]:
    """Return what this one object uses, by the names that a quota may limit."""
    used = {f"count/{resource}": Fraction(1)}
    if resource == "pods" and meta.status(obj).get("phase") in ("Succeeded", "Failed"):
        return used
    if resource in _COUNTED:
        used[resource] = Fraction(1)
    match resource:
        case "pods":
            used |= _compute(
                podresources.amounts(meta.spec(obj), "requests"), podresources.amounts(meta.spec(obj), "limits")
            )
        case "services":
            used |= _service(meta.spec(obj))
        case "persistentvolumeclaims":
            spec = meta.spec(obj)
            size = quantities.quantity(((spec.get("resources") or {}).get("requests") or {}).get("storage", 0))
            used["requests.storage"] = size
            if class_name := spec.get("storageClassName"):
                used[f"{class_name}{_STORAGE_CLASS}requests.storage"] = size
                used[f"{class_name}{_STORAGE_CLASS}persistentvolumeclaims"] = Fraction(1)
    return used


def _compute(requests: Mapping[str, Fraction], limits: Mapping[str, Fraction]) -> dict[str, Fraction]:
    used = {f"requests.{name}": amount for name, amount in requests.items()}
    used |= {name: amount for name, amount in requests.items() if name in _SHORT}
    return used | {f"limits.{name}": amount for name, amount in limits.items()}


def _service(spec: Mapping[str, Any]) -> dict[str, Fraction]:
    ports = spec.get("ports") or ()
    match spec.get("type"):
        case "NodePort":
            return {"services.nodeports": Fraction(len(ports))}
        case "LoadBalancer":
            if spec.get("allocateLoadBalancerNodePorts") is False:
                ports = [port for port in ports if port.get("nodePort")]
            return {"services.loadbalancers": Fraction(1), "services.nodeports": Fraction(len(ports))}
    return {}


def missing(hard: Iterable[str], pod: Object) -> str:
    """Say which containers don't specify what the quota limits: `limits.cpu for: web`; "": all do."""
    wanted = _COMPUTE.intersection(hard)
    if not wanted:
        return ""
    lacking: dict[str, set[str]] = {}
    spec = meta.spec(pod)
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container.get("resources") or {}
        given = _compute(
            *({name: Fraction(0) for name in resources.get(group) or ()} for group in ("requests", "limits"))
        )
        for name in wanted - given.keys():
            lacking.setdefault(name, set()).add(container["name"])
    return "; ".join(f"{name} for: {','.join(sorted(containers))}" for name, containers in sorted(lacking.items()))


def applies(quota: Object, resource: str, obj: Object) -> bool:
    """Tell whether the quota's scopes (which are about pods) let it count this object."""
    spec = meta.spec(quota)
    terms: list[Mapping[str, Any]] = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return not terms or (resource == "pods" and all(_in_scope(term, meta.spec(obj)) for term in terms))


def _in_scope(term: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    best_effort = not any(
        (container.get("resources") or {}).get(group)
        for field in ("containers", "initContainers")
        for container in spec.get(field) or ()
        for group in ("requests", "limits")
    )
    match term["scopeName"]:
        case "Terminating":
            return (spec.get("activeDeadlineSeconds") or -1) >= 0
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return best_effort
        case "NotBestEffort":
            return not best_effort
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(spec)
        case _:
            name, values = spec.get("priorityClassName") or "", term.get("values") or ()
            match term.get("operator"):
                case "In":
                    return name in values
                case "NotIn":
                    return name not in values
                case "DoesNotExist":
                    return not name
                case _:
                    return bool(name)


def _crosses_namespaces(spec: Mapping[str, Any]) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = [*(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())]
        preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [term.get("podAffinityTerm") or {} for term in preferred]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def text(name: str, amount: Fraction) -> str:
    return quantities.text(amount, binary="memory" in name or "storage" in name)
