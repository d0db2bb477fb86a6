"""Node."""

from typing import Any

from minikube_py.apimachinery import errors, meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind, Subresource
from minikube_py.kinds.tables import AGE, NAME, age, listed

__all__ = ["KIND", "is_ready", "roles"]

_ROLE = "node-role.kubernetes.io/"


def is_ready(node: Object) -> bool:
    """Tell whether the node's kubelet says so."""
    conditions = meta.status(node).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def roles(node: Object) -> list[str]:
    """Return the roles that its labels give it."""
    labels = meta.labels(node)
    found = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE) and key != _ROLE}
    if role := labels.get("kubernetes.io/role"):
        found.add(role)
    return sorted(found)


def prepare(node: Object, old: Object | None) -> None:
    """A node's creator, the kubelet, also says its first status: nothing is reset."""


@rules.collected
def validate(node: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(node, old)
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(meta.spec(node).get("taints") or ()):
        at = f"spec.taints[{index}]"
        key, effect = taint.get("key", ""), taint.get("effect", "")
        yield from rules.label_key(key, f"{at}.key")
        yield from rules.one_of(effect, f"{at}.effect", ("NoSchedule", "PreferNoSchedule", "NoExecute"), needed=True)
        if (key, effect) in seen:
            yield errors.duplicate(at, f"{key}:{effect}")
        seen.add((key, effect))
    if old is not None:
        was, now = meta.spec(old), meta.spec(node)
        if was.get("podCIDR") and now.get("podCIDR") != was["podCIDR"]:
            yield errors.forbidden_field("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')


def row(node: Object, now: float) -> list[Any]:
    status = meta.status(node)
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    ready = {"True": "Ready", "False": "NotReady"}.get(str(conditions.get("Ready")), "NotReady")
    words = [ready if "Ready" in conditions else "Unknown"]
    if meta.spec(node).get("unschedulable"):
        words.append("SchedulingDisabled")
    info = status.get("nodeInfo") or {}
    return [
        meta.name(node),
        ",".join(words),
        listed(roles(node)),
        age(node, now),
        info.get("kubeletVersion", ""),
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _address(node: Object, type_: str) -> str:
    for address in meta.status(node).get("addresses") or ():
        if address.get("type") == type_:
            return str(address.get("address"))
    return "<none>"


KIND = Kind(
    group="",
    version="v1",
    kind="Node",
    plural="nodes",
    singular="node",
    namespaced=False,
    short_names=("no",),
    subresources=(
        Subresource("status", "Node", "", "v1"),
        Subresource("proxy", "NodeProxyOptions", "", "v1", ("create", "delete", "get", "patch", "update")),
    ),
    columns=(
        NAME,
        Column("Status"),
        Column("Roles"),
        AGE,
        Column("Version"),
        Column("Internal-IP", priority=1),
        Column("External-IP", priority=1),
        Column("OS-Image", priority=1),
        Column("Kernel-Version", priority=1),
        Column("Container-Runtime", priority=1),
    ),
    row=row,
    prepare=prepare,
    validate=validate,
    selectable={"spec.unschedulable": lambda node: str(bool(meta.spec(node).get("unschedulable"))).lower()},
    unsupported={"spec.configSource": "kubelets have no configuration of their own"},
)
