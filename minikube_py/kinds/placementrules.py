"""Where a pod may run, as far as it says so: tolerations, affinity, topology spread constraints, in Kubernetes' words.

Stands for the scheduling part of ValidatePodSpec of pkg/apis/core/validation.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.apimachinery import errors, names
from minikube_py.kinds import rules
from minikube_py.kinds.rules import Errors

__all__ = ["affinity", "tolerations", "topology_spread"]

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NODE_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


def tolerations(given: Iterable[Mapping[str, Any]], path: str) -> Errors:
    for index, toleration in enumerate(given):
        at = f"{path}[{index}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
        if key:
            yield from rules.label_key(key, f"{at}.key")
        elif operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield errors.invalid_value(f"{at}.operator", operator, why)
        if operator == "Exists" and toleration.get("value"):
            yield errors.invalid_value(f"{at}.operator", operator, "value must be empty when `operator` is 'Exists'")
        elif operator == "Equal":
            for why in names.label_value_errors(toleration.get("value") or ""):
                yield errors.invalid_value(f"{at}.operator", toleration.get("value"), why)
        elif operator != "Exists":
            yield errors.not_supported(f"{at}.operator", operator, ("Equal", "Exists"))
        yield from rules.one_of(toleration.get("effect"), f"{at}.effect", _EFFECTS)
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield errors.invalid_value(f"{at}.effect", toleration.get("effect", ""), why)


def affinity(given: Mapping[str, Any], path: str) -> Errors:
    node = given.get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None:
        at = f"{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
        terms = required.get("nodeSelectorTerms") or ()
        if not terms:
            yield errors.required(f"{at}.nodeSelectorTerms", "must have at least one node selector term")
        for index, term in enumerate(terms):
            yield from _node_term(term, f"{at}.nodeSelectorTerms[{index}]")
    for index, preferred in enumerate(node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        at = f"{path}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        yield from _weight(preferred, at)
        yield from _node_term(preferred.get("preference") or {}, f"{at}.preference")
    for kind in ("podAffinity", "podAntiAffinity"):
        value = given.get(kind) or {}
        for index, term in enumerate(value.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
            yield from _pod_term(term, f"{path}.{kind}.requiredDuringSchedulingIgnoredDuringExecution[{index}]")
        for index, preferred in enumerate(value.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
            at = f"{path}.{kind}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            yield from _weight(preferred, at)
            yield from _pod_term(preferred.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")


def _weight(preferred: Mapping[str, Any], at: str) -> Errors:
    weight = preferred.get("weight", 0)
    if not 1 <= weight <= 100:
        yield errors.invalid_value(f"{at}.weight", weight, "must be in the range 1-100")


def _node_term(term: Mapping[str, Any], path: str) -> Errors:
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        operator, values = requirement.get("operator", ""), requirement.get("values") or ()
        yield from rules.label_key(requirement.get("key", ""), f"{at}.key")
        if operator not in _NODE_OPERATORS:
            yield errors.invalid_value(f"{at}.operator", operator, "not a valid selector operator")
        elif operator in ("In", "NotIn") and not values:
            yield errors.required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist") and values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield errors.forbidden_field(f"{at}.values", why)
        elif operator in ("Gt", "Lt") and len(values) != 1:
            yield errors.required(f"{at}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")


def _pod_term(term: Mapping[str, Any], path: str) -> Errors:
    yield from rules.label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    yield from rules.label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    if not term.get("topologyKey"):
        yield errors.required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from rules.label_key(term["topologyKey"], f"{path}.topologyKey")


def topology_spread(constraints: Iterable[Mapping[str, Any]], path: str) -> Errors:
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        skew = constraint.get("maxSkew", 0)
        if skew <= 0:
            yield errors.invalid_value(f"{at}.maxSkew", skew, "must be greater than zero")
        key, unsatisfiable = constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""
        if not key:
            yield errors.required(f"{at}.topologyKey", "can not be empty")
        if unsatisfiable not in ("DoNotSchedule", "ScheduleAnyway"):
            supported = ("DoNotSchedule", "ScheduleAnyway")
            yield errors.not_supported(f"{at}.whenUnsatisfiable", unsatisfiable, supported)
        if (key, unsatisfiable) in seen:
            yield errors.duplicate(at, f"{{{key}, {unsatisfiable}}}")
        seen.add((key, unsatisfiable))
        yield from rules.label_selector(constraint.get("labelSelector"), f"{at}.labelSelector")
