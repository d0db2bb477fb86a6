"""The findings that `status` prints."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from minikube_py.aiokit.clock import VirtualClock
from minikube_py.apimachinery.meta import Object
from minikube_py.apiserver.operations import Operations
from minikube_py.cluster.problems import problems


def _pod(
    name: str, labels: dict[str, str], *, ready: bool = True, namespace: str = "default", port: int = 8080
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "app", "image": "app", "ports": [{"name": "http", "containerPort": port}]}]},
        "status": {
            "phase": "Running",
            "podIP": "127.244.1.2",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def _service(selector: dict[str, str], target: int | str = 8080) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "api", "namespace": "default"},
        "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": target}]},
    }


def _ingress(service: str, port: int, class_name: str | None = "nginx") -> Object:
    backend = {"service": {"name": service, "port": {"number": port}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {
            **({"ingressClassName": class_name} if class_name else {}),
            "rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        },
    }


_CLASS: Object = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "nginx"},
    "spec": {"controller": "k8s.io/ingress-nginx"},
}


@pytest.mark.parametrize(
    ("objects", "code", "words"),
    [
        pytest.param(
            [_pod("api-1", {"app": "api-v1"}), _service({"app": "api"})],
            "MK101",
            "Closest: app=api-v1",
            id="a selector that matches nothing names the closest label",
        ),
        pytest.param(
            [_pod("api-1", {"app": "api"}, namespace="kube-public"), _service({"app": "api"})],
            "MK101",
            "in namespace kube-public",
            id="a selector never crosses namespaces",
        ),
        pytest.param(
            [_pod("api-1", {"app": "api"}), _service({"app": "api"}, 8081)],
            "MK103",
            "its pods declare 8080",
            id="a wrong targetPort names the declared one",
        ),
        pytest.param(
            [_pod("api-1", {"app": "api"}), _service({"app": "api"}, "htpp")],
            "MK104",
            "did you mean http?",
            id="a misspelled port name has a nearest one",
        ),
        pytest.param(
            [_pod("api-1", {"app": "api"}, ready=False), _service({"app": "api"})],
            "MK105",
            "0 of 1",
            id="no ready endpoint means refused",
        ),
        pytest.param([_CLASS, _ingress("api", 80)], "MK402", "does not exist", id="an Ingress to a missing Service"),
        pytest.param(
            [_CLASS, _pod("api-1", {"app": "api"}), _service({"app": "api"}), _ingress("api", 8080)],
            "MK402",
            "the Service exposes 80",
            id="an Ingress to a port that the Service lacks",
        ),
        pytest.param([_CLASS, _ingress("api", 80, "ngnix")], "MK401", "did you mean nginx?", id="a misspelled class"),
        pytest.param([_CLASS, _ingress("api", 80, None)], "MK401", "no class is default", id="no class at all"),
    ],
)
def test_a_fault_is_named_with_its_evidence(objects: list[Object], code: str, words: str) -> None:
    """Each classic fault has its code, and the sentence says what is there instead."""
    operations = Operations(VirtualClock())
    for obj in objects:
        stored = operations.create({key: value for key, value in obj.items() if key != "status"})
        if "status" in obj:
            operations.update({**stored, "status": obj["status"]}, subresource="status")
    found = {problem.code: problem.text for problem in problems(operations)}
    assert words in found[code]


@pytest.mark.parametrize(
    ("heard", "target", "protocol", "expected"),
    [
        pytest.param({8080}, 8080, "TCP", None, id="what listens is right, whatever is declared"),
        pytest.param({9000}, 8080, "TCP", "listens on 9000.* Fix: targetPort: 9000", id="declared, but nobody there"),
        pytest.param({9000}, "http", "TCP", "targetPort http, but api-1 listens on 9000", id="by name, too"),
        pytest.param({9000, 9001}, 1, "TCP", "Fix: targetPort: 9000 or 9001", id="several to choose from"),
        pytest.param(set(), 8080, "UDP", "listens on no UDP port. Datagrams are lost", id="datagrams to nobody"),
        pytest.param(None, 8080, "TCP", None, id="unknown: what is declared has to do"),
    ],
)
def test_a_target_port_is_compared_with_what_pods_listen_on(
    heard: set[int] | None, target: int | str, protocol: str, expected: str | None
) -> None:
    """What the kernel knows goes before what containers declare."""
    operations = Operations(VirtualClock())
    pod = operations.create({k: v for k, v in _pod("api-1", {"app": "api"}).items() if k != "status"})
    operations.update({**pod, "status": _pod("x", {})["status"]}, subresource="status")
    service = _service({"app": "api"}, target)
    service["spec"]["ports"][0]["protocol"] = protocol
    operations.create(service)
    found = problems(operations, lambda ip, protocol: None if heard is None else frozenset(heard))
    if expected is None:
        assert found == []
    else:
        assert [problem.code for problem in found] == ["MK103"]
        assert re.search(expected, found[0].text)


def test_external_ips_beyond_loopback_are_named() -> None:
    """Nobody serves them, and the sentence says which would be."""
    operations = Operations(VirtualClock())
    service = _service({"app": "api"})
    del service["spec"]["selector"]
    service["spec"]["externalIPs"] = ["127.5.5.5", "198.51.100.9"]
    operations.create(service)
    [problem] = problems(operations)
    assert problem.code == "MK110"
    assert "198.51.100.9 is not served" in problem.text


def test_a_healthy_service_is_no_problem() -> None:
    """Matching labels, a ready pod and the right port leave nothing to say."""
    operations = Operations(VirtualClock())
    pod = operations.create({k: v for k, v in _pod("api-1", {"app": "api"}).items() if k != "status"})
    operations.update({**pod, "status": _pod("x", {})["status"]}, subresource="status")
    operations.create(_service({"app": "api"}))
    assert problems(operations) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param(
            {"nodeName": "nowhere"}, "nowhere is no node of this cluster", id="bound to a node that isn't there"
        ),
        pytest.param({"schedulerName": "mine"}, 'schedulerName "mine": no such scheduler', id="nobody schedules it"),
    ],
)
def test_a_pod_that_nobody_starts_says_so(spec: Object, words: str) -> None:
    """Kubernetes leaves such pods Pending without a word; we have one."""
    operations = Operations(VirtualClock())
    pod = _pod("lost", {})
    operations.create({**pod, "status": {}, "spec": {**pod["spec"], **spec}})
    [problem] = problems(operations)
    assert problem.code == "MK114"
    assert words in problem.text


@pytest.mark.parametrize(
    ("probe", "ended", "expected"),
    [
        ("Readiness", 0, "runs, but gets no traffic: Readiness probe failed: 503"),
        ("Liveness", 137, "is restarted again and again: Liveness probe failed: 503"),
        ("Liveness", 0, "will be restarted: Liveness probe failed: 503"),
        ("Readiness", 1, None),
    ],
)
def test_a_failing_probe_says_what_it_does_to_the_pod(probe: str, ended: int, expected: str | None) -> None:
    """A liveness probe ends the container; of one that crashes, silence at the readiness probe is no news."""
    operations = Operations(VirtualClock())
    pod = _pod("api-1", {}, ready=False)
    stored = operations.create({k: v for k, v in pod.items() if k != "status"})
    container = {"name": "app", "state": {"running": {}}, "lastState": {"terminated": {"exitCode": ended}}}
    status = {**pod["status"], "containerStatuses": [container]}
    operations.update({**stored, "status": status}, subresource="status")
    operations.create(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "e-", "namespace": "default"},
            "involvedObject": {"kind": "Pod", "name": "api-1", "uid": stored["metadata"]["uid"]},
            "reason": "Unhealthy",
            "message": f"{probe} probe failed: 503",
            "count": 3,
        }
    )
    assert [problem.text.partition(" (3")[0] for problem in problems(operations)] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("age", "ended", "expected"),
    [
        pytest.param(60, 0, 'listens on no TCP port. Callers get "connection refused"', id="it doesn't listen"),
        pytest.param(1, 0, "listens on no TCP port yet (it started at 11:59:59 UTC). Until it does: callers", id="yet"),
        pytest.param(20, 1, None, id="it crashes: that is the cause"),
    ],
)
def test_a_pod_that_listens_nowhere_may_be_young_or_crash(age: int, ended: int, expected: str | None) -> None:
    """A false alarm a moment after the start costs more than none."""
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    operations = Operations(VirtualClock())
    pod = _pod("api-1", {"app": "api"})
    stored = operations.create({k: v for k, v in pod.items() if k != "status"})
    state = {"running": {"startedAt": f"{now - timedelta(seconds=age):%Y-%m-%dT%H:%M:%SZ}"}}
    container = {"name": "app", "state": state, "lastState": {"terminated": {"exitCode": ended}}}
    operations.update({**stored, "status": {**pod["status"], "containerStatuses": [container]}}, subresource="status")
    operations.create(_service({"app": "api"}))
    found = problems(operations, lambda ip, protocol: frozenset(), now=now)
    assert [expected in problem.text for problem in found] == ([True] if expected else [])
