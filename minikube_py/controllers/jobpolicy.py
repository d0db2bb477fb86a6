"""What a Job's own policies say of its pods: who has failed, what that means, and whether enough has succeeded.

Stands for pod_failure_policy.go, success_policy.go, backoff_utils.go and indexed_job_utils.go of the job controller.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from minikube_py.aiokit.clock import timestamp
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.controllers import indexes, pods

__all__ = [
    "FAILURES",
    "IGNORED_FAILURES",
    "INDEX",
    "Backoff",
    "Match",
    "delay",
    "ended",
    "failed",
    "failure_counts",
    "failure_rule",
    "index_failed",
    "index_of",
    "success_rule",
]

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
_FIRST_BACKOFF = 10.0
_MAX_BACKOFF = 600.0
"""Seconds between a pod's failure and its replacement: doubled each time (Kubernetes: 10 s, at most 10 min)."""


class Match(Struct, frozen=True):
    """The podFailurePolicy rule that a failed pod meets first."""

    action: str
    message: str


class Backoff(Struct, frozen=True):
    """How many pods have failed since the last success, and when the last of them did."""

    failures: int = 0
    last: float = 0.0

    def after(self, succeeded: Iterable[float], failed: Sequence[float]) -> "Backoff":
        """Return the record once pods with these ends were counted."""
        success = max(succeeded, default=None)
        since = failed if success is None else [when for when in failed if when > success]
        return Backoff((self.failures if success is None else 0) + len(since), max(since, default=self.last))


def delay(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return min(_FIRST_BACKOFF * 2.0 ** (failures - 1), _MAX_BACKOFF) if failures else 0.0


def index_of(pod: Object) -> int | None:
    text = meta.annotations(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def ended(pod: Object) -> float:
    """Return when the pod ended: its last container, else when it stopped being ready, else its deletion."""
    ends = [
        timestamp(end.get("finishedAt"))
        for status in meta.status(pod).get("containerStatuses") or ()
        if (end := (status.get("state") or {}).get("terminated"))
    ]
    if ends:
        return max(ends)
    found = pods.condition(pod, "Ready")
    if found and found["status"] == "False":
        return timestamp(found.get("lastTransitionTime"))
    if meta.terminating(pod):
        grace = int(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        return timestamp(pod["metadata"]["deletionTimestamp"]) - grace
    return timestamp(pod["metadata"].get("creationTimestamp"))


def failed(pod: Object, spec: Mapping[str, Any]) -> bool:
    """Tell whether the pod counts as failed: it ended so, or it is going and need not be waited for."""
    phase = meta.status(pod).get("phase")
    if phase == "Failed":
        return True
    return phase != "Succeeded" and meta.terminating(pod) and spec.get("podReplacementPolicy") != "Failed"


def failure_rule(pod: Object, spec: Mapping[str, Any]) -> Match | None:
    """Return the rule of `spec.podFailurePolicy` that this failed pod meets first."""
    for number, rule in enumerate((spec.get("podFailurePolicy") or {}).get("rules") or ()):
        action = rule["action"]
        if (codes := rule.get("onExitCodes")) and (exit_ := _exit(pod, codes)) is not None:
            where = f"Container {exit_[0]} for pod {meta.key(pod)} failed with exit code {exit_[1]}"
            return Match(action, f"{where} matching {action} rule at index {number}")
        for wanted in rule.get("onPodConditions") or ():
            found = pods.condition(pod, wanted["type"])
            if found and found["status"] == (wanted.get("status") or "True"):
                text = f"Pod {meta.key(pod)} has condition {wanted['type']}"
                return Match(action, f"{text} matching {action} rule at index {number}")
    return None


def _exit(pod: Object, codes: Mapping[str, Any]) -> tuple[str, int] | None:
    for field in ("containerStatuses", "initContainerStatuses"):
        for status in meta.status(pod).get(field) or ():
            code = ((status.get("state") or {}).get("terminated") or {}).get("exitCode")
            named = codes.get("containerName") in (None, status["name"])
            if code and named and (code in codes["values"]) == (codes["operator"] == "In"):
                return status["name"], code
    return None


def failure_counts(pod: Object | None, spec: Mapping[str, Any]) -> tuple[int, int]:
    """Return (failures, ignored ones) of the pod's index, this failed pod included; None: none so far."""
    if pod is None:
        return 0, 0
    counted, ignored = (int(meta.annotations(pod).get(name, "0")) for name in (FAILURES, IGNORED_FAILURES))
    rule = failure_rule(pod, spec)
    return (counted, ignored + 1) if rule and rule.action == "Ignore" else (counted + 1, ignored)


def index_failed(pod: Object, spec: Mapping[str, Any]) -> bool:
    """Tell whether with this failed pod its whole index has failed (`backoffLimitPerIndex`)."""
    rule = failure_rule(pod, spec)
    if rule is not None and rule.action == "FailIndex":
        return True
    return failure_counts(pod, spec)[0] > int(spec["backoffLimitPerIndex"])


def success_rule(spec: Mapping[str, Any], succeeded: Collection[int]) -> str:
    """Say which rule of `spec.successPolicy` the succeeded indexes meet; "": none."""
    for number, rule in enumerate((spec.get("successPolicy") or {}).get("rules") or ()):
        wanted = set(succeeded)
        enough = rule.get("succeededCount")
        if rule.get("succeededIndexes"):
            listed = indexes.parse(rule["succeededIndexes"])
            wanted &= listed
            enough = len(listed) if enough is None else enough
        if enough is not None and len(wanted) >= enough:
            return f"Matched rules at index {number}"
    return ""
