"""CronJobs: create Jobs on a schedule.

Stands for kube-controller-manager's cronjob controller (v2).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import final

from minikube_py.aiokit.clock import rfc3339, timestamp
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Key, Object
from minikube_py.client import Action, Create, Delete, Emit, Event, Requeue, Soon, UpdateStatus, View
from minikube_py.controllers import cron, pods

__all__ = ["CronJobController"]

_RESOURCE = "cronjobs.batch"
_JOBS = "jobs.batch"
_SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY = 100
"""So many missed starts draw a warning (Kubernetes: 100)."""


@final
class CronJobController:
    name = "cronjob-controller"

    @property
    def watches(self) -> Mapping[str, Callable[[Event, View], Iterable[Key | Soon]]]:
        return {_RESOURCE: lambda event, view: (event.key,), _JOBS: self._job}

    def _job(self, event: Event, view: View) -> Iterable[Key | Soon]:
        key = pods.controller_key(event.object, "CronJob")
        return (key,) if key else ()

    def reconcile(self, key: Key, view: View, now: float) -> Sequence[Action]:
        owner = view.get(_RESOURCE, key.name, key.namespace)
        if owner is None:
            return ()
        spec = owner["spec"]
        jobs = list(view.owned_by(meta.uid(owner), _JOBS))
        status: Object = meta.copy(meta.status(owner))
        actions: list[Action] = []
        self._settle(owner, jobs, status, actions)
        self._clean_up(owner, jobs, actions)
        if not meta.terminating(owner) and not spec.get("suspend"):
            try:
                schedule = cron.parse(spec["schedule"], spec.get("timeZone"))
            except ValueError as error:
                text = f"unparseable schedule: {spec['schedule']} : {error}"
                actions.append(Emit(owner, "Warning", "UnparseableSchedule", text))
            else:
                self._start(owner, schedule, view, status, actions, now)
        if status != meta.status(owner):
            actions.append(UpdateStatus({**owner, "status": status}))
        return actions

    def _settle(self, owner: Object, jobs: Sequence[Object], status: Object, actions: list[Action]) -> None:
        """Take finished jobs off the active list, unfinished ones on it."""
        active: list[Object] = status.get("active") or []
        known = {reference["uid"] for reference in active}
        by_uid = {meta.uid(job): job for job in jobs}
        for reference in list(active):
            job = by_uid.get(reference["uid"])
            end = _end(job) if job else "missing"
            if job is None:
                text = f"Active job went missing: {reference['name']}"
                actions.append(Emit(owner, "Normal", "MissingJob", text))
                active.remove(reference)
            elif end:
                text = f"Saw completed job: {meta.name(job)}, condition: {end}"
                actions.append(Emit(owner, "Normal", "SawCompletedJob", text))
                active.remove(reference)
        for job in jobs:
            if meta.uid(job) not in known and not _end(job):
                if _SCHEDULED in meta.annotations(job):
                    active.append(_reference(job))
                else:  # `kubectl create job --from=cronjob/…`: an owner's reference, but no run of the schedule
                    text = f"Saw a job that the controller did not create or forgot: {meta.name(job)}"
                    actions.append(Emit(owner, "Warning", "UnexpectedJob", text))
            if _end(job) == "Complete":
                ended = meta.status(job).get("completionTime")
                if ended and timestamp(ended) > timestamp(status.get("lastSuccessfulTime")):
                    status["lastSuccessfulTime"] = ended
        status.pop("active", None)
        if active:
            status["active"] = active

    def _clean_up(self, owner: Object, jobs: Sequence[Object], actions: list[Action]) -> None:
        for end, field, default in (
            ("Complete", "successfulJobsHistoryLimit", 3),
            ("Failed", "failedJobsHistoryLimit", 1),
        ):
            limit = owner["spec"].get(field)
            finished = [job for job in jobs if _end(job) == end and not meta.terminating(job)]
            finished.sort(key=lambda job: timestamp(meta.status(job).get("startTime")))
            for job in finished[: max(len(finished) - (default if limit is None else int(limit)), 0)]:
                self._delete(owner, job, actions)

    def _delete(self, owner: Object, job: Object, actions: list[Action]) -> None:
        actions.append(Delete(_JOBS, meta.key(job), uid=meta.uid(job)))
        actions.append(Emit(owner, "Normal", "SuccessfulDelete", f"Deleted job {meta.name(job)}"))

    def _start(
        self, owner: Object, schedule: cron.Schedule, view: View, status: Object, actions: list[Action], now: float
    ) -> None:
        spec = owner["spec"]
        since = timestamp(status.get("lastScheduleTime") or owner["metadata"]["creationTimestamp"])
        deadline = spec.get("startingDeadlineSeconds")
        if deadline is not None:
            since = max(since, now - int(deadline))
        due, missed = None, 0
        moment = schedule.next(since)
        while moment is not None and moment <= now and missed <= 10 * _MANY:
            due, missed = moment, missed + 1
            moment = schedule.next(moment)
        if missed > 10 * _MANY:  # far behind: only the last hour can matter
            while moment is not None and moment <= now:
                due, moment = moment, schedule.next(max(moment, now - 3600))
        if moment is not None:
            actions.append(Requeue(max(moment - now, 0.0)))
        if missed > _MANY:
            text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            actions.append(Emit(owner, "Warning", "TooManyMissedTimes", text))
        if due is None:
            return
        name = f"{meta.name(owner)}-{int(due) // 60}"
        if view.get(_JOBS, name, meta.namespace(owner)) is not None:
            status["lastScheduleTime"] = rfc3339(due)
            return
        active = status.get("active") or []
        policy = spec.get("concurrencyPolicy", "Allow")
        if policy == "Forbid" and active:
            text = "Not starting job because prior execution is running and concurrency policy is Forbid"
            actions.append(Emit(owner, "Normal", "JobAlreadyActive", text))
            return
        if policy == "Replace":
            for reference in active:
                job = view.get(_JOBS, reference["name"], meta.namespace(owner))
                if job is not None:
                    self._delete(owner, job, actions)
            status.pop("active", None)
        template = spec["jobTemplate"]
        metadata = template.get("metadata") or {}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "namespace": meta.namespace(owner),
                "labels": metadata.get("labels") or {},
                "annotations": {
                    **(metadata.get("annotations") or {}),
                    _SCHEDULED: rfc3339(due),
                },
                "ownerReferences": [meta.owner_reference(owner)],
            },
            "spec": template["spec"],
        }
        actions.append(Create(job, about=owner, created="Created job {name}"))
        status["lastScheduleTime"] = rfc3339(due)


def _end(job: Object) -> str:
    for condition in meta.status(job).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return str(condition["type"])
    return ""


def _reference(job: Object) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": meta.name(job),
        "namespace": meta.namespace(job),
        "uid": meta.uid(job),
        "resourceVersion": job["metadata"].get("resourceVersion", ""),
    }
