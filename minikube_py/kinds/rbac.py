"""Role, ClusterRole, RoleBinding, ClusterRoleBinding: checked and stored; whoever has the token may do everything."""

from collections.abc import Mapping
from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import NAME, age

__all__ = ["KINDS"]

GROUP = "rbac.authorization.k8s.io"


def _default_role(role: Object) -> None:
    if role.get("rules") is None and role.get("aggregationRule") is None:
        role["rules"] = []


def _default_binding(binding: Object) -> None:
    reference = binding.setdefault("roleRef", {})
    if not reference.get("apiGroup"):
        reference["apiGroup"] = GROUP
    for subject in binding.get("subjects") or ():
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = GROUP


def _rule(rule: Mapping[str, Any], at: str, *, namespaced: bool) -> rules.Errors:
    if not rule.get("verbs"):
        yield errors.required(f"{at}.verbs", "verbs must contain at least one value")
    if urls := rule.get("nonResourceURLs"):
        if namespaced:
            yield errors.invalid_value(
                f"{at}.nonResourceURLs",
                errors.GoText.strings(urls),
                "namespaced rules cannot apply to non-resource URLs",
            )
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            yield errors.invalid_value(f"{at}.nonResourceURLs", errors.GoText.strings(urls), why)
        return
    if not rule.get("apiGroups"):
        yield errors.required(f"{at}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield errors.required(f"{at}.resources", "resource rules must supply at least one resource")


@rules.collected
def _validate_role(role: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(role, old, names.path_segment_errors)
    for index, rule in enumerate(role.get("rules") or ()):
        yield from _rule(rule, f"rules[{index}]", namespaced=role.get("kind") == "Role")


@rules.collected
def _validate_binding(binding: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(binding, old, names.path_segment_errors)
    reference = binding.get("roleRef") or {}
    if reference.get("apiGroup") != GROUP:
        yield errors.not_supported("roleRef.apiGroup", reference.get("apiGroup") or "", (GROUP,))
    kinds = ("ClusterRole", "Role") if binding.get("kind") == "RoleBinding" else ("ClusterRole",)
    if reference.get("kind") not in kinds:
        yield errors.not_supported("roleRef.kind", reference.get("kind") or "", kinds)
    if not reference.get("name"):
        yield errors.required("roleRef.name")
    for index, subject in enumerate(binding.get("subjects") or ()):
        at = f"subjects[{index}]"
        if not subject.get("name"):
            yield errors.required(f"{at}.name")
        match subject.get("kind"):
            case "ServiceAccount":
                if not subject.get("namespace") and binding.get("kind") == "ClusterRoleBinding":
                    yield errors.required(f"{at}.namespace")
                if subject.get("apiGroup"):
                    yield errors.not_supported(f"{at}.apiGroup", subject["apiGroup"], ("",))
            case "User" | "Group":
                pass
            case kind:
                yield errors.not_supported(f"{at}.kind", kind or "", ("ServiceAccount", "User", "Group"))
    if old is not None and reference != old.get("roleRef"):
        yield errors.invalid_value("roleRef", errors.GoText(_go_reference(reference)), "cannot change roleRef")


def _go_reference(reference: Mapping[str, Any]) -> str:
    return (
        f'rbac.RoleRef{{APIGroup:"{reference.get("apiGroup", "")}", Kind:"{reference.get("kind", "")}", '
        f'Name:"{reference.get("name", "")}"}}'
    )


_CREATED = Column("Created At")
_BINDING_COLUMNS = (
    NAME,
    Column("Role"),
    Column("Age"),
    Column("Users", priority=1),
    Column("Groups", priority=1),
    Column("ServiceAccounts", priority=1),
)


def _role_row(role: Object, now: float) -> list[Any]:
    return [meta.name(role), role["metadata"].get("creationTimestamp") or "<unknown>"]


def _binding_row(binding: Object, now: float) -> list[Any]:
    reference = binding.get("roleRef") or {}
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in binding.get("subjects") or ():
        name = str(subject.get("name", ""))
        if subject.get("kind") == "ServiceAccount":
            name = f"{subject.get('namespace', '')}/{name}"
        subjects.setdefault(str(subject.get("kind")), []).append(name)
    return [
        meta.name(binding),
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        age(binding, now),
        *(", ".join(subjects[kind]) for kind in ("User", "Group", "ServiceAccount")),
    ]


def _role(kind: str, plural: str, *, namespaced: bool) -> Kind:
    return Kind(
        group=GROUP,
        version="v1",
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=namespaced,
        columns=(NAME, _CREATED),
        row=_role_row,
        default=_default_role,
        validate=_validate_role,
        emulated=False,
    )


def _binding(kind: str, plural: str, *, namespaced: bool) -> Kind:
    return Kind(
        group=GROUP,
        version="v1",
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=namespaced,
        columns=_BINDING_COLUMNS,
        row=_binding_row,
        default=_default_binding,
        validate=_validate_binding,
        emulated=False,
    )


KINDS = (
    _role("ClusterRole", "clusterroles", namespaced=False),
    _binding("ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    _role("Role", "roles", namespaced=True),
    _binding("RoleBinding", "rolebindings", namespaced=True),
)
