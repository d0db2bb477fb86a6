"""Whatever is done to a cluster, in whatever order: it comes to what the manifests say, and nothing leaks.

A hypothesis state machine applies, configures, publishes, isolates, scales, kills, orphans, drains and cordons, powers
nodes off and on, adds and removes them, and deletes, without waiting in between; then everything is compared with a
model that only knows the last words said.
CI plays the same few runs each time; `MKPY_RUNS=50` plays new ones, `MKPY_OPERATIONS=700` longer ones (of more,
hypothesis can't remember the choices, and throws run after run away).
"""

import asyncio
import contextlib
import contextvars
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from minikube_py import Cluster
from minikube_py.apimachinery.errors import StatusError
from minikube_py.cluster.targets import UnknownTarget
from minikube_py.kubelet.containers import CURRENT

NAMES = ("ant", "bee", "cat")
KINDS = ("Deployment", "StatefulSet", "DaemonSet")
_CONFIG = "apiVersion: minikube-py/v1alpha1\nkind: Cluster\nnodes: 4\napiServer: {defaultTolerationSeconds: 0}\n"
_STEPS = int(os.environ.get("MKPY_OPERATIONS", "200"))
_RUNS = int(os.environ.get("MKPY_RUNS", "8"))

pytestmark = pytest.mark.timeout(60 + _RUNS * _STEPS // 5)  # on a busy machine an operation may take 0.1 s


def workload(kind: str, name: str, version: int, replicas: int) -> list[dict[str, Any]]:
    """Return a workload, with a mounted ConfigMap so that folders are at stake, and its Service."""
    labels = {"app": name, "kind": kind.lower()}
    full = f"{kind.lower()}-{name}"
    container = {
        "name": "c",
        "image": "registry.example/app:1",
        "env": [{"name": "VERSION", "value": str(version)}],
        "ports": [{"containerPort": 8080}, {"containerPort": 5353, "protocol": "UDP"}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }
    pod = {
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": full}}],
    }
    spec: dict[str, Any] = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec |= {"serviceName": full, "podManagementPolicy": "Parallel"}
    metadata = {"name": full}
    return [
        config(full, version),
        service(kind, name, "ClusterIP"),
        {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec},
    ]  # fmt: skip


def config(full: str, version: int) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": full}, "data": {"version": str(version)}}


def service(kind: str, name: str, type_: str) -> dict[str, Any]:
    labels = {"app": name, "kind": kind.lower()}
    spec = {"type": type_, "selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{kind.lower()}-{name}"}, "spec": spec}


def isolation(name: str) -> dict[str, Any]:
    spec = {"podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress", "Egress"]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


WORKLOAD = {"kind": st.sampled_from(KINDS), "name": st.sampled_from(NAMES)}
NODE = {"node": st.sampled_from(("worker2", "worker3"))}
ANY_NODE = {"node": st.sampled_from(("worker", "worker2", "worker3"))}
OPERATIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "apply": {**WORKLOAD, "replicas": st.integers(0, 4)},
    "scale": {**WORKLOAD, "kind": st.sampled_from(KINDS[:2]), "replicas": st.integers(0, 6)},
    "configure": WORKLOAD,
    "publish": {**WORKLOAD, "type_": st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer"))},
    "isolate": {"name": st.sampled_from(NAMES), "isolated": st.booleans()},
    "kill": {**WORKLOAD, "n": st.integers(1, 3)},
    "delete_pod": {"pick": st.integers(0, 50)},
    "force": {"pick": st.integers(0, 50)},
    "adopt": WORKLOAD,
    "delete": WORKLOAD,
    "cordon": {**ANY_NODE, "cordoned": st.booleans()},
    "drain": ANY_NODE,
    "power": {**NODE, "out_of_service": st.booleans()},
    "come_or_go": NODE,
}
_OPERATION = st.one_of([st.tuples(st.just(name), st.fixed_dictionaries(args)) for name, args in OPERATIONS.items()])


class Convergence(RuleBasedStateMachine):
    """The model: which workloads there are, with how many replicas of which version, and which nodes live."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: dict[str, tuple[str, str, int, int]] = {}
        """`deployment-ant` → kind, name, version, replicas."""
        self.version = 0
        self.off: set[str] = set()
        self.cluster: Cluster | None = None

    @initialize()
    def start(self) -> None:
        gc.collect()
        self.before = _held()
        self.cluster = Cluster(config=_CONFIG).start()
        self.state = Path(self.cluster.local.state_dir)

    @property
    def c(self) -> Cluster:
        assert self.cluster is not None
        return self.cluster

    @rule(operation=_OPERATION)
    def operate(self, operation: tuple[str, dict[str, Any]]) -> None:
        """Do any of them: of rules of their own, hypothesis would leave out most in each run (swarm testing)."""
        name, arguments = operation
        getattr(self, name)(**arguments)

    def apply(self, kind: str, name: str, replicas: int) -> None:
        self.version += 1
        full = f"{kind.lower()}-{name}"
        self.c.apply(workload(kind, name, self.version, replicas))
        self.wanted[full] = (kind, name, self.version, replicas)

    def scale(self, kind: str, name: str, replicas: int) -> None:
        full = f"{kind.lower()}-{name}"
        if full in self.wanted:
            self.c.scale(f"{kind.lower()}/{full}", replicas)
            self.wanted[full] = (*self.wanted[full][:3], replicas)

    def kill(self, kind: str, name: str, n: int) -> None:
        try:
            self.c.kill(f"{kind.lower()}/{kind.lower()}-{name}", n=n)
        except (StatusError, UnknownTarget):
            pass  # it has no pods now

    def delete_pod(self, pick: int) -> None:
        if pods := self.c.get("pods"):
            with contextlib.suppress(StatusError):  # it ended meanwhile
                self.c.delete(f"pod/{pods[pick % len(pods)]['metadata']['name']}")

    def force(self, pick: int) -> None:
        if pods := self.c.get("pods"):
            name = pods[pick % len(pods)]["metadata"]["name"]
            with contextlib.suppress(StatusError):
                self.in_cluster(lambda: self.c.local.operations.delete("pods", name, "default", grace_period=0))

    def adopt(self, kind: str, name: str) -> None:
        """Delete the workload alone, then apply it anew: its pods stay."""
        full, resource = f"{kind.lower()}-{name}", f"{kind.lower()}s.apps"
        if full in self.wanted:
            operations = self.c.local.operations
            self.in_cluster(lambda: operations.delete(resource, full, "default", propagation="Orphan"))
            self.c.wait_gone(f"{kind.lower()}/{full}")
            self.c.apply(workload(*self.wanted[full]))

    def configure(self, kind: str, name: str) -> None:
        self.version += 1
        if (full := f"{kind.lower()}-{name}") in self.wanted:
            self.c.apply(config(full, self.version))

    def publish(self, kind: str, name: str, type_: str) -> None:
        if f"{kind.lower()}-{name}" in self.wanted:
            self.c.apply(service(kind, name, type_))

    def isolate(self, name: str, isolated: bool) -> None:
        if isolated:
            self.c.apply(isolation(name))
        elif self.c.get(f"networkpolicy/{name}") is not None:
            self.c.delete(f"networkpolicy/{name}")

    def delete(self, kind: str, name: str) -> None:
        full = f"{kind.lower()}-{name}"
        if self.wanted.pop(full, None):
            self.c.delete(f"{kind.lower()}/{full}", f"service/{full}", f"configmap/{full}")

    def drain(self, node: str) -> None:
        if self.exists(node) and node not in self.off:
            self.c.drain(node, timeout=20)
            self.c.uncordon(node)

    def cordon(self, node: str, cordoned: bool) -> None:
        if self.exists(node):
            (self.c.cordon if cordoned else self.c.uncordon)(node)

    def power(self, node: str, out_of_service: bool) -> None:
        if not self.exists(node):
            return
        if node in self.off:
            self.c.node_up(node)
            self.off.discard(node)
        else:
            self.c.node_down(node, out_of_service=out_of_service)
            self.off.add(node)

    def come_or_go(self, node: str) -> None:
        if self.exists(node):
            self.c.remove_node(node)
            self.off.discard(node)
        else:
            self.c.add_node(node)

    def in_cluster(self, call: Callable[[], object]) -> None:
        self.c._session.call(call)

    def exists(self, node: str) -> bool:
        return self.c.get(f"node/{node}") is not None

    def teardown(self) -> None:
        if self.cluster is None:
            return
        try:
            for node in sorted(self.off):
                self.c.node_up(node)
            for node in self.c.get("nodes"):
                self.c.uncordon(node["metadata"]["name"])
            for full, (kind, _, _, replicas) in self.wanted.items():
                ready = None if kind == "DaemonSet" else replicas
                self.c.wait(f"{kind.lower()}/{full}", ready=ready, timeout=10)
            self.c._session.run(_until(self.only_wanted_pods))
            self.check_pods()
            self.check_nothing_leaked()
        finally:
            self.c.stop()
        gc.collect()
        assert not self.state.exists()
        assert _held() == self.before

    def only_wanted_pods(self) -> bool:
        """Tell whether every pod that ends has ended, and every controller has nothing to do."""
        pods = self.c.local.operations.list("pods", "default")
        return not any("deletionTimestamp" in pod["metadata"] for pod in pods) and all(
            len([p for p in pods if p["metadata"]["labels"] == _labels(p, kind, name)]) == self.count(kind, replicas)
            for kind, name, _, replicas in self.wanted.values()
        )

    def count(self, kind: str, replicas: int) -> int:
        return len(self.c.local.kubelets) - 1 if kind == "DaemonSet" else replicas

    def check_pods(self) -> None:
        """Each workload has its pods, of the last version, ready, listed as endpoints; there are no others."""
        self.c.settle()
        pods = self.c.get("pods")
        expected = 0
        for full, (kind, name, version, replicas) in self.wanted.items():
            mine = self.c.get("pods", selector=f"app={name},kind={kind.lower()}")
            assert len(mine) == self.count(kind, replicas), (full, len(mine))
            assert {p["spec"]["containers"][0]["env"][0]["value"] for p in mine} <= {str(version)}, full
            slices = self.c.get("endpointslices", selector=f"kubernetes.io/service-name={full}")
            addresses = {
                a for s in slices for e in s.get("endpoints") or () if e["conditions"]["ready"] for a in e["addresses"]
            }
            assert addresses == {p["status"]["podIP"] for p in mine}, full
            expected += len(mine)
        assert len(pods) == expected

    def check_nothing_leaked(self) -> None:
        """Every address, worker, folder and listening socket belongs to a pod that there is."""
        local = self.c.local
        uids = {pod["metadata"]["uid"] for pod in self.c.get("pods", namespace="*")}
        addresses = {
            pod["status"]["podIP"]
            for pod in self.c.get("pods", namespace="*")
            if not pod["spec"].get("hostNetwork") and pod["status"].get("podIP")
        }

        names = {f"{p['metadata']['namespace']}/{p['metadata']['name']}" for p in self.c.get("pods", namespace="*")}

        def look() -> tuple[set[str], set[str], set[str]]:
            leased = {ip for kubelet in local.kubelets.values() for ip in kubelet.pool.leases}
            owners = {"/".join(owner.split("/")[:2]) for task in asyncio.all_tasks() if (owner := _owner(task))}
            return leased, {uid for kubelet in local.kubelets.values() for uid in kubelet.workers}, owners

        leased, workers, owners = self.c._session.call(look)
        assert leased == addresses
        assert workers == uids
        assert owners <= names, "tasks of pods that are gone"
        listening = {ip for ip in _listening() if local.addresses.is_pod(ip)}
        assert listening <= addresses
        folders = {path.name for path in self.state.rglob("pods/*")} if self.state.exists() else set()
        assert folders <= uids


def _owner(task: "asyncio.Task[Any]") -> str:
    """Return the container whose task it is; "" for the cluster's own."""
    contexts = [c for c in gc.get_referents(task) if isinstance(c, contextvars.Context)]  # get_context() is 3.12's
    return next((owner for context in contexts if (owner := context.get(CURRENT))), "")


def _labels(pod: dict[str, Any], kind: str, name: str) -> dict[str, str]:
    return {**pod["metadata"]["labels"], "app": name, "kind": kind.lower()}


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def _sockets() -> set[str]:
    """Return the inodes of this process' sockets."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:  # the descriptor of this very listing
            continue
        if target.startswith("socket:"):
            found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def _listening() -> set[str]:
    """Return the addresses at which this process listens for TCP."""
    mine, found = _sockets(), set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in mine:
            found.add(".".join(str(byte) for byte in reversed(bytes.fromhex(fields[1][:8]))))
    return found


def _held() -> tuple[int, list[str], list[str]]:
    """Return what this process holds: sockets, threads, children."""
    children = [word for task in Path("/proc/self/task").iterdir() for word in (task / "children").read_text().split()]
    return len(_sockets()), sorted(thread.name for thread in threading.enumerate()), children


def test_the_cluster_converges_and_nothing_leaks() -> None:
    """Random operations without pause, then: pods, endpoints, addresses, sockets, folders, threads as they must be."""
    run_state_machine_as_test(
        Convergence,
        settings=settings(
            max_examples=_RUNS,
            stateful_step_count=_STEPS,
            deadline=None,
            phases=(Phase.generate,),  # time is real here: a failure can't be replayed, so it can't be shrunk
            derandomize="MKPY_RUNS" not in os.environ and "MKPY_OPERATIONS" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
        _min_steps=_STEPS,  # else hypothesis tries runs without any step
    )
