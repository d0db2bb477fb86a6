"""Service. Addresses and node ports are given out by the API server (`apiserver/allocators.py`), not here."""

from typing import Any

from minikube_py.apimachinery import errors, meta, names
from minikube_py.apimachinery.errors import GoText
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import rules
from minikube_py.kinds.kind import Column, Kind, Subresource
from minikube_py.kinds.tables import AGE, NAME, age, map_cell

__all__ = ["KIND", "is_headless", "service_type"]

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_SESSION_AFFINITY_TIMEOUT = 10800
"""Seconds; v1.DefaultClientIPServiceAffinitySeconds."""


def service_type(service: Object) -> str:
    return str(meta.spec(service).get("type") or "ClusterIP")


def is_headless(service: Object) -> bool:
    return meta.spec(service).get("clusterIP") == "None"


def prepare(service: Object, old: Object | None) -> None:
    if old is None:
        service["status"] = {"loadBalancer": {}}


def default(service: Object) -> None:
    spec = service.setdefault("spec", {})
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.get("sessionAffinityConfig") or {}
        client = config.get("clientIP") or {}
        seconds = client.get("timeoutSeconds") or _SESSION_AFFINITY_TIMEOUT
        spec["sessionAffinityConfig"] = {**config, "clientIP": {**client, "timeoutSeconds": seconds}}
    for port in spec.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if port.get("targetPort") in (None, 0, "") and "port" in port:
            port["targetPort"] = port["port"]
    external = spec["type"] in ("NodePort", "LoadBalancer")
    if (external or spec.get("externalIPs")) and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer") and not spec.get("internalTrafficPolicy"):
        spec["internalTrafficPolicy"] = "Cluster"
    if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        spec["allocateLoadBalancerNodePorts"] = True
    if spec["type"] != "ExternalName":
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        elif spec.get("clusterIPs") and not spec.get("clusterIP"):
            spec["clusterIP"] = spec["clusterIPs"][0]
        if not spec.get("ipFamilyPolicy"):
            headless_without_selector = spec.get("clusterIP") == "None" and not spec.get("selector")
            spec["ipFamilyPolicy"] = "RequireDualStack" if headless_without_selector else "SingleStack"
        if not spec.get("ipFamilies"):
            dual = spec["ipFamilyPolicy"] == "RequireDualStack" and spec.get("clusterIP") == "None"
            spec["ipFamilies"] = ["IPv4", "IPv6"] if dual and not spec.get("selector") else ["IPv4"]


