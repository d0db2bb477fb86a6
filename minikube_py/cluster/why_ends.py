"""Reading the two ends of `mkpy why FROM TO[:PORT]`: who calls, and what the name of the other means.

Nothing is asked over the network: what stands for FROM and TO follows from the objects.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View
from minikube_py.cluster.targets import UnknownTarget, home_of, pod_of
from minikube_py.cni.addresses import is_ipv4
from minikube_py.cni.fabric import Fabric
from minikube_py.cni.namespace import NetworkNamespace

__all__ = ["Destination", "Source", "destination_of", "port_of", "source_of", "split"]

_OUTSIDE = ("outside", "host", "127.0.0.1", "localhost")


class Source(NamedTuple):
    label: str
    namespace: str
    ip: str
    network: NetworkNamespace | None
    """None: outside."""


class Destination(NamedTuple):
    """What TO means, before any packet."""

    label: str
    host: str
    """What the caller would write: a name to look up, or an address."""
    ports: tuple[Mapping[str, Any], ...]
    """Those to choose from if none is given, as {port, name}."""


def split(text: str) -> tuple[str, str, str]:
    """Split `host:port/udp` into host, port ("" without one) and protocol."""
    protocol = "TCP"
    bare, slash, last = text.rpartition("/")
    if slash and last.lower() in ("udp", "tcp"):
        text, protocol = bare, last.upper()
    host, colon, port = text.rpartition(":")
    return (host, port, protocol) if colon else (text, "", protocol)


def _address(pod: Object) -> str:
    if ip := meta.status(pod).get("podIP"):
        return str(ip)
    raise UnknownTarget(f"pod {meta.name(pod)} has no address yet ({meta.status(pod).get('phase', 'Pending')})")


def _label(obj: Object) -> str:
    return f"{meta.name(obj)} ({meta.namespace(obj)})"


def source_of(view: View, fabric: Fabric, text: str, namespace: str) -> Source:
    """Find who calls: a pod, a workload, an address, `outside`.

    Error handling: UnknownTarget with the nearest name, or for a pod without an address.
    """
    if text.lower() in _OUTSIDE:
        return Source("outside (127.0.0.1)", namespace, "127.0.0.1", None)
    if is_ipv4(text):
        found = [pod for pod in view.list("pods") if meta.status(pod).get("podIP") == text]
        if not found:
            raise UnknownTarget(f'no pod has the address {text}; say a pod, a workload, or "outside"')
        pod = found[0]
    else:
        home = home_of(view, text) if namespace == "default" and text.count("/") <= 1 else namespace
        pod = pod_of(view, text, home)
    ip = _address(pod)
    network = fabric.find(ip)
    if network is None:
        raise UnknownTarget(f"pod {meta.name(pod)} has no network any more: it has ended")
    return Source(_label(pod), meta.namespace(pod), ip, network)


def destination_of(view: View, caller: Source, text: str, namespace: str) -> Destination:
    """Find what TO means: an address; a Service; a pod or workload; else a name to look up.

    Error handling: UnknownTarget with the nearest name.
    """
    if not text:
        raise UnknownTarget("say where to: a Service, a pod, a name or an address, such as db:5432")
    if is_ipv4(text):
        return Destination(_owner(view, text), text, ())
    kind, slash, rest = text.rpartition("/")
    if slash and kind.lower() in ("svc", "service", "services"):
        if (service := view.get("services", rest, namespace)) is None:
            raise UnknownTarget(_no_such(view, rest, namespace))
        return _service(caller, service, rest)
    if not slash:
        first, *others = text.removesuffix(".").split(".")
        if not others and (service := view.get("services", first, namespace)):
            return _service(caller, service, first)
        if others:
            if service := view.get("services", first, others[0]):
                return _service(caller, service, text)
            return Destination(text, text, ())
    try:
        pod = pod_of(view, text, namespace)
    except UnknownTarget:
        if slash:
            raise
        raise UnknownTarget(_no_such(view, text, namespace)) from None
    ip = _address(pod)
    ports = [
        {"port": port["containerPort"], "name": port.get("name")}
        for container in meta.spec(pod)["containers"]
        for port in container.get("ports") or ()
    ]
    return Destination(f"pod/{_label(pod)}", ip, tuple(ports))


def _service(caller: Source, service: Object, written: str) -> Destination:
    spec = meta.spec(service)
    ports = tuple({"port": port["port"], "name": port.get("name")} for port in spec.get("ports") or ())
    label = f"svc/{_label(service)}"
    if caller.network is None:  # the outside has no cluster DNS: it would use the address
        ip = spec.get("clusterIP")
        if ip in (None, "", "None"):
            raise UnknownTarget(
                f"svc/{meta.name(service)} has no address of its own; from outside, name one of its pods"
            )
        return Destination(label, ip, ports)
    if "." not in written and meta.namespace(service) != caller.namespace:
        written = f"{written}.{meta.namespace(service)}"
    return Destination(label, written, ports)


def _owner(view: View, ip: str) -> str:
    for resource, prefix in (("pods", "pod/"), ("services", "svc/")):
        for obj in view.list(resource):
            if ip in (meta.status(obj).get("podIP"), meta.spec(obj).get("clusterIP")):
                return f"{prefix}{_label(obj)} {ip}"
    return ip


def _no_such(view: View, name: str, namespace: str) -> str:
    where = [meta.namespace(s) for s in view.list("services") if meta.name(s) == name]
    if where:
        return (
            f'no pod, workload or service "{name}" in namespace {namespace}; it lives in {where[0]}: {name}.{where[0]}'
        )
    known = {meta.name(s): f"svc/{meta.name(s)}" for s in view.list("services", namespace)}
    for resource in ("pods", "deployments.apps", "statefulsets.apps"):
        for obj in view.list(resource, namespace):
            known.setdefault(meta.name(obj), meta.name(obj))
    nearest = names.nearest(name, known)
    return f'no pod, workload or service "{name}" in namespace {namespace}.' + (
        f" Did you mean {known[nearest]}?" if nearest else " See: mkpy get pods,svc -A"
    )


def port_of(to: Destination, text: str) -> int:
    """Return the port that is meant, by number or name; without any the first, or 80.

    Error handling: UnknownTarget with the names of its ports.
    """
    if text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    if text:
        for port in to.ports:
            if port["name"] == text:
                return int(port["port"])
        known = ", ".join(f"{p['name']} ({p['port']})" if p["name"] else str(p["port"]) for p in to.ports)
        raise UnknownTarget(f'{to.label} has no port "{text}"; its ports: {known or "none is named"}')
    if to.ports:
        return int(to.ports[0]["port"])
    return 80
