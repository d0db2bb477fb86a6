"""What is wrong in a cluster, in words that name the object, the evidence and the fix.

Pure: a view in, findings out. Codes and wording follow the symptom table that `mkpy status` prints.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View
from minikube_py.cluster.gateway_problems import gateway_problems
from minikube_py.cluster.selection import selects_nothing
from minikube_py.cluster.workload_problems import last_event, placement_fix, workload_problems

__all__ = ["Problem", "problems"]

Ports: TypeAlias = Callable[[str, str], frozenset[int] | None]

_EVERY_ADDRESS = "0.0.0.0"
_SCHEDULER = "default-scheduler"
_WAITING_IS_FINE = {"ContainerCreating", "PodInitializing"}


class Problem(Struct, frozen=True):
    """One finding."""

    code: str
    about: str
    """`namespace/kind/name`."""
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.about}: {self.text}"


def problems(view: View, listening: Ports = lambda ip, protocol: None) -> list[Problem]:
    """Return what keeps pods from running, Services from answering, Ingresses and Gateways from routing.

    `listening(pod IP, protocol)` tells on which ports a pod listens (`cni.sockdiag.Listening.ports`), None if that is
    unknown: then what its containers declare has to do.
    """
    others = (*workload_problems(view), *gateway_problems(view))
    elsewhere = (Problem(code, _about(obj), text) for code, obj, text in others)
    found = [*_pods(view), *_services(view, listening), *_ingresses(view), *elsewhere]
    return sorted(found, key=lambda problem: (problem.code, problem.about))


def _about(obj: Object) -> str:
    return f"{meta.namespace(obj)}/{str(obj['kind']).lower()}/{meta.name(obj)}"


def _pods(view: View) -> Iterator[Problem]:
    for pod in view.list("pods"):
        status = meta.status(pod)
        for condition in status.get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                why = str(condition.get("message") or condition.get("reason"))
                yield Problem("MK111", _about(pod), f"is not scheduled: {why}{placement_fix(view, pod)}")
        yield from _not_begun(view, pod)
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            waiting = (container.get("state") or {}).get("waiting")
            if waiting and waiting.get("reason") not in _WAITING_IS_FINE:
                last = (container.get("lastState") or {}).get("terminated") or {}
                said = f": {last['message'].strip().splitlines()[-1]}" if (last.get("message") or "").strip() else ""
                ended = (
                    f"; the last run ended with exit code {last['exitCode']}{said}; " if last.get("exitCode") else ""
                )
                if ended:
                    name = meta.name(pod)
                    ended += f'its log: mkpy logs {name} --previous, in Python logs("pod/{name}", previous=True)'
                message = waiting.get("message") or ""
                yield Problem(
                    "MK112",
                    _about(pod),
                    f"container {container['name']}: {waiting.get('reason')}"
                    + (f": {message}" if message else "")
                    + ended,
                )
        if status.get("phase") == "Running" and not meta.terminating(pod):
            for event in view.list("events", meta.namespace(pod)):
                if (
                    event.get("reason") == "Unhealthy"
                    and event["involvedObject"].get("uid") == meta.uid(pod)
                    and not _ready(pod)
                ):
                    yield Problem(
                        "MK105",
                        _about(pod),
                        f"runs, but gets no traffic: {' '.join(event['message'].split())} "
                        f"({event.get('count', 1)} in a row)",
                    )
                    break


def _not_begun(view: View, pod: Object) -> Iterator[Problem]:
    """Say why a pod doesn't start of which its status says nothing: nobody starts it, or its volumes are missing."""
    spec = meta.spec(pod)
    if meta.terminating(pod) or meta.status(pod).get("phase") not in (None, "Pending"):
        return
    node, scheduler = spec.get("nodeName"), spec.get("schedulerName", _SCHEDULER)
    if node and view.get("nodes", node) is None:
        known = ", ".join(meta.name(each) for each in view.list("nodes"))
        yield Problem("MK114", _about(pod), f"spec.nodeName {node} is no node of this cluster; its nodes: {known}")
    elif not node and scheduler != _SCHEDULER:
        text = f'spec.schedulerName "{scheduler}": no such scheduler runs here, so nobody binds it to a node'
        yield Problem("MK114", _about(pod), f"{text}. Fix: leave it out")
    elif event := last_event(view, pod, "FailedMount") or last_event(view, pod, "FailedCreatePodSandBox"):
        yield Problem("MK114", _about(pod), f"can't start: {event['message']}")


def _ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in meta.status(pod).get("conditions") or ())


def _services(view: View, listening: Ports) -> Iterator[Problem]:
    for service in view.list("services"):
        yield from _external_ips(service)
        selector = meta.spec(service).get("selector")
        if not selector or meta.spec(service).get("type") == "ExternalName":
            continue
        pods = view.list("pods", meta.namespace(service), Selector.from_map(selector))
        if not pods:
            yield Problem("MK101", _about(service), selects_nothing(view, meta.namespace(service), selector))
            continue
        yield from _target_ports(service, pods, listening)
        if not any(_ready(pod) for pod in pods):
            yield Problem("MK105", _about(service), f"has 0 of {len(pods)} endpoints ready: callers are refused")


def _external_ips(service: Object) -> Iterator[Problem]:
    """An externalIP is served only where it is an address of the loopback interface."""
    for ip in meta.spec(service).get("externalIPs") or ():
        if not str(ip).startswith("127."):
            yield Problem(
                "MK110",
                _about(service),
                f"externalIP {ip} is not served: everything here is on loopback. Fix: an address in 127.0.0.0/8",
            )