@rules.collected
def validate(service: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(service, old, names.dns_1035_label_errors)
    spec = meta.spec(service)
    type_ = spec.get("type")
    yield from rules.one_of(type_, "spec.type", TYPES, needed=True)
    yield from _ports(service)
    yield from _by_type(service)
    yield from rules.labels(spec.get("selector"), "spec.selector")
    yield from rules.one_of(spec.get("sessionAffinity"), "spec.sessionAffinity", ("ClientIP", "None"), needed=True)
    timeout = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    if timeout is not None and not 0 < timeout <= 86400:
        at = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        yield errors.invalid_value(at, timeout, "must be greater than 0 and less than 86400")
    for key in ("externalTrafficPolicy", "internalTrafficPolicy"):
        yield from rules.one_of(spec.get(key), f"spec.{key}", ("Cluster", "Local"))
    for index, address in enumerate(spec.get("externalIPs") or ()):
        yield from rules.ip(address, f"spec.externalIPs[{index}]")
    for index, network in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        yield from rules.network(network.strip(), f"spec.loadBalancerSourceRanges[{index}]")
    if spec.get("loadBalancerSourceRanges") and type_ != "LoadBalancer":
        yield errors.forbidden_field("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'")
    if old is not None:
        yield from _update(service, old)


def _ports(service: Object) -> rules.Errors:
    spec = meta.spec(service)
    ports = spec.get("ports") or ()
    type_ = service_type(service)
    if not ports and not is_headless(service) and type_ != "ExternalName":
        yield errors.required("spec.ports")
    taken_names: set[str] = set()
    seen: set[tuple[str, int]] = set()
    node_ports: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        at = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if name:
            for why in names.dns_label_errors(name):
                yield errors.invalid_value(f"{at}.name", name, why)
            if name in taken_names:
                yield errors.duplicate(f"{at}.name", name)
            taken_names.add(name)
        elif len(ports) > 1:
            yield errors.required(f"{at}.name")
        number = port.get("port") or 0
        yield from rules.port_number(number, f"{at}.port")
        protocol = port.get("protocol") or ""
        if protocol == "SCTP" and type_ != "ExternalName" and not is_headless(service):
            yield _no_sctp(f"{at}.protocol")
        else:
            yield from rules.protocol(protocol, f"{at}.protocol")
        yield from rules.port_name_or_number(port.get("targetPort"), f"{at}.targetPort")
        if app_protocol := port.get("appProtocol"):
            for why in names.qualified_name_errors(app_protocol):
                yield errors.invalid_value(f"{at}.appProtocol", app_protocol, why)
        if (protocol, number) in seen:
            yield errors.duplicate(at, _go_port(protocol, number))
        seen.add((protocol, number))
        if node_port := port.get("nodePort"):
            if type_ == "ClusterIP":
                yield errors.forbidden_field(f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'")
            if (protocol, node_port) in node_ports:
                yield errors.duplicate(f"{at}.nodePort", node_port)
            node_ports.add((protocol, node_port))


def _no_sctp(path: str) -> errors.FieldError:
    """Refuse what the real server takes: an address that never answers would be the worse surprise.

    Headless Services may have it, because DNS is all there is of them.
    """
    refused = errors.not_supported(path, "SCTP", ("TCP", "UDP"))
    why = "minikube_py's proxy carries no SCTP (the port of a headless Service may have it: it is in DNS alone)"
    return errors.FieldError(path, refused.reason, f"{refused.message}: {why}")


def _go_port(protocol: str, port: int) -> GoText:
    target = 'intstr.IntOrString{Type:0, IntVal:0, StrVal:""}'
    return GoText(
        f'core.ServicePort{{Name:"", Protocol:"{protocol}", AppProtocol:(*string)(nil), Port:{port}, '
        f"TargetPort:{target}, NodePort:0}}"
    )


def _by_type(service: Object) -> rules.Errors:
    spec = meta.spec(service)
    type_ = spec.get("type")
    if type_ in ("LoadBalancer", "NodePort") and is_headless(service):
        yield errors.invalid_value("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {type_} services")
    if type_ == "ExternalName":
        for key in ("clusterIPs", "ipFamilies"):
            if spec.get(key):
                what = "may not be set for ExternalName services"
                yield errors.forbidden_field(f"spec.{key}", what)
        name = (spec.get("externalName") or "").removesuffix(".")
        if not name:
            yield errors.required("spec.externalName")
        for why in names.dns_subdomain_errors(name) if name else ():
            yield errors.invalid_value("spec.externalName", name, why)
    address = spec.get("clusterIP")
    if address and address != "None" and type_ != "ExternalName":
        yield from rules.ip(address, "spec.clusterIPs[0]")
    addresses = spec.get("clusterIPs") or ()
    if addresses and address and addresses[0] != address:
        shown = GoText.strings(addresses)
        yield errors.invalid_value("spec.clusterIPs", shown, "first value must match `clusterIP`")
    external = type_ in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs"))
    if spec.get("externalTrafficPolicy") and not external:
        why = "may only be set for externally-accessible services"
        yield errors.invalid_value("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], why)
    if type_ != "LoadBalancer":
        if spec.get("allocateLoadBalancerNodePorts") is not None:
            why = "may only be used when `type` is 'LoadBalancer'"
            yield errors.forbidden_field("spec.allocateLoadBalancerNodePorts", why)
        if spec.get("loadBalancerClass"):
            why = "may only be used when `type` is 'LoadBalancer'"
            yield errors.forbidden_field("spec.loadBalancerClass", why)
    elif class_ := spec.get("loadBalancerClass"):
        for why in names.qualified_name_errors(class_):
            yield errors.invalid_value("spec.loadBalancerClass", class_, why)
    if spec.get("healthCheckNodePort") and not (
        type_ == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    ):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield errors.invalid_value("spec.healthCheckNodePort", spec["healthCheckNodePort"], why)


def _update(service: Object, old: Object) -> rules.Errors:
    was, now = meta.spec(old), meta.spec(service)
    if "ExternalName" in (service_type(service), service_type(old)):
        return
    before = was.get("clusterIP") or ""
    after = now.get("clusterIP") or ""
    if before and after != before:
        shown = GoText.strings(now.get("clusterIPs") or ([after] if after else None))
        yield errors.invalid_value("spec.clusterIPs[0]", shown, "may not change once set")
    if service_type(service) == service_type(old) == "LoadBalancer":
        class_ = now.get("loadBalancerClass")
        if class_ != was.get("loadBalancerClass"):
            yield errors.invalid_value("spec.loadBalancerClass", class_ or "null", "may not change once set")


def row(service: Object, now: float) -> list[Any]:
    spec = meta.spec(service)
    ports = []
    for port in spec.get("ports") or ():
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        ports.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return [
        meta.name(service),
        service_type(service),
        spec.get("clusterIP") or "<none>",
        _external(service),
        ",".join(ports) or "<none>",
        age(service, now),
        map_cell(spec.get("selector")),
    ]


def _external(service: Object) -> str:
    spec = meta.spec(service)
    given = list(spec.get("externalIPs") or ())
    match service_type(service):
        case "ExternalName":
            return str(spec.get("externalName") or "")
        case "LoadBalancer":
            ingress = (meta.status(service).get("loadBalancer") or {}).get("ingress") or ()
            found = [str(point.get("ip") or point.get("hostname") or "") for point in ingress]
            addresses = list(dict.fromkeys(filter(None, found + given)))
            return ",".join(addresses) or "<pending>"
        case _:
            return ",".join(given) or "<none>"


KIND = Kind(
    group="",
    version="v1",
    kind="Service",
    plural="services",
    singular="service",
    short_names=("svc",),
    categories=("all",),
    subresources=(
        Subresource("proxy", "ServiceProxyOptions", "", "v1", ("create", "delete", "get", "patch", "update")),
        Subresource("status", "Service", "", "v1"),
    ),
    columns=(
        NAME,
        Column("Type"),
        Column("Cluster-IP"),
        Column("External-IP"),
        Column("Port(s)"),
        AGE,
        Column("Selector", priority=1),
    ),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    selectable={
        "spec.clusterIP": lambda service: meta.spec(service).get("clusterIP") or "",
        "spec.type": service_type,
    },
    unsupported={
        "spec.ports[].protocol=SCTP": "SCTP has no sockets here; the port is in DNS, and nothing listens on it",
        "spec.ipFamilies[]=IPv6": "addresses are IPv4 only",
        "spec.trafficDistribution": "endpoints are picked without regard to zones",
    },
)
