"""Pods: completed, checked and shown as the real server does."""

from typing import Any

import pytest

from minikube_py.aiokit.clock import rfc3339
from minikube_py.apimachinery import meta
from minikube_py.apimachinery.meta import Object
from minikube_py.kinds import pod
from minikube_py.kinds.pod import KIND

NOW = 1_700_000_000.0


def make(container: Object | None = None, **spec: Any) -> Object:
    first = {"name": "web", "image": "nginx:1.27", **(container or {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "creationTimestamp": rfc3339(NOW - 90)},
        "spec": {"containers": [first], **spec},
    }


def completed(obj: Object) -> Object:
    obj = meta.copy(obj)
    KIND.prepare(obj, None)
    KIND.default(obj)
    return obj


def complaints(obj: Object, old: Object | None = None) -> list[str]:
    return [str(error) for error in KIND.validate(completed(obj) if old is None else obj, old)]


def test_defaults_are_the_real_servers() -> None:
    """A minimal pod becomes a full one."""
    spec = completed(make({"ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": 80}}}))["spec"]
    assert spec["restartPolicy"] == "Always"
    assert spec["dnsPolicy"] == "ClusterFirst"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["enableServiceLinks"] is True
    [container] = spec["containers"]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    """`latest`, said or meant, is pulled always."""
    assert completed(make({"image": image}))["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_a_new_pod_is_pending_with_its_quality_of_service() -> None:
    """What a creator says of the status is dropped; limits are requested too."""
    obj = make({"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}})
    obj["status"] = {"phase": "Running"}
    new = completed(obj)
    assert new["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}
    assert new["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert pod.qos_class(make()) == "BestEffort"
    assert pod.qos_class(make({"resources": {"requests": {"cpu": "1"}}})) == "Burstable"


def test_completing_twice_changes_nothing() -> None:
    """Defaults are idempotent: else every write would look like a change."""
    once = completed(
        make(
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
            volumes=[
                {"name": "a"},
                {"name": "b", "configMap": {"name": "c"}},
                {"name": "d", "hostPath": {"path": "/"}},
            ],
            hostNetwork=True,
        )
    )
    again = meta.copy(once)
    KIND.default(again)
    assert again == once


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(
            {**make(), "spec": {}},
            ["spec.containers: Required value"],
            id="no containers",
        ),
        pytest.param(
            {**make(), "spec": {"containers": [{"name": "a"}]}},
            ["spec.containers[0].image: Required value"],
            id="no image",
        ),
        pytest.param(
            {**make(), "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "y"}]}},
            ['spec.containers[1].name: Duplicate value: "a"'],
            id="a name twice",
        ),
        pytest.param(
            make({"ports": [{"containerPort": 70000}]}),
            ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
            id="port out of range",
        ),
        pytest.param(
            make({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}),
            ['spec.containers[0].ports[1].name: Duplicate value: "a"'],
            id="port name twice",
        ),
        pytest.param(
            make({"ports": [{"containerPort": 1, "protocol": "HTTP"}]}),
            ['spec.containers[0].ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"'],
            id="unknown protocol",
        ),
        pytest.param(
            make({"volumeMounts": [{"name": "data", "mountPath": "/x"}]}),
            ['spec.containers[0].volumeMounts[0].name: Not found: "data"'],
            id="mount without volume",
        ),
        pytest.param(
            make({"readinessProbe": {"periodSeconds": 5}}),
            ["spec.containers[0].readinessProbe: Required value: must specify a handler type"],
            id="probe without handler",
        ),
        pytest.param(
            make({"livenessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}}}),
            ["spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
            id="probe with two handlers",
        ),
        pytest.param(
            make({"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}),
            ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
            id="liveness needs one success",
        ),
        pytest.param(
            make({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
            ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
            id="request over limit",
        ),
        pytest.param(
            make(restartPolicy="Sometimes"),
            ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"'],
            id="unknown restart policy",
        ),
        pytest.param(
            make(dnsPolicy="None"),
            ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
            id="dns policy None without servers",
        ),
        pytest.param(
            make({"env": [{"name": "A", "valueFrom": {}}]}),
            [
                'spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of: '
                "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef`"
            ],
            id="value from nothing",
        ),
        pytest.param(
            make(initContainers=[{"name": "i", "image": "x", "readinessProbe": {"tcpSocket": {"port": 1}}}]),
            [
                "spec.initContainers[0].readinessProbe: Forbidden: "
                "may not be set for init containers without restartPolicy=Always"
            ],
            id="probe of an init container",
        ),
        pytest.param(
            make(tolerations=[{"operator": "Equal", "effect": "NoExecute", "key": "a", "value": "b c"}]),
            None,
            id="bad toleration value",
        ),
    ],
)
def test_what_people_get_wrong(obj: Object, expected: list[str] | None) -> None:
    """Each mistake is answered in Kubernetes' words."""
    found = complaints(obj)
    assert found == expected if expected is not None else found


def test_names_are_checked() -> None:
    """An upper-case name is the most common mistake of all."""
    obj = make()
    obj["metadata"]["name"] = "Web_1"
    [text] = complaints(obj)
    assert text.startswith('metadata.name: Invalid value: "Web_1": a lowercase RFC 1123 subdomain must consist of')


def test_only_images_and_little_else_may_change() -> None:
    """A running pod's spec is fixed."""
    old = completed(make())
    new = meta.copy(old)
    new["spec"]["containers"][0]["image"] = "nginx:2"
    assert complaints(new, old) == []
    new["spec"]["containers"][0]["command"] = ["x"]
    [text] = complaints(new, old)
    assert text.startswith("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`")
    assert "spec.containers[0].command" in text


def state(name: str = "web", *, ready: bool = False, restarts: int = 0, last: str = "", **state: Any) -> Object:
    found: Object = {"name": name, "ready": ready, "restartCount": restarts, "state": state, "started": ready}
    if last:
        found["lastState"] = {"terminated": {"finishedAt": last}}
    return found


RUNNING = {"running": {"startedAt": rfc3339(NOW - 60)}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}


@pytest.mark.parametrize(
    ("status", "spec", "cells"),
    [
        pytest.param({"phase": "Pending"}, {}, ["0/1", "Pending", "0"], id="new"),
        pytest.param(
            {
                "phase": "Running",
                "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
                "containerStatuses": [state(ready=True, restarts=2, last=rfc3339(NOW - 300), **RUNNING)],
            },
            {},
            ["1/1", "Running", "2 (5m ago)"],
            id="restarted twice",
        ),
        pytest.param(
            {
                "phase": "Running",
                "containerStatuses": [state(restarts=3, waiting={"reason": "CrashLoopBackOff"})],
            },
            {},
            ["0/1", "CrashLoopBackOff", "3"],
            id="crashing",
        ),
        pytest.param(
            {"phase": "Pending", "initContainerStatuses": [state("init", **RUNNING)]},
            {"initContainers": [{"name": "init", "image": "x"}]},
            ["0/1", "Init:0/1", "0"],
            id="initializing",
        ),
        pytest.param(
            {
                "phase": "Pending",
                "initContainerStatuses": [state("init", restarts=1, terminated={"exitCode": 3})],
            },
            {"initContainers": [{"name": "init", "image": "x"}]},
            ["0/1", "Init:ExitCode:3", "1"],
            id="init failed",
        ),
        pytest.param(
            {"phase": "Succeeded", "containerStatuses": [state(**DONE)]}, {}, ["0/1", "Completed", "0"], id="done"
        ),
        pytest.param(
            {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "initContainerStatuses": [state("proxy", ready=True, **RUNNING)],
                "containerStatuses": [state(ready=True, **RUNNING)],
            },
            {"initContainers": [{"name": "proxy", "image": "x", "restartPolicy": "Always"}]},
            ["2/2", "Running", "0"],
            id="with a sidecar",
        ),
    ],
)
def test_rows_read_as_in_a_real_cluster(status: Object, spec: Object, cells: list[str]) -> None:
    """READY, STATUS and RESTARTS follow from the statuses of the containers."""
    obj = {**completed(make(**spec)), "status": status}
    assert KIND.row is not None
    row = KIND.row(obj, NOW)
    assert row[1:4] == cells
    assert row[0] == "web"
    assert row[4] == "90s"
    assert len(row) == len(KIND.columns)


def test_a_pod_on_its_way_out_is_terminating() -> None:
    """Whatever its containers say."""
    obj = completed(make())
    obj["metadata"]["deletionTimestamp"] = rfc3339(NOW)
    assert KIND.row is not None
    assert KIND.row(obj, NOW)[2] == "Terminating"


def test_field_selectors() -> None:
    """What `kubectl get pods --field-selector` may ask."""
    obj = completed(make(nodeName="worker"))
    assert KIND.selectable["spec.nodeName"](obj) == "worker"
    assert KIND.selectable["status.phase"](obj) == "Pending"
    assert KIND.selectable["status.podIP"](obj) == ""
