"""Jobs: run pods until so many have succeeded.

Stands for kube-controller-manager's job controller. Finished pods are counted into the status once and for all, by
way of the finalizer `batch.kubernetes.io/job-tracking`, so that a deleted pod stays counted.
Leaves out podFailurePolicy actions but FailJob, Ignore and Count; successPolicy; backoffLimitPerIndex.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from minikube_py.aiokit.clock import rfc3339, timestamp
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Delete, Emit, Event, Requeue, Soon, Update, UpdateStatus, View
from minikube_py.controllers import indexes, pods

__all__ = ["JobController"]

_RESOURCE = "jobs.batch"
_TRACKING = "batch.kubernetes.io/job-tracking"
_INDEX = "batch.kubernetes.io/job-completion-index"
_FIRST_BACKOFF = 10.0
_MAX_BACKOFF = 600.0
"""Seconds between a pod's failure and its replacement: doubled each time (Kubernetes: 10 s, at most 10 min)."""


@final
class JobController:
    name = "job-controller"

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {
            _RESOURCE: lambda event, view: (event.key,),
            "pods": lambda event, view: pods.owned(event, view, "Job", _RESOURCE),
        }

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        job = view.get(_RESOURCE, key.name, key.namespace)
        if job is None:
            return _let_go(key, view)
        if job["spec"].get("managedBy") not in (None, "kubernetes.io/job-controller"):
            return ()
        return _Look(job, view, now).actions()


def _let_go(key: Key, view: View) -> Sequence[Action]:
    """Take the tracking finalizer off the pods of a job that is gone: nobody else would."""
    return [
        Update(_untracked(pod))
        for pod in view.list("pods", key.namespace)
        if pods.controller_key(pod, "Job") == key and _tracked(pod)
    ]


def _tracked(pod: Object) -> bool:
    return _TRACKING in (pod["metadata"].get("finalizers") or ())


def _untracked(pod: Object) -> Object:
    finalizers = [f for f in pod["metadata"]["finalizers"] if f != _TRACKING]
    return {**pod, "metadata": {**pod["metadata"], "finalizers": finalizers}}


