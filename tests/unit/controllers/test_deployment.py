"""Deployments roll from template to template, and say how they are getting on."""

from typing import Any

from minikube_py.apimachinery import meta

APPS = "apps/v1"
REVISION = "deployment.kubernetes.io/revision"


def condition(status: dict[str, Any], type_: str) -> tuple[str, str]:
    return next((c["status"], c["reason"]) for c in status["conditions"] if c["type"] == type_)


async def test_comes_up(world: Any) -> None:
    """A Deployment has its pods behind one ReplicaSet named by the template's hash, and says it is complete."""
    world.create(APPS, "Deployment", "web", world.workload(3))
    await world.settle()
    (rs,) = world.api.list("replicasets.apps", "default")
    hash_ = meta.labels(rs)["pod-template-hash"]
    assert meta.name(rs) == f"web-{hash_}"
    assert rs["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": hash_}
    pods = world.pods(app="web")
    assert len(pods) == 3
    assert all(
        meta.name(pod).startswith(f"web-{hash_}-") and len(meta.name(pod)) == len(f"web-{hash_}-") + 5 for pod in pods
    )
    status = world.status("deployments.apps", "web")
    assert {k: status[k] for k in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")} == {
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
    }
    assert "unavailableReplicas" not in status
    assert status["observedGeneration"] == 1
    assert condition(status, "Available") == ("True", "MinimumReplicasAvailable")
    assert condition(status, "Progressing") == ("True", "NewReplicaSetAvailable")
    assert world.events("ScalingReplicaSet") == [f"Scaled up replica set web-{hash_} from 0 to 3"]
    assert sorted(world.events("SuccessfulCreate")) == sorted(f"Created pod: {meta.name(pod)}" for pod in pods)


async def test_rolls_within_bounds(world: Any) -> None:
    """During a rolling update there are never more than 5 pods nor fewer than 3 ready ones (25 % of 4)."""
    world.create(APPS, "Deployment", "web", world.workload(4))
    await world.settle()
    seen: list[tuple[int, int]] = []

    def count(event: Any) -> None:
        alive = [pod for pod in world.pods(app="web") if not meta.terminating(pod)]
        ready = sum(
            c["type"] == "Ready" and c["status"] == "True"
            for pod in alive
            for c in meta.status(pod).get("conditions") or ()
        )
        seen.append((len(alive), ready))

    watch = world.api.subscribe(["pods"], count, replay=False)
    world.edit("deployments.apps", "web", world.set_image("nginx:2"))
    await world.settle(1.0)
    watch.cancel()
    assert max(alive for alive, _ in seen) == 5
    assert min(ready for _, ready in seen) == 3
    assert {p["spec"]["containers"][0]["image"] for p in world.pods(app="web")} == {"nginx:2"}
    sizes = [rs["spec"]["replicas"] for rs in world.api.list("replicasets.apps", "default")]
    assert sizes == [0, 4]
    assert condition(world.status("deployments.apps", "web"), "Progressing") == ("True", "NewReplicaSetAvailable")


async def test_rollback_gives_the_old_set_a_new_revision(world: Any) -> None:
    """Going back to an old template reuses its ReplicaSet under the newest revision and keeps the history."""
    world.create(APPS, "Deployment", "web", world.workload(1))
    await world.settle(1.0)
    world.edit("deployments.apps", "web", world.set_image("nginx:2"))
    await world.settle(1.0)
    world.edit("deployments.apps", "web", world.set_image("nginx:1"))
    await world.settle(1.0)
    sets = world.api.list("replicasets.apps", "default")
    assert [meta.annotations(rs)[REVISION] for rs in sets] == ["3", "2"]
    assert meta.annotations(sets[0])["deployment.kubernetes.io/revision-history"] == "1"
    assert [rs["spec"]["replicas"] for rs in sets] == [1, 0]
    assert meta.annotations(world.api.get("deployments.apps", "web", "default"))[REVISION] == "3"


