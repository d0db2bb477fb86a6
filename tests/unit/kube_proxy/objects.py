"""Services, EndpointSlices and Nodes for tests, as short as they can be."""

from typing import Any

Object = dict[str, Any]


def service(
    name: str = "web", *, ports: list[Object] | None = None, labels: Object | None = None, **spec: Any
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {"selector": {"app": name}, "ports": ports or [{"port": 8000, "targetPort": 8080}], **spec},
    }


def endpoint(ip: str, *, node: str = "worker", **conditions: bool) -> Object:
    return {"addresses": [ip], "nodeName": node, "conditions": {"ready": True, **conditions}}


def endpoint_slice(
    *endpoints: Object | str,
    of: str = "web",
    name: str = "",
    port: int | None = 8080,
    port_name: str = "",
    protocol: str = "TCP",
) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name or f"{of}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [{"name": port_name, "port": port, "protocol": protocol}],
        "endpoints": [endpoint(one) if isinstance(one, str) else one for one in endpoints],
    }


def node(name: str, ip: str, pod_cidr: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": pod_cidr},
        "status": {"addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}]},
    }
