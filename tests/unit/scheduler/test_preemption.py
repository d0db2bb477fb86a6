"""Less important pods make room, as few and as unimportant ones as possible."""

from typing import Any

import pytest

from minikube_py.apimachinery import meta
from minikube_py.scheduler.choose import Binding, Preemption, Unschedulable, choose
from minikube_py.scheduler.nodes import Cache, NodeInfo
from minikube_py.scheduler.pods import PodInfo

Object = dict[str, Any]


def node(name: str, **placed: PodInfo) -> NodeInfo:
    cache = Cache()
    cache.set_node(
        {
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"allocatable": {"cpu": "2", "memory": "8Gi", "pods": "110"}},
        }
    )
    for pod in placed.values():
        cache.place(pod, name)
    return cache.nodes[name]


def pod(name: str, priority: int, cpu: str = "1", *, since: str = "2026-01-01T00:00:00Z", **spec: Any) -> PodInfo:
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    containers = [{"name": "c", "resources": resources}]
    metadata = {"name": name, "namespace": "default", "labels": {"app": name}, "creationTimestamp": since}
    return PodInfo.of({"metadata": metadata, "spec": {"containers": containers, "priority": priority, **spec}})


def outcome(wanted: PodInfo, *nodes: NodeInfo, budgets: tuple[Object, ...] = ()) -> tuple[str, list[str]] | str:
    result = choose(wanted, nodes, {}, lambda: budgets)
    if isinstance(result, Preemption):
        return result.node, [victim.key.name for victim in result.victims]
    assert isinstance(result, Unschedulable)
    return result.message


def test_as_few_as_needed() -> None:
    """Of several lower pods only the least important go."""
    here = node("n", a=pod("a", 5), b=pod("b", 1, "500m"), c=pod("c", 2, "500m"))
    assert outcome(pod("p", 10), here) == ("n", ["c", "b"])
    assert outcome(pod("p", 10, "500m"), here) == ("n", ["b"])


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        pytest.param(
            (node("n1", a=pod("a", 5), b=pod("b", 20)), node("n2", c=pod("c", 3), d=pod("d", 20))),
            ("n2", ["c"]),
            id="the less important victim",
        ),
        pytest.param(
            (
                node("n1", a=pod("a", 3, "500m"), b=pod("b", 3, "500m"), e=pod("e", 20)),
                node("n2", c=pod("c", 3), d=pod("d", 20)),
            ),
            ("n2", ["c"]),
            id="fewer victims",
        ),
        pytest.param(
            (
                node("n1", a=pod("a", 3, "2")),
                node("n2", b=pod("b", 3, "2", since="2026-02-01T00:00:00Z")),
            ),
            ("n2", ["b"]),
            id="who started later",
        ),
    ],
)
def test_the_node_where_it_hurts_least(nodes: tuple[NodeInfo, ...], expected: tuple[str, list[str]]) -> None:
    """Nodes are compared as in the real scheduler."""
    assert outcome(pod("p", 10), *nodes) == expected


def test_budgets_are_respected_where_possible() -> None:
    """A node whose victims no budget protects comes first; without such a node, budgets yield."""
    budget = {
        "metadata": {"name": "b", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}},
        "status": {"disruptionsAllowed": 0},
    }
    one, two = node("n1", a=pod("a", 1, "2")), node("n2", b=pod("b", 4, "2"))
    assert outcome(pod("p", 10), one, two, budgets=(budget,)) == ("n2", ["b"])
    assert outcome(pod("p", 10), one, budgets=(budget,)) == ("n1", ["a"])
    same = node("n1", a=pod("a", 1), b=pod("b", 4))
    assert outcome(pod("p", 10), same, budgets=(budget,)) == ("n1", ["b"])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            pod("p", 1),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 No preemption victims found for incoming pod.",
        ),
        (
            pod("p", 10, "3"),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 Preemption is not helpful for scheduling.",
        ),
        (
            pod("p", 10, "2"),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Insufficient cpu.",
        ),
        (
            pod("p", 10, preemptionPolicy="Never"),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
        ),
    ],
)
def test_messages(wanted: PodInfo, message: str) -> None:
    """Why preemption doesn't help, in Kubernetes' words."""
    assert outcome(wanted, node("n", a=pod("a", 5), b=pod("b", 20))) == message


