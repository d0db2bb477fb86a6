"""Kinds that are questions, not objects: access and token reviews, who am I, health; and those of the metrics API.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/
"""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver import rbac
from minikube_py.apiserver.credentials import Credentials, User
from minikube_py.client.api import View
from minikube_py.kinds.kind import Column, Kind

__all__ = ["COMPONENT_STATUS", "METRICS", "REVIEWS", "answer"]


def _review(group: str, kind: str, *, namespaced: bool = False) -> Kind:
    return Kind(
        group=group,
        version="v1",
        kind=kind,
        plural=kind.lower() + "s",
        namespaced=namespaced,
        verbs=("create",),
    )


REVIEWS: tuple[Kind, ...] = (
    _review("authorization.k8s.io", "SelfSubjectAccessReview"),
    _review("authorization.k8s.io", "SelfSubjectRulesReview"),
    _review("authorization.k8s.io", "SubjectAccessReview"),
    _review("authorization.k8s.io", "LocalSubjectAccessReview", namespaced=True),
    _review("authentication.k8s.io", "SelfSubjectReview"),
    _review("authentication.k8s.io", "TokenReview"),
)

COMPONENT_STATUS = Kind(
    group="",
    version="v1",
    kind="ComponentStatus",
    plural="componentstatuses",
    namespaced=False,
    short_names=("cs",),
    verbs=("get", "list"),
    columns=(Column("Name"), Column("Status"), Column("Message"), Column("Error")),
    row=lambda obj, now: [meta.name(obj), obj["conditions"][0]["type"], obj["conditions"][0]["message"], ""],
)

METRICS: tuple[Kind, ...] = (
    Kind(
        group="metrics.k8s.io",
        version="v1beta1",
        kind="NodeMetrics",
        plural="nodes",
        namespaced=False,
        verbs=("get", "list"),
        columns=(Column("Name"), Column("Age")),
    ),
    Kind(
        group="metrics.k8s.io",
        version="v1beta1",
        kind="PodMetrics",
        plural="pods",
        verbs=("get", "list"),
        columns=(Column("Name"), Column("Age")),
    ),
)


def answer(kind: Kind, obj: Object, user: User, credentials: Credentials, view: View, now: float) -> Object:
    """Return the review with its status filled in."""
    spec = meta.spec(obj)
    return {
        **obj,
        "metadata": {"creationTimestamp": None, **obj["metadata"]},
        "status": _status(kind, spec, user, credentials, view, now),
    }


def _status(
    kind: Kind, spec: Mapping[str, Any], user: User, credentials: Credentials, view: View, now: float
) -> Object:
    match kind.kind:
        case "SelfSubjectRulesReview":
            rules = [rule for rule, _ in rbac.rules_of(view, user, spec.get("namespace") or "default")]
            return {
                "resourceRules": [rule for rule in rules if rule.get("resources")],
                "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
                "incomplete": False,
            }
        case "SelfSubjectReview":
            return {"userInfo": user.info()}
        case "TokenReview":
            token = spec.get("token")
            found = credentials.user(token, now) if isinstance(token, str) else None
            if found is None:
                return {"authenticated": False, "user": {}, "error": "invalid bearer token"}
            return {"authenticated": True, "user": found.info(), "audiences": spec.get("audiences") or []}
        case _:
            asker = user
            if kind.kind != "SelfSubjectAccessReview":
                asker = User(spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "")
            verdict = rbac.authorize(view, asker, _attributes(kind, spec))
            return {"allowed": verdict.allowed, **({"reason": verdict.because} if verdict.because else {})}


def _attributes(kind: Kind, spec: Mapping[str, Any]) -> rbac.Attributes:
    """Read what a review asks about."""
    resource, path = spec.get("resourceAttributes") or {}, spec.get("nonResourceAttributes") or {}
    if bool(resource) == bool(path):
        at = "spec.resourceAttributes"
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise errors.invalid(kind.kind, "", [errors.invalid_value(at, None, why)], kind.group)
    if path:
        return rbac.Attributes(path.get("verb") or "", path=path.get("path") or "")
    known = ("verb", "group", "resource", "subresource", "namespace", "name")
    return rbac.Attributes(**{name: resource.get(name) or "" for name in known})