async def test_history_is_limited(world: Any) -> None:
    """revisionHistoryLimit old ReplicaSets stay, the oldest go."""
    world.create(APPS, "Deployment", "web", world.workload(1, revisionHistoryLimit=2))
    for version in range(2, 7):
        await world.settle(1.0)
        world.edit("deployments.apps", "web", world.set_image(f"nginx:{version}"))
    await world.settle(1.0)
    sets = world.api.list("replicasets.apps", "default")
    assert [meta.annotations(rs)[REVISION] for rs in sets] == ["4", "5", "6"]


async def test_recreate_waits_for_the_last_old_pod(world: Any) -> None:
    """With Recreate no new pod exists before the last old one is gone."""
    world.create(APPS, "Deployment", "web", world.workload(2, strategy={"type": "Recreate"}))
    await world.settle()
    world.kubelet.linger = lambda pod: True
    world.edit("deployments.apps", "web", world.set_image("nginx:2"))
    await world.settle()
    assert [p["spec"]["containers"][0]["image"] for p in world.pods(app="web")] == ["nginx:1", "nginx:1"]
    world.kubelet.linger = lambda pod: False
    for pod in world.pods(app="web"):
        world.api.delete("pods", meta.name(pod), "default", grace_period=0)
    await world.settle()
    assert [p["spec"]["containers"][0]["image"] for p in world.pods(app="web")] == ["nginx:2", "nginx:2"]


async def test_paused(world: Any) -> None:
    """A paused Deployment scales but does not roll, and goes on when it is resumed."""
    world.create(APPS, "Deployment", "web", world.workload(2))
    await world.settle()
    world.edit("deployments.apps", "web", lambda d: d["spec"].update(paused=True))
    world.edit("deployments.apps", "web", world.set_image("nginx:2"))
    await world.settle()
    world.edit("deployments.apps", "web", lambda d: d["spec"].update(replicas=3))
    await world.settle()
    assert [p["spec"]["containers"][0]["image"] for p in world.pods(app="web")] == ["nginx:1"] * 3
    assert condition(world.status("deployments.apps", "web"), "Progressing") == ("Unknown", "DeploymentPaused")
    world.edit("deployments.apps", "web", lambda d: d["spec"].update(paused=False))
    await world.settle(1.0)
    assert {p["spec"]["containers"][0]["image"] for p in world.pods(app="web")} == {"nginx:2"}
    assert condition(world.status("deployments.apps", "web"), "Progressing") == ("True", "NewReplicaSetAvailable")


