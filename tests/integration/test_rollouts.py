"""Workloads change while they are in use: rollouts, rollback, partitions, jobs, budgets, on a live cluster."""

import http.client
import threading
import time
from collections import Counter
from typing import Any, Self

import pytest

from minikube_py import Cluster
from minikube_py.apimachinery.errors import StatusError
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.eviction import evict


class Load:
    """Callers that ask without pause, each in a thread, until the `with` ends."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        """`200 v1`, or the exception."""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def call(self, address: tuple[str, int], *, host: str = "web", keep: bool) -> None:
        """Add a caller: on one connection for as long as the server keeps it, or on a new one for each request."""
        self._threads.append(threading.Thread(target=self._run, args=(address, host, keep), daemon=True))

    def _run(self, address: tuple[str, int], host: str, keep: bool) -> None:
        connection = http.client.HTTPConnection(*address, timeout=5)
        headers = {"Host": host, **({} if keep else {"Connection": "close"})}
        while not self._stop.is_set():
            try:
                connection.request("GET", "/", headers=headers)
                with connection.getresponse() as answer:
                    outcome = f"{answer.status} {answer.read().decode().strip()}"
            except (OSError, http.client.HTTPException) as error:
                outcome = repr(error)
                connection.close()
            with self._lock:
                self.outcomes[outcome] += 1
        connection.close()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until(self, requests: int, deadline: float = 20.0) -> None:
        """Wait until so many requests have been made."""
        end = time.monotonic() + deadline
        while self.outcomes.total() < requests and time.monotonic() < end:
            time.sleep(0.01)


def web(text: str, replicas: int = 3, kind: str = "Deployment", **spec: Any) -> Object:
    labels = {"app": "web"}
    container = {
        "name": "web",
        "image": "hashicorp/http-echo",
        "args": [f"-text={text}", "-listen=:8080"],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            **spec,
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
}
INGRESS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "web"},
    "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
}
GENTLE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def versions(cluster: Cluster) -> Counter[str]:
    """Return how many ready pods say what."""
    return Counter(
        pod["spec"]["containers"][0]["args"][0].removeprefix("-text=")
        for pod in cluster.get("pods", selector="app=web")
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
        and "deletionTimestamp" not in pod["metadata"]
    )


@pytest.mark.minicluster(web("v0", strategy=GENTLE), SERVICE, INGRESS)
def test_a_rollout_under_load_loses_no_request(minicluster: Cluster) -> None:
    """Thousands of requests through Service and Ingress, on new and kept connections: four rollouts, no failure."""
    load = Load()
    for keep in (False, True):
        load.call(minicluster.address("service/web"), keep=keep)
        load.call(minicluster.address("ingress/web"), keep=keep)
    with load:
        for version in range(1, 5):
            load.until(800 * version)
            minicluster.apply(web(f"v{version}", strategy=GENTLE))
            minicluster.wait("deployment/web")
            assert versions(minicluster) == Counter({f"v{version}": 3})
        load.until(4000)
    assert load.outcomes.total() >= 3000
    assert set(load.outcomes) == {f"200 v{n}" for n in range(5)}, load.outcomes


@pytest.mark.minicluster(web("good", strategy=GENTLE), SERVICE)
def test_a_bad_version_never_takes_traffic_and_is_rolled_back(minicluster: Cluster) -> None:
    """A version that is never ready stops the rollout; undo takes the template of the revision before."""
    bad = web("bad", strategy=GENTLE)
    bad["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["port"] = 9999
    load = Load()
    load.call(minicluster.address("service/web"), keep=False)
    with load:
        minicluster.apply(bad)
        minicluster.settle()
        load.until(300)
        assert versions(minicluster) == Counter(good=3)
        minicluster.apply(web("good", strategy=GENTLE))
        minicluster.wait("deployment/web")
    assert set(load.outcomes) == {"200 good"}, load.outcomes
    sets = {rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for rs in minicluster.get("replicasets")}
    assert sets == {"2", "3"}


@pytest.mark.minicluster(web("v1", strategy={"type": "Recreate"}))
def test_recreate_ends_the_old_before_it_begins_the_new(minicluster: Cluster) -> None:
    """At no time do two versions run side by side."""
    seen: set[frozenset[str]] = set()
    local = minicluster.local

    def look(event: Any) -> None:
        live = [p for p in local.operations.list("pods", "default") if p["status"].get("phase") == "Running"]
        seen.add(frozenset(p["spec"]["containers"][0]["args"][0] for p in live))

    subscription = local.operations.subscribe(("pods",), look, replay=False)
    minicluster.apply(web("v2", strategy={"type": "Recreate"}))
    minicluster.wait("deployment/web")
    subscription.cancel()
    assert versions(minicluster) == Counter(v2=3)
    assert frozenset({"-text=v1", "-text=v2"}) not in seen


HEADLESS = {**SERVICE, "spec": {**SERVICE["spec"], "clusterIP": "None"}}  # type: ignore[dict-item]


@pytest.mark.minicluster(web("v1", kind="StatefulSet", serviceName="web"), HEADLESS)
def test_a_partition_holds_back_the_lower_ordinals(minicluster: Cluster) -> None:
    """updateStrategy.rollingUpdate.partition: only ordinals from it upwards get the new template."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    minicluster.apply(web("v2", kind="StatefulSet", serviceName="web", updateStrategy=strategy))

    def says() -> dict[str, str]:
        pods = minicluster.get("pods", selector="app=web")
        return {p["metadata"]["name"]: p["spec"]["containers"][0]["args"][0] for p in pods}

    minicluster.wait("pod/web-2", condition="Ready")
    deadline = time.monotonic() + 10
    while says().get("web-2") != "-text=v2" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert says() == {"web-0": "-text=v1", "web-1": "-text=v1", "web-2": "-text=v2"}
    minicluster.wait("statefulset/web")
    minicluster.apply(web("v2", kind="StatefulSet", serviceName="web", updateStrategy={"type": "RollingUpdate"}))
    while set(says().values()) != {"-text=v2"} and time.monotonic() < deadline:
        time.sleep(0.01)
    minicluster.wait("statefulset/web")
    assert versions(minicluster) == Counter(v2=3)