def test_anti_affinity_is_a_reason_to_preempt() -> None:
    """Not only resources: a pod that keeps another away goes, too."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    here = node("n", a=pod("a", 1, ""), b=pod("b", 1, ""))
    assert outcome(pod("p", 10, "", affinity=affinity), here) == ("n", ["a"])


def prepare(world: Any) -> None:
    """One node of two cores, and three priorities."""
    world.node("worker", allocatable={"cpu": "2", "pods": "110"})
    for name, value in (("low", 1), ("mid", 5), ("high", 10)):
        group = "scheduling.k8s.io/v1"
        world.api.create({"apiVersion": group, "kind": "PriorityClass", "metadata": {"name": name}, "value": value})


async def test_the_victim_leaves_and_its_place_is_kept(world: Any) -> None:
    """The victim is told why, the important pod where it will go; nobody less important slips in between."""
    prepare(world)
    world.pod("a", cpu="2", priorityClassName="low")
    await world.settle()
    world.pod("p", cpu="2", priorityClassName="high")
    await world.settle()
    victim, waiting = world.get("a"), world.get("p")
    target = next(c for c in victim["status"]["conditions"] if c["type"] == "DisruptionTarget")
    assert (target["reason"], target["message"]) == (
        "PreemptionByScheduler",
        "default-scheduler: preempting to accommodate a higher priority pod",
    )
    assert meta.terminating(victim)
    assert waiting["status"]["nominatedNodeName"] == "worker"
    events = {e["reason"]: e["message"] for e in world.api.list("events", "default")}
    assert events["Preempted"] == f"Preempted by pod {meta.uid(waiting)} on node worker"
    assert events["FailedScheduling"] == "0/1 nodes are available: 1 Insufficient cpu."
    world.pod("q", cpu="2", priorityClassName="mid")
    world.api.delete("pods", "a", "default", grace_period=0)
    await world.settle()
    assert world.get("p")["spec"]["nodeName"] == "worker"
    assert "nodeName" not in world.get("q")["spec"]


async def test_a_terminating_victim_is_waited_for(world: Any) -> None:
    """As long as the victim is going, no further pod is preempted."""
    prepare(world)
    world.pod("a", cpu="2", priorityClassName="low")
    await world.settle()
    world.pod("p", cpu="2", priorityClassName="high")
    await world.settle()
    world.node("full", unschedulable=True)
    await world.settle()
    waiting = world.get("p")["status"]
    assert waiting["nominatedNodeName"] == "worker"
    assert world.condition("p")["message"].endswith(
        "preemption: not eligible due to a terminating pod on the nominated node."
    )


async def test_a_nominated_pod_that_is_deleted_frees_the_place(world: Any) -> None:
    """The place that was kept is given to the next."""
    prepare(world)
    world.pod("a", cpu="2", priorityClassName="low")
    await world.settle()
    world.pod("p", cpu="2", priorityClassName="high")
    world.pod("q", cpu="2", priorityClassName="mid")
    await world.settle()
    world.api.delete("pods", "p", "default")
    world.api.delete("pods", "a", "default", grace_period=0)
    await world.settle()
    assert world.get("q")["spec"]["nodeName"] == "worker"


def test_the_nominated_node_comes_first() -> None:
    """Once there is room, the pod goes where others made it, even if another node were better."""
    wanted = pod("p", 10)
    wanted.object["status"] = {"nominatedNodeName": "n2"}
    assert choose(wanted, [node("n1"), node("n2", a=pod("a", 20))]) == Binding("n2")
