"""Who may do what: Roles, ClusterRoles and their bindings, as kube-apiserver's RBAC authorizer reads them. Pure.

The administrator of the kubeconfig is in `system:masters` and may do everything; ServiceAccounts and users who are
impersonated (`kubectl --as`) may do what bindings give them. Leaves out aggregation of ClusterRoles and the checks
against handing out more than one has (escalate, bind).
Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.credentials import User
from minikube_py.client.api import View

__all__ = ["Attributes", "Verdict", "authorize", "bootstrap", "forbidden", "rules_of"]

MASTERS = "system:masters"
_API = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What somebody wants to do: a verb on a resource, or on a path."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    allowed: bool
    because: str = ""


def authorize(view: View, user: User, wanted: Attributes) -> Verdict:
    """Decide a request; the verdict names the binding that allows it."""
    if MASTERS in user.groups:
        return Verdict(True)
    for rule, because in rules_of(view, user, wanted.namespace):
        if _matches(rule, wanted):
            return Verdict(True, f"RBAC: allowed by {because}")
    return Verdict(False)


def forbidden(user: User, wanted: Attributes) -> StatusError:
    """Return 403 in Kubernetes' words."""
    if wanted.path:
        message = f'forbidden: User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
        return StatusError(403, "Forbidden", message, {})
    part = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {wanted.verb} resource "{part}" in API group "{wanted.group}" {where}'
    if wanted.name:
        return errors.forbidden(wanted.resource, wanted.name, why, wanted.group)
    plural = f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource
    details = {"kind": wanted.resource, **({"group": wanted.group} if wanted.group else {})}
    return StatusError(403, "Forbidden", f"{plural} is forbidden: {why}", details)


