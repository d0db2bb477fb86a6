"""The environment of a container: service variables, `env`, `envFrom`, and `$(VAR)` in commands. Pure.

Stands for the kubelet's makeEnvironmentVariables and k8s.io/kubernetes/third_party/forked/golang/expansion.
Order, later ones win: service variables, `envFrom` in order, `env` in order. `$(VAR)` sees what came before it.
Sources: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables and
https://kubernetes.io/docs/tasks/inject-data-application/
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.apimachinery.quantities import quantity
from minikube_py.images.expansion import expand

__all__ = ["ConfigError", "container_environment", "field_value", "resource_value", "service_variables"]

Lookup = Callable[[str, str], Object | None]
"""(resource, name) → the object in the pod's namespace."""


class ConfigError(Exception):
    """What a container needs is missing: the kubelet reports CreateContainerConfigError with this message."""


def service_variables(services: Iterable[Object]) -> dict[str, str]:
    """Return `USER_API_SERVICE_HOST` and the docker-link variables of Services; headless ones have none."""
    found: dict[str, str] = {}
    for service in services:
        spec = meta.spec(service)
        ip, ports = spec.get("clusterIP"), spec.get("ports") or ()
        if not ip or ip == "None" or not ports or spec.get("type") == "ExternalName":
            continue
        name = meta.name(service).upper().replace("-", "_").replace(".", "_")
        found[f"{name}_SERVICE_HOST"] = str(ip)
        found[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                found[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        for index, port in enumerate(ports):
            protocol = port.get("protocol") or "TCP"
            url = f"{protocol.lower()}://{ip}:{port['port']}"
            prefix = f"{name}_PORT_{port['port']}_{protocol.upper()}"
            if index == 0:
                found[f"{name}_PORT"] = url
            found[prefix] = url
            found[f"{prefix}_PROTO"] = protocol.lower()
            found[f"{prefix}_PORT"] = str(port["port"])
            found[f"{prefix}_ADDR"] = str(ip)
    return found


def field_value(path: str, pod: Object, status: Mapping[str, Any]) -> str:
    """Return what a `fieldRef` names; `status` has podIP, hostIP (the stored object may not yet).

    Error handling: ConfigError for a path that the downward API doesn't know.
    """
    metadata, spec = pod["metadata"], meta.spec(pod)
    if found := re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path):
        return str((metadata.get(found[1]) or {}).get(found[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata.get(path.partition(".")[2], ""))
        case "metadata.labels" | "metadata.annotations":
            values = metadata.get(path.partition(".")[2]) or {}
            return "\n".join(f"{key}={_quote(str(value))}" for key, value in sorted(values.items()))
        case "spec.nodeName":
            return str(spec.get("nodeName", ""))
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName") or "default")
        case "status.podIP" | "status.hostIP":
            return str(status.get(path.partition(".")[2], ""))
        case "status.podIPs" | "status.hostIPs":
            return str(status.get(path.partition(".")[2][:-1], ""))
    raise ConfigError(f"unsupported fieldPath: {path}")


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def resource_value(reference: Mapping[str, Any], container: Mapping[str, Any], allocatable: Mapping[str, Any]) -> str:
    """Return what a `resourceFieldRef` names, divided and rounded up; without a limit it is the node's allocatable."""
    kind, _, name = str(reference.get("resource", "")).partition(".")
    if kind not in ("limits", "requests") or not name:
        raise ConfigError(f"unsupported container resource : {reference.get('resource')}")
    resources = container.get("resources") or {}
    value = (resources.get(kind) or {}).get(name)
    if value is None and kind == "limits":
        value = allocatable.get(name, "0")
    if value is None:
        value = (resources.get("limits") or {}).get(name, "0")
    divisor = quantity(reference.get("divisor") or "1") or quantity("1")
    return str(-int(-quantity(value) // divisor))


def _data(kind: str, obj: Object) -> dict[str, str]:
    if kind == "configmaps":
        return {str(key): str(value) for key, value in (obj.get("data") or {}).items()}
    return {
        str(key): base64.b64decode(value).decode("utf-8", "surrogateescape")
        for key, value in (obj.get("data") or {}).items()
    }


def _key_ref(resource: str, reference: Mapping[str, Any], lookup: Lookup, namespace: str) -> str | None:
    word = resource.removesuffix("s")
    name, key, optional = reference.get("name", ""), reference.get("key", ""), reference.get("optional")
    obj = lookup(resource, name)
    if obj is None:
        if optional:
            return None
        raise ConfigError(f'{word} "{name}" not found')
    values = _data(resource, obj)
    if key not in values:
        if optional:
            return None
        kind = "ConfigMap" if resource == "configmaps" else "Secret"
        raise ConfigError(f"couldn't find key {key} in {kind} {namespace}/{name}")
    return values[key]


def container_environment(
    container: Mapping[str, Any],
    pod: Object,
    *,
    base: Mapping[str, str],
    status: Mapping[str, Any],
    allocatable: Mapping[str, Any],
    lookup: Lookup,
) -> dict[str, str]:
    """Return the whole environment of a container.

    `base` are the service variables and HOSTNAME; `lookup` finds ConfigMaps and Secrets of the pod's namespace.
    Error handling: ConfigError when a ConfigMap, Secret or key that is not optional is missing.
    """
    found = dict(base)
    namespace = meta.namespace(pod)
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for field, resource in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if (reference := source.get(field)) is None:
                continue
            obj = lookup(resource, reference.get("name", ""))
            if obj is not None:
                found.update({f"{prefix}{key}": value for key, value in _data(resource, obj).items()})
            elif not reference.get("optional"):
                raise ConfigError(f'{resource.removesuffix("s")} "{reference.get("name", "")}" not found')
    for entry in container.get("env") or ():
        name, source = entry["name"], entry.get("valueFrom")
        value: str | None
        if not source:
            value = expand(str(entry.get("value") or ""), found)
        elif "fieldRef" in source:
            value = field_value(source["fieldRef"].get("fieldPath", ""), pod, status)
        elif "resourceFieldRef" in source:
            value = resource_value(source["resourceFieldRef"], container, allocatable)
        elif "configMapKeyRef" in source:
            value = _key_ref("configmaps", source["configMapKeyRef"], lookup, namespace)
        elif "secretKeyRef" in source:
            value = _key_ref("secrets", source["secretKeyRef"], lookup, namespace)
        else:
            value = ""
        if value is not None:
            found[name] = value
    return found
