"""Jobs end, one way or the other; CronJobs start them on time."""

from typing import Any

import pytest

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.controllers import cron, indexes

BATCH = "batch/v1"


def job(world: Any, **spec: Any) -> dict[str, Any]:
    return {"template": world.template("job", restartPolicy="Never"), **spec}


def ends(world: Any, name: str = "work") -> list[tuple[str, str]]:
    status = world.status("jobs.batch", name)
    return [(c["type"], c["reason"]) for c in status.get("conditions", ()) if c["status"] == "True"]


async def test_completes(world: Any) -> None:
    """A Job with completions runs so many pods, at most `parallelism` at once, and then says Complete."""
    world.kubelet.ends = lambda pod: 0
    world.create(BATCH, "Job", "work", job(world, completions=5, parallelism=2))
    await world.settle(1.0)
    status = world.status("jobs.batch", "work")
    assert status["succeeded"] == 5
    assert "active" not in status
    assert ("Complete", "CompletionsReached") in ends(world)
    assert status["completionTime"]
    assert len(world.pods(app="job")) == 5
    assert world.events("Completed") == ["Job completed"]
    pod = world.pods()[0]
    uid = meta.uid(world.api.get("jobs.batch", "work", "default"))
    assert meta.labels(pod)["batch.kubernetes.io/controller-uid"] == uid
    assert meta.labels(pod)["job-name"] == meta.labels(pod)["batch.kubernetes.io/job-name"] == "work"
    assert not pod["metadata"].get("finalizers")


async def test_indexed(world: Any) -> None:
    """Indexed pods have their index in name, hostname, label, annotation and environment."""
    world.kubelet.ends = lambda pod: (
        0 if meta.annotations(pod)["batch.kubernetes.io/job-completion-index"] != "1" else None
    )
    world.create(BATCH, "Job", "work", job(world, completions=4, parallelism=4, completionMode="Indexed"))
    await world.settle(1.0)
    assert world.status("jobs.batch", "work")["completedIndexes"] == "0,2,3"
    pod = next(p for p in world.pods() if p["spec"]["hostname"] == "work-1")
    assert meta.name(pod).startswith("work-1-")
    assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
    world.kubelet.ends = lambda pod: 0
    world.edit("pods", meta.name(pod), lambda p: p["metadata"]["labels"].update(look="again"))
    await world.settle(1.0)
    assert world.status("jobs.batch", "work")["completedIndexes"] == "0-3"
    assert ends(world)[-1] == ("Complete", "CompletionsReached")


