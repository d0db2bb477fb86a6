"""The sub-resource `pods/eviction`: delete a pod, unless a PodDisruptionBudget forbids it now (429).

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from collections.abc import Sequence
from typing import Any

from minikube_py.apimachinery import errors, labels, meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations

__all__ = ["evict"]

_BUDGETS = "poddisruptionbudgets.policy"


def evict(operations: Operations, namespace: str, name: str, eviction: Object, *, dry_run: bool = False) -> Object:
    """Evict a pod; return the Status of success.

    Error handling: 404 for no such pod, 429 when its budget is used up, 500 when it has several budgets.
    """
    pod = operations.get("pods", name, namespace)
    if pod is None:
        raise errors.not_found("pods", name)
    options: Any = eviction.get("deleteOptions") or {}
    dry_run = dry_run or "All" in (options.get("dryRun") or ())
    if not _needs_no_budget(pod):
        budgets = _budgets(operations, pod)
        if len(budgets) > 1:
            raise errors.internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            )
        if budgets and not _unready_may_go(budgets[0], pod):
            _spend(operations, budgets[0], pod, dry_run=dry_run)
    if not dry_run:
        _mark(operations, pod)
    preconditions = options.get("preconditions") or {}
    operations.delete(
        "pods",
        name,
        namespace,
        grace_period=options.get("gracePeriodSeconds"),
        propagation=options.get("propagationPolicy") or "Background",
        uid=preconditions.get("uid"),
        dry_run=dry_run,
    )
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _needs_no_budget(pod: Object) -> bool:
    return meta.terminating(pod) or meta.status(pod).get("phase") in ("Pending", "Succeeded", "Failed")


def _budgets(operations: Operations, pod: Object) -> Sequence[Object]:
    return [
        budget
        for budget in operations.list(_BUDGETS, meta.namespace(pod))
        if labels.matches(meta.spec(budget).get("selector"), meta.labels(pod))
    ]


def _unready_may_go(budget: Object, pod: Object) -> bool:
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in meta.status(pod).get("conditions", ()))
    if ready:
        return False
    if meta.spec(budget).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = meta.status(budget)
    return bool(status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0)


def _spend(operations: Operations, budget: Object, pod: Object, *, dry_run: bool) -> None:
    status = meta.status(budget)
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _refused(budget, f"The disruption budget {meta.name(budget)} is still being processed by the server.")
    if status.get("disruptionsAllowed", 0) <= 0:
        raise _refused(
            budget,
            f"The disruption budget {meta.name(budget)} needs {status.get('desiredHealthy', 0)} healthy pods and has "
            f"{status.get('currentHealthy', 0)} currently",
        )
    if dry_run:
        return

    def spend(obj: Object) -> None:
        obj["status"]["disruptionsAllowed"] -= 1
        obj["status"].setdefault("disruptedPods", {})[meta.name(pod)] = operations.now()

    operations.modify(_BUDGETS, meta.name(budget), meta.namespace(budget), spend, subresource="status")


def _refused(budget: Object, why: str) -> StatusError:
    error = errors.too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.")
    error.details = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    return error


def _mark(operations: Operations, pod: Object) -> None:
    def mark(obj: Object) -> None:
        conditions = [c for c in obj.setdefault("status", {}).get("conditions", ()) if c["type"] != "DisruptionTarget"]
        obj["status"]["conditions"] = [
            *conditions,
            {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
                "lastProbeTime": None,
                "lastTransitionTime": operations.now(),
            },
        ]

    operations.modify("pods", meta.name(pod), meta.namespace(pod), mark, subresource="status")
