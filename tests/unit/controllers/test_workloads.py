"""ReplicaSets, ReplicationControllers, StatefulSets and DaemonSets converge to what they say."""

from typing import Any

import pytest

from minikube_py.apimachinery import meta

APPS = "apps/v1"


async def test_replicaset_adopts_and_releases(world: Any) -> None:
    """An orphan that matches is adopted, a pod that no longer matches is let go and replaced."""
    world.create("v1", "Pod", "orphan", world.template()["spec"], metadata={"labels": {"app": "web"}})
    world.create(APPS, "ReplicaSet", "web", world.workload(2))
    await world.settle()
    assert "orphan" in world.names("pods")
    assert len(world.pods(app="web")) == 2
    world.edit("pods", "orphan", lambda pod: pod["metadata"]["labels"].update(app="debug"))
    await world.settle()
    orphan = world.api.get("pods", "orphan", "default")
    assert not orphan["metadata"].get("ownerReferences")
    assert len(world.pods(app="web")) == 2


async def test_replicaset_gives_up_the_least_useful(world: Any) -> None:
    """Scaling down takes the pod that isn't ready before the older ones that are."""
    world.create(APPS, "ReplicaSet", "web", world.workload(2))
    await world.settle()
    good = set(world.names("pods"))
    world.kubelet.hold = lambda pod: meta.name(pod) not in good
    world.edit("replicasets.apps", "web", lambda rs: rs["spec"].update(replicas=3))
    await world.settle()
    assert len(world.pods()) == 3
    world.edit("replicasets.apps", "web", lambda rs: rs["spec"].update(replicas=2))
    await world.settle()
    assert set(world.names("pods")) == good
    assert len(world.events("SuccessfulDelete")) == 1


async def test_deletion_cost(world: Any) -> None:
    """The pod with the lowest pod-deletion-cost goes first."""
    world.create(APPS, "ReplicaSet", "web", world.workload(3))
    await world.settle()
    first = world.names("pods")[0]
    cost = {"controller.kubernetes.io/pod-deletion-cost": "-5"}
    world.edit("pods", first, lambda pod: pod["metadata"].update(annotations=cost))
    world.edit("replicasets.apps", "web", lambda rs: rs["spec"].update(replicas=2))
    await world.settle()
    assert first not in world.names("pods")


async def test_replication_controller(world: Any) -> None:
    """A ReplicationController with its plain selector keeps its pods."""
    world.create(
        "v1", "ReplicationController", "old", {"replicas": 2, "selector": {"app": "web"}, "template": world.template()}
    )
    await world.settle()
    assert len(world.pods(app="web")) == 2
    world.api.delete("pods", world.names("pods")[0], "default")
    await world.settle()
    assert world.status("replicationcontrollers", "old")["readyReplicas"] == 2


async def test_killed_pod_is_replaced_under_another_name(world: Any) -> None:
    """A ReplicaSet replaces a pod as soon as it is told to go, not when it is gone."""
    world.create(APPS, "ReplicaSet", "web", world.workload(1))
    await world.settle()
    (name,) = world.names("pods")
    world.kubelet.linger = lambda pod: True
    world.api.delete("pods", name, "default")
    await world.settle()
    assert len(world.pods()) == 2
    assert world.status("replicasets.apps", "web")["readyReplicas"] == 1