async def test_deadline(world: Any) -> None:
    """A rollout that gets nowhere for progressDeadlineSeconds says so; it goes on when pods become ready."""
    world.kubelet.hold = lambda pod: pod["spec"]["containers"][0]["image"] == "broken"
    world.create(APPS, "Deployment", "web", world.workload(2, progressDeadlineSeconds=60))
    await world.settle()
    world.edit("deployments.apps", "web", world.set_image("broken"))
    await world.settle(1.0)
    assert condition(world.status("deployments.apps", "web"), "Progressing") == ("True", "ReplicaSetUpdated")
    await world.settle(70.0)
    status = world.status("deployments.apps", "web")
    assert condition(status, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert condition(status, "Available") == ("True", "MinimumReplicasAvailable")
    assert len([p for p in world.pods(app="web") if p["spec"]["containers"][0]["image"] == "nginx:1"]) == 2
    world.edit("deployments.apps", "web", world.set_image("nginx:3"))
    await world.settle(1.0)
    assert condition(world.status("deployments.apps", "web"), "Progressing") == ("True", "NewReplicaSetAvailable")


async def test_min_ready_seconds(world: Any) -> None:
    """A pod counts as available only after minReadySeconds."""
    world.create(APPS, "Deployment", "web", world.workload(1, minReadySeconds=10))
    await world.settle()
    assert world.status("deployments.apps", "web").get("availableReplicas", 0) == 0
    await world.settle(12.0)
    assert world.status("deployments.apps", "web")["availableReplicas"] == 1


async def test_scale_and_delete(world: Any) -> None:
    """Scaling follows; deleting takes ReplicaSets and pods along."""
    world.create(APPS, "Deployment", "web", world.workload(5))
    await world.settle()
    world.edit("deployments.apps", "web", lambda d: d["spec"].update(replicas=2))
    await world.settle()
    assert len(world.pods(app="web")) == 2
    world.edit("deployments.apps", "web", lambda d: d["spec"].update(replicas=0))
    await world.settle()
    assert world.pods(app="web") == []
    world.edit("deployments.apps", "web", lambda d: d["spec"].update(replicas=1))
    await world.settle()
    assert len(world.pods(app="web")) == 1
    world.api.delete("deployments.apps", "web", "default")
    await world.settle()
    assert world.names("replicasets.apps") == []
    assert world.pods() == []


async def test_scaled_in_the_middle_of_a_rollout(world: Any) -> None:
    """`kubectl scale` while a rollout stands still gives old and new ReplicaSet their shares."""
    world.kubelet.hold = lambda pod: pod["spec"]["containers"][0]["image"] == "broken"
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    world.create(APPS, "Deployment", "web", world.workload(10, strategy=rolling))
    await world.settle()
    world.edit("deployments.apps", "web", world.set_image("broken"))
    await world.settle(1.0)
    assert [rs["spec"]["replicas"] for rs in world.api.list("replicasets.apps", "default")] == [8, 5]
    world.edit("deployments.apps", "web", lambda d: d["spec"].update(replicas=15))
    await world.settle(1.0)
    # the documentation's own example: 8 and 5 become 11 and 7
    assert [rs["spec"]["replicas"] for rs in world.api.list("replicasets.apps", "default")] == [11, 7]


async def test_a_rollout_that_was_late_recovers(world: Any) -> None:
    """Past its deadline a rollout goes on, and says so once it has succeeded."""
    held = {"broken"}
    world.kubelet.hold = lambda pod: pod["spec"]["containers"][0]["image"] in held
    world.create(APPS, "Deployment", "web", world.workload(1, progressDeadlineSeconds=10))
    await world.settle()
    world.edit("deployments.apps", "web", world.set_image("broken"))
    await world.settle(20.0)
    assert condition(world.status("deployments.apps", "web"), "Progressing") == ("False", "ProgressDeadlineExceeded")
    held.clear()
    for pod in world.pods(app="web"):
        world.edit("pods", meta.name(pod), lambda p: p["metadata"].setdefault("annotations", {}).update(look="again"))
    await world.settle(1.0)
    assert condition(world.status("deployments.apps", "web"), "Progressing") == ("True", "NewReplicaSetAvailable")


async def test_a_taken_name_costs_a_collision(world: Any) -> None:
    """A ReplicaSet of another owner under the wanted name: the hash is computed anew and counted."""
    world.create(APPS, "Deployment", "web", world.workload(1))
    await world.settle()
    [name] = world.names("replicasets.apps")
    world.api.delete("deployments.apps", "web", "default")
    await world.settle()
    world.create(APPS, "ReplicaSet", name, world.workload(0, app="other"))
    world.create(APPS, "Deployment", "web", world.workload(1))
    await world.settle(1.0)
    assert world.status("deployments.apps", "web")["collisionCount"] == 1
    assert len(world.pods(app="web")) == 1


async def test_change_cause_stays_with_the_revision(world: Any) -> None:
    """`kubectl rollout history` reads the annotation that the ReplicaSet got from its Deployment."""
    cause = "kubernetes.io/change-cause"
    world.create(APPS, "Deployment", "web", world.workload(1))
    await world.settle()
    world.edit("deployments.apps", "web", lambda d: d["metadata"].setdefault("annotations", {}).update({cause: "one"}))
    await world.settle()
    world.edit("deployments.apps", "web", lambda d: d["metadata"]["annotations"].update({cause: "two"}))
    world.edit("deployments.apps", "web", world.set_image("nginx:2"))
    await world.settle(1.0)
    causes = [meta.annotations(rs)[cause] for rs in world.api.list("replicasets.apps", "default")]
    assert causes[-1] == "two"
