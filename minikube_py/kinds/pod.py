"""Pod."""

from typing import Any

from minikube_py.apimachinery import errors, meta, quantities
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import podrules, podspec, rules
from minikube_py.kinds.kind import Column, Kind, Subresource
from minikube_py.kinds.tables import AGE, NAME, age, since

__all__ = ["KIND", "is_ready", "phase", "qos_class"]


def phase(pod: Object) -> str:
    return str(meta.status(pod).get("phase") or "Pending")


def is_ready(pod: Object) -> bool:
    """Tell whether the pod's Ready condition holds."""
    conditions = meta.status(pod).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def qos_class(pod: Object) -> str:
    """Return Guaranteed, Burstable or BestEffort.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
    """
    spec = meta.spec(pod)
    guaranteed, any_resource = True, False
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            limit, request = limits.get(name), requests.get(name)
            any_resource = any_resource or bool(_number(limit)) or bool(_number(request))
            guaranteed = guaranteed and bool(_number(limit)) and _number(request) == _number(limit)
    if not any_resource:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _number(value: Any) -> Any:
    try:
        return None if value is None else quantities.quantity(value)
    except ValueError:
        return None


def prepare(pod: Object, old: Object | None) -> None:
    if old is None:
        podspec.default_pod_spec(pod.setdefault("spec", {}))
        podspec.requests_from_limits(pod["spec"])
        pod["status"] = {"phase": "Pending", "qosClass": qos_class(pod)}


def default(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    podspec.default_pod_spec(spec)
    podspec.requests_from_limits(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True


@rules.collected
def validate(pod: Object, old: Object | None) -> rules.Errors:
    yield from rules.metadata(pod, old)
    if old is None:
        yield from podrules.pod_spec(meta.spec(pod), "spec")
        if meta.spec(pod).get("ephemeralContainers"):
            yield errors.forbidden_field("spec.ephemeralContainers", "cannot be set on create")
    elif meta.spec(pod) != meta.spec(old):
        yield from podrules.pod_spec(meta.spec(pod), "spec")
        yield from podrules.pod_spec_update(pod, old)


def row(pod: Object, now: float) -> list[Any]:
    spec, status = meta.spec(pod), meta.status(pod)
    containers = spec.get("containers") or ()
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    text, ready, restarts, last = _summary(pod)
    restarts_cell = str(restarts)
    if restarts and last:
        restarts_cell = f"{restarts} ({since(last, now)} ago)"
    gates = spec.get("readinessGates") or ()
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    passed = sum(conditions.get(gate.get("conditionType")) == "True" for gate in gates)
    return [
        meta.name(pod),
        f"{ready}/{len(containers) + len(sidecars)}",
        text,
        restarts_cell,
        age(pod, now),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"{passed}/{len(gates)}" if gates else "<none>",
    ]


def _summary(pod: Object) -> tuple[str, int, int, str | None]:
    """Return STATUS, how many containers are ready, restarts, and the time of the last one (printPod)."""
    spec, status = meta.spec(pod), meta.status(pod)
    text = str(status.get("reason") or phase(pod))
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            text = "SchedulingGated"
    inits = {c.get("name"): c for c in spec.get("initContainers") or ()}
    ready, restarts, last = 0, 0, ""
    sidecar_restarts, sidecar_last = 0, ""
    initializing = False
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        sidecar = (inits.get(container.get("name")) or {}).get("restartPolicy") == "Always"
        count, ended = int(container.get("restartCount") or 0), _finished(container)
        restarts += count
        last = max(last, ended)
        if sidecar:
            sidecar_restarts += count
            sidecar_last = max(sidecar_last, ended)
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting")
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if sidecar and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            text = f"Init:{_reason_of(terminated)}"
        elif waiting is not None and waiting.get("reason") and waiting["reason"] != "PodInitializing":
            text = f"Init:{waiting['reason']}"
        else:
            text = f"Init:{index}/{len(inits)}"
        initializing = True
        break
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    if not initializing or conditions.get("Initialized") == "True":
        restarts, last = sidecar_restarts, sidecar_last
        running = False
        for container in reversed(status.get("containerStatuses") or ()):
            restarts += int(container.get("restartCount") or 0)
            last = max(last, _finished(container))
            state = container.get("state") or {}
            if (waiting := state.get("waiting")) is not None and waiting.get("reason"):
                text = waiting["reason"]
            elif (terminated := state.get("terminated")) is not None:
                text = _reason_of(terminated)
            elif container.get("ready") and state.get("running") is not None:
                running = True
                ready += 1
        if text == "Completed" and running:  # some containers are done, others run
            text = "Running" if conditions.get("Ready") == "True" else "NotReady"
    if meta.terminating(pod):
        if status.get("reason") == "NodeLost":
            text = "Unknown"
        elif phase(pod) not in ("Succeeded", "Failed"):
            text = "Terminating"
    return text, ready, restarts, last or None


def _finished(container: Object) -> str:
    terminated = (container.get("lastState") or {}).get("terminated") or {}
    return str(terminated.get("finishedAt") or "")


def _reason_of(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


_STREAM = ("create", "get")

KIND = Kind(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    singular="pod",
    short_names=("po",),
    categories=("all",),
    subresources=(
        Subresource("attach", "PodAttachOptions", "", "v1", _STREAM),
        Subresource("binding", "Binding", "", "v1", ("create",)),
        Subresource("ephemeralcontainers", "Pod", "", "v1"),
        Subresource("eviction", "Eviction", "policy", "v1", ("create",)),
        Subresource("exec", "PodExecOptions", "", "v1", _STREAM),
        Subresource("log", "Pod", "", "v1", ("get",)),
        Subresource("portforward", "PodPortForwardOptions", "", "v1", _STREAM),
        Subresource("proxy", "PodProxyOptions", "", "v1", ("create", "delete", "get", "patch", "update")),
        Subresource("status", "Pod", "", "v1"),
    ),
    columns=(
        NAME,
        Column("Ready"),
        Column("Status"),
        Column("Restarts"),
        AGE,
        Column("IP", priority=1),
        Column("Node", priority=1),
        Column("Nominated Node", priority=1),
        Column("Readiness Gates", priority=1),
    ),
    row=row,
    prepare=prepare,
    default=default,
    validate=validate,
    selectable={
        "spec.nodeName": lambda pod: meta.spec(pod).get("nodeName") or "",
        "spec.restartPolicy": lambda pod: meta.spec(pod).get("restartPolicy") or "",
        "spec.schedulerName": lambda pod: meta.spec(pod).get("schedulerName") or "",
        "spec.serviceAccountName": lambda pod: meta.spec(pod).get("serviceAccountName") or "",
        "spec.hostNetwork": lambda pod: str(bool(meta.spec(pod).get("hostNetwork"))).lower(),
        "status.phase": phase,
        "status.podIP": lambda pod: meta.status(pod).get("podIP") or "",
        "status.podIPs": lambda pod: meta.status(pod).get("podIP") or "",
        "status.nominatedNodeName": lambda pod: meta.status(pod).get("nominatedNodeName") or "",
    },
    unsupported=podspec.unsupported("spec"),
)
