"""Waiting for readiness, and when it is given up."""

from typing import Any

import pytest

from minikube_py.cluster.waiting import hopeless


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