def job(command: list[str], **spec: Any) -> Object:
    container = {"name": "c", "image": "busybox", "command": command}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work"},
        "spec": {**spec, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def test_jobs_complete_fail_and_are_cleaned_up(minicluster: Cluster) -> None:
    """Completions with parallelism and indexes; backoffLimit; ttlSecondsAfterFinished takes job and pods away."""
    minicluster.apply(
        job(["sh", "-c", "echo $JOB_COMPLETION_INDEX"], completions=3, parallelism=2, completionMode="Indexed")
    )
    minicluster.wait("job/work", condition="Complete")
    pods = minicluster.get("pods", selector="job-name=work")
    assert sorted(minicluster.logs(f"pod/{p['metadata']['name']}").strip() for p in pods) == ["0", "1", "2"]
    minicluster.delete("job/work")
    minicluster.wait_gone("job/work")
    minicluster.apply(job(["false"], backoffLimit=0, ttlSecondsAfterFinished=0))
    minicluster.wait_gone("job/work")
    minicluster.settle()
    for pod in minicluster.get("pods", selector="job-name=work"):
        minicluster.wait_gone(f"pod/{pod['metadata']['name']}")


@pytest.mark.minicluster(web("v1"), SERVICE)
def test_a_budget_refuses_what_would_break_it(minicluster: Cluster) -> None:
    """Evictions pass while the budget has room and are refused (429) when it has none."""
    budget = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
    minicluster.apply(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": budget}
    )
    minicluster.settle()
    assert minicluster.get("poddisruptionbudget/web")["status"]["disruptionsAllowed"] == 1
    names = [pod["metadata"]["name"] for pod in minicluster.get("pods", selector="app=web")]

    def both() -> None:  # in one turn of the loop: no replacement can come in between
        evict(minicluster.local.operations, "default", names[0], {})
        with pytest.raises(StatusError, match="disruption budget"):
            evict(minicluster.local.operations, "default", names[1], {})

    minicluster._session.call(both)
    minicluster.wait("deployment/web", ready=3)
    minicluster.settle()
    minicluster._session.call(lambda: evict(minicluster.local.operations, "default", names[1], {}))
    minicluster.wait("deployment/web", ready=3)
