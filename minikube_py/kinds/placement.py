"""Whether a pod may be on a node: taints and tolerations, node selectors, required node affinity.

Stands for k8s.io/component-helpers/scheduling/corev1, which the scheduler, the DaemonSet controller and the node
lifecycle controller share. Leaves out what needs other pods (affinity among pods, spread, resources).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Operator, Requirement

__all__ = ["matches_node", "matches_term", "tolerates", "toleration_for", "untolerated"]

Taint = Mapping[str, Any]
Toleration = Mapping[str, Any]


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Tell whether one toleration covers one taint.

    Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
    """
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def toleration_for(tolerations: Iterable[Toleration], taint: Taint) -> Toleration | None:
    """Return the first toleration that covers the taint."""
    return next((toleration for toleration in tolerations if tolerates(toleration, taint)), None)


def untolerated(
    taints: Sequence[Taint], tolerations: Sequence[Toleration], effects: tuple[str, ...] = ("NoSchedule", "NoExecute")
) -> Taint | None:
    """Return the first taint with one of `effects` that no toleration covers."""
    for taint in taints:
        if taint.get("effect") in effects and toleration_for(tolerations, taint) is None:
            return taint
    return None


def _requirements_match(terms: Iterable[Mapping[str, Any]], values: Mapping[str, str]) -> bool:
    return all(
        Requirement(term["key"], Operator(term["operator"]), frozenset(term.get("values") or ())).matches(values)
        for term in terms
    )


def matches_term(term: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """Tell whether a nodeSelectorTerm selects the node; an empty term selects none."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return _requirements_match(expressions, meta.labels(node)) and _requirements_match(
        fields, {"metadata.name": meta.name(node)}
    )


def matches_node(pod_spec: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """Tell whether nodeSelector and required node affinity let the pod on the node (terms are ORed)."""
    labels = meta.labels(node)
    for key, value in (pod_spec.get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(matches_term(term, node) for term in required.get("nodeSelectorTerms") or ())
