"""Waiting for objects, by events rather than by polling, and saying what is wrong when the time is up."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.client.api import API, Event, View
from minikube_py.cluster.problems import problems
from minikube_py.cluster.targets import Target, is_ready, pods_of

__all__ = ["WaitHopeless", "WaitTimeout", "hopeless", "lacking", "not_ready", "unready_workloads", "until"]

WORKLOADS = ("deployments.apps", "statefulsets.apps", "daemonsets.apps", "replicasets.apps", "replicationcontrollers")


class WaitTimeout(TimeoutError):
    """The wished-for state didn't come; the message says what stands in its way."""


class WaitHopeless(WaitTimeout):
    """The wished-for state can't come by itself: waiting ended early."""


async def until(
    api: API,
    resources: Iterable[str],
    unmet: Callable[[View], str | None],
    wait_seconds: float,
    hopeless: Callable[[View], str | None] = lambda view: None,
) -> None:
    """Return once `unmet(api)` is None; it is asked again after each change of one of `resources`.

    Error handling: WaitTimeout with the last answer of `unmet` and the cluster's problems; WaitHopeless as soon as
    `hopeless` names something that no waiting mends.
    """
    changed = asyncio.Event()

    def wake(_: Event) -> None:
        changed.set()

    subscription = api.subscribe(resources, wake, replay=False)
    try:
        async with asyncio.timeout(wait_seconds):
            while unmet(api) is not None:
                if (why := hopeless(api)) is not None:
                    raise WaitHopeless(f"and won't be: {why}")
                changed.clear()
                await changed.wait()
    except WaitHopeless:
        raise
    except TimeoutError:
        found = [str(problem) for problem in problems(api)]
        detail = "".join(f"\n  - {line}" for line in found) or "\n  (no other problem is known)"
        raise WaitTimeout(f"after {wait_seconds:g} s: {unmet(api)}{detail}") from None
    finally:
        subscription.cancel()


def hopeless(view: View) -> str | None:
    """Return the first container that nothing but another `images:` mapping or source can start; None without one."""
    for pod in view.list("pods"):
        status = pod.get("status") or {}
        for kind in ("initContainerStatuses", "containerStatuses"):
            for container in status.get(kind) or ():
                waiting = (container.get("state") or {}).get("waiting") or {}
                if waiting.get("reason") == "CreateContainerError":
                    message = f"{waiting['reason']}: {waiting.get('message', '')}"
                    return f"pod/{meta.name(pod)} ({meta.namespace(pod)}), container {container['name']}: {message}"
    return None


def not_ready(view: View, target: Target, ready: int | None, condition: str | None) -> str | None:
    """Return what is missing for `target` to be ready (or to have `ready` ready pods, or a condition), or None."""
    obj = view.get(target.resource, target.name, target.namespace)
    if obj is not None and condition is None and target.resource == "services":
        pods = [pod for pod in pods_of(view, target) if is_ready(pod)]
        wanted = 1 if ready is None else ready
        if meta.spec(obj).get("selector") and len(pods) < wanted:
            return f"{target} has {len(pods)} of {wanted} ready endpoints"
    return lacking(target, obj, ready, condition)


def lacking(target: Target, obj: Object | None, ready: int | None = None, condition: str | None = None) -> str | None:
    """Return what `target`, stored as `obj`, says of itself that it lacks to be ready, or None."""
    if obj is None:
        where = f" in namespace {target.namespace}" if target.namespace else ""
        return f"{target} does not exist{where}"
    if condition is not None:
        return _condition(target, obj, condition)
    if target.resource == "pods":
        return _pod(obj)
    if target.resource == "jobs.batch":
        return _condition(target, obj, "Complete")
    if target.resource in WORKLOADS:
        return _workload(target, obj, ready)
    return None


def _condition(target: Target, obj: Object, wanted: str) -> str | None:
    """`Ready`, `Available=True`, `jsonpath`-less: what kubectl wait --for=condition= takes."""
    name, _, value = wanted.partition("=")
    value = value or "True"
    have = {c["type"].lower(): str(c["status"]) for c in meta.status(obj).get("conditions") or ()}
    got = have.get(name.lower())
    if got is not None and got.lower() == value.lower():
        return None
    return f"{target} has condition {name}={got or 'unset'}, not {value}"


def _pod(pod: Object) -> str | None:
    if is_ready(pod) or meta.status(pod).get("phase") == "Succeeded":
        return None
    return f"pod/{meta.name(pod)} is {meta.status(pod).get('phase', 'Pending')} and not Ready"


def _workload(target: Target, obj: Object, ready: int | None) -> str | None:
    """As `kubectl rollout status` judges: all pods ready, and those that a rollout is to replace replaced."""
    spec, status = meta.spec(obj), meta.status(obj)
    if target.resource == "daemonsets.apps":
        wanted, have = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
        updated = status.get("updatedNumberScheduled", 0)
    else:
        wanted, have = spec.get("replicas", 1), status.get("readyReplicas", 0)
        updated = status.get("updatedReplicas", 0)
    wanted = wanted if ready is None else ready
    seen = status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
    total = status.get("replicas", have) if target.resource == "deployments.apps" else have
    if not seen or have != wanted or total != wanted:
        return f"{target} has {have} of {wanted} pods ready"
    if updated < (due := wanted - _kept(target, spec)):
        return f"{target} has {updated} of {due} pods updated"
    return None


def _kept(target: Target, spec: Mapping[str, Any]) -> int:
    """Return how many pods a rollout leaves as they are, at most."""
    if target.resource == "deployments.apps":
        return 0
    strategy = spec.get("updateStrategy") or {}
    if target.resource not in ("statefulsets.apps", "daemonsets.apps") or strategy.get("type") == "OnDelete":
        return sys.maxsize
    return int((strategy.get("rollingUpdate") or {}).get("partition") or 0)


def unready_workloads(view: View, resources: Sequence[str] = WORKLOADS) -> str | None:
    """Return what is not ready yet in the whole cluster, or None: what `up --wait` waits for."""
    missing = []
    for resource in resources:
        for obj in view.list(resource):
            if meta.controller_of(obj) or meta.spec(obj).get("paused"):
                continue
            target = Target(resource, meta.name(obj), meta.namespace(obj))
            if unmet := not_ready(view, target, None, None):
                missing.append(f"{meta.namespace(obj)}: {unmet}")
    for pod in view.list("pods"):
        if not meta.controller_of(pod) and not meta.terminating(pod) and (unmet := _pod(pod)):
            missing.append(f"{meta.namespace(pod)}: {unmet}")
    return "; ".join(missing) or None
