"""What `kubectl apply` computes: the patch from what was applied last, what is wanted, and what is there.

Fields that the manifest sets are set; fields that the *last* manifest set and this one leaves out are removed; all
else (defaults, other writers' fields, status) stays. Lists with a merge key are compared element by element.
Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/#how-apply-calculates-differences-and-merges-changes
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object

__all__ = ["LAST_APPLIED", "MergeKey", "deletions", "with_last_applied"]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

MergeKey = Callable[[tuple[str, ...]], str | None]
"""Path of field names (no indexes) → the merge key of the list there; None for atomic lists."""


def with_last_applied(obj: Object) -> Object:
    """Return the manifest with kubectl's annotation, so that `kubectl apply` of the same file says "unchanged"."""
    metadata = obj.get("metadata") or {}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != LAST_APPLIED}
    # To the byte as kubectl writes it: always with annotations, compact, sorted, with Go's escapes for HTML.
    applied = {**obj, "metadata": {**metadata, "annotations": annotations}}
    text = json.dumps(applied, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return {**obj, "metadata": {**metadata, "annotations": {**annotations, LAST_APPLIED: text}}}


def last_applied(live: Mapping[str, Any]) -> Object:
    """Return the manifest of the last apply; empty if there was none."""
    text = meta.annotations(live).get(LAST_APPLIED)
    found: Object = json.loads(text) if text else {}
    return found


def deletions(last: Any, wanted: Any, merge_key: MergeKey, path: tuple[str, ...] = ()) -> Any:
    """Return `wanted` as a strategic merge patch that also removes what `last` had and `wanted` leaves out."""
    if isinstance(wanted, dict):
        if not isinstance(last, dict):
            return wanted
        patch = {k: deletions(last.get(k), v, merge_key, (*path, k)) for k, v in wanted.items()}
        patch.update({k: None for k in last if k not in wanted})
        return patch
    if isinstance(wanted, list) and isinstance(last, list) and (key := merge_key(path)):
        before = {item.get(key): item for item in last if isinstance(item, dict)}
        now = {item.get(key) for item in wanted if isinstance(item, dict)}
        return [
            *(deletions(before.get(item.get(key)), item, merge_key, path) for item in wanted),
            *({key: gone, "$patch": "delete"} for gone in before if gone not in now),
        ]
    return wanted
