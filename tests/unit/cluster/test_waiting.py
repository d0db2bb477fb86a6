"""Waiting for readiness, and when it is given up."""

from typing import Any

import pytest

from minikube_py.cluster.targets import Target
from minikube_py.cluster.waiting import hopeless, lacking


class _View:
    """Pods only."""

    def __init__(self, *reasons: str) -> None:
        self._pods = [
            {
                "metadata": {"name": f"pod-{number}", "namespace": "default"},
                "status": {
                    "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": reason, "message": "why"}}}]
                },
            }
            for number, reason in enumerate(reasons)
        ]

    def list(self, resource: str) -> list[dict[str, Any]]:
        return self._pods if resource == "pods" else []


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        pytest.param((), None, id="no pod"),
        pytest.param(("ContainerCreating", "CrashLoopBackOff", "ErrImagePull"), None, id="all of that may heal"),
        pytest.param(("RunContainerError",), None, id="a source that is reloaded may heal"),
        pytest.param(
            ("ContainerCreating", "CreateContainerError"),
            "pod/pod-1 (default), container c: CreateContainerError: why",
            id="what can't be imported won't",
        ),
    ],
)
def test_what_no_waiting_mends(reasons: tuple[str, ...], expected: str | None) -> None:
    """Only a program that can't be imported ends waiting early."""
    assert hopeless(_View(*reasons)) == expected  # type: ignore[arg-type]


_SET = {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}
_DAEMONS = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}}


@pytest.mark.parametrize(
    ("resource", "spec", "status", "expected"),
    [
        pytest.param(
            "deployments",
            {"replicas": 2},
            {"replicas": 2, "readyReplicas": 2, "updatedReplicas": 1},
            "1 of 2 pods updated",
            id="a Deployment's new pods aren't all there",
        ),
        pytest.param(
            "deployments",
            {"replicas": 2},
            {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 2},
            "2 of 2 pods ready",
            id="a Deployment's old pods aren't all gone",
        ),
        pytest.param(
            "statefulsets",
            _SET,
            {"readyReplicas": 3, "updatedReplicas": 2},
            "2 of 3 pods updated",
            id="a StatefulSet's last old pod is ready, and to be replaced",
        ),
        pytest.param(
            "statefulsets",
            {**_SET, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            {"readyReplicas": 3, "updatedReplicas": 1},
            None,
            id="a partition keeps two pods as they are",
        ),
        pytest.param(
            "statefulsets",
            {**_SET, "updateStrategy": {"type": "OnDelete"}},
            {"readyReplicas": 3},
            None,
            id="OnDelete: nobody replaces pods",
        ),
        pytest.param(
            "daemonsets",
            _DAEMONS,
            {"desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 1},
            "1 of 2 pods updated",
            id="a DaemonSet's last old pod is ready, and to be replaced",
        ),
        pytest.param("replicasets", {"replicas": 1}, {"readyReplicas": 1}, None, id="a ReplicaSet rolls nothing out"),
    ],
)
def test_a_workload_is_ready_when_its_rollout_is_complete(
    resource: str, spec: dict[str, Any], status: dict[str, Any], expected: str | None
) -> None:
    """As kubectl rollout status says."""
    said = lacking(
        Target(f"{resource}.apps", "x", "default"), {"metadata": {"name": "x"}, "spec": spec, "status": status}
    )
    assert (said or "").endswith(expected or "")
    assert (said is None) == (expected is None)
