"""Why a Service selects nothing: its pods' workload has none, or nothing has the labels at all. Pure."""

from collections.abc import Iterator, Mapping

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View
from minikube_py.cluster.workload_problems import last_event

__all__ = ["selects_nothing"]

_MAKERS = (
    "deployments.apps", "statefulsets.apps", "daemonsets.apps", "replicasets.apps", "replicationcontrollers",
    "cronjobs.batch", "jobs.batch",
)  # fmt: skip
"""What makes pods from a template; owners before what they own."""


def selects_nothing(view: View, namespace: str, selector: Mapping[str, str]) -> str:
    """Say why no pod of a namespace has these labels, and what to do.

    1. A workload whose template has them: the selector is right, the pods are missing. What keeps them away?
    2. Pods of another namespace have them: a selector never crosses namespaces.
    3. A label differs by a slip of the pen: that value is meant. Anything farther is another app's.
    """
    wanted = ",".join(f"{key}={value}" for key, value in selector.items())
    matching = Selector.from_map(dict(selector))
    for owner in _makers(view, namespace):
        if matching.matches(_template_labels(owner)):
            return (
                f"selects {wanted}; {owner['kind']} {meta.name(owner)}, whose pods would match, {_lacking(view, owner)}"
            )
    if elsewhere := sorted({meta.namespace(pod) for pod in view.list("pods", None, matching)}):
        return (
            f"selects {wanted}; such pods exist, but in namespace {elsewhere[0]}. A selector never crosses namespaces"
        )
    known = [meta.labels(pod) for pod in view.list("pods", namespace)]
    known += [_template_labels(owner) for owner in _makers(view, namespace)]
    for key, value in selector.items():
        values = sorted({labels[key] for labels in known if key in labels})
        if value not in values and (slips := [each for each in values if _slip(value, each)]):
            return (
                f"selects {wanted}; no pod in namespace {namespace} has that. "
                f"Closest: {key}={slips[0]}. Fix: spec.selector.{key}: {slips[0]}"
            )
    return f"selects {wanted}; no pod or workload in namespace {namespace} has these labels"


def _makers(view: View, namespace: str) -> Iterator[Object]:
    for resource in _MAKERS:
        yield from view.list(resource, namespace)


def _template_labels(owner: Object) -> Mapping[str, str]:
    spec = meta.spec(owner)
    if owner["kind"] == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}


def _lacking(view: View, owner: Object) -> str:
    """Say why a workload has no pods."""
    spec, kind = meta.spec(owner), owner["kind"]
    at = f"-n {meta.namespace(owner)} {kind.lower()}/{meta.name(owner)}"
    if spec.get("replicas") == 0:
        return f"has spec.replicas: 0. Fix: kubectl scale {at} --replicas=1"
    if kind == "CronJob":
        return f"has a pod only while it runs (schedule {spec.get('schedule')})"
    if spec.get("suspend"):
        return "is suspended (spec.suspend: true)"
    own = [owner, *(rs for rs in view.list("replicasets.apps", meta.namespace(owner)) if _owned(rs, owner))]
    for each in own:
        if (event := last_event(view, each, "FailedCreate")) is not None:
            return f"has 0 pods: {event['message']}"
    conditions = {c["type"]: c for each in own for c in meta.status(each).get("conditions") or ()}
    for type_, bad in (("ReplicaFailure", "True"), ("Failed", "True"), ("Progressing", "False")):
        if (found := conditions.get(type_)) and found["status"] == bad:
            return f"has 0 pods: {found.get('message') or found.get('reason')}"
    if "Complete" in conditions:
        return "has ended: its pods are gone"
    if spec.get("paused"):
        return f"is paused and has 0 pods. Fix: kubectl rollout resume {at}"
    if kind == "DaemonSet" and meta.status(owner).get("desiredNumberScheduled") == 0:
        return "has 0 pods: no node suits it (nodeSelector, affinity, taints)"
    return "has no pods yet"


def _owned(obj: Object, owner: Object) -> bool:
    return (meta.controller_of(obj) or {}).get("uid") == meta.uid(owner)


def _slip(written: str, known: str) -> bool:
    """Tell whether one value may be a slip for the other: a letter or two (adjacent ones swapped count as one), or a
    word with `-` left out at its end (`api`, `api-v1`). Numbers that differ are meant.
    """
    short, long = sorted((written, known), key=len)
    if long.startswith(f"{short}-"):
        return True
    if [c for c in short if c.isdigit()] != [c for c in long if c.isdigit()]:
        return False
    return _edits(short, long) <= (1 if len(short) < 5 else 2)


def _edits(a: str, b: str) -> int:
    """Return the optimal string alignment distance."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], older[j - 2] + 1)
    return row[-1]
