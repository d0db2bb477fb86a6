"""Why pods don't come to be at all, and claims not to a volume: what only events of other objects tell."""

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apimachinery.quantities import quantity
from minikube_py.client.api import View
from minikube_py.scheduler.pods import requests_of

__all__ = ["Finding", "last_event", "placement_fix", "workload_problems"]

Finding = tuple[str, Object, str]
"""Code, object, text."""

_WORKLOADS = ("deployments.apps", "statefulsets.apps", "daemonsets.apps", "replicasets.apps")


def workload_problems(view: View) -> Iterator[Finding]:
    """Yield workloads whose pods the API server refuses, and claims that wait for a volume."""
    for resource in (*_WORKLOADS[1:], "jobs.batch"):
        for owner in view.list(resource):
            if _lacks_pods(owner) and (event := last_event(view, owner, "FailedCreate")) is not None:
                yield "MK115", owner, f"can't create its pods: {event['message']}{_account_fix(event['message'])}"
    yield from _ended(view)
    for claim in view.list("persistentvolumeclaims"):
        if meta.status(claim).get("phase") == "Bound" or meta.terminating(claim):
            continue
        for reason in ("ProvisioningFailed", "FailedBinding"):
            if (event := last_event(view, claim, reason)) is not None:
                yield "MK116", claim, f"has no volume: {event['message']}{_class_fix(view, claim)}"
                break


def _ended(view: View) -> Iterator[Finding]:
    """Yield Jobs that have failed, and nodes that have gone."""
    for job in view.list("jobs.batch"):
        for condition in _true(job, "Failed"):
            name = meta.name(job)
            said = f"{condition.get('reason')}: {condition.get('message')}"
            yield "MK117", job, f"has failed: {said}; its log: kubectl logs -n {meta.namespace(job)} job/{name}"
    for node in view.list("nodes"):
        ready = next((c for c in meta.status(node).get("conditions") or () if c["type"] == "Ready"), None)
        if ready is not None and ready["status"] != "True":
            message = ready.get("message") or ready.get("reason")
            yield "MK118", node, f"is NotReady: {message}. Its pods get no traffic and are moved to other nodes later"


def _true(obj: Object, type_: str) -> Iterator[Object]:
    return (c for c in meta.status(obj).get("conditions") or () if c["type"] == type_ and c["status"] == "True")


def last_event(view: View, obj: Object, reason: str) -> Object | None:
    """Return the last event about an object with this reason."""
    events = [
        event
        for event in view.list("events", meta.namespace(obj))
        if event.get("reason") == reason and event["involvedObject"].get("uid") == meta.uid(obj)
    ]
    return events[-1] if events else None


def _lacks_pods(owner: Object) -> bool:
    spec, status = meta.spec(owner), meta.status(owner)
    if owner["kind"] == "DaemonSet":
        return bool(status.get("desiredNumberScheduled", 0) > status.get("currentNumberScheduled", 0))
    if owner["kind"] == "Job":
        ended = any(c["type"] in ("Complete", "Failed") for c in status.get("conditions") or ())
        return not ended and not status.get("active") and not spec.get("suspend")
    wanted = spec.get("replicas")
    return bool((1 if wanted is None else wanted) > status.get("replicas", 0))


def _account_fix(message: str) -> str:
    if "error looking up service account" not in message:
        return ""
    return ". Fix: create the ServiceAccount, or leave serviceAccountName out"


def _class_fix(view: View, claim: Object) -> str:
    wanted = meta.spec(claim).get("storageClassName")
    classes = sorted(meta.name(known) for known in view.list("storageclasses.storage.k8s.io"))
    if not wanted or wanted in classes:
        return ""
    return (
        f"; the classes here: {', '.join(classes) or 'none'}. Fix: leave storageClassName out, or add a StorageClass "
        f"{wanted} with provisioner: k8s.io/minikube-hostpath"
    )


def placement_fix(view: View, pod: Object) -> str:
    """Return what to do for a pod that no node suits: labels that none has, resources that none has; "" for others."""
    nodes = view.list("nodes")
    example = next((meta.name(node) for node in reversed(nodes)), "NODE")
    for key, value in _wanted_labels(meta.spec(pod)):
        having = [meta.labels(node)[key] for node in nodes if key in meta.labels(node)]
        if value is None and not having:
            return f". No node has a label {key}. Fix: kubectl label node {example} {key}=VALUE"
        if value is not None and value not in having:
            return f". No node is labelled {key}={value}. Fix: kubectl label node {example} {key}={value}"
    for name, asked in requests_of(meta.spec(pod)).items():
        offers = [
            offer for node in nodes if (offer := (meta.status(node).get("allocatable") or {}).get(name)) is not None
        ]
        if all(quantity(offer) * (1000 if name == "cpu" else 1) < asked for offer in offers):
            most = f"none has more than {max(offers, key=quantity)}" if offers else "none offers it"
            return f". Of what it requests in {name}, {most}. Fix: lower resources.requests.{name}"
    return ""


def _wanted_labels(spec: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Yield labels that a node must have; None where any value does."""
    yield from (spec.get("nodeSelector") or {}).items()
    for constraint in spec.get("topologySpreadConstraints") or ():
        if constraint.get("whenUnsatisfiable") == "DoNotSchedule":
            yield constraint["topologyKey"], None
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms: list[Any] = required.get("nodeSelectorTerms") or []
    for expression in terms[0].get("matchExpressions") or () if len(terms) == 1 else ():
        values: list[str] = expression.get("values") or []
        if expression["operator"] == "Exists" or (expression["operator"] == "In" and len(values) == 1):
            yield expression["key"], values[0] if values else None
