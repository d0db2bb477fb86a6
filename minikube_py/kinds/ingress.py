"""Ingress."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules, workload
from minikube_py.kinds.kind import Column, Kind
from minikube_py.kinds.tables import AGE, NAME, age

__all__ = ["CLASS_ANNOTATION", "KIND", "class_of"]

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")


def class_of(ingress: Object) -> str:
    """Return the class that an Ingress asks for, by its field or by the older annotation; "" if it names none."""
    return meta.spec(ingress).get("ingressClassName") or meta.annotations(ingress).get(CLASS_ANNOTATION) or ""


def prepare(ingress: Object, old: Object | None) -> None:
    if old is None:
        ingress["status"] = {"loadBalancer": {}}


@rules.collected
def validate(ingress: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(ingress, old)
    spec = meta.spec(ingress)
    class_name = spec.get("ingressClassName")
    annotation = meta.annotations(ingress).get(CLASS_ANNOTATION)
    if old is None and annotation is not None and class_name is not None and annotation != class_name:
        at = "metadata.annotations[kubernetes.io/ingress.class]"
        yield errors.invalid_value(at, annotation, "must match `ingressClassName` when both are specified")
    if class_name is not None:
        for why in names.dns_subdomain_errors(class_name):
            yield errors.invalid_value("spec.ingressClassName", class_name, why)
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        yield errors.invalid_value("spec", errors.GoText("[]"), "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        yield from _backend(spec["defaultBackend"], "spec.defaultBackend")
    for index, rule in enumerate(spec.get("rules") or ()):
        yield from _rule(rule, f"spec.rules[{index}]")
    for index, tls in enumerate(spec.get("tls") or ()):
        for number, host in enumerate(tls.get("hosts") or ()):
            check = names.wildcard_subdomain_errors if "*" in host else names.dns_subdomain_errors
            for why in check(host):
                yield errors.invalid_value(f"spec.tls[{index}].hosts[{number}]", host, why)
        if secret := tls.get("secretName"):
            for why in names.dns_subdomain_errors(secret):
                yield errors.invalid_value(f"spec.tls[{index}].secretName", secret, why)


def _rule(rule: Mapping[str, Any], at: str) -> rules.Errors:
    if host := rule.get("host"):
        if _is_address(host):
            yield errors.invalid_value(f"{at}.host", host, "must be a DNS name, not an IP address")
        check = names.wildcard_subdomain_errors if "*" in host else names.dns_subdomain_errors
        for why in check(host):
            yield errors.invalid_value(f"{at}.host", host, why)
    http = rule.get("http")
    if http is None:
        return
    if not http.get("paths"):
        yield errors.required(f"{at}.http.paths")
    for index, path in enumerate(http.get("paths") or ()):
        yield from _path(path, f"{at}.http.paths[{index}]")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _path(path: Mapping[str, Any], at: str) -> rules.Errors:
    type_, text = path.get("pathType"), path.get("path") or ""
    match type_:
        case None | "":
            yield errors.required(f"{at}.pathType", "pathType must be specified")
        case "Exact" | "Prefix":
            if not text.startswith("/"):
                yield errors.invalid_value(f"{at}.path", text, "must be an absolute path")
            for bad in _BAD_SEQUENCES:
                if text and bad in text:
                    yield errors.invalid_value(f"{at}.path", text, f"must not contain '{bad}'")
            for bad in _BAD_SUFFIXES:
                if text.endswith(bad):
                    yield errors.invalid_value(f"{at}.path", text, f"cannot end with '{bad}'")
        case "ImplementationSpecific":
            if text and not text.startswith("/"):
                yield errors.invalid_value(f"{at}.path", text, "must be an absolute path")
        case _:
            yield errors.not_supported(f"{at}.pathType", type_, _PATH_TYPES)
    yield from _backend(path.get("backend") or {}, f"{at}.backend")


def _backend(backend: Mapping[str, Any], at: str) -> rules.Errors:
    service, resource = backend.get("service"), backend.get("resource")
    if service is None and resource is None:
        yield errors.required(at, "backend must specify either a service or a resource")  # never both
        return
    if service is not None and resource is not None:
        yield errors.invalid_value(at, "", "cannot set both resource and service backends")
        return
    if resource is not None:
        for key in ("kind", "name"):
            if not resource.get(key):
                yield errors.required(f"{at}.resource.{key}")
        return
    assert service is not None
    if not service.get("name"):
        yield errors.required(f"{at}.service.name")
    else:
        for why in names.dns_1035_label_errors(service["name"]):
            yield errors.invalid_value(f"{at}.service.name", service["name"], why)
    port = service.get("port") or {}
    name, number = port.get("name"), port.get("number")
    if name and number:
        yield errors.invalid_value(at, "", "cannot set both port name & port number")
    elif name:
        for why in names.port_name_errors(name):
            yield errors.invalid_value(f"{at}.service.port.name", name, why)
    elif number:
        yield from rules.port_number(number, f"{at}.service.port.number")
    else:
        yield errors.required(f"{at}.service.port", "port name or number is required")


def row(ingress: Object, now: float) -> list[Any]:
    spec = meta.spec(ingress)
    class_name = class_of(ingress) or "<none>"
    hosts = [str(rule["host"]) for rule in spec.get("rules") or () if rule.get("host")]
    shown = ",".join(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "")
    points = (meta.status(ingress).get("loadBalancer") or {}).get("ingress") or ()
    addresses = [str(point.get("ip") or point.get("hostname") or "") for point in points]
    ports = "80, 443" if spec.get("tls") else "80"
    return [meta.name(ingress), class_name, shown or "*", ",".join(addresses), ports, age(ingress, now)]


KIND = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="Ingress",
    plural="ingresses",
    singular="ingress",
    short_names=("ing",),
    subresources=(workload.status_of("Ingress", "networking.k8s.io"),),
    columns=(NAME, Column("Class"), Column("Hosts"), Column("Address"), Column("Ports"), AGE),
    row=row,
    prepare=prepare,
    validate=validate,
    unsupported={
        "spec.rules[].http.paths[].backend.resource": "only Services can be backends",
        "spec.defaultBackend.resource": "only Services can be backends",
    },
)
