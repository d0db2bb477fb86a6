"""What every controller of pods needs to know about them: readiness, activity, templates, who goes first.

Source: k8s.io/kubernetes/pkg/controller/controller_utils.go and pkg/api/v1/pod.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.aiokit.clock import timestamp
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Event, Soon, Update, View
from minikube_py.client.api import Change

__all__ = [
    "active",
    "available",
    "claim",
    "condition",
    "controller_key",
    "finished",
    "from_template",
    "owned",
    "pace",
    "ready",
    "selector_of",
    "set_condition",
    "tells",
    "to_delete_first",
]


def condition(obj: Mapping[str, Any], type_: str) -> Mapping[str, Any] | None:
    """Return the status condition of that type."""
    for found in (obj.get("status") or {}).get("conditions") or ():
        if found["type"] == type_:
            return found  # type: ignore[no-any-return]  # JSON
    return None


def set_condition(conditions: Sequence[Object], new: Object) -> list[Object]:
    """Return the conditions with `new` in place of its type; an unchanged status keeps its lastTransitionTime."""
    result = []
    replaced = False
    for old in conditions:
        if old["type"] != new["type"]:
            result.append(old)
            continue
        replaced = True
        if all(old.get(field) == new.get(field) for field in ("status", "reason", "message", "observedGeneration")):
            result.append(old)
        elif old["status"] == new["status"]:
            result.append({**new, "lastTransitionTime": old.get("lastTransitionTime", new.get("lastTransitionTime"))})
        else:
            result.append(new)
    return result if replaced else [*result, new]


def ready(pod: Mapping[str, Any]) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found["status"] == "True"


def finished(pod: Mapping[str, Any]) -> bool:
    return meta.status(pod).get("phase") in ("Succeeded", "Failed")


def active(pod: Mapping[str, Any]) -> bool:
    """A pod that counts as a replica: neither finished nor going away."""
    return not finished(pod) and not meta.terminating(pod)


def available(pod: Mapping[str, Any], min_ready: float, now: float) -> tuple[bool, float]:
    """Tell whether the pod has been ready for `min_ready` seconds, and in how many seconds it will have been."""
    found = condition(pod, "Ready")
    if found is None or found["status"] != "True":
        return False, 0.0
    if not min_ready:
        return True, 0.0
    wait = timestamp(found.get("lastTransitionTime")) + min_ready - now
    return wait <= 0, max(wait, 0.0)


def from_template(
    template: Mapping[str, Any],
    owner: Object,
    *,
    name: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Object:
    """Return the pod that a controller creates from its template; without `name`, one is generated from the owner's."""
    given = template.get("metadata") or {}
    metadata: Object = {
        "namespace": meta.namespace(owner),
        "labels": {**(given.get("labels") or {}), **(labels or {})},
        "ownerReferences": [meta.owner_reference(owner)],
    }
    if name:
        metadata["name"] = name
    metadata["generateName"] = f"{meta.name(owner)}-"
    if all_annotations := {**(given.get("annotations") or {}), **(annotations or {})}:
        metadata["annotations"] = all_annotations
    if given.get("finalizers"):
        metadata["finalizers"] = list(given["finalizers"])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec or template.get("spec") or {}}


def controller_key(obj: Mapping[str, Any], kind: str) -> Key | None:
    """Return the key of the object's controller if it is of this kind."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return Key(meta.namespace(obj), reference["name"]) if reference["kind"] == kind else None
    return None


def tells(event: Event) -> bool:
    """Whether a pod's change is more than counting: it came, is going, has finished, or changed its labels."""
    old, new = event.old, event.object
    if event.change is Change.DELETED:
        return active(new)  # one that was going already left a hole that is filled already
    return (
        old is None
        or meta.terminating(old) != meta.terminating(new)
        or meta.labels(old) != meta.labels(new)
        or (meta.status(old).get("phase") != meta.status(new).get("phase") and finished(new))
    )


def pace(size: int) -> float:
    """Return the seconds within which news of one of `size` members may wait: a look at all costs that much more."""
    return 0.001 + size * 0.00005


