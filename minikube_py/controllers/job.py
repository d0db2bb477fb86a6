"""Jobs: run pods until so many have succeeded.

Stands for kube-controller-manager's job controller. Finished pods are counted into the status once and for all, by
way of the finalizer `batch.kubernetes.io/job-tracking`, so that a deleted pod stays counted. A verdict comes in two
steps, as since 1.31: SuccessCriteriaMet or FailureTarget at once, Complete or Failed when the last pod has ended.
What the Job's policies say of its pods is in `jobpolicy.py`. Leaves out `uncountedTerminatedPods`: counting and
writing is one step here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from minikube_py.aiokit.clock import rfc3339, timestamp
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Delete, Emit, Event, Requeue, Soon, Update, UpdateStatus, View
from minikube_py.client.api import Change
from minikube_py.controllers import indexes, jobpolicy, pods
from minikube_py.controllers.jobpolicy import Backoff

__all__ = ["JobController"]

_RESOURCE = "jobs.batch"
_TRACKING = "batch.kubernetes.io/job-tracking"


@final
class JobController:
    name = "job-controller"

    def __init__(self) -> None:
        self._backoffs: dict[str, Backoff] = {}
        """By the Job's UID."""
        self._gone: dict[Key, list[str]] = {}
        """UIDs of deleted Jobs whose pods may still carry the tracking finalizer, which nobody else would take off."""

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {
            _RESOURCE: self._job,
            "pods": lambda event, view: pods.owned(event, view, "Job", _RESOURCE),
        }

    def _job(self, event: Event, view: View) -> Iterable[Key]:
        if event.change is Change.DELETED:
            self._backoffs.pop(meta.uid(event.object), None)
            self._gone.setdefault(event.key, []).append(meta.uid(event.object))
        return (event.key,)

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        if gone := self._gone.get(key):
            left = [pod for uid in gone for pod in view.owned_by(uid, "pods") if _tracked(pod)]
            if left:
                return [*(Update(_untracked(pod)) for pod in left), Requeue(0.0)]
            del self._gone[key]
        job = view.get(_RESOURCE, key.name, key.namespace)
        if job is None or job["spec"].get("managedBy") not in (None, "kubernetes.io/job-controller"):
            return ()
        look = _Look(job, view, now, self._backoffs.get(meta.uid(job), Backoff()))
        actions = look.actions()
        if look.backoff.failures:
            self._backoffs[meta.uid(job)] = look.backoff
        else:
            self._backoffs.pop(meta.uid(job), None)
        return actions


def _tracked(pod: Object) -> bool:
    return _TRACKING in (pod["metadata"].get("finalizers") or ())


def _untracked(pod: Object) -> Object:
    finalizers = [f for f in pod["metadata"]["finalizers"] if f != _TRACKING]
    return {**pod, "metadata": {**pod["metadata"], "finalizers": finalizers}}


