"""Which node a pod gets, and in which words it is told that there is none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.scheduler.choose import Binding, Unschedulable, choose
from minikube_py.scheduler.nodes import Cache, NodeInfo
from minikube_py.scheduler.pods import PodInfo, requests_of

Object = dict[str, Any]

CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def node(
    name: str, *, labels: Object | None = None, taints: list[Object] | None = None, cpu: str = "4", **spec: Any
) -> Object:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"taints": taints or [], **spec},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}},
    }


def pod(name: str, *, labels: Object | None = None, owner: str = "", cpu: str = "", **spec: Any) -> PodInfo:
    metadata: Object = {"name": name, "namespace": "default", "labels": labels or {}}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    return PodInfo.of({"metadata": metadata, "spec": {"containers": [{"name": "c", "resources": resources}], **spec}})


def cluster(*nodes: Object, placed: dict[str, list[PodInfo]] | None = None) -> list[NodeInfo]:
    cache = Cache()
    for each in nodes:
        cache.set_node(each)
    for where, pods in (placed or {}).items():
        for each_pod in pods:
            cache.place(each_pod, where)
    return [*cache]


THREE = (node("control-plane", taints=[CONTROL_PLANE]), node("worker"), node("worker2"))
PREEMPTION = "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param(
            pod("p", nodeSelector={"disk": "ssd"}),
            "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
            "2 node(s) didn't match Pod's node affinity/selector. " + PREEMPTION,
            id="taint and selector",
        ),
        pytest.param(
            pod("p", cpu="3", tolerations=[{"operator": "Exists"}], nodeName="worker9"),
            "0/3 nodes are available: 3 node(s) didn't match the requested node name. " + PREEMPTION,
            id="another node was named",
        ),
        pytest.param(
            pod("p", cpu="5"),
            "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
            "2 Insufficient cpu. " + PREEMPTION,
            id="more cpu than any node has",
        ),
    ],
)
def test_message(wanted: PodInfo, message: str) -> None:
    """The message counts the nodes by reason, as Kubernetes does."""
    result = choose(wanted, cluster(*THREE))
    assert isinstance(result, Unschedulable)
    assert result.message == message


def test_no_nodes() -> None:
    """Without nodes the message is a sentence of its own."""
    result = choose(pod("p"), [])
    assert isinstance(result, Unschedulable)
    assert result.message == "no nodes available to schedule pods"


def test_preemption_could_help() -> None:
    """Where only other pods are in the way, the message says that none could be evicted."""
    result = choose(pod("p", cpu="3"), cluster(node("n"), placed={"n": [pod("big", cpu="2")]}))
    assert isinstance(result, Unschedulable)
    assert result.message == (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )


def test_spreads_by_owner() -> None:
    """Pods of one owner go to the node with the fewest of them, then to the emptiest, then to the first."""
    nodes = cluster(*THREE, placed={"worker": [pod("other"), pod("other2")]})
    places = []
    for index in range(4):
        new = pod(f"web-{index}", owner="rs")
        result = choose(new, nodes)
        assert isinstance(result, Binding)
        places.append(result.node)
        next(n for n in nodes if n.name == result.node).add(new)
    assert places == ["worker2", "worker", "worker2", "worker"]


ZONES = (node("a1", labels={"zone": "a"}), node("a2", labels={"zone": "a"}), node("b1", labels={"zone": "b"}))


def term(app: str, key: str = "zone") -> Object:
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}


def required(kind: str, app: str, key: str = "zone") -> Object:
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term(app, key)]}}


WEB = {"app": "web"}


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        pytest.param(pod("p", tolerations=[{"operator": "Exists"}]), "a1", id="first of equals"),
        pytest.param(pod("p", affinity=required("podAffinity", "db")), "b1", id="affinity: where db is"),
        pytest.param(pod("p", affinity=required("podAntiAffinity", "db")), "a1", id="anti-affinity: where db isn't"),
        pytest.param(
            pod("p", labels=WEB, affinity=required("podAffinity", "web")), "a1", id="affinity to itself starts anywhere"
        ),
        pytest.param(
            pod(
                "p",
                affinity={
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 1,
                                "preference": {
                                    "matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]
                                },
                            }
                        ]
                    }
                },
            ),
            "b1",
            id="preferred node affinity",
        ),
        pytest.param(
            pod(
                "p",
                affinity={
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 100, "podAffinityTerm": term("cache", "kubernetes.io/hostname")}
                        ]
                    }
                },
            ),
            "a2",
            id="preferred anti-affinity",
        ),
    ],
)
def test_affinity(wanted: PodInfo, place: str) -> None:
    """Affinity draws, anti-affinity repels, preferences decide among the feasible."""
    placed = {"b1": [pod("db", labels={"app": "db"})], "a1": [pod("cache", labels={"app": "cache"})]}
    if place == "a1":
        placed.pop("a1")
    assert choose(wanted, cluster(*ZONES, placed=placed)) == Binding(place)


def test_existing_anti_affinity_binds_newcomers() -> None:
    """A pod that wants no `web` beside it keeps web pods away."""
    lonely = pod("lonely", affinity=required("podAntiAffinity", "web", "kubernetes.io/hostname"))
    result = choose(pod("p", labels=WEB), cluster(node("n"), placed={"n": [lonely]}))
    assert isinstance(result, Unschedulable)
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in result.message


def test_topology_spread() -> None:
    """maxSkew 1 over zones alternates between them, whatever the number of nodes."""
    constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    nodes = cluster(*ZONES)
    zones = []
    for index in range(6):
        new = pod(
            f"w{index}",
            labels=WEB,
            topologySpreadConstraints=[{**constraint, "labelSelector": {"matchLabels": WEB}}],
        )
        result = choose(new, nodes)
        assert isinstance(result, Binding)
        chosen = next(n for n in nodes if n.name == result.node)
        chosen.add(new)
        zones.append(chosen.labels["zone"])
    assert sorted(zones[:2]) == sorted(zones[2:4]) == sorted(zones[4:]) == ["a", "b"]


@pytest.mark.parametrize(
    ("taken", "wanted", "free"),
    [
        ({"hostPort": 80}, {"hostPort": 80}, False),
        ({"hostPort": 80, "hostIP": "127.0.0.1"}, {"hostPort": 80, "hostIP": "127.0.0.2"}, True),
        ({"hostPort": 80, "hostIP": "127.0.0.1"}, {"hostPort": 80}, False),
        ({"hostPort": 53, "protocol": "UDP"}, {"hostPort": 53}, True),
    ],
)
def test_host_ports(taken: Object, wanted: Object, free: bool) -> None:
    """A hostPort is taken per address and protocol; 0.0.0.0 takes all addresses."""

    def with_port(name: str, port: Object) -> PodInfo:
        return pod(name, containers=[{"name": "c", "ports": [{"containerPort": 1, **port}]}])

    result = choose(with_port("b", wanted), cluster(node("n"), placed={"n": [with_port("a", taken)]}))
    assert isinstance(result, Binding) is free


def test_node_conditions() -> None:
    """Cordoned nodes and nodes that aren't ready are no candidates."""
    lost = node("lost")
    lost["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    result = choose(pod("p"), cluster(node("cordoned", unschedulable=True), lost))
    assert isinstance(result, Unschedulable)
    assert "1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }" in result.message
    assert "1 node(s) were unschedulable" in result.message


def test_requests_of_init_containers() -> None:
    """Init containers count as their largest, sidecars are added to both sums."""

    def container(cpu: str, **more: Any) -> Object:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "containers": [container("200m")],
        "initContainers": [container("100m", restartPolicy="Always"), container("1")],
    }
    assert requests_of(spec)["cpu"] == 1100


names = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(st.tuples(names, st.sampled_from(["n1", "n2", "gone"]), st.integers(0, 5), st.booleans())))
def test_tallies_equal_a_recount(steps: list[tuple[str, str, int, bool]]) -> None:
    """After any coming and going the tallies equal what counting anew gives."""
    cache = Cache()
    cache.set_node(node("n1"))
    cache.set_node(node("n2"))
    truth: dict[str, tuple[str, int]] = {}
    for name, where, cpu, present in steps:
        info = pod(name, owner="o", cpu=str(cpu))
        if present:
            cache.place(info, where)
            truth[name] = (where, cpu)
        else:
            cache.forget(info.key)
            truth.pop(name, None)
    for info_ in cache:
        here = [cpu for where, cpu in truth.values() if where == info_.name]
        assert info_.used.get("cpu", 0) == 1000 * sum(here)
        assert info_.used.get("pods", 0) == len(here) == info_.by_owner.get("o", 0)
