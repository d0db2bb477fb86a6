"""What is wrong in a cluster, in words that name the object, the evidence and the fix.

Pure: a view in, findings out. Codes and wording follow the symptom table that `mkpy status` prints.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from msgspec import Struct

from minikube_py.apimachinery import meta, names
from minikube_py.apimachinery.labels import Selector
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import View
from minikube_py.cluster.gateway_problems import gateway_problems
from minikube_py.cluster.ingress_problems import ingress_problems
from minikube_py.cluster.selection import selects_nothing
from minikube_py.cluster.workload_problems import last_event, placement_fix, workload_problems

__all__ = ["Problem", "problems"]

Ports: TypeAlias = Callable[[str, str], frozenset[int] | None]

_EVERY_ADDRESS = "0.0.0.0"
_SCHEDULER = "default-scheduler"
_MOMENT = timedelta(seconds=5)
"""In which a program comes to listen."""
_CRASHING = timedelta(minutes=1)
"""In which one that has crashed and was started anew crashes again."""
_WAITING_IS_FINE = {"ContainerCreating", "PodInitializing"}


class Problem(Struct, frozen=True):
    """One finding."""

    code: str
    about: str
    """`namespace/kind/name`, for a node `node/name`."""
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.about}: {self.text}"


def problems(view: View, listening: Ports = lambda ip, protocol: None, *, now: datetime | None = None) -> list[Problem]:
    """Return what keeps pods from running, Services from answering, Ingresses and Gateways from routing.

    `listening(pod IP, protocol)` tells on which ports a pod listens (`cni.sockdiag.Listening.ports`), None if that is
    unknown: then what its containers declare has to do. With `now`, who has just started may not listen yet.
    """
    others = (*workload_problems(view), *gateway_problems(view), *ingress_problems(view, now))
    elsewhere = (Problem(code, _about(obj), text) for code, obj, text in others)
    found = [*_pods(view), *_services(view, listening, now), *elsewhere]
    return sorted(found, key=lambda problem: (problem.code, problem.about))


def _about(obj: Object) -> str:
    return "/".join(part for part in (meta.namespace(obj), str(obj["kind"]).lower(), meta.name(obj)) if part)


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
        if status.get("phase") == "Running" and not meta.terminating(pod) and not _ready(pod):
            yield from _probes(view, pod)


_ENDING_PROBE = re.compile("(Liveness|Startup) probe failed")


def _probes(view: View, pod: Object) -> Iterator[Problem]:
    """Tell which probe fails: one that keeps traffic away, or one that ends the container again and again."""
    unhealthy = [event for event in view.list("events", meta.namespace(pod)) if _unhealthy(event, pod)]
    ending = [event for event in unhealthy if _ENDING_PROBE.match(event["message"])]
    if not unhealthy:
        return
    event = (ending or unhealthy)[-1]
    message, count = " ".join(event["message"].split()), event.get("count", 1)
    if ending:
        again = "is restarted again and again" if _restarted(pod) else "will be restarted"
        yield Problem("MK105", _about(pod), f"{again}: {message} ({count} times)")
    elif not _restarted(pod):  # else that it ends is the reason, not that it doesn't answer then
        yield Problem("MK105", _about(pod), f"runs, but gets no traffic: {message} ({count} in a row)")


def _unhealthy(event: Object, pod: Object) -> bool:
    return event.get("reason") == "Unhealthy" and event["involvedObject"].get("uid") == meta.uid(pod)


def _restarted(pod: Object) -> bool:
    """Tell whether a container has ended by a fault and is started anew, or waits for that."""
    return any(
        ((each.get("lastState") or {}).get("terminated") or {}).get("exitCode")
        for each in meta.status(pod).get("containerStatuses") or ()
    )


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


def _services(view: View, listening: Ports, now: datetime | None) -> Iterator[Problem]:
    for service in view.list("services"):
        yield from _external_ips(service)
        selector = meta.spec(service).get("selector")
        if not selector or meta.spec(service).get("type") == "ExternalName":
            continue
        pods = view.list("pods", meta.namespace(service), Selector.from_map(selector))
        if not pods:
            yield Problem("MK101", _about(service), selects_nothing(view, meta.namespace(service), selector))
            continue
        yield from _target_ports(service, pods, listening, now)
        open_ = meta.spec(service).get("publishNotReadyAddresses")
        if not open_ and not any(_ready(pod) for pod in pods):
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


def _target_ports(service: Object, pods: Sequence[Object], listening: Ports, now: datetime | None) -> Iterator[Problem]:
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
            yield from _unheard(service, port, pods, {name: found or frozenset() for name, found in heard.items()}, now)
        elif isinstance(target, int) and declared and target not in {p["containerPort"] for p in declared}:
            have = ", ".join(str(n) for n in sorted({p["containerPort"] for p in declared}))
            yield Problem(
                "MK103",
                _about(service),
                f"{port['port']} -> targetPort {target}, but its pods declare {have}. "
                f'Callers get "connection refused" unless something listens there. Fix: targetPort: {have}',
            )


def _unheard(
    service: Object,
    port: Mapping[str, Any],
    pods: Sequence[Object],
    heard: Mapping[str, frozenset[int]],
    now: datetime | None,
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
    ready = [pod for pod in pods if meta.name(pod) in heard]
    if not any(heard.values()) and all(_restarted(pod) and _young(pod, now, _CRASHING) for pod in ready):
        return  # it crashes: that is the cause, and it is said of the pod
    have = f"listens on {', '.join(map(str, ports))}" if ports else f"listens on no {protocol} port"
    outcome = 'Callers get "connection refused"' if protocol == "TCP" else "Datagrams are lost"
    if not any(heard.values()) and (young := [_started(pod) for pod in ready if _young(pod, now, _MOMENT)]):
        have += f" yet (it started at {max(young):%H:%M:%S} UTC)"
        outcome = f"Until it does: {outcome[0].lower()}{outcome[1:]}"
    yield Problem(
        "MK103",
        _about(service),
        f"{port['port']} -> targetPort {target}, but {name} {have}. {outcome}."
        + (f" Fix: targetPort: {' or '.join(map(str, ports))}" if ports else ""),
    )


def _young(pod: Object, now: datetime | None, age: timedelta) -> bool:
    return now is not None and _started(pod) > now - age


def _started(pod: Object) -> datetime:
    states = [each.get("state") or {} for each in meta.status(pod).get("containerStatuses") or ()]
    begun = [state["running"]["startedAt"] for state in states if (state.get("running") or {}).get("startedAt")]
    return datetime.fromisoformat(max(begun)) if begun else datetime.min.replace(tzinfo=UTC)


def _called_on(pod: Object, target: int | str, protocol: str) -> set[int]:
    if isinstance(target, int):
        return {target}
    return {
        p["containerPort"]
        for container in meta.spec(pod)["containers"]
        for p in container.get("ports") or ()
        if p.get("name") == target and (p.get("protocol") or "TCP") == protocol
    }
