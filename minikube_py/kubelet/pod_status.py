"""A pod's phase, conditions and QoS class, as they follow from its containers. Pure.

Stands for the kubelet's getPhase, status/generate.go and the QoS helpers; `status_manager.py` writes the result.
Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kubelet.container_status import ContainerState, Role

__all__ = ["Conditions", "chosen", "init_failed", "phase", "qos_class"]


def chosen(containers: Collection[ContainerState], *roles: Role) -> list[ContainerState]:
    return [container for container in containers if container.role in roles]


def init_failed(containers: Collection[ContainerState], restart_policy: str) -> bool:
    """Tell whether an init container has failed for good."""
    return restart_policy == "Never" and any(
        c.role is Role.INIT and c.terminated is not None and not (c.done or c.live) for c in containers
    )


def _begun(mains: Collection[ContainerState]) -> bool:
    """Tell whether any of the main containers has ever run: then the pod stays initialized."""
    return any(c.running or c.terminated or c.last for c in mains)


def phase(
    containers: Collection[ContainerState], restart_policy: str, *, terminating: bool, deadline_exceeded: bool
) -> str:
    """Return the phase, as kubelet's getPhase."""
    live = any(c.live for c in containers)
    init, mains = chosen(containers, Role.INIT, Role.SIDECAR), chosen(containers, Role.MAIN)
    if not live and (deadline_exceeded or init_failed(containers, restart_policy)):
        return "Failed"  # but never before its last container has ended
    initialized = _begun(mains) or all(c.initialized for c in init)
    if not initialized or any(not c.running and not c.terminated and not c.last for c in mains):
        if terminating and not live and any(c.terminated for c in containers):
            return "Failed"
        return "Pending"
    if any(c.running for c in mains) or any(c.running for c in init if c.role is Role.SIDECAR):
        return "Running"
    if not terminating:
        if restart_policy == "Always" or any(not c.terminated for c in mains):
            return "Running"
        if restart_policy == "OnFailure" and any(not c.done for c in mains):
            return "Running"
    codes = [int((c.terminated or c.last or {"exitCode": 0})["exitCode"]) for c in mains]
    return "Succeeded" if not any(codes) else "Failed"


class Conditions:
    """A pod's conditions; each keeps the time of its last change."""

    def __init__(self, pod: Object) -> None:
        self._conditions: list[Object] = [dict(c) for c in meta.status(pod).get("conditions") or ()]

    def take_over(self, pod: Object) -> None:
        """Keep what others have set, such as readiness gates' conditions."""
        stored = {c.get("type"): c for c in meta.status(pod).get("conditions") or ()}
        for kind, condition in stored.items():
            if kind not in _OWN and condition not in self._conditions:
                self._conditions = [c for c in self._conditions if c.get("type") != kind] + [dict(condition)]

    def refresh(
        self,
        containers: Collection[ContainerState],
        phase: str,
        now: float,
        *,
        sandbox: bool,
        gates: Sequence[Mapping[str, Any]],
    ) -> list[Object]:
        """Return the conditions of a pod in this phase; `gates` are its readinessGates."""
        unready = [c.name for c in chosen(containers, Role.MAIN, Role.SIDECAR) if not c.ready]
        init, mains = chosen(containers, Role.INIT, Role.SIDECAR), chosen(containers, Role.MAIN)
        uninitialized = [] if _begun(mains) else [c.name for c in init if not c.initialized]
        self._set("PodReadyToStartContainers", sandbox and phase not in ("Succeeded", "Failed"), now)
        if phase == "Succeeded":
            self._set("Initialized", True, now, "PodCompleted")
            self._set("Ready", False, now, "PodCompleted")
            self._set("ContainersReady", False, now, "PodCompleted")
        else:
            if uninitialized:
                message = f"containers with incomplete status: [{' '.join(uninitialized)}]"
                self._set("Initialized", False, now, "ContainersNotInitialized", message)
            else:
                self._set("Initialized", True, now)
            reason, message = "", ""
            if phase == "Failed":
                reason = "PodFailed"
            elif unready:
                reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
            unmet = self._unmet(gates)
            if reason or not unmet:
                self._set("Ready", not reason, now, reason, message)
            else:
                self._set("Ready", False, now, "ReadinessGatesNotReady", ", ".join(unmet))
            self._set("ContainersReady", not reason, now, reason, message)
        self._set("PodScheduled", True, now)
        self._conditions.sort(key=lambda c: _OWN.index(c["type"]) if c["type"] in _OWN else -1)
        return [dict(condition) for condition in self._conditions]

    def _unmet(self, gates: Sequence[Mapping[str, Any]]) -> list[str]:
        found = []
        conditions = {c.get("type"): c.get("status") for c in self._conditions}
        for gate in gates:
            kind = gate.get("conditionType")
            if kind not in conditions:
                found.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
            elif conditions[kind] != "True":
                found.append(f'the status of pod readiness gate "{kind}" is not "True", but {conditions[kind]}')
        return found

    def _set(self, kind: str, holds: bool, now: float, reason: str = "", message: str = "") -> None:
        value = "True" if holds else "False"
        index = next((i for i, old in enumerate(self._conditions) if old.get("type") == kind), None)
        old = {} if index is None else self._conditions[index]
        condition: Object = {"type": kind, "status": value, "lastProbeTime": None}
        same = old.get("status") == value and old.get("lastTransitionTime")
        condition["lastTransitionTime"] = old["lastTransitionTime"] if same else rfc3339(now)
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        if index is None:
            self._conditions.append(condition)
        else:
            self._conditions[index] = condition


_OWN = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
"""Conditions that the kubelet (or the scheduler before it) owns, in its order; others' are kept, before them."""


def qos_class(spec: Mapping[str, Any]) -> str:
    """Return the pod's QoS class.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
    """
    containers: Sequence[Mapping[str, Any]] = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    anything, guaranteed = False, True
    for container in containers:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            anything = anything or name in requests or name in limits
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