class _Look:
    """One look at one Job."""

    def __init__(self, job: Object, view: View, now: float) -> None:
        self.job = job
        self.spec = job["spec"]
        self.now = now
        self.status: Object = meta.copy(meta.status(job))
        self.conditions: list[Object] = self.status.get("conditions") or []
        completions = self.spec.get("completions")
        self.completions = None if completions is None else int(completions)
        self.parallelism = 1 if self.spec.get("parallelism") is None else int(self.spec["parallelism"])
        self.indexed = self.spec.get("completionMode") == "Indexed"
        self.pods = [
            pod
            for pod in view.owned_by(meta.uid(job), "pods")
            if any(r["uid"] == meta.uid(job) and r.get("controller") for r in pod["metadata"]["ownerReferences"])
        ]
        self.done: list[Action] = []
        self.after: list[Action] = []
        """What has to wait until the status is written."""

    def actions(self) -> list[Action]:
        if self._finished() or meta.terminating(self.job):
            self._count()
            if self._finished():
                self._expire()
            self._write()
            return self.done
        suspended = bool(self.spec.get("suspend"))
        if not suspended and not self.status.get("startTime"):
            self.status["startTime"] = rfc3339(self.now)
        self._count()
        alive = [pod for pod in self.pods if pods.active(pod)]
        if failure := self._failure(alive):
            self._fail(*failure, alive)
            alive = []
        elif suspended:
            self._suspend(alive)
            alive = []
        else:
            self._resume()
            if self._complete(alive):
                self._succeed()
                alive = []
            else:
                self._manage(alive)
        self.status["active"] = len(alive)
        self.status["ready"] = sum(pods.ready(pod) for pod in alive)
        self._write()
        return self.done

    def _finished(self) -> str:
        ends = (c["type"] for c in self.conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True")
        return next(ends, "")

    # Counting

    def _count(self) -> None:
        """Move what has finished (or vanishes unfinished) into the counters, then let the pods go."""
        done = indexes.parse(self.status.get("completedIndexes", ""))
        for pod in self.pods:
            if not _tracked(pod) or not (pods.finished(pod) or meta.terminating(pod) or self._finished()):
                continue
            if not pods.finished(pod) and pod["metadata"].get("deletionGracePeriodSeconds"):
                continue  # its kubelet will say how it ended
            if meta.status(pod).get("phase") == "Succeeded":
                index = _index(pod)
                if not self.indexed or (index is not None and index not in done and index < (self.completions or 0)):
                    self.status["succeeded"] = self.status.get("succeeded", 0) + 1
                    if index is not None and self.indexed:
                        done.add(index)
            elif not self._ignored(pod) and not self._finished():
                self.status["failed"] = self.status.get("failed", 0) + 1
            self.after.append(Update(_untracked(pod)))
        if self.indexed and done:
            self.status["completedIndexes"] = indexes.text(done)
        self.completed = done

    def _rule(self, pod: Object) -> Mapping[str, Any] | None:
        """Return the podFailurePolicy rule that this pod's failure meets first."""
        for rule in (self.spec.get("podFailurePolicy") or {}).get("rules") or ():
            if codes := rule.get("onExitCodes"):
                for status in meta.status(pod).get("containerStatuses") or ():
                    ended = (status.get("state") or {}).get("terminated")
                    if ended is None or not ended.get("exitCode"):
                        continue
                    if codes.get("containerName") not in (None, status["name"]):
                        continue
                    if (ended["exitCode"] in codes["values"]) == (codes["operator"] == "In"):
                        return rule  # type: ignore[no-any-return]  # JSON
            for wanted in rule.get("onPodConditions") or ():
                found = pods.condition(pod, wanted["type"])
                if found and found["status"] == wanted.get("status", "True"):
                    return rule  # type: ignore[no-any-return]  # JSON
        return None

    def _ignored(self, pod: Object) -> bool:
        rule = self._rule(pod)
        return rule is not None and rule["action"] == "Ignore"

    # Ends

    def _failure(self, alive: Sequence[Object]) -> tuple[str, str] | None:
        for pod in self.pods:
            if meta.status(pod).get("phase") == "Failed" and (rule := self._rule(pod)) and rule["action"] == "FailJob":
                why = f"Pod {meta.key(pod)} matched FailJob rule of the pod failure policy"
                return "PodFailurePolicy", why
        limit = 6 if self.spec.get("backoffLimit") is None else int(self.spec["backoffLimit"])
        failed = self.status.get("failed", 0)
        if self.spec["template"]["spec"].get("restartPolicy") == "OnFailure":
            restarts = sum(
                status.get("restartCount", 0)
                for pod in alive
                for field in ("initContainerStatuses", "containerStatuses")
                for status in meta.status(pod).get(field) or ()
            )
            if restarts and restarts >= max(limit, 1):
                failed = limit + 1
        if failed > limit:
            return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        deadline = self.spec.get("activeDeadlineSeconds")
        if deadline is not None and self.status.get("startTime") and not self.spec.get("suspend"):
            left = timestamp(self.status["startTime"]) + int(deadline) - self.now
            if left <= 0:
                return "DeadlineExceeded", "Job was active longer than specified deadline"
            self.done.append(Requeue(left))
        return None

    def _fail(self, reason: str, message: str, alive: Sequence[Object]) -> None:
        for pod in alive:
            self._delete(pod)
        self._condition("FailureTarget", "True", reason, message)
        self._condition("Failed", "True", reason, message)
        self.done.append(Emit(self.job, "Warning", reason, message))
        self._expire()

    def _complete(self, alive: Sequence[Object]) -> bool:
        succeeded = self.status.get("succeeded", 0)
        if self.completions is None:
            return succeeded > 0 and not alive
        return bool(succeeded >= self.completions)

    def _succeed(self) -> None:
        for pod in self.pods:
            if pods.active(pod):
                self._delete(pod)
        message = "Reached expected number of succeeded pods"
        self._condition("SuccessCriteriaMet", "True", "CompletionsReached", message)
        self._condition("Complete", "True", "CompletionsReached", message)
        self.status["completionTime"] = rfc3339(self.now)
        self.done.append(Emit(self.job, "Normal", "Completed", "Job completed"))
        self._expire()

    def _suspend(self, alive: Sequence[Object]) -> None:
        for pod in alive:
            self._delete(pod)
        if self._condition("Suspended", "True", "JobSuspended", "Job suspended"):
            self.done.append(Emit(self.job, "Normal", "Suspended", "Job suspended"))
        self.status.pop("startTime", None)

    def _resume(self) -> None:
        if any(c["type"] == "Suspended" and c["status"] == "True" for c in self.conditions):
            self._condition("Suspended", "False", "JobResumed", "Job resumed")
            self.status["startTime"] = rfc3339(self.now)
            self.done.append(Emit(self.job, "Normal", "Resumed", "Job resumed"))

    def _expire(self) -> None:
        ttl = self.spec.get("ttlSecondsAfterFinished")
        if ttl is None or meta.terminating(self.job):
            return
        ended = max(
            timestamp(c.get("lastTransitionTime")) for c in self.conditions if c["type"] in ("Complete", "Failed")
        )
        left = ended + int(ttl) - self.now
        if left <= 0:
            self.after.append(Delete(_RESOURCE, meta.key(self.job), uid=meta.uid(self.job)))
        else:
            self.done.append(Requeue(left))

    # Pods

    def _manage(self, alive: list[Object]) -> None:
        succeeded = self.status.get("succeeded", 0)
        if self.completions is None:
            wanted = len(alive) if succeeded else self.parallelism  # a work queue: one success ends the hiring
        else:
            wanted = min(self.parallelism, self.completions - succeeded)
        if len(alive) > wanted:
            for pod in pods.to_delete_first(alive)[: len(alive) - wanted]:
                self._delete(pod)
                alive.remove(pod)
            return
        missing = wanted - len(alive)
        going = [pod for pod in self.pods if meta.terminating(pod) and not pods.finished(pod)]
        if self.spec.get("podReplacementPolicy") == "Failed":
            missing -= len(going)
        if missing <= 0:
            return
        if (wait := self._backoff()) > 0:
            self.done.append(Requeue(wait))
            return
        taken = {_index(pod) for pod in (*alive, *going)}
        free = (n for n in range(self.completions or 0) if n not in taken and n not in self.completed)
        for _ in range(missing):
            if not self.indexed:
                self._create(None)
            elif (index := next(free, None)) is not None:
                self._create(index)

    def _backoff(self) -> float:
        """Return the seconds to wait because of the pods that failed last."""
        ends = sorted(
            ((_ended(pod), meta.status(pod).get("phase")) for pod in self.pods if pods.finished(pod)), reverse=True
        )
        failures = 0
        for _, phase in ends:
            if phase != "Failed":
                break
            failures += 1
        if not failures:
            return 0.0
        delay = min(_FIRST_BACKOFF * 2.0 ** (failures - 1), _MAX_BACKOFF)
        return ends[0][0] + delay - self.now

    def _create(self, index: int | None) -> None:
        template = self.spec["template"]
        name = meta.name(self.job)
        uid = meta.uid(self.job)
        labels = {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "controller-uid": uid,
            "job-name": name,
        }
        annotations: dict[str, str] = {}
        spec = template["spec"]
        if index is not None:
            labels[_INDEX] = annotations[_INDEX] = str(index)
            spec = {**spec, "hostname": f"{name}-{index}"}
            source = {"fieldRef": {"fieldPath": f"metadata.labels['{_INDEX}']"}}
            for field in ("initContainers", "containers"):
                if spec.get(field):
                    spec[field] = [
                        {**c, "env": [*(c.get("env") or ()), {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}]}
                        for c in spec[field]
                    ]
        pod = pods.from_template(template, self.job, labels=labels, annotations=annotations, spec=spec)
        if index is not None:
            pod["metadata"]["generateName"] = f"{name}-{index}-"
        pod["metadata"]["finalizers"] = [*(pod["metadata"].get("finalizers") or ()), _TRACKING]
        self.after.append(Create(pod, about=self.job, created="Created pod: {name}"))

    def _delete(self, pod: Object) -> None:
        self.after.append(Delete("pods", meta.key(pod), uid=meta.uid(pod)))
        self.after.append(Emit(self.job, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}"))

    # Status

    def _condition(self, type_: str, status: str, reason: str, message: str) -> bool:
        if any(c["type"] == type_ and c["status"] == status for c in self.conditions):
            return False
        stamp = rfc3339(self.now)
        self.conditions = [c for c in self.conditions if c["type"] != type_]
        self.conditions.append(
            {
                "type": type_,
                "status": status,
                "reason": reason,
                "message": message,
                "lastProbeTime": stamp,
                "lastTransitionTime": stamp,
            }
        )
        return True

    def _write(self) -> None:
        if self.conditions:
            self.status["conditions"] = self.conditions
        if not self.status.get("active"):
            self.status.pop("active", None)
        self.status["terminating"] = sum(meta.terminating(pod) and not pods.finished(pod) for pod in self.pods)
        self.status.setdefault("uncountedTerminatedPods", {})
        self.status.setdefault("ready", 0)
        if self.status != meta.status(self.job):
            self.done.append(UpdateStatus({**self.job, "status": self.status}))
        self.done.extend(self.after)


def _index(pod: Object) -> int | None:
    text = meta.annotations(pod).get(_INDEX, "")
    return int(text) if text.isdigit() else None


def _ended(pod: Object) -> float:
    ends = [
        timestamp(ended.get("finishedAt"))
        for status in meta.status(pod).get("containerStatuses") or ()
        if (ended := (status.get("state") or {}).get("terminated"))
    ]
    if ends:
        return max(ends)
    found = pods.condition(pod, "Ready")
    return timestamp((found or {}).get("lastTransitionTime") or pod["metadata"].get("creationTimestamp"))
