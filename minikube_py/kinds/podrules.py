"""What a pod spec must be, in Kubernetes' words: containers, ports, environment, mounts, volumes, probes.

Stands for ValidatePodSpec of pkg/apis/core/validation; used for Pods and for the templates of all workloads. Left out:
rules about fields that nothing here gives effect to (Windows, SELinux, devices, volume types that aren't mounted).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minikube_py.apimachinery import errors, meta, names, quantities
from minikube_py.apimachinery.errors import FieldError
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.rules import Errors

__all__ = ["pod_spec", "pod_spec_update", "pod_template"]

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NODE_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


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
    yield from _volumes(spec.get("volumes") or (), f"{path}.volumes", volumes)
    yield from _all_containers(spec, path, volumes)
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
    yield from _tolerations(spec.get("tolerations") or (), f"{path}.tolerations")
    yield from _affinity(spec.get("affinity") or {}, f"{path}.affinity")
    yield from _topology_spread(spec.get("topologySpreadConstraints") or (), f"{path}.topologySpreadConstraints")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        yield from rules.ip(alias.get("ip", ""), f"{path}.hostAliases[{index}].ip")
        for number, name in enumerate(alias.get("hostnames") or ()):
            for why in names.dns_subdomain_errors(name):
                yield errors.invalid_value(f"{path}.hostAliases[{index}].hostnames[{number}]", name, why)


def _all_containers(spec: Mapping[str, Any], path: str, volumes: Mapping[str, Mapping[str, Any]]) -> Errors:
    containers = spec.get("containers") or ()
    if not containers:
        yield errors.required(f"{path}.containers")
    taken: set[str] = set()
    host_ports: set[tuple[str, str, int]] = set()
    host_network = bool(spec.get("hostNetwork"))
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            at = f"{path}.{group}[{index}]"
            yield from _container(container, at, volumes, host_network=host_network, taken=taken)
            sidecar = container.get("restartPolicy") == "Always"
            if group == "initContainers":
                yield from _init_container(container, at, sidecar=sidecar)
            elif container.get("restartPolicy") is not None:
                yield errors.forbidden_field(f"{at}.restartPolicy", "may not be set for non-init containers")
            if group == "containers" or sidecar:
                yield from _host_ports(container, at, host_ports)
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        at = f"{path}.ephemeralContainers[{index}]"
        yield from _container(container, at, volumes, host_network=host_network, taken=taken)
        for key in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
            if container.get(key):
                yield errors.forbidden_field(f"{at}.{key}", "cannot be set for an Ephemeral Container")


def _init_container(container: Mapping[str, Any], at: str, *, sidecar: bool) -> Errors:
    policy = container.get("restartPolicy")
    if policy is not None and not sidecar:
        yield errors.not_supported(f"{at}.restartPolicy", policy, ("Always",))
    if sidecar:
        return
    for key in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(key) is not None:
            why = "may not be set for init containers without restartPolicy=Always"
            yield errors.forbidden_field(f"{at}.{key}", why)


def _container(
    container: Mapping[str, Any],
    at: str,
    volumes: Mapping[str, Mapping[str, Any]],
    *,
    host_network: bool,
    taken: set[str],
) -> Errors:
    name = container.get("name") or ""
    if not name:
        yield errors.required(f"{at}.name")
    else:
        for why in names.dns_label_errors(name):
            yield errors.invalid_value(f"{at}.name", name, why)
        if name in taken:
            yield errors.duplicate(f"{at}.name", name)
        taken.add(name)
    image = container.get("image") or ""
    if not image:
        yield errors.required(f"{at}.image")
    elif image != image.strip():
        yield errors.invalid_value(f"{at}.image", image, "must not have leading or trailing whitespace")
    yield from rules.one_of(
        container.get("imagePullPolicy"), f"{at}.imagePullPolicy", ("Always", "IfNotPresent", "Never"), needed=True
    )
    yield from rules.one_of(
        container.get("terminationMessagePolicy"),
        f"{at}.terminationMessagePolicy",
        ("File", "FallbackToLogsOnError"),
    )
    yield from _ports(container.get("ports") or (), f"{at}.ports", host_network=host_network)
    yield from _env(container.get("env") or (), f"{at}.env")
    yield from _env_from(container.get("envFrom") or (), f"{at}.envFrom")
    yield from _mounts(container.get("volumeMounts") or (), f"{at}.volumeMounts", volumes)
    yield from _resources(container.get("resources") or {}, f"{at}.resources")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (value := container.get(probe)) is not None:
            yield from _probe(value, f"{at}.{probe}", once=probe != "readinessProbe")
    for hook, value in (container.get("lifecycle") or {}).items():
        if hook in ("postStart", "preStop") and value is not None:
            yield from _handler(value, f"{at}.lifecycle.{hook}")


def _ports(ports: Iterable[Mapping[str, Any]], path: str, *, host_network: bool) -> Errors:
    taken: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        if name := port.get("name"):
            problems = names.port_name_errors(name)
            for why in problems:
                yield errors.invalid_value(f"{at}.name", name, why)
            if not problems and name in taken:
                yield errors.duplicate(f"{at}.name", name)
            taken.add(name)
        if not port.get("containerPort"):
            yield errors.required(f"{at}.containerPort")
        else:
            yield from rules.port_number(port["containerPort"], f"{at}.containerPort")
        if host_port := port.get("hostPort"):
            yield from rules.port_number(host_port, f"{at}.hostPort")
            if host_network and host_port != port.get("containerPort"):
                yield errors.invalid_value(
                    f"{at}.containerPort", port.get("containerPort"), "must match `hostPort` when `hostNetwork` is true"
                )
        yield from rules.protocol(port.get("protocol"), f"{at}.protocol")


def _host_ports(container: Mapping[str, Any], at: str, taken: set[tuple[str, str, int]]) -> Errors:
    for index, port in enumerate(container.get("ports") or ()):
        if not port.get("hostPort"):
            continue
        key = (port.get("protocol", "TCP"), port.get("hostIP", ""), port["hostPort"])
        if key in taken:
            shown = "/".join(filter(None, (key[0], key[1], str(key[2]))))
            yield errors.duplicate(f"{at}.ports[{index}].hostPort", shown)
        taken.add(key)


_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)


def _env(env: Iterable[Mapping[str, Any]], path: str) -> Errors:
    for index, variable in enumerate(env):
        at = f"{path}[{index}]"
        name = variable.get("name") or ""
        if not name:
            yield errors.required(f"{at}.name")
        elif any(char == "=" or not 32 <= ord(char) < 127 for char in name):
            why = "a valid environment variable name must consist only of printable ASCII characters other than '='"
            yield errors.invalid_value(f"{at}.name", name, why)
        source = variable.get("valueFrom")
        if source is None:
            continue
        if variable.get("value"):
            yield errors.invalid_value(f"{at}.valueFrom", "", "may not be specified when `value` is not empty")
        given = [key for key in _SOURCES if source.get(key) is not None]
        if not given:
            why = f"must specify one of: {', '.join(f'`{key}`' for key in _SOURCES)}"
            yield errors.invalid_value(f"{at}.valueFrom", "", why)
        elif len(given) > 1:
            yield errors.invalid_value(f"{at}.valueFrom", "", "may not have more than one field specified at a time")
        if (reference := source.get("fieldRef")) is not None:
            yield from _field_ref(reference, f"{at}.valueFrom.fieldRef")
        if (reference := source.get("resourceFieldRef")) is not None and not reference.get("resource"):
            yield errors.required(f"{at}.valueFrom.resourceFieldRef.resource")
        for key in ("configMapKeyRef", "secretKeyRef"):
            if (reference := source.get(key)) is not None:
                if not reference.get("name"):
                    yield errors.required(f"{at}.valueFrom.{key}.name")
                if not reference.get("key"):
                    yield errors.required(f"{at}.valueFrom.{key}.key")


def _field_ref(reference: Mapping[str, Any], at: str, fields: tuple[str, ...] = _FIELDS) -> Errors:
    field_path = reference.get("fieldPath") or ""
    if not field_path:
        yield errors.required(f"{at}.fieldPath")
        return
    root, bracket, _ = field_path.partition("['")
    if bracket and root in ("metadata.labels", "metadata.annotations"):
        return
    if root in ("metadata.labels", "metadata.annotations") and root in fields:
        return
    if field_path not in fields:
        yield errors.not_supported(f"{at}.fieldPath", field_path, fields)


def _env_from(sources: Iterable[Mapping[str, Any]], path: str) -> Errors:
    for index, source in enumerate(sources):
        at = f"{path}[{index}]"
        given = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
        if not given:
            yield errors.invalid_value(at, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            yield errors.invalid_value(at, "", "may not have more than one field specified at a time")
        for key in given:
            if not source[key].get("name"):
                yield errors.required(f"{at}.{key}.name")


def _mounts(mounts: Iterable[Mapping[str, Any]], path: str, volumes: Mapping[str, Mapping[str, Any]]) -> Errors:
    points: set[str] = set()
    for index, mount in enumerate(mounts):
        at = f"{path}[{index}]"
        if not mount.get("name"):
            yield errors.required(f"{at}.name")
        elif mount["name"] not in volumes:
            yield errors.not_found_field(f"{at}.name", mount["name"])
        point = mount.get("mountPath") or ""
        if not point:
            yield errors.required(f"{at}.mountPath")
        elif point in points:
            yield errors.invalid_value(f"{at}.mountPath", point, "must be unique")
        points.add(point)
        if mount.get("subPath") and mount.get("subPathExpr"):
            yield errors.invalid_value(
                f"{at}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"
            )
        for key in ("subPath", "subPathExpr"):
            yield from _local_path(mount.get(key) or "", f"{at}.{key}")


def _local_path(value: str, path: str) -> Errors:
    if value.startswith("/"):
        yield errors.invalid_value(path, value, "must be a relative path")
    if ".." in value.split("/"):
        yield errors.invalid_value(path, value, "must not contain '..'")


def _resources(resources: Mapping[str, Any], path: str) -> Errors:
    limits = resources.get("limits") or {}
    for group in ("limits", "requests"):
        for name, value in (resources.get(group) or {}).items():
            at = f"{path}.{group}.{name}" if "/" not in name else f"{path}.{group}[{name}]"
            if quantities.quantity(value) < 0:
                yield errors.invalid_value(at, str(value), rules.NOT_NEGATIVE)
            standard = name in ("cpu", "memory", "ephemeral-storage") or name.startswith("hugepages-")
            if not standard and "/" not in name:
                yield errors.invalid_value(at, name, "must be a standard resource type or fully qualified")
                yield errors.invalid_value(at, name, "must be a standard resource for containers")
            elif "/" in name:
                for why in names.qualified_name_errors(name):
                    yield errors.invalid_value(at, name, why)
            if (
                group == "requests"
                and name in limits
                and quantities.quantity(value) > quantities.quantity(limits[name])
            ):
                why = f"must be less than or equal to {name} limit of {limits[name]}"
                yield errors.invalid_value(f"{path}.requests", str(value), why)


def _probe(probe: Mapping[str, Any], path: str, *, once: bool) -> Errors:
    yield from _handler(probe, path)
    for key in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        yield from rules.non_negative(probe.get(key), f"{path}.{key}")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        yield errors.invalid_value(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if grace is not None and not once:
        yield errors.invalid_value(
            f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes"
        )
    if once and probe.get("successThreshold", 1) not in (0, 1):
        yield errors.invalid_value(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _handler(handler: Mapping[str, Any], path: str) -> Errors:
    given = [kind for kind in _HANDLERS if handler.get(kind) is not None]
    if not given:
        yield errors.required(path, "must specify a handler type")
    for kind in given[1:]:
        yield errors.forbidden_field(f"{path}.{kind}", "may not specify more than 1 handler type")
    if given[:1] == ["exec"] and not handler["exec"].get("command"):
        yield errors.required(f"{path}.exec.command")
    if given[:1] == ["httpGet"]:
        request = handler["httpGet"]
        if not request.get("path"):
            yield errors.required(f"{path}.httpGet.path")
        yield from rules.port_name_or_number(request.get("port"), f"{path}.httpGet.port")
        yield from rules.one_of(request.get("scheme"), f"{path}.httpGet.scheme", ("HTTP", "HTTPS"))
        for index, header in enumerate(request.get("httpHeaders") or ()):
            if not header.get("name"):
                yield errors.required(f"{path}.httpGet.httpHeaders[{index}].name")
    if given[:1] == ["tcpSocket"]:
        yield from rules.port_name_or_number(handler["tcpSocket"].get("port"), f"{path}.tcpSocket.port")
    if given[:1] == ["grpc"]:
        yield from rules.port_number(handler["grpc"].get("port"), f"{path}.grpc.port")


_REQUIRED_OF_VOLUMES: Mapping[str, tuple[str, ...]] = {
    "hostPath": ("path",),
    "secret": ("secretName",),
    "configMap": ("name",),
    "persistentVolumeClaim": ("claimName",),
    "nfs": ("server", "path"),
    "gcePersistentDisk": ("pdName",),
    "awsElasticBlockStore": ("volumeID",),
    "iscsi": ("targetPortal", "iqn"),
    "csi": ("driver",),
}


def _volumes(volumes: Iterable[Mapping[str, Any]], path: str, found: dict[str, Mapping[str, Any]]) -> Errors:
    for index, volume in enumerate(volumes):
        at = f"{path}[{index}]"
        name = volume.get("name") or ""
        if not name:
            yield errors.required(f"{at}.name")
        else:
            for why in names.dns_label_errors(name):
                yield errors.invalid_value(f"{at}.name", name, why)
            if name in found:
                yield errors.duplicate(f"{at}.name", name)
        kinds = [key for key, value in volume.items() if key != "name" and value is not None]
        for kind in kinds[1:]:
            yield errors.forbidden_field(f"{at}.{kind}", "may not specify more than 1 volume type")
        if not kinds:
            yield errors.required(at, "must specify a volume type")
        for kind in kinds[:1]:
            for key in _REQUIRED_OF_VOLUMES.get(kind, ()):
                if not volume[kind].get(key):
                    yield errors.required(f"{at}.{kind}.{key}")
            yield from _volume_items(volume[kind], kind, f"{at}.{kind}")
        found[name] = volume


def _volume_items(source: Mapping[str, Any], kind: str, at: str) -> Errors:
    if kind in ("secret", "configMap"):
        for index, item in enumerate(source.get("items") or ()):
            for key in ("key", "path"):
                if not item.get(key):
                    yield errors.required(f"{at}.items[{index}].{key}")
            yield from _local_path(item.get("path") or "", f"{at}.items[{index}].path")
    elif kind == "downwardAPI":
        yield from _downward_items(source.get("items") or (), f"{at}.items")
    elif kind == "projected":
        for index, part in enumerate(source.get("sources") or ()):
            for name in ("secret", "configMap"):
                if part.get(name) is not None and not part[name].get("name"):
                    yield errors.required(f"{at}.sources[{index}].{name}.name")
            downward = part.get("downwardAPI") or {}
            yield from _downward_items(downward.get("items") or (), f"{at}.sources[{index}].downwardAPI.items")
            token = part.get("serviceAccountToken")
            if token is not None and not token.get("path"):
                yield errors.required(f"{at}.sources[{index}].serviceAccountToken.path")


_DOWNWARD_FIELDS = ("metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid")


def _downward_items(items: Iterable[Mapping[str, Any]], path: str) -> Errors:
    for index, item in enumerate(items):
        at = f"{path}[{index}]"
        if not item.get("path"):
            yield errors.required(f"{at}.path")
        yield from _local_path(item.get("path") or "", f"{at}.path")
        if item.get("fieldRef") is not None:
            yield from _field_ref(item["fieldRef"], f"{at}.fieldRef", _DOWNWARD_FIELDS)
        elif item.get("resourceFieldRef") is None:
            yield errors.required(at, "one of fieldRef and resourceFieldRef is required")


def _tolerations(tolerations: Iterable[Mapping[str, Any]], path: str) -> Errors:
    for index, toleration in enumerate(tolerations):
        at = f"{path}[{index}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
        if key:
            yield from rules.label_key(key, f"{at}.key")
        elif operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield errors.invalid_value(f"{at}.operator", operator, why)
        if operator == "Exists" and toleration.get("value"):
            yield errors.invalid_value(f"{at}.operator", operator, "value must be empty when `operator` is 'Exists'")
        elif operator == "Equal":
            for why in names.label_value_errors(toleration.get("value") or ""):
                yield errors.invalid_value(f"{at}.operator", toleration.get("value"), why)
        elif operator != "Exists":
            yield errors.not_supported(f"{at}.operator", operator, ("Equal", "Exists"))
        yield from rules.one_of(toleration.get("effect"), f"{at}.effect", _EFFECTS)
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield errors.invalid_value(f"{at}.effect", toleration.get("effect", ""), why)


def _affinity(affinity: Mapping[str, Any], path: str) -> Errors:
    node = affinity.get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None:
        at = f"{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
        terms = required.get("nodeSelectorTerms") or ()
        if not terms:
            yield errors.required(f"{at}.nodeSelectorTerms", "must have at least one node selector term")
        for index, term in enumerate(terms):
            yield from _node_term(term, f"{at}.nodeSelectorTerms[{index}]")
    for index, preferred in enumerate(node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        at = f"{path}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        yield from _weight(preferred, at)
        yield from _node_term(preferred.get("preference") or {}, f"{at}.preference")
    for kind in ("podAffinity", "podAntiAffinity"):
        value = affinity.get(kind) or {}
        for index, term in enumerate(value.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
            yield from _pod_term(term, f"{path}.{kind}.requiredDuringSchedulingIgnoredDuringExecution[{index}]")
        for index, preferred in enumerate(value.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
            at = f"{path}.{kind}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            yield from _weight(preferred, at)
            yield from _pod_term(preferred.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")


def _weight(preferred: Mapping[str, Any], at: str) -> Errors:
    weight = preferred.get("weight", 0)
    if not 1 <= weight <= 100:
        yield errors.invalid_value(f"{at}.weight", weight, "must be in the range 1-100")


def _node_term(term: Mapping[str, Any], path: str) -> Errors:
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        operator, values = requirement.get("operator", ""), requirement.get("values") or ()
        yield from rules.label_key(requirement.get("key", ""), f"{at}.key")
        if operator not in _NODE_OPERATORS:
            yield errors.invalid_value(f"{at}.operator", operator, "not a valid selector operator")
        elif operator in ("In", "NotIn") and not values:
            yield errors.required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist") and values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield errors.forbidden_field(f"{at}.values", why)
        elif operator in ("Gt", "Lt") and len(values) != 1:
            yield errors.required(f"{at}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")


def _pod_term(term: Mapping[str, Any], path: str) -> Errors:
    yield from rules.label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    yield from rules.label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    if not term.get("topologyKey"):
        yield errors.required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from rules.label_key(term["topologyKey"], f"{path}.topologyKey")


def _topology_spread(constraints: Iterable[Mapping[str, Any]], path: str) -> Errors:
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        skew = constraint.get("maxSkew", 0)
        if skew <= 0:
            yield errors.invalid_value(f"{at}.maxSkew", skew, "must be greater than zero")
        key, unsatisfiable = constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""
        if not key:
            yield errors.required(f"{at}.topologyKey", "can not be empty")
        if unsatisfiable not in ("DoNotSchedule", "ScheduleAnyway"):
            supported = ("DoNotSchedule", "ScheduleAnyway")
            yield errors.not_supported(f"{at}.whenUnsatisfiable", unsatisfiable, supported)
        if (key, unsatisfiable) in seen:
            yield errors.duplicate(at, f"{{{key}, {unsatisfiable}}}")
        seen.add((key, unsatisfiable))
        yield from rules.label_selector(constraint.get("labelSelector"), f"{at}.labelSelector")


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


# Updates of a Pod.

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
