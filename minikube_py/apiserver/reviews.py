"""Kinds that are questions, not objects: access reviews, token reviews, who am I; and the kinds of the metrics API.

There is no RBAC here: who has authenticated may do everything, and the answers say so.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/
"""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.credentials import Credentials, User
from minikube_py.kinds.kind import Column, Kind

__all__ = ["METRICS", "REVIEWS", "answer"]

_ALLOWED = "minikube-py has no RBAC: every authenticated user may do everything"


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


def answer(kind: Kind, obj: Object, user: User, credentials: Credentials, now: float) -> Object:
    """Return the review with its status filled in."""
    spec = meta.spec(obj)
    return {
        **obj,
        "metadata": {"creationTimestamp": None, **obj["metadata"]},
        "status": _status(kind, spec, user, credentials, now),
    }


def _status(kind: Kind, spec: Mapping[str, Any], user: User, credentials: Credentials, now: float) -> Object:
    match kind.kind:
        case "SelfSubjectRulesReview":
            return {
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
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
            return {"allowed": True, "reason": _ALLOWED}