async def test_statefulset_starts_in_order(world: Any) -> None:
    """web-1 is only created when web-0 is ready; names, labels, hostnames and claims are stable."""
    world.kubelet.hold = lambda pod: True
    claims = [
        {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    ]
    world.create(APPS, "StatefulSet", "db", world.workload(3, serviceName="db", volumeClaimTemplates=claims))
    await world.settle()
    assert world.names("pods") == ["db-0"]
    world.kubelet.hold = lambda pod: False
    world.edit("pods", "db-0", lambda pod: pod["metadata"].update(annotations={"look": "again"}))
    await world.settle(1.0)
    assert world.names("pods") == ["db-0", "db-1", "db-2"]
    pod = world.api.get("pods", "db-1", "default")
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
    assert meta.labels(pod)["statefulset.kubernetes.io/pod-name"] == "db-1"
    assert meta.labels(pod)["apps.kubernetes.io/pod-index"] == "1"
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data-db-1"}
    assert world.names("persistentvolumeclaims") == ["data-db-0", "data-db-1", "data-db-2"]
    assert {c["status"]["phase"] for c in world.api.list("persistentvolumeclaims", "default")} == {"Bound"}
    status = world.status("statefulsets.apps", "db")
    assert status["readyReplicas"] == status["currentReplicas"] == status["updatedReplicas"] == 3
    assert status["currentRevision"] == status["updateRevision"]


async def test_statefulset_shrinks_from_the_end_and_keeps_claims(world: Any) -> None:
    """Scaling down removes the highest numbers; their claims stay."""
    world.create(APPS, "StatefulSet", "db", world.workload(3, serviceName="db"))
    await world.settle(1.0)
    world.edit("statefulsets.apps", "db", lambda s: s["spec"].update(replicas=1))
    await world.settle(1.0)
    assert world.names("pods") == ["db-0"]
    deleted = world.events("SuccessfulDelete")
    assert deleted == ["delete Pod db-2 in StatefulSet db successful", "delete Pod db-1 in StatefulSet db successful"]


async def test_statefulset_partition(world: Any) -> None:
    """A rolling update goes from the highest number down to the partition and no further."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    world.create(APPS, "StatefulSet", "db", world.workload(4, serviceName="db", updateStrategy=strategy))
    await world.settle(1.0)
    world.edit("statefulsets.apps", "db", world.set_image("nginx:2"))
    await world.settle(1.0)
    images = {meta.name(p): p["spec"]["containers"][0]["image"] for p in world.pods(app="web")}
    assert images == {"db-0": "nginx:1", "db-1": "nginx:1", "db-2": "nginx:2", "db-3": "nginx:2"}
    world.api.delete("pods", "db-0", "default")
    await world.settle(1.0)
    pod = world.api.get("pods", "db-0", "default")
    assert pod["spec"]["containers"][0]["image"] == "nginx:1"
    world.edit("statefulsets.apps", "db", lambda s: s["spec"]["updateStrategy"]["rollingUpdate"].update(partition=0))
    await world.settle(1.0)
    assert {p["spec"]["containers"][0]["image"] for p in world.pods(app="web")} == {"nginx:2"}
    status = world.status("statefulsets.apps", "db")
    assert status["currentRevision"] == status["updateRevision"]
    assert len(world.names("controllerrevisions.apps")) == 2


async def test_statefulset_parallel(world: Any) -> None:
    """With Parallel nobody waits for anybody."""
    world.kubelet.hold = lambda pod: True
    world.create(APPS, "StatefulSet", "db", world.workload(3, serviceName="db", podManagementPolicy="Parallel"))
    await world.settle()
    assert world.names("pods") == ["db-0", "db-1", "db-2"]


async def test_daemonset_runs_on_every_admitting_node(world: Any) -> None:
    """One pod per node; a tainted node gets none, a new one gets one, a cordoned one keeps its own."""
    world.node("tainted", taints=[{"key": "gpu", "effect": "NoSchedule"}])
    world.create(APPS, "DaemonSet", "agent", world.workload())
    await world.settle()
    assert sorted(p["spec"]["nodeName"] for p in world.pods()) == ["node-0", "node-1"]
    world.node("node-2")
    world.edit("nodes", "node-0", lambda n: n["spec"].update(unschedulable=True), namespace="")
    await world.settle()
    assert sorted(p["spec"]["nodeName"] for p in world.pods()) == ["node-0", "node-1", "node-2"]
    status = world.status("daemonsets.apps", "agent")
    assert status["desiredNumberScheduled"] == status["numberReady"] == status["numberAvailable"] == 3


async def test_daemonset_rolls(world: Any) -> None:
    """A new template replaces the pods one by one."""
    world.create(APPS, "DaemonSet", "agent", world.workload())
    await world.settle()
    world.edit("daemonsets.apps", "agent", world.set_image("nginx:2"))
    await world.settle(1.0)
    assert {p["spec"]["containers"][0]["image"] for p in world.pods()} == {"nginx:2"}
    assert world.status("daemonsets.apps", "agent")["updatedNumberScheduled"] == 2


async def test_daemonset_leaves_nodes_that_no_longer_match(world: Any) -> None:
    """A node that loses the label loses the pod."""
    world.edit("nodes", "node-0", lambda n: n["metadata"]["labels"].update(disk="ssd"), namespace="")
    world.create(APPS, "DaemonSet", "agent", world.workload(pod={"nodeSelector": {"disk": "ssd"}}))
    await world.settle()
    assert [p["spec"]["nodeName"] for p in world.pods()] == ["node-0"]
    world.edit("nodes", "node-0", lambda n: n["metadata"]["labels"].pop("disk"), namespace="")
    await world.settle()
    assert world.pods() == []


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_a_successor_adopts_pods_and_revisions(world: Any, kind: str) -> None:
    """What `--cascade=orphan` leaves behind belongs to the next of that name: pods stay, the history goes on."""
    resource = f"{kind.lower()}s.apps"
    world.create(APPS, kind, "web", world.workload())
    await world.settle()
    before = world.names("pods")
    assert before
    world.api.delete(resource, "web", "default", propagation="Orphan")
    await world.settle()
    assert all("ownerReferences" not in pod["metadata"] for pod in world.pods())
    world.create(APPS, kind, "web", world.workload())
    await world.settle()
    assert world.names("pods") == before
    [revision] = world.api.list("controllerrevisions.apps", "default")
    assert meta.controller_of(revision)["uid"] == meta.uid(world.api.get(resource, "web", "default"))
    world.edit(resource, "web", world.set_image("nginx:2"))
    await world.settle(5.0)
    assert [r["revision"] for r in world.api.list("controllerrevisions.apps", "default")] == [1, 2]


async def test_a_revision_s_name_may_be_taken(world: Any) -> None:
    """A ControllerRevision of another owner under the wanted name costs a collision, no standstill."""
    world.create(APPS, "StatefulSet", "web", world.workload())
    await world.settle()
    [revision] = world.api.list("controllerrevisions.apps", "default")
    world.api.delete("statefulsets.apps", "web", "default")
    await world.settle()
    stranger = {"name": meta.name(revision), "namespace": "default", "labels": {"app": "other"}}
    world.api.create(
        {"apiVersion": APPS, "kind": "ControllerRevision", "metadata": stranger, "data": {"a": 1}, "revision": 7}
    )
    world.create(APPS, "StatefulSet", "web", world.workload())
    await world.settle()
    assert world.names("pods") == ["web-0"]