def owned(event: Event, view: View, kind: str, resource: str) -> Iterable[Key | Soon]:
    """Return the controllers of that kind for which a pod's event matters: its own, or those that might adopt it."""
    key = controller_key(event.object, kind)
    old_key = controller_key(event.old, kind) if event.old is not None else key
    if old_key is not None and old_key != key:
        yield old_key
    if key is not None:
        if tells(event):
            yield key
        else:
            owner = view.get(resource, key.name, key.namespace)
            yield Soon(key, pace(int(meta.spec(owner).get("replicas") or 0) if owner else 0))
    elif not any(reference.get("controller") for reference in event.object["metadata"].get("ownerReferences") or ()):
        if meta.terminating(event.object) or event.change is Change.DELETED or not tells(event):
            return
        labels = meta.labels(event.object)
        for candidate in view.list(resource, event.key.namespace):
            selector = meta.spec(candidate).get("selector")
            if selector and selector_of(selector).matches(labels):
                yield meta.key(candidate)


def selector_of(selector: Mapping[str, Any] | None) -> Selector:
    """Compile a LabelSelector or, as ReplicationControllers have it, a plain map."""
    if selector and "matchLabels" not in selector and "matchExpressions" not in selector:
        return Selector.from_map(selector)
    return Selector.from_object(selector)


def claim(owner: Object, resource: str, view: View, selector: Selector) -> tuple[list[Object], list[Action]]:
    """Return what the owner controls, adopting orphans that match and releasing what no longer does.

    Source: controller_ref_manager.go. Matching means the selector; a terminating owner adopts nothing.
    """
    uid = meta.uid(owner)
    mine: list[Object] = []
    actions: list[Action] = []
    going = meta.terminating(owner)
    owned = view.owned_by(uid, resource)
    matching = view.list(resource, meta.namespace(owner), selector) if selector.requirements else ()
    kept: set[str] = set()
    for obj in matching:
        references = obj["metadata"].get("ownerReferences") or []
        controller = next((r["uid"] for r in references if r.get("controller")), None)
        if controller == uid:
            kept.add(obj["metadata"]["uid"])
            mine.append(obj)
        elif controller is None and not going and not meta.terminating(obj):
            adopted = meta.with_owners(obj, [*references, meta.owner_reference(owner)])
            actions.append(Update(adopted))
            mine.append(adopted)
    if len(kept) < len(owned) and not going:
        for obj in owned:
            references = obj["metadata"]["ownerReferences"]
            if meta.uid(obj) in kept or meta.terminating(obj):
                continue
            if any(r["uid"] == uid and r.get("controller") for r in references):
                actions.append(Update(meta.with_owners(obj, [r for r in references if r["uid"] != uid])))
    return mine, actions


def to_delete_first(pods: Sequence[Object]) -> list[Object]:
    """Return the pods in the order in which a shrinking ReplicaSet gives them up.

    1. without a node   2. Pending, then Unknown   3. not ready   4. lower pod-deletion-cost
    5. more of them on one node   6. ready for a shorter time   7. more restarts   8. younger
    Source: ActivePodsWithRanks in controller_utils.go.
    """
    per_node: dict[str, int] = {}
    for pod in pods:
        node = meta.spec(pod).get("nodeName") or ""
        per_node[node] = per_node.get(node, 0) + 1
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}

    def rank(item: tuple[int, Object]) -> tuple[object, ...]:
        index, pod = item
        spec, status = meta.spec(pod), meta.status(pod)
        is_ready = ready(pod)
        since = timestamp((condition(pod, "Ready") or {}).get("lastTransitionTime")) if is_ready else 0.0
        restarts = sum(c.get("restartCount", 0) for c in status.get("containerStatuses") or ())
        return (
            bool(spec.get("nodeName")),
            phases.get(status.get("phase", "Pending"), 0),
            is_ready,
            _cost(pod),
            -per_node[spec.get("nodeName") or ""],
            -since,
            -restarts,
            -index,
        )

    return [pod for _, pod in sorted(enumerate(pods), key=rank)]


def _cost(pod: Object) -> int:
    try:
        return int(meta.annotations(pod).get("controller.kubernetes.io/pod-deletion-cost", "0"))
    except ValueError:
        return 0
