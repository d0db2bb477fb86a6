"""What a pod spec must be, in Kubernetes' words, and what of it may change.

Stands for ValidatePodSpec and ValidatePodUpdate of pkg/apis/core/validation; used for Pods and for the templates of all
workloads. Its parts: `containerrules.py`, `volumerules.py`, `placementrules.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.errors import FieldError
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import containerrules, placementrules, rules, volumerules
from minikube_py.kinds.rules import Errors

__all__ = ["pod_spec", "pod_spec_update", "pod_template"]


def pod_template(spec: Mapping[str, Any], path: str, *, restart: tuple[str, ...] = ("Always",)) -> Errors:
    """Check `spec.template` of a workload; `restart` are the restart policies that it may have."""
    template = spec.get("template")
    if template is None:
        yield errors.required(path)
        return
    template_meta = template.get("metadata") or {}
    yield from rules.labels(template_meta.get("labels"), f"{path}.metadata.labels")
    yield from rules.annotations(template_meta.get("annotations"), f"{path}.metadata.annotations")
    pod = template.get("spec") or {}
    yield from pod_spec(pod, f"{path}.spec")
    policy = pod.get("restartPolicy")
    if policy in ("Always", "OnFailure", "Never") and policy not in restart:
        yield errors.not_supported(f"{path}.spec.restartPolicy", policy, restart)
    if pod.get("ephemeralContainers"):
        yield errors.forbidden_field(
            f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"
        )


def pod_spec(spec: Mapping[str, Any], path: str = "spec") -> Errors:
    """Check a defaulted pod spec."""
    volumes: dict[str, Mapping[str, Any]] = {}
    yield from volumerules.volumes(spec.get("volumes") or (), f"{path}.volumes", volumes)
    yield from containerrules.containers(spec, path, volumes)
    yield from rules.one_of(spec.get("restartPolicy"), f"{path}.restartPolicy", ("Always", "OnFailure", "Never"))
    dns_policies = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    yield from rules.one_of(spec.get("dnsPolicy"), f"{path}.dnsPolicy", dns_policies)
    yield from _dns_config(spec, path)
    yield from rules.labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    for key in ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"):
        if value := spec.get(key):
            for why in names.dns_subdomain_errors(value):
                yield errors.invalid_value(f"{path}.{key}", value, why)
    for key in ("hostname", "subdomain"):
        if value := spec.get(key):
            for why in names.dns_label_errors(value):
                yield errors.invalid_value(f"{path}.{key}", value, why)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        yield errors.invalid_value(
            f"{path}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive"
        )
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        yield errors.invalid_value(f"{path}.terminationGracePeriodSeconds", grace, rules.NOT_NEGATIVE)
    yield from placementrules.tolerations(spec.get("tolerations") or (), f"{path}.tolerations")
    yield from placementrules.affinity(spec.get("affinity") or {}, f"{path}.affinity")
    yield from placementrules.topology_spread(
        spec.get("topologySpreadConstraints") or (), f"{path}.topologySpreadConstraints"
    )
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        yield from rules.ip(alias.get("ip", ""), f"{path}.hostAliases[{index}].ip")
        for number, name in enumerate(alias.get("hostnames") or ()):
            for why in names.dns_subdomain_errors(name):
                yield errors.invalid_value(f"{path}.hostAliases[{index}].hostnames[{number}]", name, why)


def _dns_config(spec: Mapping[str, Any], path: str) -> Errors:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            yield errors.required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.get("nameservers"):
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield errors.required(f"{path}.dnsConfig.nameservers", why)
    if config is None:
        return
    servers = config.get("nameservers") or ()
    if len(servers) > 3:
        yield errors.invalid_value(f"{path}.dnsConfig.nameservers", servers, "must not have more than 3 nameservers")
    for index, server in enumerate(servers):
        yield from rules.ip(server, f"{path}.dnsConfig.nameservers[{index}]")
    searches = config.get("searches") or ()
    if len(searches) > 32:
        yield errors.invalid_value(f"{path}.dnsConfig.searches", searches, "must not have more than 32 search paths")
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            yield errors.required(f"{path}.dnsConfig.options[{index}]", "must not be empty")


_MUTABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)


def pod_spec_update(new: Object, old: Object) -> Errors:
    """Check that an update changes only what may change of a running pod."""
    was, now = meta.spec(old), meta.copy(dict(meta.spec(new)))
    if len(now.get("containers") or ()) != len(was.get("containers") or ()):
        yield errors.forbidden_field("spec.containers", "pod updates may not add or remove containers")
        return
    if len(now.get("initContainers") or ()) != len(was.get("initContainers") or ()):
        yield errors.forbidden_field("spec.initContainers", "pod updates may not add or remove containers")
        return
    before = was.get("tolerations") or []
    after = now.get("tolerations") or []
    if any(toleration not in after for toleration in before):
        why = "existing toleration can not be modified except its tolerationSeconds"
        keys = [(t.get("key"), t.get("operator"), t.get("value"), t.get("effect")) for t in after]
        if any((t.get("key"), t.get("operator"), t.get("value"), t.get("effect")) not in keys for t in before):
            yield errors.forbidden_field("spec.tolerations", why)
    for group in ("containers", "initContainers"):
        for container, previous in zip(now.get(group) or (), was.get(group) or (), strict=True):
            container["image"] = previous.get("image")
    for key in ("activeDeadlineSeconds", "tolerations", "ephemeralContainers", "schedulingGates", "nodeName"):
        if key == "nodeName" and was.get(key):
            continue  # bound pods stay where they are
        if key in was:
            now[key] = was[key]
        else:
            now.pop(key, None)
    if now != was:
        different = ", ".join(_differences(was, now))
        why = f"pod updates may not change fields other than {','.join(_MUTABLE)}\n  changed: {different}\n"
        yield FieldError("spec", "FieldValueForbidden", f"Forbidden: {why}")


def _differences(old: Any, new: Any, path: str = "spec") -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                yield from _differences(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                yield from _differences(before, after, f"{path}[{index}]")
    else:
        yield path