async def test_backoff_limit(world: Any) -> None:
    """Failed pods are replaced after 10, 20, … seconds until backoffLimit is passed."""
    world.kubelet.ends = lambda pod: 1
    world.create(BATCH, "Job", "work", job(world, backoffLimit=2))
    await world.settle(5.0)
    assert len(world.pods()) == 1
    await world.settle(8.0)
    assert len(world.pods()) == 2
    await world.settle(60.0)
    assert len(world.pods()) == 3
    assert ("Failed", "BackoffLimitExceeded") in ends(world)
    assert world.events("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]


async def test_deadline_and_ttl(world: Any) -> None:
    """A Job past activeDeadlineSeconds fails and loses its pods; ttlSecondsAfterFinished removes it."""
    world.create(BATCH, "Job", "work", job(world, activeDeadlineSeconds=30, ttlSecondsAfterFinished=60))
    await world.settle(40.0)
    assert ("Failed", "DeadlineExceeded") in ends(world)
    assert world.pods() == []
    await world.settle(65.0)
    assert world.names("jobs.batch") == []


async def test_suspend(world: Any) -> None:
    """A suspended Job has no pods, and goes on when it is resumed."""
    world.create(BATCH, "Job", "work", job(world, suspend=True))
    await world.settle()
    assert world.pods() == []
    world.kubelet.ends = lambda pod: 0
    world.edit("jobs.batch", "work", lambda j: j["spec"].update(suspend=False))
    await world.settle()
    assert ends(world)[-1] == ("Complete", "CompletionsReached")


async def test_deleting_a_job_deletes_its_pods(world: Any) -> None:
    """The tracking finalizer doesn't keep pods of a deleted Job."""
    world.create(BATCH, "Job", "work", job(world))
    await world.settle()
    assert len(world.pods()) == 1
    world.api.delete("jobs.batch", "work", "default")
    await world.settle()
    assert world.pods() == []


async def test_cronjob(world: Any) -> None:
    """A CronJob starts a Job every minute, named by the minute, and keeps three finished ones."""
    world.kubelet.ends = lambda pod: 0
    world.create(BATCH, "CronJob", "tick", {"schedule": "* * * * *", "jobTemplate": {"spec": job(world)}})
    await world.settle(5.0)
    start = world.clock.now()
    for _ in range(5):
        await world.settle(60.0)
    jobs = world.names("jobs.batch")
    minute = int(start // 60)
    assert jobs == [f"tick-{minute + n}" for n in (3, 4, 5)]
    status = world.status("cronjobs.batch", "tick")
    assert status["lastScheduleTime"] == rfc3339((minute + 5) * 60)
    assert "active" not in status
    assert world.events("SawCompletedJob")[0] == f"Saw completed job: tick-{minute + 1}, condition: Complete"


async def test_cronjob_forbid(world: Any) -> None:
    """With Forbid no second Job starts while one runs."""
    spec = {"schedule": "@every 60s", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job(world)}}
    spec["schedule"] = "*/1 * * * *"
    world.create(BATCH, "CronJob", "tick", spec)
    for _ in range(4):
        await world.settle(60.0)
    assert len(world.names("jobs.batch")) == 1
    assert world.events("JobAlreadyActive")


@pytest.mark.parametrize(
    ("schedule", "after", "next_"),
    [
        ("*/15 * * * *", "2026-03-01T10:07:30Z", "2026-03-01T10:15:00Z"),
        ("0 3 * * *", "2026-03-01T03:00:00Z", "2026-03-02T03:00:00Z"),
        ("@hourly", "2026-12-31T23:30:00Z", "2027-01-01T00:00:00Z"),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("30 8 * * mon-fri", "2026-03-06T09:00:00Z", "2026-03-09T08:30:00Z"),
        ("0 12 13 * 5", "2026-03-01T00:00:00Z", "2026-03-06T12:00:00Z"),
        ("5,10-12 0-4/2 1 JAN *", "2026-01-01T02:12:00Z", "2026-01-01T04:05:00Z"),
        ("0 0 * * 7", "2026-03-02T00:00:00Z", "2026-03-08T00:00:00Z"),
        ("CRON_TZ=Europe/Berlin 30 6 * * *", "2026-07-01T00:00:00Z", "2026-07-01T04:30:00Z"),
        ("@every 90s", "2026-03-01T00:00:00Z", "2026-03-01T00:01:30Z"),
    ],
)
def test_schedule(schedule: str, after: str, next_: str) -> None:
    """The next moment of a schedule."""
    from minikube_py.aiokit.clock import timestamp

    found = cron.parse(schedule).next(timestamp(after))
    assert found is not None
    assert rfc3339(found) == next_


def test_a_day_that_never_comes() -> None:
    """30 February has no next moment, and that is found out in finite time."""
    assert cron.parse("0 0 30 2 *").next(1_700_000_000.0) is None


@pytest.mark.parametrize(
    "schedule", ["* * * *", "60 * * * *", "* * 0 * *", "@often", "*/0 * * * *", "a * * * *", "5-1 * * * *"]
)
def test_bad_schedule(schedule: str) -> None:
    """What is no schedule is refused with the reason."""
    with pytest.raises(ValueError, match=r"."):
        cron.parse(schedule)


def test_indexes() -> None:
    """Indexes are written in ranges from three in a row, and read back."""
    assert indexes.text({0, 1, 3, 4, 5, 7}) == "0,1,3-5,7"
    assert indexes.parse("0,1,3-5,7") == {0, 1, 3, 4, 5, 7}


async def test_the_end_comes_in_two_steps(world: Any) -> None:
    """A verdict stands at once, but the Job is Failed only when its last pod has ended."""
    world.kubelet.linger = lambda pod: True
    world.create(BATCH, "Job", "work", job(world, activeDeadlineSeconds=10))
    await world.settle(12.0)
    assert ends(world) == [("FailureTarget", "DeadlineExceeded")]
    assert world.status("jobs.batch", "work")["terminating"] == 1
    world.kubelet.linger = lambda pod: False
    pod = world.pods()[0]
    world.api.delete("pods", meta.name(pod), "default", grace_period=0)
    await world.settle()
    assert ends(world) == [("FailureTarget", "DeadlineExceeded"), ("Failed", "DeadlineExceeded")]
    assert world.status("jobs.batch", "work")["failed"] == 1


async def test_a_smaller_parallelism_is_no_failure(world: Any) -> None:
    """Pods that a Job gives up because it wants fewer don't count as failed; one that somebody deletes does."""
    world.create(BATCH, "Job", "work", job(world, completions=5, parallelism=3))
    await world.settle()
    world.edit("jobs.batch", "work", lambda j: j["spec"].update(parallelism=1))
    await world.settle()
    assert len(world.pods()) == 1
    assert "failed" not in world.status("jobs.batch", "work")
    world.api.delete("pods", meta.name(world.pods()[0]), "default")
    await world.settle()
    assert world.status("jobs.batch", "work")["failed"] == 1
    assert world.pods() == []
    await world.settle(12.0)
    assert len(world.pods()) == 1


async def test_success_policy(world: Any) -> None:
    """The leader's success is enough: the other indexes are stopped, and the Job is Complete."""
    world.kubelet.ends = lambda pod: 0 if meta.labels(pod)["batch.kubernetes.io/job-completion-index"] == "1" else None
    policy = {"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]}
    spec = job(world, completions=4, parallelism=4, completionMode="Indexed", successPolicy=policy)
    world.create(BATCH, "Job", "work", spec)
    await world.settle(1.0)
    assert ends(world) == [("SuccessCriteriaMet", "SuccessPolicy"), ("Complete", "SuccessPolicy")]
    status = world.status("jobs.batch", "work")
    assert status["conditions"][0]["message"] == "Matched rules at index 0"
    assert status["completedIndexes"] == "1"
    assert len(world.pods()) == 1


async def test_backoff_limit_per_index(world: Any) -> None:
    """Each index has failures of its own; one that has too many is failed while the others go on."""
    world.kubelet.ends = lambda pod: 1 if meta.labels(pod)["batch.kubernetes.io/job-completion-index"] == "1" else 0
    world.create(
        BATCH,
        "Job",
        "work",
        job(world, completions=3, parallelism=1, completionMode="Indexed", backoffLimitPerIndex=1),
    )
    await world.settle(5.0)
    status = world.status("jobs.batch", "work")
    assert (status["completedIndexes"], status["failedIndexes"]) == ("0,2", "")
    await world.settle(15.0)
    status = world.status("jobs.batch", "work")
    assert (status["completedIndexes"], status["failedIndexes"], status["failed"]) == ("0,2", "1", 2)
    assert ends(world) == [("FailureTarget", "FailedIndexes"), ("Failed", "FailedIndexes")]
    counts = [meta.annotations(p)["batch.kubernetes.io/job-index-failure-count"] for p in world.pods()]
    assert sorted(counts) == ["0", "0", "0", "1"]


async def test_max_failed_indexes(world: Any) -> None:
    """More failed indexes than maxFailedIndexes end the Job and its running pods."""
    world.kubelet.ends = lambda pod: None if meta.labels(pod)["batch.kubernetes.io/job-completion-index"] == "2" else 1
    limits = {"backoffLimitPerIndex": 0, "maxFailedIndexes": 1}
    world.create(BATCH, "Job", "work", job(world, completions=3, parallelism=3, completionMode="Indexed", **limits))
    await world.settle(1.0)
    assert ends(world) == [("FailureTarget", "MaxFailedIndexesExceeded"), ("Failed", "MaxFailedIndexesExceeded")]
    assert world.status("jobs.batch", "work")["failedIndexes"] == "0,1"


@pytest.mark.parametrize(
    ("action", "reason", "failed"),
    [
        ("FailJob", "PodFailurePolicy", 1),
        ("FailIndex", "FailedIndexes", 1),
        ("Ignore", "", None),
        ("Count", "", 1),
    ],
)
async def test_pod_failure_policy(world: Any, action: str, reason: str, failed: int | None) -> None:
    """The first rule that matches says what a failure means."""
    world.kubelet.ends = lambda pod: 42
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": action, "onExitCodes": {"operator": "In", "values": [42]}},
    ]
    more = {"backoffLimitPerIndex": 3} if action == "FailIndex" else {}
    spec = job(world, completions=1, completionMode="Indexed", podFailurePolicy={"rules": rules}, **more)
    world.create(BATCH, "Job", "work", spec)
    await world.settle(1.0)
    status = world.status("jobs.batch", "work")
    assert [r for _, r in ends(world)] == ([reason, reason] if reason else [])
    assert status.get("failed") == failed
    if action == "FailJob":
        pod = meta.name(world.pods()[0])
        text = f"Container c for pod default/{pod} failed with exit code 42 matching FailJob rule at index 1"
        assert status["conditions"][0]["message"] == text


async def test_pod_replacement_policy(world: Any) -> None:
    """With podReplacementPolicy Failed, a pod that is going is replaced only when it has ended."""
    world.kubelet.linger = lambda pod: True
    world.create(BATCH, "Job", "work", job(world, podReplacementPolicy="Failed"))
    await world.settle()
    name = meta.name(world.pods()[0])
    world.api.delete("pods", name, "default")
    await world.settle(20.0)
    assert [meta.name(pod) for pod in world.pods()] == [name]
    world.edit("pods", name, lambda pod: pod["metadata"].update(finalizers=[]))
    world.api.delete("pods", name, "default", grace_period=0)
    await world.settle(20.0)
    assert [meta.name(pod) == name for pod in world.pods()] == [False]


async def test_managed_by_another(world: Any) -> None:
    """A Job that names another controller is left to it."""
    world.create(BATCH, "Job", "work", job(world, managedBy="example.com/queue"))
    await world.settle()
    assert world.pods() == []
    assert world.status("jobs.batch", "work") == {}


def cron_job(world: Any, **spec: Any) -> None:
    spec = {"schedule": "* * * * *", "jobTemplate": {"spec": job(world)}, **spec}
    world.create(BATCH, "CronJob", "tick", spec)


async def test_cronjob_replace(world: Any) -> None:
    """With Replace the running Job makes room for the next."""
    cron_job(world, concurrencyPolicy="Replace")
    await world.settle(60.0)
    [first] = world.names("jobs.batch")
    await world.settle(60.0)
    [second] = world.names("jobs.batch")
    assert second != first
    assert [reference["name"] for reference in world.status("cronjobs.batch", "tick")["active"]] == [second]


async def test_cronjob_time_zone(world: Any) -> None:
    """The schedule is read in its timeZone."""
    from minikube_py.aiokit.clock import timestamp

    cron_job(world, schedule="0 12 * * *", timeZone="Asia/Tokyo")
    for _ in range(25):
        await world.settle(3600.0)
    [name] = world.names("jobs.batch")
    assert rfc3339(int(name.removeprefix("tick-")) * 60).endswith("T03:00:00Z")
    assert timestamp(world.status("cronjobs.batch", "tick")["lastScheduleTime"]) % 86400 == 3 * 3600


async def test_cronjob_suspended(world: Any) -> None:
    """What was missed while suspended is caught up once."""
    cron_job(world, suspend=True, schedule="0 * * * *")
    await world.settle(7200.0)
    assert world.names("jobs.batch") == []
    world.edit("cronjobs.batch", "tick", lambda c: c["spec"].update(suspend=False))
    await world.settle(1.0)
    assert len(world.names("jobs.batch")) == 1


async def test_cronjob_too_late(world: Any) -> None:
    """A start that was missed by more than startingDeadlineSeconds is not caught up."""
    cron_job(world, suspend=True, schedule="0 0 1 1 *", startingDeadlineSeconds=10)
    for _ in range(4):
        await world.settle(100 * 86400.0)
    world.edit("cronjobs.batch", "tick", lambda c: c["spec"].update(suspend=False))
    await world.settle(1.0)
    assert world.names("jobs.batch") == []


async def test_cronjob_history_limits(world: Any) -> None:
    """So many succeeded and failed Jobs are kept as the limits say."""
    world.kubelet.ends = lambda pod: 1
    spec = {"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 2}
    cron_job(world, **spec, jobTemplate={"spec": job(world, backoffLimit=0)})
    for _ in range(5):
        await world.settle(60.0)
    assert len(world.names("jobs.batch")) == 2
    world.kubelet.ends = lambda pod: 0
    await world.settle(60.0)
    assert len(world.names("jobs.batch")) == 2


async def test_cronjob_by_hand(world: Any) -> None:
    """A Job made of the CronJob by hand belongs to it, but is no run of the schedule: Forbid lets it be."""
    cron_job(world, concurrencyPolicy="Forbid")
    owner = world.api.get("cronjobs.batch", "tick", "default")
    references = [meta.owner_reference(owner)]
    world.create(BATCH, "Job", "manual", job(world), metadata={"ownerReferences": references})
    await world.settle(60.0)
    assert len(world.names("jobs.batch")) == 2
    assert world.events("UnexpectedJob")[0] == "Saw a job that the controller did not create or forgot: manual"