class _Look:
    """One look at one Job."""

    def __init__(self, job: Object, view: View, now: float, backoff: Backoff) -> None:
        self.job = job
        self.spec = job["spec"]
        self.now = now
        self.backoff = backoff
        self.status: Object = meta.copy(meta.status(job))
        self.conditions: list[Object] = self.status.get("conditions") or []
        completions = self.spec.get("completions")
        self.completions = None if completions is None else int(completions)
        self.parallelism = 1 if self.spec.get("parallelism") is None else int(self.spec["parallelism"])
        self.indexed = self.spec.get("completionMode") == "Indexed"
        self.per_index = self.indexed and self.spec.get("backoffLimitPerIndex") is not None
        self.completed = indexes.parse(self.status.get("completedIndexes", ""))
        self.failed_indexes = indexes.parse(self.status.get("failedIndexes", ""))
        self.pods = [
            pod
            for pod in view.owned_by(meta.uid(job), "pods")
            if any(r["uid"] == meta.uid(job) and r.get("controller") for r in pod["metadata"]["ownerReferences"])
        ]
        self.done: list[Action] = []
        self.after: list[Action] = []
        """What has to wait until the status is written."""

    def actions(self) -> list[Action]:
        verdict = self._true("SuccessCriteriaMet", "FailureTarget")
        if self._finished() or verdict is not None or meta.terminating(self.job):
            self._count(over=True)
            if self._finished():
                self._expire()
            elif verdict is not None:
                self._end(verdict["type"], verdict["reason"], verdict["message"])
            self._write()
            return self.done
        suspended = bool(self.spec.get("suspend"))
        if not suspended and not self.status.get("startTime"):
            self.status["startTime"] = rfc3339(self.now)
        broken = self._broken_rule()
        self._count(over=bool(broken))
        alive = [pod for pod in self.pods if pods.active(pod)]
        if failure := broken or self._failure(alive):
            self._end("FailureTarget", *failure)
            alive = []
        elif self.indexed and (matched := jobpolicy.success_rule(self.spec, self.completed)):
            self._end("SuccessCriteriaMet", "SuccessPolicy", matched)
            alive = []
        elif suspended:
            self._suspend(alive)
            alive = []
        else:
            self._resume()
            if self._complete(alive):
                self._end("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods")
                alive = []
            else:
                self._manage(alive)
        self.status["active"] = len(alive)
        self.status["ready"] = sum(pods.ready(pod) for pod in alive)
        self._write()
        return self.done

    def _true(self, *types: str) -> Object | None:
        return next((c for c in self.conditions if c["type"] in types and c["status"] == "True"), None)

    def _finished(self) -> bool:
        return self._true("Complete", "Failed") is not None

    # Counting

    def _count(self, *, over: bool) -> None:
        """Move what has finished (or vanishes unfinished) into the counters, then let the pods go.

        `over`: the Job's end is decided, and the pods that run are given up.
        """
        before = self._finished()
        ends: tuple[list[float], list[float]] = [], []
        for pod in self.pods:
            lost = jobpolicy.failed(pod, self.spec)
            if not _tracked(pod) or not (lost or pods.finished(pod) or before or meta.terminating(self.job)):
                continue
            index = jobpolicy.index_of(pod) if self.indexed else None
            counts = not self.indexed or (index is not None and index < (self.completions or 0))
            if not lost and meta.status(pod).get("phase") == "Succeeded":
                ends[0].append(jobpolicy.ended(pod))
                if counts and (index is None or index not in self.completed):
                    self.status["succeeded"] = self.status.get("succeeded", 0) + 1
                    if index is not None:
                        self.completed.add(index)
            elif not before:
                if self.per_index and index is not None and not over:
                    if jobpolicy.index_failed(pod, self.spec):
                        self.failed_indexes.add(index)
                    elif not self._replaced(pod, index):
                        continue  # its annotations say how often the index has failed: its successor reads them
                rule = jobpolicy.failure_rule(pod, self.spec)
                ends[1].append(jobpolicy.ended(pod))
                if counts and not (rule and rule.action == "Ignore"):
                    self.status["failed"] = self.status.get("failed", 0) + 1
            self.after.append(Update(_untracked(pod)))
        self.backoff = self.backoff.after(*ends)
        if self.indexed and self.completed:
            self.status["completedIndexes"] = indexes.text(self.completed)
        if self.per_index:
            self.status["failedIndexes"] = indexes.text(self.failed_indexes)

    def _replaced(self, pod: Object, index: int) -> bool:
        """Tell whether a later pod of the index knows of this one's failure, or none is to come."""
        failures = sum(jobpolicy.failure_counts(pod, self.spec))
        return index in self.completed or any(
            jobpolicy.index_of(other) == index and sum(_counted_before(other)) >= failures for other in self.pods
        )

    # Ends

    def _broken_rule(self) -> tuple[str, str] | None:
        """Say which pod meets a FailJob rule of the pod failure policy."""
        for pod in self.pods:
            rule = jobpolicy.failure_rule(pod, self.spec) if meta.status(pod).get("phase") == "Failed" else None
            if rule is not None and rule.action == "FailJob":
                return "PodFailurePolicy", rule.message
        return None

    def _failure(self, alive: Sequence[Object]) -> tuple[str, str] | None:
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
        most, lost = self.spec.get("maxFailedIndexes"), len(self.failed_indexes)
        if most is not None and lost > int(most):
            return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
        if lost and lost + len(self.completed) >= (self.completions or 0):
            return "FailedIndexes", "Job has failed indexes"
        return None

    def _complete(self, alive: Sequence[Object]) -> bool:
        succeeded = self.status.get("succeeded", 0)
        if self.completions is None:
            return succeeded > 0 and not alive
        return bool(succeeded >= self.completions)

    def _end(self, verdict: str, reason: str, message: str) -> None:
        """Give up the pods that run; once the last has ended, the Job is Complete or Failed."""
        self._condition(verdict, "True", reason, message)
        running = [pod for pod in self.pods if not pods.finished(pod)]
        for pod in running:
            if not meta.terminating(pod):
                self._delete(pod)
        if running:
            return
        self.status.pop("active", None)
        self.status["ready"] = 0
        if verdict == "FailureTarget":
            self._condition("Failed", "True", reason, message)
            self.done.append(Emit(self.job, "Warning", reason, message))
        else:
            self._condition("Complete", "True", reason, message)
            self.status["completionTime"] = rfc3339(self.now)
            self.done.append(Emit(self.job, "Normal", "Completed", "Job completed"))
        self._expire()

    def _suspend(self, alive: Sequence[Object]) -> None:
        for pod in alive:
            self._dismiss(pod)
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
            wanted = min(self.parallelism, self.completions - succeeded - len(self.failed_indexes))
        if len(alive) > wanted:
            for pod in pods.to_delete_first(alive)[: len(alive) - wanted]:
                self._dismiss(pod)
                alive.remove(pod)
            return
        missing = wanted - len(alive)
        going = [pod for pod in self.pods if meta.terminating(pod) and not pods.finished(pod)]
        if self.spec.get("podReplacementPolicy") == "Failed":
            missing -= len(going)
        if missing <= 0:
            return
        if not self.per_index and (wait := self.backoff.last + jobpolicy.delay(self.backoff.failures) - self.now) > 0:
            self.done.append(Requeue(wait))
            return
        if not self.indexed:
            for _ in range(missing):
                self._create(None)
            return
        waits_for = going if self.spec.get("podReplacementPolicy") == "Failed" else ()
        taken = {jobpolicy.index_of(pod) for pod in (*alive, *waits_for)} | self.completed | self.failed_indexes
        for index in range(self.completions or 0):
            if index in taken or not missing:
                continue
            last = self._last_failed(index) if self.per_index else None
            if last is not None:
                wait = (
                    jobpolicy.ended(last) + jobpolicy.delay(sum(jobpolicy.failure_counts(last, self.spec))) - self.now
                )
                if wait > 0:
                    self.done.append(Requeue(wait))
                    continue
            self._create(index, last)
            missing -= 1

    def _last_failed(self, index: int) -> Object | None:
        """Return the failed pod of the index that knows of the most failures."""
        lost = [p for p in self.pods if jobpolicy.index_of(p) == index and jobpolicy.failed(p, self.spec)]
        return max(lost, key=lambda pod: sum(_counted_before(pod)), default=None)

    def _create(self, index: int | None, last: Object | None = None) -> None:
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
            labels[jobpolicy.INDEX] = annotations[jobpolicy.INDEX] = str(index)
            if self.per_index:
                counted, ignored = jobpolicy.failure_counts(last, self.spec)
                annotations[jobpolicy.FAILURES] = str(counted)
                if ignored:
                    annotations[jobpolicy.IGNORED_FAILURES] = str(ignored)
            spec = {**spec, "hostname": f"{name}-{index}"}
            source = {"fieldRef": {"fieldPath": f"metadata.labels['{jobpolicy.INDEX}']"}}
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

    def _dismiss(self, pod: Object) -> None:
        """Delete a pod that there is one too many of: it has not failed, and isn't counted so."""
        self.after.append(Update(_untracked(pod)))
        self._delete(pod)

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


def _counted_before(pod: Object) -> tuple[int, int]:
    """Return how often the pod's index had failed, or failed and been ignored, when the pod was created."""
    annotations = meta.annotations(pod)
    return int(annotations.get(jobpolicy.FAILURES, "0")), int(annotations.get(jobpolicy.IGNORED_FAILURES, "0"))