def rules_of(view: View, user: User, namespace: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield each rule that holds for a user in a namespace ("": the whole cluster), and by which binding."""
    bindings = [(each, "ClusterRoleBinding", meta.name(each)) for each in view.list(f"clusterrolebindings.{_API}")]
    if namespace:
        for each in view.list(f"rolebindings.{_API}", namespace):
            bindings.append((each, "RoleBinding", f"{meta.name(each)}/{namespace}"))
    for binding, kind, name in bindings:
        subject = next((s for s in binding.get("subjects") or () if _is(user, s, namespace)), None)
        if subject is None:
            continue
        reference = binding.get("roleRef") or {}
        if reference.get("kind") == "ClusterRole":
            role = view.get(f"clusterroles.{_API}", reference.get("name", ""))
        else:
            role = view.get(f"roles.{_API}", reference.get("name", ""), namespace)
        text = f'{kind} "{name}" of {reference.get("kind")} "{reference.get("name")}" to {subject.get("kind")} '
        who = subject.get("name", "")
        if subject.get("kind") == "ServiceAccount":
            who = f"{who}/{subject.get('namespace') or namespace}"
        for rule in (role or {}).get("rules") or ():
            yield rule, f'{text}"{who}"'


def _is(user: User, subject: Mapping[str, Any], namespace: str) -> bool:
    name: str = subject.get("name", "")
    match subject.get("kind"):
        case "User":
            return user.name == name
        case "Group":
            return name in user.groups
        case "ServiceAccount":
            return user.name == f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
        case _:
            return False


def _matches(rule: Mapping[str, Any], wanted: Attributes) -> bool:
    if not _has(rule.get("verbs"), wanted.verb):
        return False
    if wanted.path:
        urls: Sequence[str] = rule.get("nonResourceURLs") or ()
        return any(
            url in ("*", wanted.path) or (url.endswith("*") and wanted.path.startswith(url[:-1])) for url in urls
        )
    if not _has(rule.get("apiGroups"), wanted.group):
        return False
    part = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    resources = rule.get("resources") or ()
    if not _has(resources, part) and not (wanted.subresource and f"*/{wanted.subresource}" in resources):
        return False
    names: Sequence[str] | None = rule.get("resourceNames")
    return not names or wanted.name in names


def _has(values: Sequence[str] | None, value: str) -> bool:
    return values is not None and ("*" in values or value in values)


# What every cluster begins with

_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_OBJECTS: Mapping[str, Sequence[str]] = {
    "": [
        "bindings",
        "configmaps",
        "endpoints",
        "events",
        "limitranges",
        "persistentvolumeclaims",
        "persistentvolumeclaims/status",
        "pods",
        "pods/log",
        "pods/status",
        "replicationcontrollers",
        "replicationcontrollers/scale",
        "resourcequotas",
        "serviceaccounts",
        "services",
        "services/status",
    ],
    "apps": [
        "controllerrevisions",
        "daemonsets",
        "daemonsets/status",
        "deployments",
        "deployments/scale",
        "deployments/status",
        "replicasets",
        "replicasets/scale",
        "replicasets/status",
        "statefulsets",
        "statefulsets/scale",
        "statefulsets/status",
    ],
    "autoscaling": ["horizontalpodautoscalers", "horizontalpodautoscalers/status"],
    "batch": ["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
    "discovery.k8s.io": ["endpointslices"],
    "networking.k8s.io": ["ingresses", "ingresses/status", "networkpolicies"],
    "policy": ["poddisruptionbudgets", "poddisruptionbudgets/status"],
}
_ONLY_READ = frozenset(("bindings", "events", "limitranges", "resourcequotas", "controllerrevisions"))


def _view() -> list[Object]:
    rules = [{"apiGroups": [group], "resources": list(names), "verbs": _READ} for group, names in _OBJECTS.items()]
    return [
        *rules,
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": _READ},
        {"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": _READ},
    ]


def _edit() -> list[Object]:
    rules: list[Object] = [
        {
            "apiGroups": [group],
            "resources": [n for n in names if n not in _ONLY_READ and not n.endswith(("/status", "/log"))],
            "verbs": _WRITE,
        }
        for group, names in _OBJECTS.items()
    ]
    streams = ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"]
    return [
        *_view(),
        *rules,
        {"apiGroups": [""], "resources": ["secrets"], "verbs": [*_READ, *_WRITE]},
        {"apiGroups": [""], "resources": streams, "verbs": [*_READ, *_WRITE]},
        {"apiGroups": [""], "resources": ["pods/eviction", "serviceaccounts/token"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
    ]


def bootstrap() -> list[Object]:
    """Return the roles and bindings that kube-apiserver creates at its start, for people and ServiceAccounts."""
    everything = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    admin = [
        *_edit(),
        {"apiGroups": [_API], "resources": ["rolebindings", "roles"], "verbs": [*_READ, *_WRITE]},
        {
            "apiGroups": ["authorization.k8s.io"],
            "resources": ["localsubjectaccessreviews"],
            "verbs": ["create"],
        },
    ]
    asking = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
    basic = [
        {"apiGroups": ["authorization.k8s.io"], "resources": asking, "verbs": ["create"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
    ]
    documents = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"]
    public = [*(f"/{check}{rest}" for check in ("healthz", "livez", "readyz") for rest in ("", "/*")), "/version"]
    roles = {
        "admin": admin,
        "cluster-admin": everything,
        "edit": _edit(),
        "system:basic-user": basic,
        "system:discovery": [{"nonResourceURLs": [*documents, *public], "verbs": ["get"]}],
        "system:public-info-viewer": [{"nonResourceURLs": public, "verbs": ["get"]}],
        "view": _view(),
    }
    bound = {
        "cluster-admin": [MASTERS],
        "system:basic-user": ["system:authenticated"],
        "system:discovery": ["system:authenticated"],
        "system:public-info-viewer": ["system:authenticated", "system:unauthenticated"],
    }
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}

    def made(kind: str, name: str, rest: Object) -> Object:
        return {"apiVersion": f"{_API}/v1", "kind": kind, "metadata": {"name": name, "labels": dict(labels)}, **rest}

    return [
        *(made("ClusterRole", name, {"rules": rules}) for name, rules in roles.items()),
        *(
            made(
                "ClusterRoleBinding",
                name,
                {
                    "roleRef": {"apiGroup": _API, "kind": "ClusterRole", "name": name},
                    "subjects": [{"kind": "Group", "apiGroup": _API, "name": group} for group in groups],
                },
            )
            for name, groups in bound.items()
        ),
    ]
