"""What was found out for one pod holds for the next of its template: the same choice as by looking at all nodes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.scheduler.choose import Binding, choose
from minikube_py.scheduler.nodes import Cache
from minikube_py.scheduler.pods import PodInfo
from minikube_py.scheduler.ranking import Ranking

Object = dict[str, Any]

TERM = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "a"}}}
PREFERRED = {"weight": 5, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["z1"]}]}}
TEMPLATES: tuple[Object, ...] = (
    {},
    {"nodeSelector": {"zone": "z1"}},
    {"tolerations": [{"operator": "Exists"}]},
    {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
    {"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]},
    {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}},
    {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [PREFERRED]}}},
)
NODES = st.builds(
    lambda name, zone, cpu, effect, unschedulable: {
        "metadata": {"name": name, "labels": {"zone": zone}},
        "spec": {"taints": [{"key": "t", "effect": effect}] if effect else [], "unschedulable": unschedulable},
        "status": {"allocatable": {"cpu": cpu, "pods": "4"}},
    },
    st.sampled_from("abc"),
    st.sampled_from(("z1", "z2")),
    st.sampled_from(("1", "3")),
    st.sampled_from(("", "", "NoSchedule", "PreferNoSchedule")),
    st.sampled_from((False, False, True)),
)
STEPS = st.one_of(
    st.tuples(st.just("pod"), st.integers(0, 1), st.sampled_from(TEMPLATES)),
    st.tuples(st.just("pod"), st.just(0), st.just(TEMPLATES[0])),
    st.tuples(st.just("end"), st.integers(0, 9)),
    st.tuples(st.just("node"), NODES),
    st.tuples(st.just("gone"), st.sampled_from("abc")),
)


def _pod(number: int, owner: int, template: Object) -> PodInfo:
    metadata: Object = {"name": f"p{number}", "namespace": "default", "labels": {"app": "a"}}
    metadata["ownerReferences"] = [{"uid": f"u{owner}", "controller": True}]
    return PodInfo.of({"metadata": metadata, "spec": {"containers": [{"name": "c"}], **template}})


@given(st.lists(NODES, min_size=1, max_size=3), st.lists(STEPS, max_size=30))
def test_the_same_choice_as_by_looking_at_all_nodes(nodes: list[Object], steps: list[tuple[Any, ...]]) -> None:
    """Whatever comes, goes and changes between two pods, a ranking that serves names the node that `choose` names."""
    cache = Cache()
    for node in nodes:
        cache.set_node(node)
    rankings: list[Ranking] = []
    pods: list[PodInfo] = []
    for number, (what, *step) in enumerate(steps):
        match what:
            case "pod":
                pod = _pod(number, *step)
                expected = choose(pod, cache)
                for ranking in rankings:
                    ranking.catch_up(cache.nodes, cache.changed)
                cache.changed.clear()
                for ranking in (*(one for one in rankings if one.serves(pod)), Ranking(pod, cache)):
                    if (best := ranking.best()) is not None:
                        assert expected == Binding(best)
                rankings.append(Ranking(pod, cache))
                if isinstance(expected, Binding):
                    cache.place(pod, expected.node)
                    pods.append(pod)
            case "end" if pods:
                cache.forget(pods.pop(step[0] % len(pods)).key)
            case "node":
                cache.set_node(step[0])
            case "gone":
                cache.remove_node(step[0])


def test_a_node_that_left_and_came_again_is_the_last_one() -> None:
    """Ties are broken by the nodes' order: a ranking from before serves no more."""
    cache = Cache()
    for name in "ab":
        cache.set_node({"metadata": {"name": name}})
    ranking = Ranking(_pod(0, 0, {}), cache)
    cache.changed.clear()
    cache.remove_node("a")
    cache.set_node({"metadata": {"name": "a"}})
    ranking.catch_up(cache.nodes, cache.changed)
    assert ranking.best() is None
    assert not ranking.serves(_pod(1, 0, {}))


def test_a_placement_asks_for_one_look() -> None:
    """A hundred pods of one template on ten nodes are dealt out evenly by one ranking."""
    cache = Cache()
    for number in range(10):
        cache.set_node({"metadata": {"name": f"n{number}"}})
    ranking = Ranking(_pod(0, 0, {}), cache)
    for number in range(100):
        pod = _pod(number, 0, {})
        ranking.catch_up(cache.nodes, cache.changed)
        cache.changed.clear()
        assert ranking.serves(pod)
        assert ranking.best() == f"n{number % 10}"
        cache.place(pod, f"n{number % 10}")
