"""ControllerRevisions: the history of StatefulSets and DaemonSets, and the template hash all workloads share.

Source: k8s.io/kubernetes/pkg/controller/history.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.client import Action, Create, Delete, Update, View
from minikube_py.controllers import pods

__all__ = ["HASH_LABEL", "compact", "history", "template_hash", "templates_equal"]

HASH_LABEL = "controller-revision-hash"
_RESOURCE = "controllerrevisions.apps"


def compact(value: Any) -> Any:
    """Drop what is null, empty or only a creationTimestamp: two writings of one template compare equal."""
    if isinstance(value, dict):
        result = {k: compact(v) for k, v in value.items() if k != "creationTimestamp"}
        return {k: v for k, v in result.items() if v is not None and v != {} and v != []}
    if isinstance(value, list):
        return [compact(item) for item in value]
    return value


def template_hash(template: Mapping[str, Any], collisions: int = 0) -> str:
    """Return the short hash of a pod template as the API server has defaulted it."""
    return names.template_hash(compact(template), collisions)


def templates_equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Compare two templates but for the hash label that a controller added."""
    one, other = _bare(a), _bare(b)
    return one == other or bool(compact(one) == compact(other))


def _bare(template: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = template.get("metadata") or {}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != "pod-template-hash"}
    return {**template, "metadata": {**metadata, "labels": labels}}


def history(owner: Object, view: View, in_use: Sequence[str]) -> tuple[Object, Object, list[Object], list[Action]]:
    """Return (current, update, all, actions) of an owner's ControllerRevisions.

    `update` is the revision of the template as it is now: a new one, or an old one raised to the newest number
    (that is a rollback). `current` is the one that status.currentRevision names, else `update`. Revisions that a
    predecessor of the same name orphaned are adopted. Revisions beyond
    revisionHistoryLimit that no name in `in_use` needs are deleted.
    """
    template = owner["spec"]["template"]
    collisions = meta.status(owner).get("collisionCount") or 0
    known, actions = pods.claim(owner, _RESOURCE, view, pods.selector_of(owner["spec"]["selector"]))
    known.sort(key=lambda revision: int(revision["revision"]))
    newest = int(known[-1]["revision"]) if known else 0
    update = next((revision for revision in reversed(known) if _same(revision, template)), None)
    if update is None:
        name = f"{meta.name(owner)}-{template_hash(template, collisions)}"
        while view.get(_RESOURCE, name, meta.namespace(owner)) is not None:  # another template, or another's revision
            collisions += 1
            name = f"{meta.name(owner)}-{template_hash(template, collisions)}"
        hash_ = name.removeprefix(f"{meta.name(owner)}-")
        update = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": name,
                "namespace": meta.namespace(owner),
                "labels": {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: hash_},
                "ownerReferences": [meta.owner_reference(owner)],
            },
            "data": {"spec": {"template": {**template, "$patch": "replace"}}},
            "revision": newest + 1,
        }
        actions.append(Create(update, about=owner))
        known.append(update)
    elif int(update["revision"]) < newest:
        raised = {**update, "revision": newest + 1}
        actions = [action for action in actions if not (isinstance(action, Update) and action.object is update)]
        actions.append(Update(raised))
        known[known.index(update)] = raised
        known.sort(key=lambda revision: int(revision["revision"]))
        update = raised
    wanted = meta.status(owner).get("currentRevision")
    current = next((revision for revision in known if meta.name(revision) == wanted), update)
    limit = owner["spec"].get("revisionHistoryLimit")
    keep = {meta.name(update), meta.name(current), *in_use}
    spare = [revision for revision in known if meta.name(revision) not in keep]
    for revision in spare[: max(len(spare) - (10 if limit is None else int(limit)), 0)]:
        actions.append(Delete(_RESOURCE, meta.key(revision), uid=meta.uid(revision)))
    return current, update, known, actions


def _same(revision: Object, template: Mapping[str, Any]) -> bool:
    stored = {k: v for k, v in revision["data"]["spec"]["template"].items() if k != "$patch"}
    return bool(compact(stored) == compact(template))
