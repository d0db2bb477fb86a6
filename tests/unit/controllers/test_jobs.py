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
