"""What keeps Ingresses from being served: their class, their backends, their TLS Secrets. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View
from minikube_py.cluster.workload_problems import Finding, last_event
from minikube_py.kinds.ingress import class_of
from minikube_py.kinds.ingressclass import DEFAULT_CLASS

__all__ = ["absent", "backends", "ingress_problems", "unserved"]


def ingress_problems(view: View, now: datetime | None = None) -> Iterator[Finding]:
    """Yield Ingresses that nobody serves, whose Services don't exist, or whose certificates are others (with `now`)."""
    for ingress in view.list("ingresses.networking.k8s.io"):
        if why := unserved(view, ingress):
            yield "MK401", ingress, why
        for backend in backends(ingress):
            if why := absent(view, meta.namespace(ingress), backend["name"]) or _portless(view, ingress, backend):
                yield "MK402", ingress, why
        if now is not None:
            yield from _certificates(view, ingress, now)


def unserved(view: View, ingress: Object) -> str:
    """Say why no controller serves an Ingress; "" if one does."""
    classes = {meta.name(c): c for c in view.list("ingressclasses.networking.k8s.io")}
    wanted = class_of(ingress)
    if wanted and wanted not in classes:
        nearest = names.nearest(wanted, classes)
        meant = f"did you mean {nearest}?" if nearest else f"known: {', '.join(sorted(classes)) or 'none'}"
        return f'ingressClassName "{wanted}" does not exist, so no controller serves it; {meant}'
    if not wanted and not any(meta.annotations(c).get(DEFAULT_CLASS) == "true" for c in classes.values()):
        return "has no ingressClassName and no class is default, so no controller serves it"
    addresses = (meta.status(ingress).get("loadBalancer") or {}).get("ingress")
    event = None if addresses else last_event(view, ingress, "NotServed")
    return str(event["message"]) if event else ""


def backends(ingress: Object, host: str | None = None, path: str | None = None) -> Iterator[Mapping[str, Any]]:
    """Yield the Services (`{name, port}`) that an Ingress leads to: all, or those of one host and path."""
    spec = meta.spec(ingress)
    rules = spec.get("rules") or ()
    if (path is None or not rules) and (service := (spec.get("defaultBackend") or {}).get("service")):
        yield service
    for rule in rules:
        for each in (rule.get("http") or {}).get("paths") or ():
            asked = path is None or (rule.get("host", ""), each.get("path", "/")) == (host, path)
            if asked and (service := (each.get("backend") or {}).get("service")):
                yield service


def absent(view: View, namespace: str, name: str) -> str:
    """Say that a backend's Service does not exist, and which may be meant; "" if it does."""
    if view.get("services", name, namespace) is not None:
        return ""
    nearest = names.nearest(name, [meta.name(s) for s in view.list("services", namespace)])
    meant = f"; did you mean {nearest}?" if nearest else ""
    return f"its backend service {name} does not exist in namespace {namespace}{meant}"


def _portless(view: View, ingress: Object, backend: Mapping[str, Any]) -> str:
    service = view.get("services", backend["name"], meta.namespace(ingress))
    port = backend.get("port") or {}
    ports = meta.spec(service or {}).get("ports") or ()
    if any(p["port"] == port.get("number") or (port.get("name") and p.get("name") == port["name"]) for p in ports):
        return ""
    have = ", ".join(f"{p['port']}" + (f' (name "{p["name"]}")' if p.get("name") else "") for p in ports)
    return f"-> {backend['name']}:{port.get('number') or port.get('name')}, but the Service exposes {have}"


def _certificates(view: View, ingress: Object, now: datetime) -> Iterator[Finding]:
    from minikube_py.ingress.rules.compile import tls_hosts  # with the whole compiler, only where TLS is asked for
    from minikube_py.ingress.tls.faults import fault_of

    for host, secret in tls_hosts(ingress) if meta.spec(ingress).get("tls") else ():
        if secret is not None:
            fault = fault_of(view.get("secrets", secret.name, secret.namespace), host, now)
            if fault is not None:
                yield "MK405", ingress, f"TLS Secret {secret.name} for {host or 'any host'}: {fault}"
