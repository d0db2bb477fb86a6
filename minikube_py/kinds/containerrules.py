"""What a container must be, in Kubernetes' words: ports, environment, mounts, resources, probes and hooks.

Stands for ValidateContainers of pkg/apis/core/validation. Left out: what nothing here gives effect to (Windows,
SELinux, devices).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from minikube_py.apimachinery import errors, names, quantities
from minikube_py.kinds import rules
from minikube_py.kinds.rules import Errors
from minikube_py.kinds.volumerules import field_ref, local_path

__all__ = ["containers"]

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def containers(spec: Mapping[str, Any], path: str, volumes: Mapping[str, Mapping[str, Any]]) -> Errors:
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
    yield from rules.own_label(name, f"{at}.name", taken)
    if name:
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
            yield from field_ref(reference, f"{at}.valueFrom.fieldRef")
        if (reference := source.get("resourceFieldRef")) is not None and not reference.get("resource"):
            yield errors.required(f"{at}.valueFrom.resourceFieldRef.resource")
        for key in ("configMapKeyRef", "secretKeyRef"):
            if (reference := source.get(key)) is not None:
                if not reference.get("name"):
                    yield errors.required(f"{at}.valueFrom.{key}.name")
                if not reference.get("key"):
                    yield errors.required(f"{at}.valueFrom.{key}.key")


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
            yield from local_path(mount.get(key) or "", f"{at}.{key}")


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