def _target_ports(service: Object, pods: Sequence[Object], listening: Ports) -> Iterator[Problem]:
    """A targetPort on which no selected pod listens is refused by every pod."""
    for port in meta.spec(service).get("ports") or ():
        target = port.get("targetPort", port["port"])
        declared = [
            p for pod in pods for container in meta.spec(pod)["containers"] for p in container.get("ports") or ()
        ]
        if isinstance(target, str):
            known = {p["name"] for p in declared if p.get("name")}
            if target not in known:
                nearest = names.nearest(target, known)
                yield Problem(
                    "MK104",
                    _about(service),
                    f'targetPort "{target}" is no port name of its pods (they have: '
                    f"{', '.join(sorted(known)) or 'none'})" + (f"; did you mean {nearest}?" if nearest else ""),
                )
                continue
        protocol = port.get("protocol") or "TCP"
        heard = {meta.name(pod): listening(meta.status(pod)["podIP"], protocol) for pod in pods if _ready(pod)}
        if heard and None not in heard.values():
            anywhere = listening(_EVERY_ADDRESS, protocol) or frozenset()
            if any(anywhere & _called_on(pod, target, protocol) for pod in pods if _ready(pod)):
                continue
            yield from _unheard(service, port, pods, {name: found or frozenset() for name, found in heard.items()})
        elif isinstance(target, int) and declared and target not in {p["containerPort"] for p in declared}:
            have = ", ".join(str(n) for n in sorted({p["containerPort"] for p in declared}))
            yield Problem(
                "MK103",
                _about(service),
                f"{port['port']} -> targetPort {target}, but its pods declare {have}. "
                f'Callers get "connection refused" unless something listens there. Fix: targetPort: {have}',
            )


def _unheard(
    service: Object, port: Mapping[str, Any], pods: Sequence[Object], heard: Mapping[str, frozenset[int]]
) -> Iterator[Problem]:
    """Compare the port that each ready pod is called on with those that it listens on."""
    target = port.get("targetPort", port["port"])
    protocol = port.get("protocol") or "TCP"
    for pod in pods:
        name = meta.name(pod)
        if name in heard and heard[name].intersection(_called_on(pod, target, protocol)):
            return
    name = next(iter(heard))
    ports = sorted(heard[name])
    have = f"listens on {', '.join(map(str, ports))}" if ports else f"listens on no {protocol} port"
    outcome = 'Callers get "connection refused"' if protocol == "TCP" else "Datagrams are lost"
    yield Problem(
        "MK103",
        _about(service),
        f"{port['port']} -> targetPort {target}, but {name} {have}. {outcome}."
        + (f" Fix: targetPort: {' or '.join(map(str, ports))}" if ports else ""),
    )


def _called_on(pod: Object, target: int | str, protocol: str) -> set[int]:
    if isinstance(target, int):
        return {target}
    return {
        p["containerPort"]
        for container in meta.spec(pod)["containers"]
        for p in container.get("ports") or ()
        if p.get("name") == target and (p.get("protocol") or "TCP") == protocol
    }


def _ingresses(view: View) -> Iterator[Problem]:
    classes = {meta.name(c): c for c in view.list("ingressclasses.networking.k8s.io")}
    has_default = any(
        meta.annotations(c).get("ingressclass.kubernetes.io/is-default-class") == "true" for c in classes.values()
    )
    for ingress in view.list("ingresses.networking.k8s.io"):
        spec = meta.spec(ingress)
        wanted = spec.get("ingressClassName") or meta.annotations(ingress).get("kubernetes.io/ingress.class")
        if wanted and wanted not in classes:
            nearest = names.nearest(wanted, classes)
            yield Problem(
                "MK401",
                _about(ingress),
                f'ingressClassName "{wanted}" does not exist, so no controller serves it'
                + (f"; did you mean {nearest}?" if nearest else f"; known: {', '.join(sorted(classes)) or 'none'}"),
            )
        elif not wanted and not has_default:
            yield Problem(
                "MK401", _about(ingress), "has no ingressClassName and no class is default, so no controller serves it"
            )
        for backend in _backends(spec):
            yield from _backend(view, ingress, backend)


def _backends(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if service := (spec.get("defaultBackend") or {}).get("service"):
        yield service
    for rule in spec.get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            if service := (path.get("backend") or {}).get("service"):
                yield service


def _backend(view: View, ingress: Object, backend: Mapping[str, Any]) -> Iterator[Problem]:
    namespace = meta.namespace(ingress)
    service = view.get("services", backend["name"], namespace)
    if service is None:
        nearest = names.nearest(backend["name"], [meta.name(s) for s in view.list("services", namespace)])
        yield Problem(
            "MK402",
            _about(ingress),
            f"its backend service {backend['name']} does not exist in namespace {namespace}"
            + (f"; did you mean {nearest}?" if nearest else ""),
        )
        return
    port = backend.get("port") or {}
    ports = meta.spec(service).get("ports") or ()
    if not any(p["port"] == port.get("number") or (port.get("name") and p.get("name") == port["name"]) for p in ports):
        have = ", ".join(f"{p['port']}" + (f' (name "{p["name"]}")' if p.get("name") else "") for p in ports)
        yield Problem(
            "MK402",
            _about(ingress),
            f"-> {backend['name']}:{port.get('number') or port.get('name')}, but the Service exposes {have}",
        )
